#!/usr/bin/env bats
# Ordinary commands, most of a single thread: with the library loaded they say the same, on both outputs, and end the
# same.

setup() {
  source "$BATS_TEST_DIRNAME/lib.bash"
  setup_work
  # Not of the /proc or /tmp kind: what the commands read must stay still between two runs.
  tree=/usr/lib/python3.11/json
}
teardown() { stop_all; }

same() { # same NAME CMD...: standard error as well
  local mode
  same_as_native "$@"
  for mode in $(modes); do
    diff "$work/$1.native.err" "$work/$1.$mode.err" || { repro=$*; fail_run "$mode" "standard error differs (above)"; }
  done
}

@test "ls, cat, sort, grep, sed, awk, tr, cut, wc, find, stat, date, true, env" {
  same ls ls -laR --time-style=+ "$tree"
  same cat cat "$tree/decoder.py"
  same sort sort --parallel=4 -S 1M "$tree/decoder.py" "$tree/encoder.py" "$tree/scanner.py"
  same grep grep -rn --include='*.py' 'def ' "$tree"
  same sed sed -n 's/def \([a-z]*\)/<\1>/p' "$tree/decoder.py"
  same awk awk '{ n[length($0) % 7]++ } END { for (i = 0; i < 7; i++) print i, n[i] }' "$tree/decoder.py"
  same find find "$tree" -type f -name '*.py' -exec wc -l {} +
  same stat stat -c '%n %s %a' "$tree/decoder.py"
  same date date -u -d @1700000000
  same tar tar --sort=name --mtime=@0 -cf - -C "$tree" decoder.py encoder.py
  native_status=1 same false false
  native_status=2 same missing ls /no/such/file
}

@test "sort in threads: 300,000 lines, the same order" {
  seq 300000 | awk '{ print ($1 * 7919) % 1000003, $1 }' >numbers
  same sort_threads sort --parallel=8 -n -k1,1 "$work/numbers"
}

@test "bash: pipelines, substitution, background jobs, wait, here documents, traps, read" {
  cat >script.sh <<'SCRIPT'
set -eu
trap 'echo trapped exit' EXIT
total=0
while read -r n; do total=$((total + n)); done < <(seq 1000)
echo "$total"
for i in 1 2 3 4; do (sleep 0.01; exit "$i") & done
for job in $(jobs -p); do wait "$job" || echo "job ended with $?"; done
seq 5000 | sort -rn | head -n 3 | tr '\n' ' '
echo "$(echo nested "$(printf '%s' "${BASH_VERSINFO[0]}")")"
cat <<END | sed s/x/y/
x$((6 * 7))
END
timeout 1 sleep 5 || echo "timed out: $?"
kill -TERM $$ & wait || true
echo not reached
SCRIPT
  native_status=143 same bash bash "$work/script.sh"
}

@test "perl: sorting, fork and wait, pipes, alarm" {
  # shellcheck disable=SC2016
  same perl perl -e '
    my %h; $h{($_ * 7919) % 1009} += $_ for 1 .. 50000;
    print join(",", map { "$_=$h{$_}" } (sort { $h{$b} <=> $h{$a} || $a <=> $b } keys %h)[0 .. 9]), "\n";
    for my $i (1 .. 5) { my $pid = fork // die; exit $i unless $pid; waitpid $pid, 0; print "child: ", $? >> 8, "\n" }
    print "from a pipe: ", `seq 3 | tac`;
    eval { local $SIG{ALRM} = sub { die "alarm\n" }; alarm 1; select undef, undef, undef, 10; 1 } or print "ended by $@";'
}

@test "perl: ithreads with a shared queue" {
  perl -Mthreads -e 1 2>/dev/null || skip "perl without ithreads"
  # shellcheck disable=SC2016
  same perl_threads perl -Mthreads -Mthreads::shared -MThread::Queue -e '
    my ($in, $out) = (Thread::Queue->new, Thread::Queue->new);
    sub work { while (defined(my $n = $in->dequeue)) { $out->enqueue($n * $n) } threads->tid > 0 }
    my @t = map { threads->create(\&work) } 1 .. 8;
    $in->enqueue(1 .. 500); $in->end;
    print "joined ", scalar(grep { $_->join } @t), "\n";
    my @got = sort { $a <=> $b } map { $out->dequeue } 1 .. 500;
    print "$#got $got[0] $got[499]\n";'
}

@test "python3: one thread, files, subprocess, getaddrinfo" {
  same python "$python" -c '
import json, os, socket, subprocess, tempfile
with tempfile.TemporaryFile() as f:
    f.write(b"x" * 1000000); f.seek(0); print(len(f.read()))
print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True))
print(socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM, family=socket.AF_INET))
print(os.popen("seq 3").read(), os.system("exit 5") >> 8)
print(json.dumps({"a": [1, 2, {"b": None}]}))'
}
