#!/usr/bin/env bats
# The gmp command. What it does is the same for any library, so most tests give it a harmless one and let the program
# tell by LD_PRELOAD which side it is on; those that need the real libgmp.so are skipped where it has not been built.

setup_file() {
  bats_require_minimum_version 1.5.0
  local top
  top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
  local build=${GMP_BUILD:-$top/build}
  GMP=$(readlink -f "${GMP_CMD:-$build/gmp}")
  [ -x "$GMP" ] || { echo "no gmp command at ${GMP_CMD:-$build/gmp}" >&2; return 1; }
  REAL_LIB=$build/libgmp.so
  PY=/usr/bin/python3
  [ -x "$PY" ] || PY=$(command -v python3)
  unset GMP_MAXPROCS GMP_STACK GMP_DEBUG GMP_DISABLE LD_PRELOAD

  echo 'int harmless;' >"$BATS_FILE_TMPDIR/harmless.c"
  cc -shared -fPIC -o "$BATS_FILE_TMPDIR/harmless.so" "$BATS_FILE_TMPDIR/harmless.c"
  export GMP REAL_LIB PY GMP_LIB="$BATS_FILE_TMPDIR/harmless.so"

  cat >"$BATS_FILE_TMPDIR/server.py" <<'PYTHON'
# An echo server. What it can do besides, for the tests: listen on a Unix socket, ignore SIGTERM, become a daemon.
import os, signal, socket, sys, threading
where, *manner = sys.argv[1:]
if 'deaf' in manner: signal.signal(signal.SIGTERM, signal.SIG_IGN)
if 'daemon' in manner:
    if os.fork(): os._exit(0)
    os.setsid()
if where.startswith('/'):
    s = socket.socket(socket.AF_UNIX)
    if os.path.exists(where): os.unlink(where)
    s.bind(where)
else:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('127.0.0.1', int(where)))
s.listen(64)
def serve(c):
    while data := c.recv(4096): c.sendall(data)
while True:
    c, _ = s.accept()
    if 'fragile' in manner: os.kill(os.getpid(), signal.SIGABRT)
    threading.Thread(target=serve, args=(c,), daemon=True).start()
PYTHON
  cat >"$BATS_FILE_TMPDIR/client.py" <<'PYTHON'
import os, socket, sys, time
s = socket.socket(socket.AF_UNIX) if len(sys.argv) > 1 else socket.socket()
s.connect(sys.argv[1] if len(sys.argv) > 1 else ('127.0.0.1', int(os.environ['PORT'])))
begin = time.time()
for i in range(200):
    s.sendall(b'ping')
    assert s.recv(4) == b'ping'
print(f'throughput: {200 / (time.time() - begin):.1f} req/s  p50 0.1 ms  requests 200')
PYTHON
}

setup() {
  cd "$BATS_TEST_TMPDIR"
  SERVER=$BATS_FILE_TMPDIR/server.py
  CLIENT=$BATS_FILE_TMPDIR/client.py
  # A number that only this test's sleepers have on their command line, to see whether any was left.
  MARK=9$(printf '%03d' "$BATS_TEST_NUMBER").$BASHPID
}

field() { "$PY" -c 'import json, sys; print(eval("j" + sys.argv[1], {"j": json.load(sys.stdin)}))' "$1"; }

none_left() { ! pgrep -f "sleep $1" >/dev/null; }

# Not time but the event decides; the bound only ends a test that has failed.
eventually() {
  local i
  for ((i = 0; i < 1000; i++)); do
    "$@" && return
    sleep 0.02
  done
  echo "never came true: $*" >&2
  return 1
}

# One clear line on stderr, nothing on stdout, the given status.
refused() {
  local status_wanted=$1
  shift
  run -"$status_wanted" --separate-stderr "$GMP" "$@"
  [ -z "$output" ]
  [ "${#stderr_lines[@]}" -eq 1 ]
  [[ $stderr == gmp:\ * ]]
}

@test "help and version, each command's with an example" {
  run -0 "$GMP" --version
  [[ $output =~ ^gmp\ [0-9]+\.[0-9]+ ]]
  run -0 "$GMP" --help
  [[ $output == *run* && $output == *compare* && $output == *env* && $output == *Example* ]]
  for command in run compare env; do
    run -0 "$GMP" "$command" --help
    [[ $output == *Example*gmp\ $command* ]]
  done
}

