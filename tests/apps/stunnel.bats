#!/usr/bin/env bats
# stunnel: OpenSSL and a thread for each connection, poll in each. Both ends of a tunnel run in the same mode.

setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  needs stunnel openssl
  # A build with the fork or ucontext model would make no threads and pass without testing anything.
  stunnel -version 2>&1 | grep -q 'Threading:PTHREAD' || { echo "this stunnel is not built for pthreads"; return 1; }
  setup_work
  start_origin
  clients=120; [ -z "${GMP_TEST_FAST:-}" ] || clients=40
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 \
    -keyout key.pem -out cert.pem 2>openssl.log
}
teardown() { stop_all; }

configure() { # configure TLS_PORT PLAIN_PORT BACKEND
  local common="foreground = yes
pid =
syslog = no
debug = warning"
  cat >server.conf <<CONF
$common
[tls]
accept = 127.0.0.1:$1
connect = 127.0.0.1:$3
cert = $work/cert.pem
key = $work/key.pem
CONF
  cat >client.conf <<CONF
$common
[plain]
client = yes
accept = 127.0.0.1:$2
connect = 127.0.0.1:$1
CAfile = $work/cert.pem
verifyChain = yes
CONF
}

@test "stunnel: a TLS server before an echo server, 120 TLS clients, byte for byte" {
  for mode in $(modes); do
    tls=$(free_port)
    configure "$tls" 0 "$origin_echo"
    serve "$mode" server stunnel "$work/server.conf"
    listening "$tls"
    loaded_in "$mode" "$server"
    load "$mode" echo echo --port "$tls" --ca "$work/cert.pem" --connections "$clients" --turns 3 --watch "$server"
    # 120 handshakes at once meet in malloc's locks and in the kernel's lock of the address space. Whoever sleeps there holds a kernel
    # thread, and the others get another: the more Ps there are for a processor, the more (5 at 2 Ps, 20 to 50 at 8, on two cores).
    held_by_few "$mode" echo "$clients" $((clients / 2))
    stop_server "$mode"
  done
}

# through BACKEND LOAD...: a plain client, the client's stunnel, TLS, the server's stunnel, BACKEND.
through() {
  local backend=$1; shift
  for mode in $(modes); do
    tls=$(free_port) plain=$(free_port)
    configure "$tls" "$plain" "$backend"
    serve "$mode" server stunnel "$work/server.conf"
    listening "$tls"
    local far_server=$server far_guard=$guard far_log=$log
    serve "$mode" client stunnel "$work/client.conf"
    listening "$plain"
    loaded_in "$mode" "$far_server"
    loaded_in "$mode" "$server"
    load "$mode" "$1" "$@" --port "$plain" --connections "$clients" --turns 3
    stop_server "$mode"
    server=$far_server guard=$far_guard log=$far_log
    stop_server "$mode"
  done
}

@test "stunnel: both ends of a tunnel, 120 echo connections, byte for byte" { through "$origin_echo" echo; }
@test "stunnel: both ends of a tunnel, 120 HTTP requests at once, byte for byte" { through "$origin_http" get; }
