#!/usr/bin/env bats
# TLS of libraries that come and go; stacks that programs switch themselves.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "tls_modules: tables grow while thousands live" { both tls_modules tables_grow_while_thousands_live; }
@test "tls_modules: static area of thousands" { both tls_modules static_area_of_thousands; }
@test "tls_modules: destructors outlive dlclose" { both tls_modules destructors_outlive_dlclose; }
@test "tls_modules: opened and closed by many" { both tls_modules opened_and_closed_by_many; }

@test "coroutine: contexts in threads" { both coroutine contexts_in_threads; }
@test "coroutine: contexts go from thread to thread" { both coroutine contexts_go_from_thread_to_thread; }
@test "coroutine: boost coroutines" { both coroutine boost_coroutines; }

@test "stacks: six megabytes deep" { both stacks six_megabytes_deep; }
@test "exec_stack: code on the stack" { both exec_stack code_on_the_stack; }
@test "exec_stack: a library makes stacks executable" {
  both exec_stack_late stacks_made_executable;
  both exec_stack_late with_a_handler;
  expect=139 both exec_stack_late still_a_fault
}
@test "stacks: smallest stacks" { both stacks smallest_stacks; }
@test "stacks: overflow handled on an alternate stack" { both stacks overflow_handled_on_an_alternate_stack; }
@test "stacks: overflow kills" { both stacks overflow_kills; }
@test "stacks: ignored fault kills" { both stacks ignored_fault_kills; }
@test "stacks: terminate handler runs in the thread" { expect=9 both stacks terminate_handler_runs_in_the_thread; }

# names_thread CASE PATTERN: one line on standard error
names_thread() {
  local p
  need_library
  for p in "${maxprocs[@]}"; do
    preloaded "$p" "$programs/stacks" "$1" 2>"$BATS_TEST_TMPDIR/err" || [ $? = 139 ]
    cat "$BATS_TEST_TMPDIR/err"
    [ "$(grep -cE "$2" "$BATS_TEST_TMPDIR/err")" = 1 ]
  done
}
@test "stacks: a line names the thread whose stack is used up" {
  expect=139 both stacks overflow;
  names_thread overflow '^gmp: thread [0-9]+ \("deep thought"\) has used up its stack of 256 KB, 0x[0-9a-f]+ to 0x[0-9a-f]+: fault at 0x[0-9a-f]+$'
}
@test "stacks: main's too" {
  expect=139 both stacks overflow_of_main;
  names_thread overflow_of_main '^gmp: thread 1 \("stacks"\) has used up its stack of 1024 KB'
}
@test "stacks: what nobody catches is said as natively" {
  expect=134 both stacks uncaught;
  expect=134 both bash -c "'$programs/stacks' uncaught 2>&1 | grep -v '^gmp: chaos='; exit \${PIPESTATUS[0]}"
}