@test "bad arguments get one line and status 2" {
  refused 2
  refused 2 frobnicate
  for command in run compare; do
    refused 2 "$command"
    refused 2 "$command" --
    refused 2 "$command" --no-such-option -- true
    for bad in 0 -1 x 1.5 "" 99999999999999999999; do refused 2 "$command" "--maxprocs=${bad:-none}" -- true; done
    for bad in 3x 1k 0 -4096 x 99999G 20000000000000000000; do refused 2 "$command" "--stack=$bad" -- true; done
    for bad in schedtrace =1 a=1, ,; do refused 2 "$command" "--debug=$bad" -- true; done
  done
  for bad in "-n 0" "-n x" "--timeout 0" "--timeout x" "--cpus x" "--cpus 1-0" "--cpus 0," "--stdin /no/such/file" \
    "--port 80" "--port 70000 --load true" "--same-output" "--client-cpus 0" \
    "--load true --same-output --ignore-output"; do
    # shellcheck disable=SC2086
    refused 2 compare $bad -- true
  done
}

@test "run and compare tell a missing command (127) from one that can't be executed (126)" {
  for command in run compare; do
    refused 127 "$command" -- /no/such/command
    refused 127 "$command" -- no-such-command
    refused 126 "$command" -- /etc/passwd
  done
}

@test "run sets the library and the settings, and nothing that was not given" {
  run -0 "$GMP" run --maxprocs 3 --stack 64K --debug schedtrace=1000,scheddetail=1 -- env
  [[ $'\n'$output$'\n' == *$'\n'"LD_PRELOAD=$GMP_LIB"$'\n'* ]]
  [[ $output == *GMP_MAXPROCS=3* && $output == *GMP_STACK=65536* && $output == *GMP_DEBUG=schedtrace=1000,scheddetail=1* ]]
  run -0 "$GMP" run -- env
  [[ $output != *GMP_MAXPROCS* && $output != *GMP_STACK* && $output != *GMP_DEBUG* ]]
}

@test "run puts the library before other preloads, and itself only once" {
  ln "$GMP_LIB" other.so
  mkdir old
  ln "$GMP_LIB" old/libgmp.so
  LD_PRELOAD="$PWD/old/libgmp.so:$PWD/other.so" run -0 "$GMP" run -- printenv LD_PRELOAD
  [ "$output" = "$GMP_LIB:$PWD/other.so" ]
}

@test "run is the command: its options, its input, its exit status, its signal" {
  run -0 "$GMP" run echo --maxprocs 0 -- -n
  [ "$output" = "--maxprocs 0 -- -n" ]
  run -0 bash -c 'echo from stdin | "$GMP" run -- cat'
  [ "$output" = "from stdin" ]
  run -7 "$GMP" run -- sh -c 'exit 7'
  run -143 bash -c '"$GMP" run -- sh -c "kill -TERM \$\$"'
}

@test "the library: --lib, then GMP_LIB, then beside gmp, then ../lib/gmp" {
  mkdir -p tree/bin tree/lib/gmp
  cp "$GMP" tree/bin/gmp
  unset_run() { env -u GMP_LIB "$@"; }
  run -127 unset_run tree/bin/gmp run -- true
  [[ $output == *libgmp.so* ]]
  cp "$GMP_LIB" tree/lib/gmp/libgmp.so
  run -0 unset_run tree/bin/gmp run -- printenv LD_PRELOAD
  [ "$output" = "$PWD/tree/lib/gmp/libgmp.so" ]
  cp "$GMP_LIB" tree/bin/libgmp.so
  run -0 unset_run tree/bin/gmp run -- printenv LD_PRELOAD
  [ "$output" = "$PWD/tree/bin/libgmp.so" ]
  run -0 tree/bin/gmp run -- printenv LD_PRELOAD
  [ "$output" = "$GMP_LIB" ]
  cp "$GMP_LIB" named.so
  run -0 tree/bin/gmp run --lib named.so -- printenv LD_PRELOAD
  [ "$output" = "$PWD/named.so" ]
}

