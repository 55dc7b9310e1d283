#!/usr/bin/env bats
# GNU MP's library is called libgmp.so too: a program linked with it must get both, each its own.

setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  setup_work
  "${CC:-cc}" -std=gnu17 -O2 -pthread "$apps/gnump.c" -o gnump -lgmp ||
    { echo "missing package: libgmp-dev?"; return 1; }
}
teardown() { stop_all; }

@test "GNU MP: 24 threads compute factorials, the same sums as natively" {
  readelf -d gnump | grep -q 'NEEDED.*libgmp\.so\.10'
  same_as_native gnump "$work/gnump"
  for mode in $(modes); do
    mv "gnump.$mode.err" "gnump.$mode.client"
    log=$work/gnump.$mode.client held_by_few "$mode" gnump 24
  done
}

@test "GNU MP: both libraries are mapped" {
  [ -n "$GMP_LIB" ] && [ -n "$GMP_TEST_MAXPROCS" ] || skip "native runs only"
  LD_PRELOAD=$GMP_LIB LD_TRACE_LOADED_OBJECTS=1 ./gnump >mapped
  grep -q 'libgmp\.so\.10 =>' mapped
  grep -qF "$GMP_LIB" mapped
}
