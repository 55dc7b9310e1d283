#!/usr/bin/env bats
# tinyproxy: a thread for each connection, poll and recv in each. Its default thread model, in the foreground.

load_lib() { source "$BATS_TEST_DIRNAME/lib.bash"; }
setup() {
  load_lib
  needs tinyproxy
  setup_work
  start_origin
  clients=200; [ -z "${GMP_TEST_FAST:-}" ] || clients=50
}
teardown() { stop_all; }

configure() { # configure PORT
  cat >tinyproxy.conf <<CONF
Port $1
Listen 127.0.0.1
Timeout 60
MaxClients 1000
LogLevel Warning
PidFile "$work/tinyproxy.pid"
Allow 127.0.0.1
DisableViaHeader Yes
CONF
}

# proxy CHECK: starts tinyproxy in every mode and calls CHECK MODE PORT.
proxy() {
  for mode in $(modes); do
    port=$(free_port)
    configure "$port"
    serve "$mode" tinyproxy tinyproxy -d -c "$work/tinyproxy.conf"
    listening "$port"
    loaded_in "$mode" "$server"
    "$@" "$mode" "$port"
    stop_server "$mode"
  done
}

gets() { load "$1" get get --port "$2" --origin "$origin_http" --connections "$clients" --turns 3; }
tunnels() {
  load "$1" connect connect --port "$2" --origin "$origin_echo" --connections "$clients" --turns 3 --watch "$server"
  held_by_few "$1" connect "$clients"
}

@test "tinyproxy: GET through it, 200 at once, byte for byte" { proxy gets; }
@test "tinyproxy: CONNECT tunnels to an echo server, 200 held at once by few kernel threads" { proxy tunnels; }
