#!/usr/bin/env bats
# Everything that belongs to a thread stays its own, whatever kernel thread it comes to run on.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "migrate: errno survives" { both migrate errno_survives; }
@test "migrate: malloc contents" { both migrate malloc_contents; }
@test "migrate: stdio lines" { both migrate stdio_lines; }
@test "migrate: exceptions" { both migrate exceptions; }
@test "migrate: locales" { both migrate locales; }
@test "migrate: resolver" { both migrate resolver; }
@test "migrate: libraries" { both migrate libraries; }
@test "migrate: ends beside dlopen" { both migrate ends_beside_dlopen; }
@test "migrate: backtraces" { both migrate backtraces; }
