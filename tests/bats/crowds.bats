#!/usr/bin/env bats
# Crowds: what the kernel sees of many threads. The native run makes a kernel thread of each; ours may not.
load common

setup() {
  need_build
  need_library
}

# field NAME: the value of the last run's line "NAME: value"
field() { sed -n "s/^$1: \([0-9]*\).*/\1/p" "$BATS_TEST_TMPDIR/out"; }

# crowd PROCS CASE [--size=N]: a preloaded run that must end well
crowd() {
  local procs=$1 status=0
  shift
  preloaded "$procs" "$programs/many" "$@" </dev/null >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" || status=$?
  cat "$BATS_TEST_TMPDIR/out" "$BATS_TEST_TMPDIR/err"
  [ "$status" = 0 ] || {
    echo "status $status; to reproduce: LD_PRELOAD=$library GMP_MAXPROCS=$procs $programs/many $*"
    return 1
  }
}

# few_kernel_threads CASE THREADS
few_kernel_threads() {
  local procs
  for procs in "${maxprocs[@]}"; do
    crowd "$procs" "$1" "--size=$2"
    [ "$(field alive)" = "$2" ]
    [ "$(field Threads)" -lt $((procs + 8)) ] || { echo "GMP_MAXPROCS=$procs: $(field Threads) kernel threads"; return 1; }
  done
}

@test "10,000 threads in read on sockets: kernel threads below Ps + 8" { few_kernel_threads in_read 10000; }
@test "10,000 threads in cond_wait: kernel threads below Ps + 8" { few_kernel_threads in_cond_wait 10000; }
@test "10,000 threads asleep: kernel threads below Ps + 8" { few_kernel_threads asleep 10000; }

@test "a stdio server with 5,000 connections: kernel threads below Ps + 8" {
  few_kernel_threads stdio_server 5000
  [ "$(field 'Threads at the end')" -lt $((${maxprocs[-1]} + 8)) ]
}

# The kernel threads are needed, and go.
@test "1,000 threads in flock" { for p in "${maxprocs[@]}"; do crowd "$p" in_flock --size=1000; done; }
@test "1,000 threads in fsync and pread" { for p in "${maxprocs[@]}"; do crowd "$p" in_fsync --size=1000; done; }

# The rest waits for a kernel thread, and the thread that holds the lock always has one.
@test "300 threads in flock, 20 kernel threads" {
  export GMP_DEBUG=maxms=20
  for p in "${maxprocs[@]}"; do
    crowd "$p" in_flock --size=300
    [ "$(field Threads)" -le 22 ] # with sysmon and the thread that makes the others
  done
}
@test "300 threads in flock, and the kernel refuses more than 60" {
  [ "$(id -u)" = 0 ] || skip "a limit for another user"
  for p in "${maxprocs[@]}"; do
    (ulimit -u 60 && crowd "$p" in_flock --size=300 </dev/null 2>&1)
  done
}

@test "natively every thread is one of the kernel's: the test can tell" {
  natively "$programs/many" in_cond_wait --size=500 >"$BATS_TEST_TMPDIR/out"
  cat "$BATS_TEST_TMPDIR/out"
  [ "$(field Threads)" = 501 ]
}

@test "100,000 threads alive, at most 14 KB each" {
  patience=120 crowd 2 alive --size=100000
  [ "$(field alive)" = 100000 ]
  [ "$(field Threads)" -lt 10 ]
  [ "$(field 'bytes a thread')" -le $((14 * 1024)) ]
}
