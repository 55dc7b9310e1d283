#!/usr/bin/env bats
# What libc does inside itself: stdio, the resolver, malloc's locks, children.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "inside: lines over sockets" { both inside lines_over_sockets; }
@test "inside: print to full pipe" { both inside print_to_full_pipe; }
@test "inside: file lock held over a read" { both inside file_lock_held_over_a_read; }
@test "inside: blocks of output stay whole" { both inside blocks_of_output_stay_whole; }
@test "inside: names from hosts" { both inside names_from_hosts; }
@test "inside: names from a server" { both inside names_from_a_server; }
@test "inside: shells" { both inside shells; }
@test "inside: spawned child closes what others read" { both inside spawned_child_closes_what_others_read; }
@test "inside: malloc from many threads" { both inside malloc_from_many_threads; }
@test "inside: numbers closed by stdio" { both inside numbers_closed_by_stdio; }

@test "inside: the same without detours" {
  need_library
  export GMP_DEBUG=detours=0
  both inside
}
