#!/usr/bin/env bats
# Children of a process full of threads.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "children: vfork shares memory" { both children vfork_shares_memory; }
@test "children: vfork child arranges things" { both children vfork_child_arranges_things; }
@test "children: others go on during vfork" { both children others_go_on_during_vfork; }
@test "children: spawned with pidfd" { both children spawned_with_pidfd; }
@test "children: spawned by many at once" { both children spawned_by_many_at_once; }
@test "children: child of a thread makes threads" { both children child_of_a_thread_makes_threads; }
@test "children: fork in a handler" { both children fork_in_a_handler; }
@test "children: exec from a thread" { both children exec_from_a_thread; }
@test "children: exit among others" { expect=19 both children exit_among_others; }
@test "children: underscore exit among others" { expect=19 both children underscore_exit_among_others; }
@test "children: quick exit among others" { expect=19 both children quick_exit_among_others; }
@test "children: main leaves the others" { both children main_leaves_the_others; }
@test "children: daemon makes threads" { both children daemon_makes_threads; }
