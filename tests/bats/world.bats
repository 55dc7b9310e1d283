#!/usr/bin/env bats
# The number of Ps while the program runs, and forks of a process with many threads.
load common

setup() { need_build; }

@test "the number of Ps follows the affinity mask" {
  need_library
  [ "$(nproc)" -gt 1 ] || skip "one processor"
  watched 60 env -u GMP_MAXPROCS "LD_PRELOAD=$library" GMP_DEBUG=schedtrace=100 python3 -c '
import os, threading, time
done = threading.Event()
def work():
    while not done.wait(0.01): pass
t = [threading.Thread(target=work) for _ in range(8)]
[x.start() for x in t]
time.sleep(0.5)
mask = os.sched_getaffinity(0)
for task in os.listdir("/proc/self/task"):  # as taskset -ap does
    os.system("taskset -p 1 %s >/dev/null" % task)
time.sleep(5)
done.set()
[x.join() for x in t]
print("done")' >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
  [ "$(cat "$BATS_TEST_TMPDIR/out")" = done ]
  first=$(sed -n 's/^SCHED.* gomaxprocs=\([0-9]*\) .*/\1/p' "$BATS_TEST_TMPDIR/err" | head -1)
  last=$(sed -n 's/^SCHED.* gomaxprocs=\([0-9]*\) .*/\1/p' "$BATS_TEST_TMPDIR/err" | tail -1)
  echo "from $first to $last"
  [ "$first" = "$(nproc)" ] && [ "$last" = 1 ]
}
@test "fork with many threads" { both crowd_fork fork_with_many_threads; }
@test "a crash in chaos mode says the seed" {
  need_library
  status=0
  GMP_DEBUG=chaos=4242 preloaded 2 "$programs/crowd_fork" crash_in_a_thread 2>"$BATS_TEST_TMPDIR/err" || status=$?
  cat "$BATS_TEST_TMPDIR/err"
  [ "$status" = 139 ]
  grep -q 'chaos=4242' "$BATS_TEST_TMPDIR/err"
}
@test "a crash in a thread" { expect=139 both crowd_fork crash_in_a_thread; }
