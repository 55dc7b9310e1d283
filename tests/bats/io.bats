#!/usr/bin/env bats
# Input and output: streams, sockets, descriptors, polling, fortified names.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "io_stream: socketpair echo" { both io_stream socketpair_echo; }
@test "io_stream: tcp echo" { both io_stream tcp_echo; }
@test "io_stream: big through pipe" { both io_stream big_through_pipe; }
@test "io_stream: big through tcp" { both io_stream big_through_tcp; }
@test "io_stream: big through unix" { both io_stream big_through_unix; }
@test "io_stream: waitall gets all" { both io_stream waitall_gets_all; }
@test "io_stream: peek and dontwait" { both io_stream peek_and_dontwait; }
@test "io_stream: peek blocks" { both io_stream peek_blocks; }
@test "io_stream: broken pipe" { both io_stream broken_pipe; }
@test "io_stream: reader goes while writer blocks" { both io_stream reader_goes_while_writer_blocks; }
@test "io_stream: writer goes while reader blocks" { both io_stream writer_goes_while_reader_blocks; }
@test "io_stream: bad arguments" { both io_stream bad_arguments; }
@test "io_stream: regular file" { both io_stream regular_file; }
@test "io_stream: stdio on a pipe" { both io_stream stdio_on_a_pipe; }

@test "io_socket: many acceptors" { both io_socket many_acceptors; }
@test "io_socket: burst wakes two acceptors" { both io_socket burst_wakes_two_acceptors; }
@test "io_socket: burst wakes two readers" { both io_socket burst_wakes_two_readers; }
@test "io_socket: udp" { both io_socket udp; }
@test "io_socket: connect refused" { both io_socket connect_refused; }
@test "io_socket: connect in progress" { both io_socket connect_in_progress; }
@test "io_socket: connect blocks while backlog is full" { both io_socket connect_blocks_while_backlog_is_full; }
@test "io_socket: accept flags" { both io_socket accept_flags; }
@test "io_socket: time limits" { both io_socket time_limits; }
@test "io_socket: descriptor in a message" { both io_socket descriptor_in_a_message; }
@test "io_socket: message vectors" { both io_socket message_vectors; }
@test "io_socket: shutdown wakes receiver" { both io_socket shutdown_wakes_receiver; }

@test "io_fd: number reused at once" { both io_fd number_reused_at_once; }
@test "io_fd: lowest free number beside threads that compute" { both io_fd lowest_free_number_beside_threads_that_compute; }
@test "io_fd: number reused after other closers" { both io_fd number_reused_after_other_closers; }
@test "io_fd: dup shares the file" { both io_fd dup_shares_the_file; }
@test "io_fd: non blocking" { both io_fd non_blocking; }
@test "io_fd: blocking stays blocking" { both io_fd blocking_stays_blocking; }
@test "io_fd: close under blocked reader" { both io_fd close_under_blocked_reader; }
@test "io_fd: dup2 over one in use" { both io_fd dup2_over_one_in_use; }
@test "io_fd: many readers of one pipe" { both io_fd many_readers_of_one_pipe; }
@test "io_fd: many writers to one pipe" { both io_fd many_writers_to_one_pipe; }
@test "io_fd: fifo" { both io_fd fifo; }
@test "io_fd: eventfds" { both io_fd eventfds; }
@test "io_fd: eventfd full" { both io_fd eventfd_full; }
@test "io_fd: timerfds" { both io_fd timerfds; }

@test "io_poll: poll time out" { both io_poll poll_time_out; }
@test "io_poll: poll mix" { both io_poll poll_mix; }
@test "io_poll: poll blocks until written" { both io_poll poll_blocks_until_written; }
@test "io_poll: many poll the same" { both io_poll many_poll_the_same; }
@test "io_poll: poll both directions" { both io_poll poll_both_directions; }
@test "io_poll: select rules" { both io_poll select_rules; }
@test "io_poll: select blocks until written" { both io_poll select_blocks_until_written; }
@test "io_poll: epoll rules" { both io_poll epoll_rules; }
@test "io_poll: epoll one shot by many" { both io_poll epoll_one_shot_by_many; }
@test "io_poll: epoll edge triggered" { both io_poll epoll_edge_triggered; }
@test "io_poll: epoll add while waiting" { both io_poll epoll_add_while_waiting; }
@test "io_poll: busy loop makes room" { both io_poll busy_loop_makes_room; }
@test "io_poll: busy calls and sleepers" { both io_poll busy_calls_and_sleepers; }

@test "io_fortify: read checked" { both io_fortify read_checked; }
@test "io_fortify: recv checked" { both io_fortify recv_checked; }
@test "io_fortify: poll checked" { both io_fortify poll_checked; }
@test "io_fortify: pread checked" { both io_fortify pread_checked; }
@test "io_fortify: fgets checked" { both io_fortify fgets_checked; }
