#!/usr/bin/env bats
# Threads themselves: creation, joining, attributes, identity, unwinding, cancellation, the end of a process.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "thread: return values" { both thread return_values; }
@test "thread: self and equal" { both thread self_and_equal; }
@test "thread: detach" { both thread detach; }
@test "thread: join of detached" { both thread join_of_detached; }
@test "thread: try timed clock join" { both thread try_timed_clock_join; }
@test "thread: join self" { both thread join_self; }
@test "thread: tree of threads" { both thread tree_of_threads; }
@test "thread: chain of threads" { both thread chain_of_threads; }
@test "thread: many in a row" { both thread many_in_a_row; }
@test "thread: many at once" { both thread many_at_once; }
@test "thread: many creators" { both thread many_creators; }
@test "thread: names" { both thread names; }
@test "thread: stack bounds" { both thread stack_bounds; }
@test "thread: getattr of other" { both thread getattr_of_other; }
@test "thread: thread ids" { both thread thread_ids; }
@test "thread: yield" { both thread yield; }
@test "thread: yield lets others run" { both thread yield_lets_others_run; }
@test "thread: allocators cache goes back" { both thread allocators_cache_goes_back; }

@test "thread_attr: stack size" { both thread_attr stack_size; }
@test "thread_attr: the low end of a stack is a page" { both thread_attr low_end_is_a_page; }
@test "thread_attr: a stack beyond all addresses" { both thread_attr stack_beyond_all_addresses; }
@test "thread_attr: own stack" { both thread_attr own_stack; }
@test "thread_attr: guard stops overflow" { both thread_attr guard_stops_overflow; }
@test "thread_attr: guard size" { both thread_attr guard_size; }
@test "thread_attr: detached" { both thread_attr detached; }
@test "thread_attr: refusals" { both thread_attr refusals; }
@test "thread_attr: mask inherited" { both thread_attr mask_inherited; }
@test "thread_attr: mask of each thread" { both thread_attr mask_of_each_thread; }
@test "thread_attr: mask by attribute" { both thread_attr mask_by_attribute; }
@test "thread_attr: default attributes" { both thread_attr default_attributes; }
@test "thread_attr: affinity" { both thread_attr affinity; }
@test "thread_attr: scheduling" { both thread_attr scheduling; }

@test "unwind: exit runs handlers in order" { both unwind exit_runs_handlers_in_order; }
@test "unwind: pop runs or drops" { both unwind pop_runs_or_drops; }
@test "unwind: no handler left over" { both unwind no_handler_left_over; }
@test "unwind: handler may block" { both unwind handler_may_block; }
@test "unwind: handlers before keys" { both unwind handlers_before_keys; }
@test "unwind: exit after longjmp" { both unwind exit_after_longjmp; }
@test "unwind: exit thousands" { both unwind exit_thousands; }

@test "unwind_fexceptions: exit runs handlers in order" { both unwind_fexceptions exit_runs_handlers_in_order; }
@test "unwind_fexceptions: pop runs or drops" { both unwind_fexceptions pop_runs_or_drops; }
@test "unwind_fexceptions: no handler left over" { both unwind_fexceptions no_handler_left_over; }
@test "unwind_fexceptions: handler may block" { both unwind_fexceptions handler_may_block; }
@test "unwind_fexceptions: handlers before keys" { both unwind_fexceptions handlers_before_keys; }
@test "unwind_fexceptions: exit after longjmp" { both unwind_fexceptions exit_after_longjmp; }
@test "unwind_fexceptions: exit thousands" { both unwind_fexceptions exit_thousands; }

@test "unwind_cxx: exit runs destructors" { both unwind_cxx exit_runs_destructors; }
@test "unwind_cxx: forced unwind is caught and rethrown" { both unwind_cxx forced_unwind_is_caught_and_rethrown; }
@test "unwind_cxx: catch all and rethrow" { both unwind_cxx catch_all_and_rethrow; }
@test "unwind_cxx: swallowed unwind aborts" { both unwind_cxx swallowed_unwind_aborts; }
@test "unwind_cxx: uncaught exception aborts" { both unwind_cxx uncaught_exception_aborts; }
@test "unwind_cxx: exit inside catch" { both unwind_cxx exit_inside_catch; }
@test "unwind_cxx: destructor may block" { both unwind_cxx destructor_may_block; }
@test "unwind_cxx: cancel runs destructors" { both unwind_cxx cancel_runs_destructors; }
@test "unwind_cxx: exceptions of many threads" { both unwind_cxx exceptions_of_many_threads; }

@test "cancel: semaphores" { both cancel semaphores; }
@test "cancel: pipes" { both cancel pipes; }
@test "cancel: sockets" { both cancel sockets; }
@test "cancel: accepting" { both cancel accepting; }
@test "cancel: sleeps" { both cancel sleeps; }
@test "cancel: polling" { both cancel polling; }
@test "cancel: epoll waiting" { both cancel epoll_waiting; }
@test "cancel: joining" { both cancel joining; }
@test "cancel: conditions" { both cancel conditions; }
@test "cancel: signal is not lost" { both cancel signal_is_not_lost; }
@test "cancel: testcancel" { both cancel testcancel; }
@test "cancel: disabled state delays" { both cancel disabled_state_delays; }
@test "cancel: type is deferred" { both cancel type_is_deferred; }
@test "cancel: itself" { both cancel itself; }
@test "cancel: request without a point" { both cancel request_without_a_point; }
@test "cancel: finished thread" { both cancel finished_thread; }
@test "cancel: locks are no points" { both cancel locks_are_no_points; }
@test "cancel: handed off open" { both cancel handed_off_open; }
@test "cancel: handed off waitpid" { both cancel handed_off_waitpid; }
@test "cancel: handed off queues" { both cancel handed_off_queues; }
@test "cancel: handed off pause" { both cancel handed_off_pause; }
@test "cancel: handed off sigwait" { both cancel handed_off_sigwait; }
@test "cancel: handed off range lock" { both cancel handed_off_range_lock; }

@test "thread_end: return from main" { expect=5 both thread_end return_from_main; }
@test "thread_end: exit from thread" { expect=7 both thread_end exit_from_thread; }
@test "thread_end: exit from thread main blocked in read" { both thread_end exit_from_thread_main_blocked_in_read; }
@test "thread_end: underscore exit from thread" { expect=9 both thread_end underscore_exit_from_thread; }
@test "thread_end: quick exit from thread" { expect=11 both thread_end quick_exit_from_thread; }
@test "thread_end: abort from thread" { expect=134 both thread_end abort_from_thread; }
@test "thread_end: main calls pthread exit" { both thread_end main_calls_pthread_exit; }
@test "thread_end: main is joined" { expect=13 both thread_end main_is_joined; }
@test "thread_end: exit after main left" { expect=17 both thread_end exit_after_main_left; }
@test "thread_end: no thread pthread exit" { both thread_end no_thread_pthread_exit; }
