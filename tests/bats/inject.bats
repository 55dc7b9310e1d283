#!/usr/bin/env bats
# The system refuses: strace makes system calls fail, for each kernel thread from its Nth on or now and then. A program that copes natively (scarce.c
# tries pthread_create and malloc again) must cope preloaded, with the same output, whatever the runtime itself was refused.
load common

setup() {
  need_build && need_library
  command -v strace >/dev/null || { echo "strace is missing (see .ci/bootstrap test)"; return 1; }
  strace -f -o /dev/null true 2>/dev/null || skip "no ptrace here"
}

# refused SPEC... -- PROGRAM [ARGUMENT...]; SPEC: strace's inject=SPEC, e.g. mmap:error=ENOMEM:when=60+3
refused() {
  local specs=() p status
  while [ "$1" != -- ]; do
    specs+=(-e "inject=$1")
    shift
  done
  shift
  local program=$programs/$1 log=$BATS_TEST_TMPDIR/strace
  shift
  natively "$program" "$@" >"$BATS_TEST_TMPDIR/native"
  for p in "${maxprocs[@]}"; do
    status=0
    watched "$patience" strace -f -o "$log" "${specs[@]}" env LD_PRELOAD="$library" GMP_MAXPROCS="$p" GMP_DEBUG="${GMP_DEBUG:-}" "$program" "$@" \
      >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
    [ "$status" = 0 ] && diff "$BATS_TEST_TMPDIR/native" "$BATS_TEST_TMPDIR/out" && continue
    echo "status $status at GMP_MAXPROCS=$p; to reproduce: strace -f -o /dev/null $(quoted "${specs[@]}") env LD_PRELOAD=$library GMP_MAXPROCS=$p $program $*"
    cat "$BATS_TEST_TMPDIR/err"
    return 1
  done
}
injected() { [ "$(grep -c INJECTED "$BATS_TEST_TMPDIR/strace")" -ge "$1" ]; }

@test "scarce: with all there is" {
  both scarce turns;
  both scarce allocations_and_sleeps;
  both scarce a_ring_of_sockets;
  both scarce spinners_and_a_chain;
}
@test "no kernel thread but the first" { refused clone3:error=EAGAIN:when=2+ -- scarce; injected 1; }
@test "a few kernel threads only" { refused clone3:error=EAGAIN:when=3+ -- scarce; }
@test "kernel threads refused for a while" { refused clone3:error=EAGAIN:when=2..30 -- scarce; injected 1; }
@test "memory refused now and then" {
  refused mmap:error=ENOMEM:when=45+2 -- scarce; injected 10;
  refused mmap:error=ENOMEM:when=46+3 -- scarce; injected 10;
}
@test "memory refused for a while" { refused mmap:error=ENOMEM:when=50..80 -- scarce; injected 10; }
@test "no timers for preemption" { refused timer_create:error=EAGAIN -- scarce; injected 1; }
@test "waits of the runtime interrupted" {
  refused epoll_wait:error=EINTR:when=2+2 epoll_pwait:error=EINTR:when=2+2 epoll_pwait2:error=EINTR:when=2+2 -- scarce; injected 10;
}
@test "advice refused: stacks keep their pages" { refused madvise:error=EINVAL -- scarce; }
