# Shared by the .bats files of this folder: how a program is run natively and preloaded, how a server is started, held
# under load and stopped, and what a failure prints. The settings:
#   GMP_LIB             the library (default build/libgmp.so, build/ being GMP_BUILD if set); empty: native against native,
#                       which judges the tests themselves
#   GMP_TEST_MAXPROCS   the values of GMP_MAXPROCS to go through (default "1 2"); empty: native runs only
#   GMP_TEST_FAST       set: smaller loads

apps=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$apps/../.." && pwd)
: "${GMP_LIB=${GMP_BUILD:-$top/build}/libgmp.so}" "${GMP_TEST_MAXPROCS=1 2}"
python=/usr/bin/python3 # Debian's: a pyenv or conda in PATH is another program on another machine
limit=60                # seconds that one program may take; natively each takes less than five

# A library that is named and missing would make ld.so say one line and every test pass natively.
require_library() {
  [ -z "$GMP_TEST_MAXPROCS" ] || [ -z "$GMP_LIB" ] || [ -f "$GMP_LIB" ] ||
    { echo "no library at $GMP_LIB (GMP_LIB= runs native against native)"; return 1; }
}

# The runs of a test: "native" first, it makes the answers the others are held against.
modes() { echo native; for p in $GMP_TEST_MAXPROCS; do echo "maxprocs$p"; done; }

# under MODE: sets the array `as` to the words that go before a command. LD_PRELOAD goes to the program alone, not to
# the timeout or shell around it.
under() {
  as=(env -u LD_PRELOAD)
  case $1 in
  maxprocs*) as=(env "GMP_MAXPROCS=${1#maxprocs}"); [ -z "$GMP_LIB" ] || as+=("LD_PRELOAD=$GMP_LIB") ;;
  esac
}

needs() { # needs COMMAND...: a missing program is an error of the machine, not a reason to pass
  local c
  for c in "$@"; do
    command -v "$c" >/dev/null || { echo "missing program: $c (see .ci/bootstrap apps)"; return 1; }
  done
}

tail_of() { local f; for f in "$@"; do [ -s "$f" ] && { echo "--- tail of $f"; tail -n 25 "$f"; }; done; return 0; }

ended() { # ended STATUS: in words
  case $1 in 124 | 137) echo "did not end within $limit s" ;; *) echo "ended with status $1" ;; esac
}

threads_of() { # threads_of PID: where a server that still lives hangs
  local task
  [ -d "/proc/$1/task" ] || return 0
  echo "--- process $1: $(grep -E '^(Threads|State|SigPnd|ShdPnd)' "/proc/$1/status" | tr '\n\t' '  ')"
  for task in $(find "/proc/$1/task" -mindepth 1 -maxdepth 1 | sort -V | head -n 12); do
    echo "${task##*/} $(cat "$task/comm" "$task/wchan" "$task/syscall" 2>/dev/null | tr '\n' ' ')"
  done
}

# fail_run MODE WHY LOG... : what a failure prints. $repro is the program's command line under that mode.
fail_run() {
  local mode=$1 why=$2; shift 2
  echo "FAILED ($mode): $why"
  tail_of "$@"
  [ -z "${server:-}" ] || threads_of "$server"
  echo "--- reproduce: cd $PWD && ${repro:-?}"
  [ -z "${client_repro:-}" ] || echo "---   its load: $client_repro"
  echo "---   or: GMP_LIB=$GMP_LIB GMP_TEST_MAXPROCS=${mode#maxprocs} $apps/run_apps --keep" \
    "--filter '${BATS_TEST_DESCRIPTION//+/\\+}'"
  return 1
}

# ld.so says so on standard error when it can't load a preload library, and goes on without.
really_preloaded() { ! grep -q 'cannot be preloaded' "$@" 2>/dev/null; }

# ---- programs that run to their end ----------------------------------------------------------------------------------

