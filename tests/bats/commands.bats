#!/usr/bin/env bats
# Ordinary commands behave under the preload as without: they make no thread, so nothing of the runtime may show.
load common

setup() { need_build; }

@test "ls" { both ls -la "$top"; }
@test "cat" { both cat "$top/CMakeLists.txt" /etc/passwd; }
@test "grep" { both grep -rn add_executable "$top/tests/programs"; }
@test "grep without a match" { expect=1 both grep no-such-text-anywhere /etc/passwd; }
@test "awk" {
  both awk -F: '{ n[$7]++ } END { for (s in n) print s, n[s] }' /etc/passwd;
}
@test "sed" { both sed -n 's/^\([^:]*\):.*/\1/p' /etc/passwd; }
@test "bash" { both bash -c 'for i in 1 2 3; do echo $((i * i)); done; exit 0'; }
@test "bash: status of a child" { expect=9 both bash -c '(exit 9)'; }
@test "bash: pipes and substitution" { both_shell 'seq 1000 | while read -r n; do echo $((n % 7)); done | sort | uniq -c; echo "$(echo $(echo deep))"'; }
@test "bash: background jobs, wait and traps" {
  both_shell 'trap "echo trapped" USR1; (sleep 0.05; exit 4) & kill -USR1 $$; wait $!; echo $?; sleep 5 & kill $!; wait $!; echo $?'
}
@test "sort with threads" { both_shell 'seq 200000 | sort -R --random-source=/etc/passwd | sort -n --parallel=4 | md5sum'; }
@test "tar" { both_shell "tar -C '$top' -cf - tests/programs --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner | md5sum"; }
@test "gzip" { both_shell 'seq 100000 | gzip -n | md5sum; seq 100000 | gzip | gunzip | md5sum'; }
@test "find | xargs" { both_shell "find '$top/tests' -name '*.c' -print0 | sort -z | xargs -0 -n 3 -P 2 md5sum | sort"; }
@test "python3" { both python3 -c 'import json, hashlib; print(json.dumps({"a": [1, 2]}), hashlib.sha256(b"x" * 100000).hexdigest())'; }
@test "python3 with threads" {
  both python3 -c '
import threading, queue
q, r = queue.Queue(), queue.Queue()
def work():
    while (n := q.get()) is not None: r.put(n * n)
t = [threading.Thread(target=work) for _ in range(20)]
[x.start() for x in t]; [q.put(i) for i in range(1000)]; [q.put(None) for _ in t]; [x.join() for x in t]
print(sum(r.get() for _ in range(1000)))'
}
@test "python3 with subprocesses" {
  both python3 -c '
import subprocess, threading
codes = []  # printed by one thread: two prints may mix their lines
def go(): codes.append(subprocess.run(["sh", "-c", "echo child; exit 3"], capture_output=True).returncode)
t = [threading.Thread(target=go) for _ in range(5)]
[x.start() for x in t]; [x.join() for x in t]
print(codes)'
}
@test "perl" {
  both perl -e 'print join(",", map { $_ * 2 } 1 .. 5), "\n"; print `echo from a child`; exit 0';
}
@test "perl: fork and wait" {
  both perl -e 'my $p = fork; if (!$p) { exit 5 } waitpid $p, 0; print $? >> 8, "\n"';
}
@test "git" { both git --version; }
@test "git: reading a repository" { both git -C "$top" log --format=%H -n 5; }
@test "env, printf, wc, head, tail, cut, tr" { both_shell 'seq 50 | head -20 | tail -5 | tr 0-9 a-j | cut -c1 | wc -c; env printf "%s\n" x'; }
@test "date, id, uname, stat" { both_shell 'date -u -d @0; id -u; uname -s; stat -c %s /etc/passwd'; }
@test "dd through a FIFO" {
  both_shell 'd=$(mktemp -d); mkfifo "$d/f"; dd if=/dev/zero bs=1000 count=100 2>/dev/null >"$d/f" & md5sum <"$d/f"; wait; rm -r "$d"'
}
@test "killed by a signal" { expect=143 both bash -c 'kill -TERM $$; sleep 5'; }

# --- programs that the preload must leave alone

@test "a static program is untouched" { both static_program; }
@test "a static program sees no message" {
  need_library
  preloaded 2 "$programs/static_program" >/dev/null 2>"$BATS_TEST_TMPDIR/err"
  [ ! -s "$BATS_TEST_TMPDIR/err" ]
}
@test "a Go binary is untouched" {
  command -v go >/dev/null || skip "no Go compiler installed"
  mkdir "$BATS_TEST_TMPDIR/go"
  cat >"$BATS_TEST_TMPDIR/go/main.go" <<'GO'
package main

import ("fmt"; "net"; "sync")

func main() {
	net.LookupHost("localhost")
	var wg sync.WaitGroup
	var sum int
	var mu sync.Mutex
	for i := 0; i < 1000; i++ {
		wg.Add(1)
		go func(i int) { defer wg.Done(); mu.Lock(); sum += i; mu.Unlock() }(i)
	}
	wg.Wait()
	fmt.Println(sum)
}
GO
  (cd "$BATS_TEST_TMPDIR/go" && HOME=$BATS_TEST_TMPDIR go build -o prog main.go)
  both "$BATS_TEST_TMPDIR/go/prog"
}
@test "GNU MP under our preload is GNU MP" {
  [ -x "$programs/gnu_mp" ] || skip "GNU MP's development package is not installed"
  both gnu_mp
}

# --- the tests themselves

@test "every case of every program has its test" {
  local program name missing=0
  for program in "$programs"/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    name=${program##*/}
    case $name in *.so | static_program | gnu_mp | many) continue ;; esac
    for c in $("$program" --list); do
      grep -qE "(both |/|{ )$name\"? $c( |;|$)" "$here"/*.bats || { echo "no test runs: $name $c"; missing=1; }
    done
  done
  [ "$missing" = 0 ]
}
