#!/usr/bin/env bats
# A thread blocked in the kernel leaves the others running, with one processor too.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "handoff: raw read" { both handoff raw_read; }
@test "handoff: many raw reads" { both handoff many_raw_reads; }
@test "handoff: raw poll" { both handoff raw_poll; }
@test "handoff: file reads" { both handoff file_reads; }
@test "handoff: file locks" { both handoff file_locks; }
@test "handoff: getaddrinfo" { both handoff getaddrinfo; }
@test "handoff: waitpid" { both handoff waitpid; }
@test "handoff: message queue" { both handoff message_queue; }
@test "handoff: semaphore set" { both handoff semaphore_set; }
@test "handoff: posix message queue" { both handoff posix_message_queue; }
@test "handoff: sigwait" { both handoff sigwait; }
@test "handoff: shared futex" { both handoff shared_futex; }
@test "handoff: terminal" { both handoff terminal; }
@test "handoff: inotify" { both handoff inotify; }
