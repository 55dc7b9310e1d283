#!/usr/bin/env bats
# What libc does inside itself: stdio, the resolver, malloc's locks, children.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "inside: lines over sockets" { both inside lines_over_sockets; }
@test "inside: print to full pipe" { both inside print_to_full_pipe; }
@test "inside: file lock held over a read" { both inside file_lock_held_over_a_read; }
@test "inside: blocks of output stay whole" { both inside blocks_of_output_stay_whole; }
@test "inside: names from hosts" { both inside names_from_hosts; }
@test "inside: names from a server" { both inside names_from_a_server; }
@test "inside: shells" { both inside shells; }
@test "inside: spawned child closes what others read" { both inside spawned_child_closes_what_others_read; }
@test "inside: malloc from many threads" { both inside malloc_from_many_threads; }
@test "inside: numbers closed by stdio" { both inside numbers_closed_by_stdio; }

# ---- the detours themselves

# unannounced CALL COMMAND...: how often CALL held a P, with one P
unannounced() {
  local call=$1
  shift
  GMP_DEBUG=${GMP_DEBUG:+$GMP_DEBUG,}blocktrace=1 preloaded 1 "$@" 2>&1 >"$BATS_TEST_TMPDIR/out" | tee /dev/stderr |
    sed -n "s/^gmp: blocktrace:   $call: \([0-9]*\) times.*/\1/p"
}

@test "stdio and the resolver hold no P; without detours stdio does, and all comes out right" {
  need_library
  [ "$(unannounced read "$programs/inside" lines_over_sockets)" = "" ]
  [ "$(unannounced poll "$programs/inside" names_from_a_server)" = "" ]
  export GMP_DEBUG=detours=0
  [ "$(unannounced read "$programs/inside" lines_over_sockets)" -gt 50 ]
  [ "$(unannounced poll "$programs/inside" names_from_a_server)" = "" ] # announced, as a whole
  both inside
}

@test "blocktrace=2 shows the stack of an unannounced call" {
  need_library
  local call try
  for call in read poll; do # one at a time: what comes while a stack is being written is counted only
    for try in {1..20}; do # so is a call that is over by the time the tracer looks: on a busy machine all of a run may be
      GMP_DEBUG=blocktrace=2 preloaded 1 "$programs/handoff" "raw_$call" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
      ! grep -q "held its P in $call at" "$BATS_TEST_TMPDIR/err" || break
    done
    cat "$BATS_TEST_TMPDIR/err"
    grep -q "held its P in $call at" "$BATS_TEST_TMPDIR/err"
    grep -q 'handoff+0x' "$BATS_TEST_TMPDIR/err"
    grep -Eq "blocktrace:   $call: [0-9]+ times" "$BATS_TEST_TMPDIR/err"
  done
}

# lockdown COMMAND...: may not make code of what was writable (PR_SET_MDWE, Linux 6.3), as systemd's MemoryDenyWriteExecute
lockdown() {
  /usr/bin/python3 -c 'import ctypes, os, sys
os.environ.pop("LD_PRELOAD", None)
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0: sys.exit(77)
os.execvp(sys.argv[1], sys.argv[1:])' "$@"
}

@test "without /proc the detours are written all the same" {
  need_library
  [ "$(id -u)" = 0 ] || skip "needs a mount name space"
  unshare -m sh -c 'umount -l /proc && exec "$@"' sh env LD_PRELOAD="$library" GMP_MAXPROCS=2 GMP_DEBUG=verbose=1 \
    "$programs/inside" lines_over_sockets names_from_a_server >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&-
  cat "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/err"
  [ ! -s "$BATS_TEST_TMPDIR/err" ]
}

@test "where nothing may be written one line says so, if asked, and all goes on" {
  need_library
  [ "$(id -u)" = 0 ] || skip "needs a mount name space"
  lockdown true || skip "no PR_SET_MDWE in this kernel"
  export -f lockdown
  locked() {
    lockdown unshare -m sh -c 'umount -l /proc && exec "$@"' sh env LD_PRELOAD="$library" GMP_MAXPROCS=2 "$@" \
      "$programs/inside" lines_over_sockets names_from_a_server >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" 3>&-
    cat "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/err"
    [ "$(grep -c ok "$BATS_TEST_TMPDIR/out")" = 2 ]
  }
  locked GMP_DEBUG=verbose=1
  [ "$(wc -l <"$BATS_TEST_TMPDIR/err")" = 1 ]
  grep -q 'block unannounced' "$BATS_TEST_TMPDIR/err"
  locked
  [ ! -s "$BATS_TEST_TMPDIR/err" ]
}

@test "another preloaded library before or behind ours" {
  need_library
  local order p program words
  natively "$programs/inside" >"$BATS_TEST_TMPDIR/native"
  natively "$programs/io_stream" >>"$BATS_TEST_TMPDIR/native"
  natively "$programs/cond" signal_one_by_one >>"$BATS_TEST_TMPDIR/native"
  for order in "$programs/lib_between.so $library" "$library $programs/lib_between.so"; do
    for p in "${maxprocs[@]}"; do
      for program in inside io_stream "cond signal_one_by_one"; do
        read -ra words <<<"$program"
        watched "$patience" env LD_PRELOAD="$order" GMP_MAXPROCS="$p" "$programs/${words[0]}" "${words[@]:1}"
      done >"$BATS_TEST_TMPDIR/out"
      diff "$BATS_TEST_TMPDIR/native" "$BATS_TEST_TMPDIR/out"
    done
  done
}
