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

# A name without a slash is one of our programs where there is such a program, else a command of the system.
resolve() { if [[ $1 != */* && -x $programs/$1 ]]; then echo "$programs/$1"; else command -v "$1"; fi; }

# An inherited descriptor 3 would keep bats waiting for a child that outlives its test.
watched() { "$here/watched" "$@" 3>&-; }
natively() { watched "$patience" env -u LD_PRELOAD "$@"; }
# preloaded PROCS COMMAND...
preloaded() {
  local procs=$1
  shift
  watched "$patience" env "LD_PRELOAD=$library" "GMP_MAXPROCS=$procs" "GMP_DEBUG=${GMP_DEBUG:-}" "$@"
}

need_build() {
  [ -x "$programs/thread" ] || { echo "the test programs are not built in $build"; return 1; }
}
need_library() {
  [ "${#maxprocs[@]}" -gt 0 ] || skip "native runs only"
  [ -e "$library" ] || { echo "$library is not built"; return 1; }
}

quoted() { printf '%q ' "$@"; }

# both COMMAND [ARGUMENT...]: natively once, then preloaded at each GMP_MAXPROCS; standard output and status must be the
# same, and the status the one expected: `expect=7 both thread_end exit_from_thread`.
both() {
  local command
  command=$(resolve "$1") || { echo "no such command: $1"; return 1; }
  shift
  "$here/rounds" --expect "${expect:-0}" --procs "${maxprocs[*]}" --seeds "${GMP_TEST_CHAOS:-}" --repeat "$repeat" --patience "$patience" \
    --library "$library" "$command" "$@" 3>&-
}

# both_shell 'SCRIPT': the script by a bash, with all it starts, natively and preloaded.
both_shell() { both bash -c "$1"; }
