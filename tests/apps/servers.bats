#!/usr/bin/env bats
# Programs of tests/apps/table under its loads, but for half a second: a wrong answer, a crash, a hang or a stop that is none makes
# it fail; its figures decide nothing. What takes long to install or to start (mariadb, a JVM) is in the table alone.

setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  require_library
}

row() { # row REGEX: one row of the table, natively and preloaded
  local p args=(--rounds 1 --seconds 0.5 --filter "$1")
  [ -n "$GMP_TEST_MAXPROCS" ] && [ -n "$GMP_LIB" ] || { "$apps/table" "${args[@]}" --native; return; }
  for p in $GMP_TEST_MAXPROCS; do
    TMPDIR=$BATS_TEST_TMPDIR "$apps/table" "${args[@]}" --build "$(dirname "$GMP_LIB")" --maxprocs "$p"
  done
}

@test "privoxy: CONNECT tunnels, 500 held at once" { row '^privoxy: CONNECT'; }
@test "privoxy: GET, 100 clients" { row '^privoxy: GET'; }
@test "perl: a thread for each of 50 connections" { row '^perl: thread-per'; }
@test "perl: workers between two Thread::Queues" { row '^perl: Thread::Queue'; }
@test "ruby: a Thread for each of 100 connections" { row '^ruby: .* 100$'; }
@test "iperf 2: 64 streams, as many bytes received as sent" { row '^iperf'; }
@test "siege: 200 users, a connection each" { row '^siege: .* each$'; }
@test "redis-server: SET and GET, 50 clients" { row '^redis: SET'; }
@test "memcached -t 4: 64 clients, every value verified" { row '^memcached'; }
@test "rsyslogd: every line of 200 connections in its file" { row '^rsyslogd'; }
