#!/usr/bin/env bats
# Signals: who runs the handler, what it interrupts, what is pending.
load common
setup() { need_build; }

@test "signals_process: main polls while others work" { both signals_process main_polls_while_others_work; }
@test "signals_process: main polls while others are blocked" { both signals_process main_polls_while_others_are_blocked; }
@test "signals_process: main polls while others come and go" { both signals_process main_polls_while_others_come_and_go; }
@test "signals_process: main takes while others look" { both signals_process main_takes_while_others_look; }
@test "signals_process: comes with the first thread" { both signals_process comes_with_the_first_thread; }
@test "signals_process: only the wait takes it" { both signals_process only_the_wait_takes_it; }

@test "signals_thread: each way to a waiting thread" { both signals_thread each_way_to_a_waiting_thread; }
@test "signals_thread: each way to a busy thread" { both signals_thread each_way_to_a_busy_thread; }
@test "signals_thread: wrong targets" { both signals_thread wrong_targets; }
@test "signals_thread: order in a thread" { both signals_thread order_in_a_thread; }
@test "signals_thread: order in the process" { both signals_thread order_in_the_process; }
@test "signals_thread: queue is bounded" { both signals_thread queue_is_bounded; }
@test "signals_thread: waited for by its thread" { both signals_thread waited_for_by_its_thread; }
@test "signals_thread: all block it" { both signals_thread all_block_it; }
@test "signals_thread: descriptor of a thread" { both signals_thread descriptor_of_a_thread; }
@test "signals_thread: descriptor though others take it" { both signals_thread descriptor_though_others_take_it; }
@test "signals_thread: descriptor reads in order" { both signals_thread descriptor_reads_in_order; }
@test "signals_thread: ignoring forgets" { both signals_thread ignoring_forgets; }

@test "signals_stack: handlers on their stacks" { both signals_stack handlers_on_their_stacks; }
@test "signals_stack: handlers that wait on their stacks" { both signals_stack handlers_that_wait_on_their_stacks; }
@test "signals_stack: main keeps its stack" { both signals_stack main_keeps_its_stack; }
@test "signals_stack: stack overflow is survived" { both signals_stack stack_overflow_is_survived; }
@test "signals_stack: repaired on their stacks" { both signals_stack repaired_on_their_stacks; }
@test "signals_stack: overflow without a stack" { expect=139 both signals_stack overflow_without_a_stack; }
@test "signals_stack: jumps out of waits" { both signals_stack jumps_out_of_waits; }
@test "signals_stack: mask left in the context" { both signals_stack mask_left_in_the_context; }
@test "signals_stack: flags" { both signals_stack flags; }
@test "signals_stack: handler does much" { both signals_stack handler_does_much; }
@test "signals_stack: each way to jump" { both signals_stack each_way_to_jump; }
@test "signals_stack: stack in a child" { both signals_stack stack_in_a_child; }
@test "signals_own: pipe handled where it is due" { both signals_own pipe_handled_where_it_is_due; }
@test "signals_own: pipe blocked and taken" { both signals_own pipe_blocked_and_taken; }
@test "signals_own: pipe blocked and let in" { both signals_own pipe_blocked_and_let_in; }
@test "signals_own: pipe when part is through" { both signals_own pipe_when_part_is_through; }
@test "signals_own: pipe ends the process" { expect=141 both signals_own pipe_ends_the_process; }
@test "signals_own: pipe let in ends the process" { expect=141 both signals_own pipe_let_in_ends_the_process; }
@test "signals_own: file size" { both signals_own file_size; }

@test "signals_timer: for one thread" { both signals_timer for_one_thread; }
@test "signals_timer: for one thread while main blocks" { both signals_timer for_one_thread_while_main_blocks; }
@test "signals_timer: by a thread" { both signals_timer by_a_thread; }
@test "signals_timer: for the process" { both signals_timer for_the_process; }
@test "signals_timer: default actions" { both signals_timer default_actions; }
@test "signals_timer: default action is blocked" { both signals_timer default_action_is_blocked; }
