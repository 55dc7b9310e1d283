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
