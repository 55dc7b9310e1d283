# What every test file loads: where things are, and `both`, which holds a preloaded run against the native one.
#
#   GMP_BUILD          build directory (default: build/)
#   GMP_LIBRARY        the library under test (default: libgmp.so of the build directory)
#   GMP_TEST_MAXPROCS  values of GMP_MAXPROCS to run preloaded at; empty: native runs only
#   GMP_TEST_REPEAT    how often each preloaded run is repeated (tests/run --repeat)
#   GMP_TEST_CHAOS     FROM-TO: each preloaded run is one in chaos mode for each of these seeds (tests/run --chaos)
#   GMP_TEST_SECONDS   patience for one run
#   GMP_TEST_GDB       set: a hanging process is shown to gdb as well
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
build=$(cd "${GMP_BUILD:-$top/build}" && pwd)
library=${GMP_LIBRARY:-$build/libgmp.so}
programs=$build/tests/programs
read -ra maxprocs <<<"${GMP_TEST_MAXPROCS-1 2 8}"
repeat=${GMP_TEST_REPEAT:-1}
patience=${GMP_TEST_SECONDS:-60}
seeds=('')
[ -z "${GMP_TEST_CHAOS:-}" ] || mapfile -t seeds < <(seq "${GMP_TEST_CHAOS%-*}" "${GMP_TEST_CHAOS#*-}")
seed='' # of this run
# GMP_DEBUG of a preloaded run: the test's own and the seed.
debug() {
  local all=${GMP_DEBUG:-}
  [ -z "$seed" ] || all+="${all:+,}chaos=$seed"
  echo "$all"
}

# A name without a slash is one of our programs where there is such a program, else a command of the system.
resolve() { if [[ $1 != */* && -x $programs/$1 ]]; then echo "$programs/$1"; else command -v "$1"; fi; }

# An inherited descriptor 3 would keep bats waiting for a child that outlives its test.
watched() { "$here/watched" "$@" 3>&-; }
natively() { watched "$patience" env -u LD_PRELOAD "$@"; }
# preloaded PROCS COMMAND...
preloaded() {
  local procs=$1
  shift
  watched "$patience" env "LD_PRELOAD=$library" "GMP_MAXPROCS=$procs" "GMP_DEBUG=$(debug)" "$@"
}

need_build() {
  [ -x "$programs/thread" ] || { echo "the test programs are not built in $build"; return 1; }
}
need_library() {
  [ "${#maxprocs[@]}" -gt 0 ] || skip "native runs only"
  [ -e "$library" ] || { echo "$library is not built"; return 1; }
}

quoted() { printf '%q ' "$@"; }

# one_preloaded PROCS WANTED_STATUS COMMAND...: against $native_output
one_preloaded() {
  local procs=$1 wanted=$2 status=0 command
  shift 2
  preloaded "$procs" "$@" </dev/null >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
  if [ "$status" = "$wanted" ] && cmp -s "$native_output" "$BATS_TEST_TMPDIR/out"; then return 0; fi
  command=$(quoted "$@")
  echo "preloaded run differs from the native one; to reproduce:"
  echo "  LD_PRELOAD=$library GMP_MAXPROCS=$procs GMP_DEBUG=$(debug) $command"
  if [ "$status" = 124 ]; then echo "it hung (no end after $patience s)"; else echo "status $status, natively $wanted"; fi
  diff -u --label native "$native_output" --label preloaded "$BATS_TEST_TMPDIR/out" | head -40 || true
  echo "its standard error:"
  head -120 "$BATS_TEST_TMPDIR/err"
  return 1
}

# both COMMAND [ARGUMENT...]: natively once, then preloaded at each GMP_MAXPROCS; standard output and status must be the
# same, and the status the one expected: `expect=7 both thread_end exit_from_thread`.
both() {
  local command status=0 procs round failures=0
  command=$(resolve "$1") || { echo "no such command: $1"; return 1; }
  shift
  native_output=$BATS_TEST_TMPDIR/native
  natively "$command" "$@" </dev/null >"$native_output" 2>"$BATS_TEST_TMPDIR/native.err" || status=$?
  if [ "$status" != "${expect:-0}" ]; then
    echo "native run gives status $status instead of ${expect:-0}: $(quoted "$command" "$@")"
    head -60 "$native_output" "$BATS_TEST_TMPDIR/native.err"
    return 1
  fi
  for procs in "${maxprocs[@]}"; do
    for seed in "${seeds[@]}"; do
      for ((round = 1; round <= repeat; round++)); do
        one_preloaded "$procs" "$status" "$command" "$@" && continue
        [ "$repeat" = 1 ] || echo "(that was round $round of $repeat)"
        failures=$((failures + 1))
        break 2
      done
    done
    seed=''
  done
  [ "$failures" = 0 ]
}

# both_shell 'SCRIPT': the script by a bash, with all it starts, natively and preloaded.
both_shell() { both bash -c "$1"; }
