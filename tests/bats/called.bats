#!/usr/bin/env bats
# No exported hook goes untested: each is called by some case of the test programs, as ld.so saw it.
load common

setup() {
  need_build
  need_library
}

# Every case by itself, preloaded at GMP_MAXPROCS=2. What a case thinks of itself is other tests' business.
call_all() {
  local program name c
  for program in "$programs"/*; do
    name=${program##*/}
    case $name in *.so | static_program | gnu_mp | many | mutex_stress) continue ;; esac
    if [ -f "$program" ] && [ -x "$program" ]; then
      for c in $("$program" --list); do printf '%s %s\n' "$program" "$c"; done
    fi
  done | GMP_MAXPROCS=2 GMP_TEST_SECONDS=30 xargs -P 4 -L 1 "$here/called" "$library" || true
}

@test "every exported hook is called by a test program" {
  call_all >"$BATS_TEST_TMPDIR/calls"
  # What not every libc has is called through a weak symbol's pointer, which ld.so fills in beforehand.
  for program in "$programs"/*; do
    if [ -f "$program" ] && [ -x "$program" ]; then nm -D "$program" 2>/dev/null | sed -n 's/^ *w \([a-z_0-9]*\)\(@.*\)\?$/\1/p'; fi
  done >>"$BATS_TEST_TMPDIR/calls"
  LC_ALL=C sort -u "$BATS_TEST_TMPDIR/calls" >"$BATS_TEST_TMPDIR/called"
  [ -s "$BATS_TEST_TMPDIR/called" ]
  # What this machine's libc does not have, nobody can call.
  nm -D --defined-only "$(ldconfig -p | awk '/libc\.so\.6 .*x86-64/ { print $NF; exit }')" | sed 's/.* //; s/@.*//' | LC_ALL=C sort -u >"$BATS_TEST_TMPDIR/libc"
  [ -s "$BATS_TEST_TMPDIR/libc" ]
  missing=$("$top/preload/exports" names "$top"/hooks/table/*.tsv | LC_ALL=C sort | comm -12 - "$BATS_TEST_TMPDIR/libc" | comm -23 - "$BATS_TEST_TMPDIR/called")
  [ -z "$missing" ] || { echo "no test calls: $missing"; return 1; }
}
@test "what is called is seen, what is not is not" {
  run "$here/called" "$library" "$programs/sleep"
  [ "$status" = 0 ]
  [[ $'\n'$output$'\n' == *$'\n'nanosleep$'\n'* ]]
  [[ $'\n'$output$'\n' != *$'\n'pthread_rwlock_rdlock$'\n'* ]]
}