# run_once MODE NAME CMD...: standard output, standard error and exit status go to $work/NAME.MODE.{out,err,status}.
run_once() {
  local mode=$1 base=$work/$2.$1 status=0; shift 2
  under "$mode"
  repro=$(printf '%q ' "${as[@]}" "$@")
  "$top/tests/bats/watched" "$limit" "${as[@]}" "$@" >"$base.out" 2>"$base.err" </dev/null 3>&- || status=$?
  echo "$status" >"$base.status"
}

# same_as_native NAME CMD...: runs CMD in every mode; exit status and standard output must equal the native run's, and
# the native run must succeed. $normalise (a command line for eval) filters what may differ: times, addresses.
same_as_native() {
  local name=$1 mode; shift
  for mode in $(modes); do
    run_once "$mode" "$name" "$@"
    local b=$work/$name.$mode
    eval "${normalise:-cat}" <"$b.out" >"$b.norm"
    if [ "$mode" = native ]; then
      [ "$(cat "$b.status")" = "${native_status:-0}" ] ||
        fail_run "$mode" "it $(ended "$(cat "$b.status")")" "$b.err" "$b.out" || return
      continue
    fi
    really_preloaded "$b.err" || fail_run "$mode" "the library was not loaded" "$b.err" || return
    [ "$(cat "$b.status")" = "$(cat "$work/$name.native.status")" ] ||
      fail_run "$mode" "it $(ended "$(cat "$b.status")"), natively $(cat "$work/$name.native.status")" \
        "$b.err" "$b.out" || return
    cmp -s "$work/$name.native.norm" "$b.norm" || {
      diff <(head -c 20000 "$work/$name.native.norm") <(head -c 20000 "$b.norm") | head -n 20
      fail_run "$mode" "standard output differs from the native run's (above: < native, > preloaded)" "$b.err" || return
    }
  done
}

# ---- servers ---------------------------------------------------------------------------------------------------------

# A port that nobody has now, below the ephemeral range, so that no client's own end takes it before the server does.
free_port() {
  "$python" -c '
import random, socket
while True:
    port = random.randrange(15000, 32000)
    try:
        with socket.socket() as s: s.bind(("127.0.0.1", port))
    except OSError: continue
    print(port); break'
}

# serve MODE NAME CMD...: starts a server in the background; its process in $server, its log in $log.
serve() {
  local mode=$1; log=$work/$2.$1.log; shift 2
  under "$mode"
  repro=$(printf '%q ' "${as[@]}" "$@")
  timeout -k 5 "$((limit * 2))" "${as[@]}" "$@" >"$log" 2>&1 </dev/null 3>&- &
  guard=$!
  echo "$guard" >>"$work/guards"
  server=
  for _ in $(seq 100); do
    server=$(cat "/proc/$guard/task/$guard/children" 2>/dev/null) && server=${server%% *}
    [ -n "$server" ] && return 0
    sleep 0.05
  done
  fail_run "$mode" "the server did not start" "$log"
}

# listening PORT...: waits until the server (or what it started) listens there.
listening() {
  local port tries
  for port in "$@"; do
    for tries in $(seq 200); do
      # Asked of the kernel and not by a connection: a proxy would take a probe for a client.
      grep -qi "0100007F:$(printf %04X "$port") 00000000:0000 0A" /proc/net/tcp && break
      kill -0 "$guard" 2>/dev/null && [ "$tries" != 200 ] ||
        { fail_run "${mode:-?}" "nothing listens on port $port" "$log"; return 1; }
      sleep 0.05
    done
  done
}

# The library must be in the server, or the comparison compares nothing.
loaded_in() { # loaded_in MODE PID
  [ "$1" = native ] || [ -z "$GMP_LIB" ] || grep -q "$(readlink -f "$GMP_LIB")" "/proc/$2/maps" ||
    fail_run "$1" "libgmp.so is not mapped in process $2" "$log"
}