@test "a library that ld.so would ignore is refused, not compared" {
  refused 127 compare --lib /no/such/library.so -- true
  echo "not a library" >text.so
  refused 126 compare --lib text.so -- true
  cp "$GMP_LIB" "a blank.so"
  refused 2 compare --lib "a blank.so" -- true
}

@test "compare: the same output and status give 0 and a table" {
  run -0 "$GMP" compare -n 2 -- sh -c 'echo hello; exit 3'
  for row in "wall time" "user time" "system time" "peak RSS" "peak kernel threads" "voluntary switches" \
    "involuntary switches" "exit status +3 +3 +same" "standard output +6 B +6 B +same"; do
    [[ $output =~ $row ]]
  done
}

@test "compare: different output gives 1 and the first line that differs" {
  run -1 "$GMP" compare -n 1 -- sh -c 'echo one; echo two; echo "side ${LD_PRELOAD:-none}"; echo four'
  [[ $output =~ standard\ output.*DIFFERS ]]
  [[ $output =~ "line 3:" ]]
  [[ $output =~ native\ +side\ none ]]
  [[ $output =~ preloaded\ +side\ /.*harmless ]]
  # One side's being the beginning of the other's is a difference, too.
  run -1 "$GMP" compare -n 1 -- sh -c 'echo one; [ "$LD_PRELOAD" ] || echo two'
  [[ $output =~ "line 2:" && $output =~ "(ends here)" ]]
  run -0 "$GMP" compare -n 1 --ignore-output -- sh -c 'echo "$LD_PRELOAD"'
  [[ $output != *"standard output"* ]]
}

@test "compare: a program that does not agree with itself is told from one that the library changes" {
  run -1 "$GMP" compare -n 2 -- cat /proc/sys/kernel/random/uuid
  [[ $output == *"native runs' outputs differ among themselves"* ]]
}

@test "compare: a different exit status or signal gives 1" {
  run -1 "$GMP" compare -n 1 -- sh -c '[ -z "$LD_PRELOAD" ]'
  [[ $output =~ exit\ status\ +0\ +1\ +DIFFERS ]]
  run -1 "$GMP" compare -n 1 -- sh -c '[ -z "$LD_PRELOAD" ] || kill -SEGV $$'
  [[ $output =~ exit\ status\ +0\ +SIGSEGV\ +DIFFERS ]]
}

@test "compare --json: one valid object with every run and the medians, nothing else" {
  "$GMP" compare -n 3 --json --maxprocs 2 -- sh -c 'printf "\377 not UTF-8\n"; sleep 0.02' >out.json
  "$PY" -m json.tool <out.json >/dev/null
  [ "$(field '["agree"]' <out.json)" = True ]
  [ "$(field '["settings"]["maxprocs"]' <out.json)" = 2 ]
  [ "$(field '["command"][0]' <out.json)" = sh ]
  for side in native preloaded; do
    [ "$(field "['$side']['runs'].__len__()" <out.json)" = 3 ]
    [ "$(field "['$side']['runs'][2]['status']['exit']" <out.json)" = 0 ]
    [ "$(field "['$side']['runs'][0]['stdout_bytes']" <out.json)" = 12 ]
    [ "$(field "['$side']['median']['wall_s'] == sorted(r['wall_s'] for r in j['$side']['runs'])[1]" <out.json)" = True ]
    [ "$(field "['$side']['median']['wall_s'] >= 0.02" <out.json)" = True ]
  done
  run -1 --separate-stderr "$GMP" compare -n 1 --json -- sh -c 'echo "$LD_PRELOAD"; kill -ABRT $$'
  [ "$(field '["same_output"]' <<<"$output")" = False ]
  [ "$(field '["first_difference"]["line"]' <<<"$output")" = 1 ]
  [ "$(field '["native"]["runs"][0]["status"]["signal"]' <<<"$output")" = SIGABRT ]
}

@test "compare --show-output shows each side's output once" {
  run -1 "$GMP" compare -n 2 --show-output -- sh -c 'echo "I am ${LD_PRELOAD:-native}"'
  [ "$(grep -c '^I am native$' <<<"$output")" = 1 ]
  [ "$(grep -c '^I am .*harmless.so$' <<<"$output")" = 1 ]
}

