#!/usr/bin/env bats
# Looking into a process: gmp dump, dumps by a signal, the deadlock report, and gdb's commands for threads.
load common

setup() {
  need_build
  need_library
  gmp=$build/gmp
  out=$BATS_TEST_TMPDIR/subject.out
  err=$BATS_TEST_TMPDIR/subject.err
  script=$build/libgmp.so-gdb.py
  subject=
}
teardown() { end_subject; }
end_subject() {
  [ -n "$subject" ] || return 0
  kill -9 "$subject" 2>/dev/null || true
  wait "$subject" 2>/dev/null || true
  subject=
}

# subject PROCS [SETTING=VALUE...] CASE [N]: starts programs/dump in the background, waits until it is ready; $subject is its number.
subject() {
  local procs=$1 settings=()
  shift
  while [[ $1 == *=* ]]; do settings+=("$1"); shift; done
  rm -f "$out" # what the one before left
  env LD_PRELOAD="${lib:-$library}" GMP_MAXPROCS="$procs" "${settings[@]}" "$programs/dump" "$@" >"$out" 2>"$err" </dev/null 3>&- &
  subject=$!
  for ((i = 0; i < 600; i++)); do
    ! grep -qs ready "$out" || return 0
    kill -0 "$subject" || break
    sleep 0.05
  done
  echo "the subject is not ready"
  cat "$out" "$err"
  return 1
}
# captured COMMAND...: output and status, whatever they are
captured() {
  status=0
  output=$(watched 90 "$@" 2>&1 3>&-) || status=$?
}
# dumped [OPTION...]: output in $output, and shown should the test fail
dumped() {
  captured "$gmp" dump "$@" "$subject"
  echo "$output" | head -150
  [ "$status" = 0 ]
}
has() { grep -qE -- "$1" <<<"$output" || { echo "missing: $1"; return 1; }; }
lacks() { ! grep -E -- "$1" <<<"$output" || { echo "should not be there: $1"; return 1; }; }

# Each link is named, whatever kind of lock it is: plain mutex, recursive one, rwlock held for writing.
circle_is_named() {
  has '^deadlock:$'
  has '"alpha" waits for mutex 0x[0-9a-f]+ held by G[0-9]+ "beta"'
  has '"beta" waits for rwlock 0x[0-9a-f]+ held by G[0-9]+ "gamma"'
  has '"gamma" waits for mutex 0x[0-9a-f]+ held by G[0-9]+ "alpha"'
}

