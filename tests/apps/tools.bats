#!/usr/bin/env bats
# Benchmarks that others wrote to load a scheduler: they must complete their work, whatever their figures.

setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  setup_work
}
teardown() { stop_all; }

# Figures differ between any two runs; the number of events, of tasks and of bytes must not.
events='grep -E "total number of events|^Number of threads"'
hackbench_lines='sed -E "s/^Time: [0-9.]+$/Time: T/"'

@test "sysbench threads: 64 threads yielding under 8 mutexes complete their events" {
  needs sysbench
  normalise=$events same_as_native sysbench_threads \
    sysbench threads --threads=64 --thread-yields=50 --thread-locks=8 --events=4000 --time=0 run
  grep -q 'total number of events: *4000' sysbench_threads.native.norm
}

@test "sysbench mutex: 16 threads on 64 mutexes complete their events" {
  needs sysbench
  normalise=$events same_as_native sysbench_mutex \
    sysbench mutex --threads=16 --mutex-num=64 --mutex-locks=100000 --mutex-loops=50 --time=0 run
  grep -q 'total number of events: *16' sysbench_mutex.native.norm
}

@test "hackbench -T: pipes, 4 groups of 40 threads" {
  needs hackbench
  normalise=$hackbench_lines same_as_native hackbench_pipe hackbench -T -p -g 4 -l 300
  grep -q '^Time: T' hackbench_pipe.native.norm
}

@test "hackbench -T: socket pairs, 4 groups of 40 threads" {
  needs hackbench
  normalise=$hackbench_lines same_as_native hackbench_socket hackbench -T -g 4 -l 300
  grep -q '^Time: T' hackbench_socket.native.norm
}
