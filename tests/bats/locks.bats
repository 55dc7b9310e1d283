#!/usr/bin/env bats
# Mutual exclusion: mutexes of every type, shared ones, read-write and spin locks, barriers, once.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "mutex: normal" { both mutex normal; }
@test "mutex: recursive" { both mutex recursive; }
@test "mutex: errorcheck" { both mutex errorcheck; }
@test "mutex: timed" { both mutex timed; }
@test "mutex: timed gets it" { both mutex timed_gets_it; }
@test "mutex: destroy busy" { both mutex destroy_busy; }
@test "mutex: attribute refusals" { both mutex attribute_refusals; }
@test "mutex: normal unlocked by other" { both mutex normal_unlocked_by_other; }
@test "mutex: holder blocks" { both mutex holder_blocks; }
@test "mutex: no starvation" { both mutex no_starvation; }

@test "mutex_stress: normal" { both mutex_stress normal; }
@test "mutex_stress: recursive" { both mutex_stress recursive; }
@test "mutex_stress: errorcheck" { both mutex_stress errorcheck; }
@test "mutex_stress: adaptive" { both mutex_stress adaptive; }
@test "mutex_stress: robust" { both mutex_stress robust; }
@test "mutex_stress: inherit" { both mutex_stress inherit; }
@test "mutex_stress: spin" { both mutex_stress spin; }
@test "mutex_stress: spin holder sleeps" { both mutex_stress spin_holder_sleeps; }

@test "mutex_shared: robust owner dies" { both mutex_shared robust_owner_dies; }
@test "mutex_shared: robust inherit owner dies" { both mutex_shared robust_inherit_owner_dies; }
@test "mutex_shared: robust waiter is told" { both mutex_shared robust_waiter_is_told; }
@test "mutex_shared: robust two locks" { both mutex_shared robust_two_locks; }
@test "mutex_shared: inherit rules" { both mutex_shared inherit_rules; }
@test "mutex_shared: shared counter" { both mutex_shared shared_counter; }
@test "mutex_shared: shared cond" { both mutex_shared shared_cond; }
@test "mutex_shared: shared robust" { both mutex_shared shared_robust; }

@test "rwlock: rules" { both rwlock rules; }
@test "rwlock: refusals" { both rwlock refusals; }
@test "rwlock: readers share" { both rwlock readers_share; }
@test "rwlock: preferred writer keeps readers out" { both rwlock preferred_writer_keeps_readers_out; }
@test "rwlock: stress prefer readers" { both rwlock stress_prefer_readers; }
@test "rwlock: stress prefer writers" { both rwlock stress_prefer_writers; }
@test "rwlock: static initialisers" { both rwlock static_initialisers; }

@test "barrier: one" { both barrier one; }
@test "barrier: two 1000 rounds" { both barrier two_1000_rounds; }
@test "barrier: ten 1000 rounds" { both barrier ten_1000_rounds; }
@test "barrier: two hundred" { both barrier two_hundred; }
@test "barrier: refusals" { both barrier refusals; }
@test "barrier: destroyed at once" { both barrier destroyed_at_once; }

@test "once: blocking routine" { both once blocking_routine; }
@test "once: cancelled routine runs again" { both once cancelled_routine_runs_again; }
@test "once: throwing callable runs again" { both once throwing_callable_runs_again; }
@test "once: static object" { both once static_object; }
@test "once: static object that throws" { both once static_object_that_throws; }
@test "once: nested" { both once nested; }
