#!/usr/bin/env bats
# Python's ThreadingHTTPServer and 64 urllib clients, each in a thread of one process.

setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  setup_work
}
teardown() { stop_all; }

@test "python3: ThreadingHTTPServer and 64 urllib clients in threads" {
  same_as_native http env -u http_proxy -u HTTP_PROXY "$python" "$apps/http_threads.py"
  for mode in $(modes); do
    mv "http.$mode.err" "http.$mode.client"
    log=$work/http.$mode.client held_by_few "$mode" http 64
  done
}
