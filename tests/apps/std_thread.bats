#!/usr/bin/env bats
# Thread-per-connection servers on the standard libraries of C++ and Rust, 500 connections held at once.

setup_file() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  built std_cpp "${CXX:-c++}" -std=c++20 -O2 -pthread "$apps/std_server.cpp"
  ! command -v rustc >/dev/null || built std_rust rustc --edition 2021 -O "$apps/std_server.rs"
}
setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  setup_work
  clients=500; [ -z "${GMP_TEST_FAST:-}" ] || clients=100
}
teardown() { stop_all; }

serves() { # serves PROGRAM
  for mode in $(modes); do
    serve "$mode" "$1" "$BATS_FILE_TMPDIR/$1"
    local port=
    for _ in $(seq 100); do port=$(sed -n 's/^listening on //p' "$log"); [ -n "$port" ] && break; sleep 0.05; done
    listening "${port:-0}"
    loaded_in "$mode" "$server"
    load "$mode" lines lines --port "$port" --connections "$clients" --turns 3 --watch "$server"
    held_by_few "$mode" lines "$clients"
    stop_server "$mode"
  done
}

@test "C++ std::thread server: 500 connections, shared_mutex, condition_variable, futures" { serves std_cpp; }
@test "Rust std::thread server: 500 connections, RwLock, channels" {
  [ -x "$BATS_FILE_TMPDIR/std_rust" ] || skip "no rustc on this machine"
  serves std_rust
}
