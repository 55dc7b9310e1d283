#!/usr/bin/env bats
# Children of threads, and signal handlers.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "process: fork then exit" { both process fork_then_exit; }
@test "process: fork then exec" { both process fork_then_exec; }
@test "process: fork then go on" { both process fork_then_go_on; }
@test "process: atexit in child and parent" { both process atexit_in_child_and_parent; }
@test "process: fork among busy threads" { both process fork_among_busy_threads; }
@test "process: system call" { both process system_call; }
@test "process: popen call" { both process popen_call; }
@test "process: posix spawn call" { both process posix_spawn_call; }
@test "process: vfork then exec" { both process vfork_then_exec; }
@test "process: waiting in threads" { both process waiting_in_threads; }
@test "process: atfork handlers" { both process atfork_handlers; }
@test "process: child makes threads" { both process child_makes_threads; }

@test "atfork_own: child closes what others wait for" { both atfork_own child_closes_what_others_wait_for; }
@test "atfork_own: child makes threads" { both atfork_own child_makes_threads; }

@test "handlers: while threads work" { both handlers while_threads_work; }
@test "handlers: while all are blocked" { both handlers while_all_are_blocked; }
@test "handlers: each waiter is told" { both handlers each_waiter_is_told; }
@test "handlers: each takes its own" { both handlers each_takes_its_own; }
@test "handlers: unhandled in thread" { both handlers unhandled_in_thread; }
@test "handlers: while main joins" { both handlers while_main_joins; }
@test "handlers: raised by itself" { both handlers raised_by_itself; }
@test "handlers: default action kills" { both handlers default_action_kills; }
@test "handlers: handler may exit" { both handlers handler_may_exit; }
@test "handlers: jump out of a fault" { both handlers jump_out_of_a_fault; }
@test "handlers: repaired fault" { both handlers repaired_fault; }
@test "handlers: ignored and blocked" { both handlers ignored_and_blocked; }
@test "handlers: disk calls are not interrupted" { both handlers disk_calls_are_not_interrupted; }
