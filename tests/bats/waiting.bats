#!/usr/bin/env bats
# Waiting for each other and for time: conditions, semaphores, raw futexes, sleeps.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "cond: signal one by one" { both cond signal_one_by_one; }
@test "cond: broadcast to 1000" { both cond broadcast_to_1000; }
@test "cond: nobody waits" { both cond nobody_waits; }
@test "cond: time outs" { both cond time_outs; }
@test "cond: many time outs" { both cond many_time_outs; }
@test "cond: timed wait signalled" { both cond timed_wait_signalled; }
@test "cond: signals race time outs" { both cond signals_race_time_outs; }
@test "cond: handlers do not wake" { both cond handlers_do_not_wake; }
@test "cond: signals race handlers" { both cond signals_race_handlers; }
@test "cond: bounded buffer" { both cond bounded_buffer; }
@test "cond: ring of 1000" { both cond ring_of_1000; }
@test "cond: destroy after broadcast" { both cond destroy_after_broadcast; }
@test "cond: mutex types" { both cond mutex_types; }

@test "sem: counts" { both sem counts; }
@test "sem: timed" { both sem timed; }
@test "sem: ping pong" { both sem ping_pong; }
@test "sem: at most five" { both sem at_most_five; }
@test "sem: posts to a crowd" { both sem posts_to_a_crowd; }
@test "sem: posts race time outs" { both sem posts_race_time_outs; }
@test "sem: named" { both sem named; }
@test "sem: shared between processes" { both sem shared_between_processes; }
@test "sem: posted by a handler" { both sem posted_by_a_handler; }
@test "sem: destroyed after wait" { both sem destroyed_after_wait; }

@test "syscalls: wait and wake" { both syscalls wait_and_wake; }
@test "syscalls: wake counts" { both syscalls wake_counts; }
@test "syscalls: time outs" { both syscalls time_outs; }
@test "syscalls: bitsets" { both syscalls bitsets; }
@test "syscalls: requeue" { both syscalls requeue; }
@test "syscalls: mutex of futexes" { both syscalls mutex_of_futexes; }
@test "syscalls: identities" { both syscalls identities; }
@test "syscalls: the word of set_tid_address is cleared" { both syscalls tid_address_is_cleared; }
@test "syscalls: set_tid_address and back" { both syscalls tid_address_and_back; }
@test "syscalls: others pass through" { both syscalls others_pass_through; }

@test "sleep: not earlier" { both sleep not_earlier; }
@test "sleep: whole seconds" { both sleep whole_seconds; }
@test "sleep: refusals" { both sleep refusals; }
@test "sleep: refusals in thread" { both sleep refusals_in_thread; }
@test "sleep: thousand sleepers" { both sleep thousand_sleepers; }
@test "sleep: order of deadlines" { both sleep order_of_deadlines; }
@test "sleep: beside computing" { both sleep beside_computing; }
@test "sleep: little and often" { both sleep little_and_often; }