@test "compare: input is /dev/null or --stdin FILE, from its start in every run" {
  run -0 bash -c 'echo unseen | "$GMP" compare -n 1 --show-output -- cat'
  [[ $output != *unseen* ]]
  echo "from the file" >input
  run -0 "$GMP" compare -n 2 --stdin input -- cat
  [[ $output =~ standard\ output\ +14\ B\ +14\ B\ +same ]]
}

@test "compare: kernel threads and memory are those of the program, its children's too" {
  cat >threads.py <<'PYTHON'
import threading, time
block = bytearray(b'x') * 60_000_000
for t in range(20): threading.Thread(target=time.sleep, args=(1,)).start()
PYTHON
  "$GMP" compare -n 1 --json -- sh -c "'$PY' threads.py; exit 0" >out.json
  [ "$(field '["native"]["runs"][0]["peak_kernel_threads"] >= 21' <out.json)" = True ]
  [ "$(field '["native"]["runs"][0]["peak_rss_kb"] >= 60_000' <out.json)" = True ]
  # Nothing of gmp's own memory is counted.
  "$GMP" compare -n 1 --json -- true >out.json
  [ "$(field '["native"]["runs"][0]["peak_rss_kb"] < 3000' <out.json)" = True ]
}

@test "compare --cpus pins the command" {
  run -0 "$GMP" compare -n 1 --cpus 0 --show-output -- sh -c 'grep Cpus_allowed_list /proc/self/status'
  [ "$(grep -cP '^Cpus_allowed_list:\t0$' <<<"$output")" = 2 ]
}

@test "compare --timeout kills the whole tree and says so" {
  run -1 "$GMP" compare --timeout 0.3 -- sh -c "sleep $MARK & setsid sleep $MARK & wait"
  [[ $output == *"native run 1: still running after 0.3 s: killed"* ]]
  [[ $output == *"preloaded run 1"* ]]
  none_left "$MARK"
}

@test "compare: what a run leaves behind is killed and told" {
  run -0 "$GMP" compare -n 1 -- sh -c "setsid sleep $MARK </dev/null >/dev/null 2>&1 & echo started"
  [[ $output == *"left 1 process behind"* ]]
  none_left "$MARK"
}

@test "compare: output written after the command's own end still counts" {
  run -0 "$GMP" compare -n 1 --show-output -- bash -c 'echo late > >(sleep 0.2; cat)'
  [ "$(grep -c '^late$' <<<"$output")" = 2 ]
}

@test "compare: Ctrl-C, SIGTERM and even SIGKILL take the children along; no temporary file is ever left" {
  mkdir tmp
  for signal in INT TERM KILL; do
    TMPDIR=$PWD/tmp env --default-signal=INT "$GMP" compare -- sleep "$MARK" >out 2>&1 3>&- &
    local gmp=$!
    eventually pgrep -f "sleep $MARK" -P "$gmp" >/dev/null
    [ -z "$(ls -A tmp)" ]
    kill -"$signal" "$gmp"
    run wait "$gmp"
    eventually none_left "$MARK"
    [ -z "$(ls -A tmp)" ]
    run ! kill -0 "$gmp"
    [ ! -s out ]
  done
  run -130 bash -c 'env --default-signal=INT "$GMP" compare -- sh -c "kill -INT \$PPID; sleep '"$MARK"'"'
  none_left "$MARK"
}

@test "compare: a static program is told not to be reachable" {
  echo 'int main(void) { return 0; }' >main.c
  cc -static -o static main.c
  run -0 "$GMP" compare -n 1 -- ./static
  [[ $output == *"statically linked"* ]]
}

