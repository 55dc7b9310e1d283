#!/usr/bin/env bats
# The letter of the I/O calls: what Linux does natively is the rule, for every kind of descriptor and every way a wait can end.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "io_kinds: blocking read" { both io_kinds blocking_read; }
@test "io_kinds: blocking readv" { both io_kinds blocking_readv; }
@test "io_kinds: nonblocking" { both io_kinds nonblocking; }
@test "io_kinds: poll each" { both io_kinds poll_each; }
@test "io_kinds: select each" { both io_kinds select_each; }
@test "io_kinds: epoll each" { both io_kinds epoll_each; }
@test "io_kinds: duplicate" { both io_kinds duplicate; }
@test "io_kinds: many readers" { both io_kinds many_readers; }
@test "io_kinds: calls that do not fit" { both io_kinds calls_that_do_not_fit; }

@test "io_close: close under read" { both io_close close_under_read; }
@test "io_close: close under readv" { both io_close close_under_readv; }
@test "io_close: close under recv" { both io_close close_under_recv; }
@test "io_close: close under recv all" { both io_close close_under_recv_all; }
@test "io_close: close under recvmsg" { both io_close close_under_recvmsg; }
@test "io_close: close under recvmmsg" { both io_close close_under_recvmmsg; }
@test "io_close: dup2 under read" { both io_close dup2_under_read; }
@test "io_close: dup2 under recvmsg" { both io_close dup2_under_recvmsg; }
@test "io_close: close under write" { both io_close close_under_write; }
@test "io_close: dup2 under write" { both io_close dup2_under_write; }
@test "io_close: close under accept" { both io_close close_under_accept; }
@test "io_close: dup2 under poll" { both io_close dup2_under_poll; }
@test "io_close: close under poll" { both io_close close_under_poll; }
@test "io_close: close under select" { both io_close close_under_select; }
@test "io_close: close under epoll wait" { both io_close close_under_epoll_wait; }
@test "io_close: close of a watched one" { both io_close close_of_a_watched_one; }
@test "io_close: queue closed and reused" { both io_close queue_closed_and_reused; }
@test "io_close: shutdown wakes" { both io_close shutdown_wakes; }
@test "io_close: numbers in motion" { both io_close numbers_in_motion; }
@test "io_close: jump out of a write" { both io_close jump_out_of_a_write; }
@test "io_close: cancelled in a write" { both io_close cancelled_in_a_write; }
@test "io_close: fork in a write" { both io_close fork_in_a_write; }

@test "io_message: waitall and peek" { both io_message waitall_and_peek; }
@test "io_message: low water mark" { both io_message low_water_mark; }
@test "io_message: urgent data" { both io_message urgent_data; }
@test "io_message: empty messages" { both io_message empty_messages; }
@test "io_message: seqpacket and packets" { both io_message seqpacket_and_packets; }
@test "io_message: control data and waitall" { both io_message control_data_and_waitall; }
@test "io_message: not connected" { both io_message not_connected; }
@test "io_message: full receivers" { both io_message full_receivers; }
@test "io_message: batches" { both io_message batches; }

@test "io_wait: odd polls" { both io_wait odd_polls; }
@test "io_wait: events alone" { both io_wait events_alone; }
@test "io_wait: nested instances" { both io_wait nested_instances; }
@test "io_wait: one shot" { both io_wait one_shot; }
@test "io_wait: exclusive" { both io_wait exclusive; }
@test "io_wait: many on one instance" { both io_wait many_on_one_instance; }
@test "io_wait: time outs" { both io_wait time_outs; }
@test "io_wait: high numbers" { both io_wait high_numbers; }
@test "io_wait: fifo without writers" { both io_wait fifo_without_writers; }
@test "io_wait: very many" { both io_wait very_many; }

@test "io_cancel: while blocked" { both io_cancel while_blocked; }
@test "io_cancel: request pending" { both io_cancel request_pending; }
@test "io_cancel: disabled" { both io_cancel disabled; }
@test "io_cancel: request in calls that do not block" { both io_cancel request_in_calls_that_do_not_block; }

@test "io_signal: without restart" { both io_signal without_restart; }
@test "io_signal: with restart" { both io_signal with_restart; }
@test "io_signal: part done" { both io_signal part_done; }
@test "io_signal: masks for the wait" { both io_signal masks_for_the_wait; }
@test "io_signal: blocked for the wait" { both io_signal blocked_for_the_wait; }
@test "io_signal: signalfd of the process" { both io_signal signalfd_of_the_process; }
@test "io_signal: connect interrupted" { both io_signal connect_interrupted; }
@test "io_signal: sigpipe" { both io_signal sigpipe; }

@test "io_shared: passed while blocked" { both io_shared passed_while_blocked; }
@test "io_shared: inherited while blocked" { both io_shared inherited_while_blocked; }
@test "io_shared: changed by a receiver" { both io_shared changed_by_a_receiver; }
@test "io_shared: changed by a child" { both io_shared changed_by_a_child; }
@test "io_shared: writer changed by a child" { both io_shared writer_changed_by_a_child; }
@test "io_shared: changed by raw calls" { both io_shared changed_by_raw_calls; }
@test "io_shared: acceptors in two processes" { both io_shared acceptors_in_two_processes; }

@test "io_large: odd vectors" { both io_large odd_vectors; }
@test "io_large: nonblocking parts" { both io_large nonblocking_parts; }
@test "io_large: more than two gigabytes" { both io_large more_than_two_gigabytes; }
@test "io_large: between descriptors" { both io_large between_descriptors; }
@test "io_large: appends" { both io_large appends; }

@test "io_uring: ring wait" { both io_uring ring_wait; }
@test "io_uring: ring waits to the end" { both io_uring ring_waits_to_the_end; }
@test "io_uring: ring polled" { both io_uring ring_polled; }
@test "io_uring: aio wait" { both io_uring aio_wait; }
@test "io_uring: user faults" { both io_uring user_faults; }
@test "io_uring: pid descriptor" { both io_uring pid_descriptor; }

@test "io_limits: receiving limits" { both io_limits receiving_limits; }
@test "io_limits: sending limits" { both io_limits sending_limits; }
@test "io_limits: flag set under way" { both io_limits flag_set_under_way; }
@test "io_limits: held back" { both io_limits held_back; }
@test "io_limits: control data cut short" { both io_limits control_data_cut_short; }
@test "io_limits: connecting" { both io_limits connecting; }
@test "io_limits: error queue" { both io_limits error_queue; }

@test "io_files: always ready" { both io_files always_ready; }
@test "io_files: terminal modes" { both io_files terminal_modes; }
@test "io_files: terminal hang up" { both io_files terminal_hang_up; }
@test "io_files: rarer families" { both io_files rarer_families; }