@test "gmp dump names a circle of locks as a deadlock" {
  for procs in "${maxprocs[@]}"; do
    subject "$procs" circle
    dumped
    has "^process $subject \(dump\): 4 threads on"
    circle_is_named
    [ "$(grep -c '^deadlock:' <<<"$output")" = 1 ]
    has '^G[0-9]+ "alpha" tid [0-9]+: waiting [0-9.]+ (ms|s).*: mutex 0x[0-9a-f]+, held by G[0-9]+ "beta"'
    has '#[0-9]+ +take_second\+0x[0-9a-f]+ \(dump\)'
    has '"beta" tid .*: rwlock 0x[0-9a-f]+ to read, held by'
    has 'case_circle\+0x[0-9a-f]+ \(dump\)'
    end_subject
  done
}
@test "gmp dump names a circle of joins" {
  subject 2 join_circle
  dumped --stacks 0
  has '^deadlock:$'
  [ "$(grep -c 'waits for the end of G' <<<"$output")" = 3 ]
  lacks '#0'
}
@test "gmp dump names a thread that waits for itself" {
  subject 2 self
  dumped --stacks 0
  has '^deadlock:$'
  has '^  (G[0-9]+ "self") waits for mutex 0x[0-9a-f]+ held by \1$'
}
@test "gmp dump says what each thread waits for" {
  subject 2 waits
  dumped --each
  lacks '^deadlock'
  has '"reader" tid [0-9]+: waiting .*: read from descriptor [0-9]+ pipe:\[[0-9]+\]$'
  has '"poller" .*: poll of descriptor [0-9]+ pipe:.*, descriptor [0-9]+ pipe:'
  has '"sleeper" .*: sleep, at most 59 min [0-9]+ s more$'
  [ "$(nproc)" = 1 ] || has '"pinned" .*: sleep, at most 59 min [0-9]+ s more \[runs on M[0-9]+ \(tid [0-9]+\) only\]$'
  has '"condition" .*: condition variable 0x[0-9a-f]+ with mutex 0x[0-9a-f]+$'
  has '"semaphore" .*: semaphore 0x[0-9a-f]+, at most 49 min'
  has '"locker" .*: in a call: flock of descriptor [0-9]+ .* on M[0-9]+ \(tid [0-9]+'
  has '"ender" .*: end of G[0-9]+ "reader"'
  has '"dump" .*: waiting [0-9]+ ms: signal'
  for function in reader poller sleeper condition semaphore locker ender; do has "#[0-9]+ +$function\+0x[0-9a-f]+ \(dump\)"; done
  lacks 'gmp::(park|mcall|g_start)'
  dumped --filter '"sleeper"'
  [ "$(grep -c '^G' <<<"$output")" = 1 ]
}
@test "gmp dump while all processors spin" {
  subject 2 spin 4
  dumped
  has '"spinner" tid [0-9]+: (running|runnable)'
  has '#0 +turn_round\+0x[0-9a-f]+ \(dump\)'
  has '"sleeper" tid'
  kill -0 "$subject"
  end_subject
  # With one processor only one runs; the others were preempted where they stood, with a signal's frame on their stacks.
  subject 1 spin 4
  sleep 0.3
  dumped --each
  has '"spinner" tid [0-9]+: runnable'
  [ "$(grep -c '#0 *turn_round+0x' <<<"$output")" -ge 4 ]
}
@test "gmp dump shows 2,000 threads with one stack together" {
  subject 2 many 2000
  dumped
  has '^process .*: 2,002 threads on 2 Ps: '
  has '^2,000 threads: waiting .*: read from descriptor [0-9]+ pipe:'
  [ "$(grep -c 'reader+0x' <<<"$output")" = 1 ]
  [ "$(grep -c '^G[0-9]' <<<"$output")" = 2 ]
  dumped --each --frames 3
  [ "$(grep -c '^G[0-9]' <<<"$output")" = 2002 ]
}
@test "gmp dump of a process that makes and ends threads all the time" {
  subject 2 churn 20000
  for i in 1 2 3 4 5 6 7 8 9 10; do
    captured "$gmp" dump --each "$subject"
    echo "$output" | tail -30
    [ "$status" = 0 ] || kill -0 "$subject" || break
    [ "$status" = 0 ]
  done
  lacks 'runtime error'
}
@test "two dumps at once" {
  subject 2 many 300
  "$gmp" dump "$subject" >"$BATS_TEST_TMPDIR/one" 3>&- &
  local first=$!
  dumped
  wait "$first"
  grep -q '^300 threads: waiting' "$BATS_TEST_TMPDIR/one"
  has '^300 threads: waiting'
}
@test "gmp dump of what it can't dump is one clear line" {
  no_dump() { # STATUS TEXT PID
    captured "$gmp" dump "$3"
    echo "$status: $output"
    [ "$status" = "$1" ] && [ "$(wc -l <<<"$output")" = 1 ]
    has "$2"
  }
  no_dump 127 'there is no process 999999999' 999999999
  no_dump 2 'abc' abc
  no_dump 126 'does not run under libgmp.so' "$$"
  sleep 30 3>&- &
  subject=$!
  no_dump 126 "process $subject .* does not run under libgmp.so" "$subject"
  end_subject
  env LD_PRELOAD="$library" sleep 30 3>&- &
  subject=$!
  sleep 0.2
  no_dump 126 'has made no thread yet' "$subject"
  end_subject
  subject 2 GMP_DISABLE=1 circle
  no_dump 126 'runs natively' "$subject"
  local was=$subject
  end_subject
  no_dump 127 'there is no process' "$was"
}
@test "gmp dump of another user's process is refused in one line" {
  [ "$(id -u)" = 0 ] || skip "needs root, to be another"
  command -v setpriv >/dev/null || skip "setpriv is not installed"
  subject 2 circle
  captured setpriv --reuid 65534 --clear-groups "$gmp" dump "$subject"
  echo "$status: $output"
  [ "$status" = 126 ]
  [ "$(wc -l <<<"$output")" = 1 ]
  has "process $subject can't be read"
}
@test "gmp dump works with a stripped library" {
  lib=$BATS_TEST_TMPDIR/libgmp.so
  cp "$library" "$lib"
  strip "$lib"
  subject 2 circle
  dumped
  circle_is_named
  has '#[0-9]+ +take_second\+0x'
}