@test "compare --load: a server on a port of its own choice" {
  run -0 "$GMP" compare -n 2 --load "'$PY' '$CLIENT'" -- "$PY" "$SERVER" 0
  [[ $output =~ client:\ throughput\ +[0-9,.]+/s\ +[0-9,.]+/s\ +[0-9.]+x ]]
  [[ $output =~ client:\ p50\ +100.0 ]]
  [[ $output =~ "server CPU per request" && $output =~ "peak RSS" ]]
  [[ $output =~ server\'s\ end\ +SIGTERM\ +SIGTERM\ +same ]]
}

@test "compare --load --json has the client's figures and every run" {
  "$GMP" compare -n 2 --json --cpus 0 --load "'$PY' '$CLIENT'" -- "$PY" "$SERVER" "{port}" >out.json
  "$PY" -m json.tool <out.json >/dev/null
  for side in native preloaded; do
    [ "$(field "['$side']['runs'][1]['client']['requests']" <out.json)" = 200.0 ]
    [ "$(field "['$side']['runs'][1]['status']['signal']" <out.json)" = SIGTERM ]
    [ "$(field "['$side']['runs'][1]['cpu_s'] > 0" <out.json)" = True ]
    [ "$(field "['$side']['median']['client.throughput'] > 0" <out.json)" = True ]
    [ "$(field "['$side']['median']['cpu_per_request_s'] > 0" <out.json)" = True ]
  done
}

@test "compare --load: port in braces and PORT, a given port, and one that is taken" {
  run -0 "$GMP" compare -n 1 --load '[ {port} = "$PORT" ] && [ "$PORT" -gt 0 ] && [ -z "$LD_PRELOAD" ]' -- "$PY" "$SERVER" "{port}"
  local port
  port=$("$PY" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  run -0 "$GMP" compare -n 1 --port "$port" --load "[ {port} = $port ] && '$PY' '$CLIENT'" -- "$PY" "$SERVER" "$port"
  "$PY" "$SERVER" 0 3>&- &
  local other=$! taken
  listening_port() { taken=$(ss -Hltnp 2>/dev/null | grep "pid=$other," | grep -oP '127\.0\.0\.1:\K[0-9]+' | head -1); [ "$taken" ]; }
  command -v ss >/dev/null && eventually listening_port
  if [ -n "$taken" ]; then run -1 "$GMP" compare -n 1 --port "$taken" --load true -- "$PY" "$SERVER" "$taken"; fi
  kill "$other"
  [ -z "$taken" ] || [[ $output == *"port $taken is already in use"* ]]
}

@test "compare --load: a Unix socket, also when an earlier one's file is still there" {
  for round in 1 2; do
    run -0 "$GMP" compare -n 2 --wait-for "$PWD/socket" --load "[ \"\$SOCKET\" = '$PWD/socket' ] && '$PY' '$CLIENT' {socket}" \
      -- "$PY" "$SERVER" "$PWD/socket"
    [[ $output =~ "client: throughput" ]]
    [ -S socket ]
  done
}

@test "compare --load: a daemon that leaves its starter and its session" {
  run -0 "$GMP" compare -n 1 --load "'$PY' '$CLIENT'" -- "$PY" "$SERVER" 0 daemon
  [[ $output =~ server\'s\ end\ +SIGTERM\ +SIGTERM ]]
  run ! pgrep -f "$SERVER"
}

@test "compare --load: the client's failure is a failure, and its output is shown" {
  run -1 "$GMP" compare -n 2 --load 'echo cannot connect; exit 9' -- "$PY" "$SERVER" 0
  [[ $output == *"the client ended with exit status 9"* && $output == *"cannot connect"* ]]
  run ! pgrep -f "$SERVER"
}

@test "compare --load: a server that dies before it listens, or under load, is told with its status" {
  run -1 "$GMP" compare -n 1 --load true -- sh -c 'exit 5'
  [[ $output == *"ended before it listened (exit status 5)"* ]]
  run -1 "$GMP" compare -n 1 --load "'$PY' '$CLIENT' 2>/dev/null || sleep $MARK" -- "$PY" "$SERVER" 0 fragile
  [[ $output == *"ended under load (SIGABRT)"* ]]
  none_left "$MARK"
}

@test "compare --load: a server that never listens, and a client that never ends, are timed out" {
  run -1 "$GMP" compare -n 1 --timeout 0.3 --load true -- sleep "$MARK"
  [[ $output == *"did not listen within"* ]]
  none_left "$MARK"
  run -1 "$GMP" compare -n 1 --timeout 1.5 --load "sleep $MARK" -- "$PY" "$SERVER" 0
  [[ $output == *"not finished after 1.5 s: killed"* ]]
  none_left "$MARK"
  run ! pgrep -f "$SERVER"
}

@test "compare --load: a server deaf to SIGTERM is killed after the grace" {
  run -0 "$GMP" compare -n 1 --grace 0.2 --load "'$PY' '$CLIENT'" -- "$PY" "$SERVER" 0 deaf
  [[ $output == *"did not end within 0.2 s of SIGTERM: killed"* ]]
  [[ $output =~ server\'s\ end\ +SIGKILL\ +SIGKILL ]]
  run ! pgrep -f "$SERVER"
}

# What the client prints, and the figures that must be found in it: name=value in microseconds or per second.
figures_of() {
  printf '%b' "$1" >client.out
  "$GMP" compare -n 1 --json --load "cat client.out" -- "$PY" "$SERVER" 0 >figures.json
  "$PY" - <<'PYTHON'
import json
c = json.load(open('figures.json'))['preloaded']['runs'][0]['client']
print(*([f"requests={c['requests']:g}"] if c['requests'] is not None else []),
      *(f"{k}={v['value']:.10g}{v['unit']}" for k, v in c['figures'].items()), sep='; ')
PYTHON
}

@test "the client's figures: wrk, ab, redis-benchmark, sysbench, hackbench and plain lines" {
  [ "$(figures_of '  Latency   635.91us    0.89ms  12.92ms   93.69%\n  50%  250.00us\n  90%    1.70ms\n  22464 requests in 30.00s, 17.7GB read\nRequests/sec: 748868.53\nTransfer/sec:    606.33MB\n')" = \
    "requests=22464; p50=250us; p90=1700us; throughput=748868.53/s; transfer=606.33MB/s" ]
  [ "$(figures_of 'Complete requests:      1000\nFailed requests:        2\nRequests per second:    12345.67 [#/sec] (mean)\n  50%      1\n 100%      4 (longest request)\n')" = \
    "requests=1000; errors=2; throughput=12345.67/s; p50=1000us; p100=4000us" ]
  [ "$(figures_of 'SET: 1000.00\rSET: 54054.05 requests per second, p50=0.471 msec\nGET: 60000.00 requests per second, p50=0.3 msec\n')" = \
    "SET throughput=54054.05/s; SET p50=471us; GET throughput=60000/s; GET p50=300us" ]
  [ "$(figures_of '    transactions:             5312   (531.10 per sec.)\n    total number of events:   5312\n         95th percentile:    2.35\n')" = \
    "requests=5312; transactions=531.1/s; p95=2350us" ]
  [ "$(figures_of 'Time: 0.451\n')" = "Time=451000us" ]
  [ "$(figures_of 'throughput: 101,234.5 req/s  p50 0.120 ms  p99.9 1 s  max 2 s  errors 0\n')" = \
    "throughput=101234.5/s; p50=120us; p99.9=1000000us; max=2000000us; errors=0" ]
  [ "$(figures_of '50.5k ops/s\nlatency (us): p50 12 p99: 40\nrequests: 7\n')" = "requests=7; throughput=50500/s; p50=12us; p99=40us" ]
  [ "$(figures_of 'nothing of use: 12\n')" = "" ]
}

@test "env names what the library needs of the machine" {
  run -0 "$GMP" env
  for name in library kernel glibc FSGSBASE MADV_GUARD_INSTALL vm.max_map_count "CPUs we may use" "cgroup CPU quota"; do
    [[ $output =~ (^|$'\n')"$name"\ +[^\ ] ]]
  done
  [[ $output == *"$(uname -r)"* && $output == *"$(cat /proc/sys/vm/max_map_count)"* && $output == *"$GMP_LIB"* ]]
  run -0 "$GMP" env --lib /no/such/lib.so
  [[ $output == *"not usable: /no/such/lib.so"* ]]
}

@test "with the real library: it is loaded, and commands agree with their native runs" {
  [ -f "$REAL_LIB" ] || skip "no $REAL_LIB yet"
  run -0 "$GMP" run --lib "$REAL_LIB" -- grep -c "$REAL_LIB" /proc/self/maps
  run -0 "$GMP" compare -n 1 --lib "$REAL_LIB" -- ls -l /usr/bin
  run -0 "$GMP" compare -n 1 --lib "$REAL_LIB" --load "'$PY' '$CLIENT'" -- "$PY" "$SERVER" 0
}
