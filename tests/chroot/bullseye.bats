#!/usr/bin/env bats
# On a glibc older than 2.34 the library is loaded, stands aside, and programs run as if it were not there. GMP_LIBRARY is the one that was
# built on a newer Debian; tests/chroot/run starts this inside the older one.
load ../bats/common

# This bats has no such folders yet; /tmp is this run's own.
export BATS_FILE_TMPDIR=${BATS_FILE_TMPDIR:-/tmp/file} BATS_TEST_TMPDIR=${BATS_TEST_TMPDIR:-/tmp/test}
mkdir -p "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR"

# Hundreds of short runs: without a session and a watchdog for each.
watched() { timeout -k 5 "$@" 3>&-; }

setup_file() {
  export programs=$BATS_FILE_TMPDIR/programs
  mkdir -p "$programs"
  local name
  for name in barrier c11 cancel cond handlers io_socket io_stream keys mutex process rwlock sem sleep thread_end unwind; do
    gcc -O1 -w -D_GNU_SOURCE "$top/tests/programs/$name.c" -o "$programs/$name" -pthread -ldl -lrt 2>/dev/null || echo "# needs a newer libc: $name" >&3
  done
}
setup() {
  programs=$BATS_FILE_TMPDIR/programs
  maxprocs=(2)
  need_library
}

@test "this libc is older than 2.34" {
  run getconf GNU_LIBC_VERSION
  [[ $output =~ ^glibc\ 2\.([0-9]+)$ ]]
  [ "${BASH_REMATCH[1]}" -lt 34 ]
}
@test "one line says that it stands aside, if asked" {
  LD_PRELOAD=$library GMP_DEBUG=verbose=1 "$programs/keys" main_has_its_own >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err"
  cat "$BATS_TEST_TMPDIR/err"
  [ "$(wc -l <"$BATS_TEST_TMPDIR/err")" = 1 ]
  grep -qx 'gmp: standing aside: glibc is older than 2.34' "$BATS_TEST_TMPDIR/err"
  grep -qx 'main_has_its_own ok' "$BATS_TEST_TMPDIR/out"
}
@test "else nothing is said, and threads are kernel threads" {
  LD_PRELOAD=$library "$programs/keys" main_has_its_own 2>"$BATS_TEST_TMPDIR/err"
  cat "$BATS_TEST_TMPDIR/err"
  [ ! -s "$BATS_TEST_TMPDIR/err" ]
  run env LD_PRELOAD="$library" python3 -c '
import threading
e = threading.Event()
for i in range(20): threading.Thread(target=e.wait).start()
print([l for l in open("/proc/self/status") if l.startswith("Threads")])
e.set()'
  [[ $output == *21* ]]
}
@test "a bad setting is named all the same" {
  run env LD_PRELOAD="$library" GMP_MAXPROCS=x "$programs/keys" main_has_its_own
  [ "$status" = 0 ]
  [[ $output == *"GMP_MAXPROCS=x"* ]]
}
# A program without libpthread and libdl: what hooks stand before is found all the same.
@test "a program that needs libc only" {
  cat >"$BATS_TEST_TMPDIR/plain.c" <<'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#pragma weak pthread_once
static pthread_once_t once = PTHREAD_ONCE_INIT;
static void on(int s) { write(1, "signal\n", 7); (void)s; }
static void first(void) { puts("once"); }
int main(void) {
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&m); // libc's own, that does nothing
  pthread_mutex_unlock(&m);
  if (pthread_once) pthread_once(&once, first); // with us it is there
  else first();
  signal(SIGUSR1, on);
  raise(SIGUSR1);
  fflush(stdout);
  if (fork() == 0) _exit(3);
  int status;
  wait(&status);
  printf("%d %d\n", WEXITSTATUS(status), WEXITSTATUS(system("exit 4")));
  FILE* f = popen("echo from a shell", "r");
  char line[50];
  fputs(fgets(line, sizeof line, f), stdout);
  pclose(f);
  usleep(1000);
  return 5;
}
C
  gcc -w -D_GNU_SOURCE "$BATS_TEST_TMPDIR/plain.c" -o "$BATS_TEST_TMPDIR/plain"
  readelf -d "$BATS_TEST_TMPDIR/plain" | grep NEEDED | grep -vq libc.so && return 1
  expect=5 both "$BATS_TEST_TMPDIR/plain"
}
@test "commands" {
  both ls -la /usr /etc
  both_shell 'seq 100000 | sort -R --random-source=/etc/passwd | sort -n --parallel=4 | md5sum; (exit 3); echo $?'
  both_shell 'd=$(mktemp -d); mkfifo "$d/f"; seq 1000 >"$d/f" & md5sum <"$d/f"; wait; tar -C /etc -cf - passwd group | gzip -n | md5sum; find /etc | sort | xargs -n 5 echo | md5sum; rm -r "$d"'
  both perl -e 'print join(",", map { $_ * 2 } 1 .. 5), "\n"; print `echo from a child`; exit 0'
  both python3 -c '
import threading, queue, subprocess, socket
q = queue.Queue()
ts = [threading.Thread(target=lambda: q.put(sum(range(1000)))) for i in range(50)]
[t.start() for t in ts]; [t.join() for t in ts]
a, b = socket.socketpair(); a.send(b"x")
print(sum(q.get() for t in ts), subprocess.run(["sh", "-c", "echo child; exit 3"]).returncode, b.recv(1))'
}
@test "the test programs" {
  local program c failed=0 ran=0 status maxprocs=(2)
  for program in "$programs"/*; do
    for c in $("$program" --list); do
      status=0
      natively "$program" "$c" </dev/null >"$BATS_TEST_TMPDIR/n" 2>"$BATS_TEST_TMPDIR/n.err" || status=$?
      # A case that fails natively is about a newer libc: there is nothing to compare.
      ! grep -q "case $c: " "$BATS_TEST_TMPDIR/n.err" || continue
      expect=$status both "$program" "$c" || failed=$((failed + 1))
      ran=$((ran + 1))
    done
  done
  echo "$ran cases ran, $failed failed"
  [ "$failed" = 0 ] && [ "$ran" -gt 100 ]
}