# ---- from within
@test "GMP_DEBUG=dumpsig=N: the signal prints every thread, and the program goes on" {
  subject 2 GMP_DEBUG=dumpsig=12 circle
  kill -USR2 "$subject"
  for ((i = 0; i < 200; i++)); do ! grep -q '"gamma": stack' "$err" || break; sleep 0.05; done
  output=$(cat "$err")
  echo "$output"
  circle_is_named
  has '"alpha" tid [0-9]+: waiting .*: mutex 0x'
  has '"dump" tid [0-9]+: waiting [0-9]+ ms: signal'
  has '"dump": stack'
  has '"gamma": stack'
  has '  pthread_mutex_lock\+0x|  dump\+0x'
  kill -0 "$subject"
  : >"$err"
  kill -USR2 "$subject"
  for ((i = 0; i < 200; i++)); do ! grep -q 'dump of process' "$err" || break; sleep 0.05; done
  grep -q 'dump of process' "$err"
}
@test "dumpsig before the first thread: a line, and the program goes on" {
  env LD_PRELOAD="$library" GMP_DEBUG=dumpsig=10 sleep 30 2>"$err" 3>&- &
  subject=$!
  sleep 0.3
  kill -USR1 "$subject"
  for ((i = 0; i < 100; i++)); do [ ! -s "$err" ] || break; sleep 0.05; done
  grep -q 'no thread has been made yet' "$err"
  kill -0 "$subject"
}
@test "dumpsig gives way to the program's own use of the signal, and says so" {
  for procs in "${maxprocs[@]}"; do
    captured env LD_PRELOAD="$library" GMP_MAXPROCS="$procs" GMP_DEBUG=dumpsig=12 "$programs/dump" takes_usr2
    echo "$output"
    [ "$status" = 0 ]
    has '^before: default'
    has '^replaced: default'
    has '^woken'
    [ "$(grep -c 'no dumps by it from now on' <<<"$output")" = 1 ]
    lacks 'dump of process'
  done
}
@test "bad values of dumpsig and deadlock are refused in one line" {
  for setting in dumpsig=0 dumpsig=9 dumpsig=65 dumpsig=x deadlock=1 deadlock=; do
    captured env LD_PRELOAD="$library" GMP_DEBUG=$setting "$programs/thread" return_values
    echo "$output"
    [ "$status" = 0 ]
    has 'GMP_DEBUG='
    has 'return_values ok'
  done
}

@test "GMP_DEBUG=deadlock=report tells once when all threads sleep for ever" {
  for procs in "${maxprocs[@]}"; do
    subject "$procs" GMP_DEBUG=deadlock=report asleep
    for ((i = 0; i < 400; i++)); do ! grep -q '"gamma": stack' "$err" || break; sleep 0.05; done
    output=$(cat "$err")
    echo "$output"
    has '^gmp: all threads are asleep: deadlock$'
    circle_is_named
    has '"dump" tid [0-9]+: waiting .*: end of G[0-9]+ "alpha"'
    has '"gamma": stack'
    sleep 0.6
    [ "$(grep -c 'all threads are asleep' "$err")" = 1 ]
    kill -0 "$subject"
    end_subject
  done
}
@test "GMP_DEBUG=deadlock=abort ends the process by SIGABRT" {
  for procs in "${maxprocs[@]}"; do
    captured env LD_PRELOAD="$library" GMP_MAXPROCS="$procs" GMP_DEBUG=deadlock=abort "$programs/dump" asleep
    echo "$status $output"
    [ "$status" = 134 ]
    has 'all threads are asleep: deadlock'
    circle_is_named
  done
}
# Asleep, but somebody outside may wake them: none of these is a deadlock.
woken() { # CASE, what wakes it
  subject 2 GMP_DEBUG=deadlock=abort "$1"
  sleep 0.9
  eval "$2"
  wait "$subject" || { echo "status $?"; cat "$err"; return 1; }
  subject=
  grep -q woken "$out"
}
@test "deadlock=abort waits for a signal's handler, and says so" {
  woken for_a_signal 'kill -USR1 $subject'
  grep -q 'unless a signal comes (the program handles 10)' "$err"
}
@test "deadlock=abort leaves a thread in sigwait alone" {
  woken in_sigwait 'kill -USR1 $subject'
  [ ! -s "$err" ]
}
@test "deadlock=abort knows of descriptors, timers, libc's threads and other processes" {
  for case in for_a_process for_a_timer; do
    captured env LD_PRELOAD="$library" GMP_DEBUG=deadlock=abort "$programs/dump" "$case"
    echo "$status $output"
    [ "$status" = 0 ]
    has woken
    lacks asleep
  done
  captured bash -c "(sleep 0.9; echo) | LD_PRELOAD=$library GMP_DEBUG=deadlock=abort $programs/dump for_a_line"
  echo "$status $output"
  [ "$status" = 0 ]
  has woken
  lacks asleep
}
@test "with deadlock=abort programs end as without" {
  export GMP_DEBUG=deadlock=abort
  both sleep whole_seconds not_earlier
  both cond
}

