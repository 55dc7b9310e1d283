#!/usr/bin/env bats
# Calls that only these programs make: announced ones, and every name that libgmp.so exports for an old or a fortified program.
# One line for each case of the programs named; commands.bats sees to it that none is forgotten.
load common

setup() { need_build; }

@test "calls_hosts: hosts" { both calls_hosts hosts; }
@test "calls_hosts: nets" { both calls_hosts nets; }
@test "calls_hosts: protocols" { both calls_hosts protocols; }
@test "calls_hosts: services" { both calls_hosts services; }
@test "calls_hosts: rpc numbers" { both calls_hosts rpc_numbers; }
@test "calls_hosts: ethers and aliases" { both calls_hosts ethers_and_aliases; }
@test "calls_hosts: addresses" { both calls_hosts addresses; }
@test "calls_hosts: asynchronous addresses" { both calls_hosts asynchronous_addresses; }

@test "calls_users: users" { both calls_users users; }
@test "calls_users: groups" { both calls_users groups; }
@test "calls_users: initial groups" { both calls_users initial_groups; }
@test "calls_users: secrets" { both calls_users secrets; }
@test "calls_users: net groups" { both calls_users net_groups; }
@test "calls_users: password lock" { both calls_users password_lock; }

@test "calls_login: entries" { both calls_login entries; }
@test "calls_login: log in and out" { both calls_login log_in_and_out; }
@test "calls_login: own name" { both calls_login own_name; }
@test "calls_login: locked file" { both calls_login locked_file; }

@test "calls_resolver: every call" { both calls_resolver every_call; }
@test "calls_resolver: res query waits" { both calls_resolver res_query_waits; }
@test "calls_resolver: gethostbyname waits" { both calls_resolver gethostbyname_waits; }

@test "calls_files: names" { both calls_files names; }
@test "calls_files: directories" { both calls_files directories; }
@test "calls_files: space" { both calls_files space; }
@test "calls_files: opens" { both calls_files opens; }
@test "calls_files: by handle" { both calls_files by_handle; }
@test "calls_files: vectors" { both calls_files vectors; }
@test "calls_files: refused" { both calls_files refused; }
@test "calls_files: lockf waits" { both calls_files lockf_waits; }

@test "calls_io: underscored" { both calls_io underscored; }
@test "calls_io: private recv waits" { both calls_io private_recv_waits; }
@test "calls_io: pipes in the kernel" { both calls_io pipes_in_the_kernel; }
@test "calls_io: memory of processes" { both calls_io memory_of_processes; }
@test "calls_io: locked pages" { both calls_io locked_pages; }
@test "calls_io: random bytes" { both calls_io random_bytes; }
@test "calls_io: terminals" { both calls_io terminals; }
@test "calls_io: own terminal" { both calls_io own_terminal; }
@test "calls_io: system log" { both calls_io system_log; }
@test "calls_io: closing many" { both calls_io closing_many; }

@test "calls_async: suspended" { both calls_async suspended; }
@test "calls_async: listed" { both calls_async listed; }
@test "calls_async: listed with notice" { both calls_async listed_with_notice; }
@test "calls_async: message notice" { both calls_async message_notice; }

@test "calls_cancel: getaddrinfo" { both calls_cancel getaddrinfo; }
@test "calls_cancel: aio suspend" { both calls_cancel aio_suspend; }
@test "calls_cancel: popen and fgets" { both calls_cancel popen_and_fgets; }
@test "calls_cancel: system call" { both calls_cancel system_call; }
@test "calls_cancel: lockf" { both calls_cancel lockf; }

@test "calls_processes: forks" { both calls_processes forks; }
@test "calls_processes: fork with terminal" { both calls_processes fork_with_terminal; }
@test "calls_processes: daemons" { both calls_processes daemons; }
@test "calls_processes: clones" { both calls_processes clones; }
@test "calls_processes: clone beside others" { both calls_processes clone_beside_others; }
@test "calls_processes: waits" { both calls_processes waits; }
@test "calls_processes: commands" { both calls_processes commands; }

@test "calls_signals: blocking one" { both calls_signals blocking_one; }
@test "calls_signals: blocking many" { both calls_signals blocking_many; }
@test "calls_signals: mask of the thread" { both calls_signals mask_of_the_thread; }
@test "calls_signals: waiting" { both calls_signals waiting; }
@test "calls_signals: setting" { both calls_signals setting; }
@test "calls_signals: sigvec" { both calls_signals sigvec; }
@test "calls_signals: stacks" { both calls_signals stacks; }
@test "calls_signals: to this thread" { both calls_signals to_this_thread; }

@test "calls_threads: older names" { both calls_threads older_names; }
@test "calls_threads: older names contended" { both calls_threads older_names_contended; }
@test "calls_threads: consistent by its older name" { both calls_threads consistent_by_its_older_name; }
@test "calls_threads: ceilings" { both calls_threads ceilings; }
@test "calls_threads: priorities" { both calls_threads priorities; }
@test "calls_threads: processors" { both calls_threads processors; }
