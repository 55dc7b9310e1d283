#!/usr/bin/env bats
# CPython's own tests of its threads: locks as semaphores or condvars, timeouts, thread-local state, daemon threads at
# exit.

python311=/usr/bin/python3.11

setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  needs "$python311"
  "$python311" -c 'import test.test_threading' || { echo "missing package: libpython3.11-testsuite"; return 1; }
  setup_work
  limit=120
}
teardown() { stop_all; }

# verdicts_equal NAME ARGS...: python3.11 -m test ARGS in every mode; the verdicts case by case must equal the native
# ones.
verdicts_equal() {
  local name=$1; shift
  for mode in $(modes); do
    run_once "$mode" "$name" "$python311" -m test -v --junit-xml "$work/$name.$mode.xml" "$@"
    local b=$work/$name.$mode
    really_preloaded "$b.err" || fail_run "$mode" "the library was not loaded" "$b.err" || return
    "$python311" "$apps/cpython_verdicts.py" "$b.xml" >"$b.verdicts" ||
      fail_run "$mode" "no verdicts; it $(ended "$(cat "$b.status")")" "$b.err" "$b.out" || return
    # A native failure is the machine's, and then there is nothing to compare with.
    [ "$mode" != native ] || [ "$(cat "$b.status")" = 0 ] || fail_run "$mode" "fails natively" "$b.out" || return
    [ "$(wc -l <"$b.verdicts")" -gt "$least" ] ||
      fail_run "$mode" "only $(wc -l <"$b.verdicts") cases ran" "$b.out" || return
    diff "$work/$name.native.verdicts" "$b.verdicts" || fail_run "$mode" "verdicts differ (above)" "$b.out" || return
    [ "$(cat "$b.status")" = 0 ] || fail_run "$mode" "exit status $(cat "$b.status")" "$b.err" "$b.out" || return
  done
}

@test "CPython: test_thread test_queue test_threading_local, verdicts as natively" {
  least=60 verdicts_equal small test_thread test_queue test_threading_local
}

@test "CPython: test_threading without its fork and signal cases, verdicts as natively" {
  local ignore=()
  while read -r pattern; do ignore+=(-i "$pattern"); done < <(grep -v -e '^#' -e '^$' "$apps/cpython.ignore")
  least=140 verdicts_equal threading "${ignore[@]}" test_threading
}
