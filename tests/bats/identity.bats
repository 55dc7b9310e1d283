#!/usr/bin/env bats
# Who a thread is, to the kernel and to others: ids, names, credentials, scheduling, namespaces, processor time, and the mutexes that depend on it.
load common

setup() { need_build; }

# The case needs rights that only root has.
as_root() { [ "$(id -u)" = 0 ] || skip "not root"; }

@test "identity_setxid: whole process" { as_root && both identity_setxid whole_process; }
@test "identity_setxid: while threads come and go" { as_root && both identity_setxid while_threads_come_and_go; }
@test "identity_setxid: from a thread" { as_root && both identity_setxid from_a_thread; }
@test "identity_setxid: of one thread" { as_root && both identity_setxid of_one_thread; }
@test "identity_setxid: in child" { as_root && both identity_setxid in_child; }

@test "identity_sched: affinity is real" { both identity_sched affinity_is_real; }
@test "identity_sched: affinity there and back" { both identity_sched affinity_there_and_back; }
@test "identity_sched: affinity of another" { both identity_sched affinity_of_another; }
@test "identity_sched: affinity of a running one" { both identity_sched affinity_of_a_running_one; }
@test "identity_sched: affinity by attribute and inherited" { both identity_sched affinity_by_attribute_and_inherited; }
@test "identity_sched: real time is real" { as_root && both identity_sched real_time_is_real; }
@test "identity_sched: deadline of one" { as_root && both identity_sched deadline_of_one; }
@test "identity_sched: real time of another" { as_root && both identity_sched real_time_of_another; }
@test "identity_sched: nice of each" { both identity_sched nice_of_each; }
@test "identity_sched: fork inherits" { both identity_sched fork_inherits; }
@test "identity_sched: main pinned and gone" { expect=3 both identity_sched main_pinned_and_gone; }

@test "identity_own: unshare one" { as_root && both identity_own unshare_one; }
@test "identity_own: setns one" { as_root && both identity_own setns_one; }
@test "identity_own: timer slack" { both identity_own timer_slack; }
@test "identity_own: no new privs" { both identity_own no_new_privs; }
@test "identity_own: personality of each" { both identity_own personality_of_each; }
@test "identity_own: io priority" { both identity_own io_priority; }
@test "identity_own: memory policy" { both identity_own memory_policy; }
@test "identity_own: capabilities" { as_root && both identity_own capabilities; }
@test "identity_own: seccomp filter" { both identity_own seccomp_filter; }
@test "identity_own: registers" { both identity_own registers; }
@test "identity_own: ports" { as_root && both identity_own ports; }
@test "identity_own: tracer" { both identity_own tracer; }
@test "identity_own: parent lives" { both identity_own parent_lives; }
@test "identity_own: bare exit" { both identity_own bare_exit; }
@test "identity_own: names" { both identity_own names; }
@test "identity_own: thread ids" { both identity_own thread_ids; }

@test "identity_cpu: each its own" { both identity_cpu each_its_own; }
@test "identity_cpu: never goes back" { both identity_cpu never_goes_back; }
@test "identity_cpu: of another" { both identity_cpu of_another; }
@test "identity_cpu: rusage of thread" { both identity_cpu rusage_of_thread; }
@test "identity_cpu: timer on it" { both identity_cpu timer_on_it; }
@test "identity_cpu: other clocks" { both identity_cpu other_clocks; }

@test "identity_mutex: contended robust" { both identity_mutex contended_robust; }
@test "identity_mutex: contended inheriting" { both identity_mutex contended_inheriting; }
@test "identity_mutex: contended both" { both identity_mutex contended_both; }
@test "identity_mutex: owner killed" { both identity_mutex owner_killed; }
@test "identity_mutex: owner killed inheriting" { both identity_mutex owner_killed_inheriting; }
@test "identity_mutex: owner exits" { both identity_mutex owner_exits; }
@test "identity_mutex: owner execs" { both identity_mutex owner_execs; }
@test "identity_mutex: owner thread ends robust" { both identity_mutex owner_thread_ends_robust; }
@test "identity_mutex: owner thread ends inheriting" { both identity_mutex owner_thread_ends_inheriting; }
@test "identity_mutex: cond with robust" { both identity_mutex cond_with_robust; }
@test "identity_mutex: cond with inheriting" { both identity_mutex cond_with_inheriting; }
@test "identity_mutex: errors" { both identity_mutex errors; }
@test "identity_mutex: priority ceiling" { as_root && both identity_mutex priority_ceiling; }