# ---- gdb
need_gdb() { command -v gdb >/dev/null || skip "gdb is not installed"; }
in_gdb() {
  captured gdb -q -batch -nx -iex 'set debuginfod enabled off' -iex 'set auto-load no' -ix "$script" "$@"
  echo "$output" | tail -80
}
# By name: a thread's number depends on the P that its maker was on.
gdb_sees_the_circle() {
  has '^ +[0-9]+ +alpha +[0-9]+ +waiting: mutex 0x[0-9a-f]+, held by G[0-9]+ "beta"'
  has '^ +[0-9]+ +beta +[0-9]+ +waiting: rwlock 0x[0-9a-f]+ to read, held by G[0-9]+ "gamma"'
  has '^ +[0-9]+ +gamma '
  has '^#[0-9]+ .* take_second '
  has '^#[0-9]+ .* gamma_ '
  has '^#[0-9]+ .* case_(circle|abort) '
  lacks 'Python Exception|Error while'
}
@test "gdb: info gthreads, gthread N bt and gthread apply all bt in a live process, which goes on unharmed" {
  need_gdb
  subject 2 many 3
  in_gdb -p "$subject" -ex 'info gthreads' -ex 'gthread 2 bt' -ex 'gthread 3 info locals' -ex 'gthread 99 bt'
  has '^ +[0-9]+ +reader +[0-9]+ +waiting: read from descriptor [0-9]+ pipe:'
  has '^#[0-9]+ .* reader '
  has 'no thread 99'
  end_subject
  subject 2 circle
  in_gdb -p "$subject" -ex 'info gthreads' -ex 'gthread apply all bt' -ex 'gthread apply 2 3 bt 1'
  gdb_sees_the_circle
  subject_still_dumps
}
subject_still_dumps() {
  dumped
  circle_is_named
}
@test "gdb: the program goes on after its threads have been looked at" {
  need_gdb
  mkfifo "$BATS_TEST_TMPDIR/line"
  env LD_PRELOAD="$library" GMP_MAXPROCS=2 "$programs/dump" for_a_line <>"$BATS_TEST_TMPDIR/line" >"$out" 2>"$err" 3>&- &
  subject=$!
  for ((i = 0; i < 200; i++)); do ! grep -q ready "$out" || break; sleep 0.05; done
  in_gdb -p "$subject" -ex 'gthread apply all bt' -ex 'gthread 2 p $pc' -ex 'gthread 1 up'
  has 'line_reader'
  echo >"$BATS_TEST_TMPDIR/line"
  wait "$subject"
  grep -q woken "$out"
  subject=
}
@test "gdb: a core file, with the library stripped as well" {
  need_gdb
  local at=$BATS_TEST_TMPDIR
  for strip in false true; do
    mkdir -p "$at/$strip"
    cp "$library" "$at/$strip/libgmp.so"
    ! $strip || strip "$at/$strip/libgmp.so"
    (cd "$at/$strip" && ulimit -c unlimited && LD_PRELOAD=$at/$strip/libgmp.so GMP_MAXPROCS=2 timeout 60 "$programs/dump" abort 3>&-) || true
    local core
    core=$(find "$at/$strip" -name 'core*' | head -1)
    [ -s "$core" ] || skip "the kernel puts core files elsewhere ($(cat /proc/sys/kernel/core_pattern))"
    in_gdb "$programs/dump" "$core" -ex 'info gthreads' -ex 'gthread apply all bt'
    gdb_sees_the_circle
    rm "$core"
  done
}
@test "gdb: a process that the library does not serve is one line" {
  need_gdb
  subject 2 GMP_DISABLE=1 circle
  in_gdb -p "$subject" -ex 'info gthreads' || true
  has 'stands aside'
}
