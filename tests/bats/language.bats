#!/usr/bin/env bats
# What languages build on threads: keys, thread_local, C11's threads.h, the C++ library.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "keys: destructor runs once a thread" { both keys destructor_runs_once_a_thread; }
@test "keys: rounds are limited" { both keys rounds_are_limited; }
@test "keys: destructor sets another key" { both keys destructor_sets_another_key; }
@test "keys: limit and refusals" { both keys limit_and_refusals; }
@test "keys: deleted key is forgotten" { both keys deleted_key_is_forgotten; }
@test "keys: many keys in many threads" { both keys many_keys_in_many_threads; }
@test "keys: destructor may block" { both keys destructor_may_block; }
@test "keys: main has its own" { both keys main_has_its_own; }

@test "tls: built and destroyed once a thread" { both tls built_and_destroyed_once_a_thread; }
@test "tls: destroyed after pthread exit" { both tls destroyed_after_pthread_exit; }
@test "tls: order with keys" { both tls order_with_keys; }
@test "tls: registered by hand" { both tls registered_by_hand; }
@test "tls: destructor may block" { both tls destructor_may_block; }
@test "tls: built during destruction" { both tls built_during_destruction; }
@test "tls: image is fresh" { both tls image_is_fresh; }

@test "c11: threads" { both c11 threads; }
@test "c11: mutexes" { both c11 mutexes; }
@test "c11: conditions" { both c11 conditions; }
@test "c11: signals" { both c11 signals; }
@test "c11: specific" { both c11 specific; }
@test "c11: once only" { both c11 once_only; }
@test "c11: sleeping" { both c11 sleeping; }

@test "stdcpp: mutexes" { both stdcpp mutexes; }
@test "stdcpp: timed mutex times out" { both stdcpp timed_mutex_times_out; }
@test "stdcpp: shared mutex" { both stdcpp shared_mutex; }
@test "stdcpp: condition variable" { both stdcpp condition_variable; }
@test "stdcpp: condition variable any" { both stdcpp condition_variable_any; }
@test "stdcpp: counting semaphore" { both stdcpp counting_semaphore; }
@test "stdcpp: latch and barrier" { both stdcpp latch_and_barrier; }
@test "stdcpp: atomic wait" { both stdcpp atomic_wait; }
@test "stdcpp: futures" { both stdcpp futures; }
@test "stdcpp: stop tokens" { both stdcpp stop_tokens; }
@test "stdcpp: thread itself" { both stdcpp thread_itself; }
@test "stdcpp: shared ptr counts" { both stdcpp shared_ptr_counts; }

# sanitized CASE: where its compiler and this system have the sanitizer
sanitized() {
  [ "$("$programs/sanitized" --list 2>/dev/null | wc -l)" = 3 ] || skip "no thread sanitizer here"
  both sanitized "$1"
}
@test "sanitized: waits for a condition" { sanitized waits_for_a_condition; }
@test "sanitized: waits for a condition and the clock" { sanitized waits_for_a_condition_and_the_clock; }
@test "sanitized: other locks" { sanitized other_locks; }
@test "valgrind has no more to say than natively" {
  command -v valgrind >/dev/null || skip "no valgrind here"
  need_library
  natively valgrind -q --error-exitcode=9 "$programs/stdcpp" futures
  preloaded 2 valgrind -q --error-exitcode=9 "$programs/stdcpp" futures
}
