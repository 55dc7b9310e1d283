#!/usr/bin/env bats
# Threads that compute make room for others, with a few kernel threads for all.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "preempt: spinners let a fifth run" { both preempt spinners_let_a_fifth_run; }
@test "preempt: spin wait on a flag" { both preempt spin_wait_on_a_flag; }
@test "preempt: all spinners get on" { both preempt all_spinners_get_on; }
@test "preempt: waiters beside spinners" { both preempt waiters_beside_spinners; }
@test "preempt: errno survives" { both preempt errno_survives; }
@test "preempt: spinners out of reach" { both preempt spinners_out_of_reach; }
@test "preempt: spinning coroutine" { both preempt spinning_coroutine; }
@test "preempt: handlers beside preemption" { both preempt handlers_beside_preemption; }
@test "preempt: sigurg is the programs" { both preempt sigurg_is_the_programs; }
@test "preempt: fork and exec beside spinners" { both preempt fork_and_exec_beside_spinners; }
@test "preempt: lock let go around calls" { both preempt lock_let_go_around_calls; }
@test "preempt_registers: registers survive" { both preempt_registers registers_survive; }

# In chaos mode sysmon asks whoever runs at every look, and every hook may be the point.
@test "preempt_calls: no EINTR" { GMP_DEBUG=chaos=$RANDOM both preempt_calls no_eintr; }

@test "64 spinners at 2 Ps are few kernel threads" {
  need_library
  natively "$programs/preempt" many_spinners
  preloaded 2 "$programs/preempt" many_spinners 2>"$BATS_TEST_TMPDIR/err"
  n=$(sed -n 's/^kernel threads: //p' "$BATS_TEST_TMPDIR/err")
  echo "kernel threads: $n"
  [ "$n" -lt 24 ]
}
@test "preempt=0: robbed instead, and all get on" {
  need_library
  GMP_DEBUG=preempt=0 preloaded 2 "$programs/preempt" spinners_let_a_fifth_run spin_wait_on_a_flag all_spinners_get_on
}