# stop_server MODE: by SIGTERM, as an operator does; a server that has to be killed, or dies of another signal, fails.
stop_server() {
  local status=0
  kill -0 "$server" 2>/dev/null || { fail_run "$1" "the server died under its load" "$log"; return 1; }
  kill -TERM "$server"
  for _ in $(seq 200); do kill -0 "$server" 2>/dev/null || break; sleep 0.05; done
  if kill -0 "$server" 2>/dev/null; then
    kill -KILL "$server"; wait "$guard" 2>/dev/null || true
    fail_run "$1" "the server did not stop within 10 s of SIGTERM" "$log"; return 1
  fi
  wait "$guard" 2>/dev/null || status=$?
  # 143: SIGTERM's default action, right for a server without a handler. 124 is the guard's own time limit.
  case $status in 0 | 143) ;; *) fail_run "$1" "the server ended with status $status" "$log"; return 1 ;; esac
}

# load MODE NAME ARGS...: runs the client (always native) against the server and holds its answers against the native
# run's.
load() {
  local mode=$1 base=$work/$2.$1 name=$2 status=0; shift 2
  client_repro="$python $apps/client.py $(printf '%q ' "$@")"
  timeout -k 5 "$limit" "$python" "$apps/client.py" "$@" >"$base.answers" 2>"$base.client" </dev/null 3>&- || status=$?
  [ "$status" = 0 ] || { fail_run "$mode" "the client $(ended "$status")" "$base.client" "$log"; return 1; }
  [ -s "$base.answers" ] || { fail_run "$mode" "the client got no answers" "$base.client" "$log"; return 1; }
  cmp "$work/$name.native.answers" "$base.answers" ||
    fail_run "$mode" "answers differ from the native run's" "$base.client" "$log"
}

# held_by_few MODE NAME CONNECTIONS [LIMIT]: what the client saw of the server while all its connections were open. Natively
# every one has a kernel thread; preloaded the Ps and a handful must do, or the threads were not Gs at all. LIMIT: for
# programs that have just blocked kernel threads where no hook is.
held_by_few() {
  local mode=$1 held threads limit=${4:-$((${1#maxprocs} + 8))}
  held=$(sed -n 's/^held \([0-9]*\) connections, \([0-9]*\) threads$/\1 \2/p' "$work/$2.$1.client")
  threads=${held#* }
  [ "${held%% *}" = "$3" ] ||
    { fail_run "$mode" "held ${held%% *} connections, not $3" "$work/$2.$1.client"; return 1; }
  if [ "$mode" = native ] || [ -z "$GMP_LIB" ]; then
    [ "$threads" -ge "$3" ] ||
      { fail_run "$mode" "only $threads threads for $3 connections: not a thread per connection" "$log"; return 1; }
  else
    [ "$threads" -lt "$limit" ] || fail_run "$mode" "$threads kernel threads for $3 connections" "$log"
  fi
}

# ---- the tests' own set-up and clean-up ------------------------------------------------------------------------------

setup_work() { work=$BATS_TEST_TMPDIR; : >"$work/guards"; cd "$work" && require_library; }

stop_all() { # whatever a failed test left behind: the guards pass the signal on, and kill after five seconds
  local g
  while read -r g; do kill -TERM "$g" 2>/dev/null || true; done <"$work/guards"
  while read -r g; do wait "$g" 2>/dev/null || true; done <"$work/guards"
}

# start_origin: the native server behind the proxies; sets origin_http and origin_echo.
start_origin() {
  timeout -k 5 240 "$python" "$apps/origin.py" >"$work/origin.ports" 2>"$work/origin.log" </dev/null 3>&- &
  echo "$!" >>"$work/guards"
  for _ in $(seq 200); do [ "$(wc -w <"$work/origin.ports")" = 2 ] && break; sleep 0.05; done
  read -r origin_http origin_echo <"$work/origin.ports"
}

# built NAME CMD...: compiles a program of this folder once for a .bats file; the path is $BATS_FILE_TMPDIR/NAME.
built() {
  local name=$1; shift
  "$@" -o "$BATS_FILE_TMPDIR/$name" 2>"$BATS_FILE_TMPDIR/$name.log" || { cat "$BATS_FILE_TMPDIR/$name.log"; return 1; }
}
