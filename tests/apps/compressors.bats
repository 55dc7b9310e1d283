#!/usr/bin/env bats
# Parallel compressors: CPU-bound threads fed through locks and condition variables. The same bytes as natively, both
# ways.

setup_file() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  # Real text, the same in every mode; its size keeps the slowest (xz) under a second or two.
  find /usr/lib/python3.11 -name '*.py' -print0 | LC_ALL=C sort -z | xargs -0 cat 2>/dev/null |
    head -c $(( ${GMP_TEST_FAST:+1}+0 ? 4000000 : 12000000 )) >"$BATS_FILE_TMPDIR/text" || true
  [ "$(stat -c %s "$BATS_FILE_TMPDIR/text")" -gt 3000000 ]
}
setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  setup_work
  text=$BATS_FILE_TMPDIR/text
}
teardown() { stop_all; }

# round_trip NAME UNPACK -- PACK...: PACK and UNPACK write to standard output. same_as_native compares the packed
# bytes, then the unpacked ones, and the natively unpacked ones must be the text.
round_trip() {
  local name=$1 unpack=$2; shift 3
  needs "$1"
  same_as_native "$name" "$@" "$text"
  mv "$name.native.out" packed
  # shellcheck disable=SC2086 # words on purpose
  same_as_native "un$name" $unpack "$work/packed"
  cmp "un$name.native.out" "$text"
}

@test "pigz -p 8: the same bytes, and back" { round_trip pigz "pigz -dc" -- pigz -p 8 -c; }
@test "xz -T 4: the same bytes, and back" { round_trip xz "xz -T 4 -dc" -- xz -T 4 -1 --block-size=1MiB -c; }
@test "zstd -T4: the same bytes, and back" { round_trip zstd "zstd -dc" -- zstd -T4 -6 -B1000000 -qc; }
