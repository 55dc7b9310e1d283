// Descriptors shared with other processes: inherited, passed in messages, changed by the other side. A blocking one looks blocking to
// all while threads wait on it; what another process sets counts here from the next call on.
#include "caller.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char buffer[4096];
enum { MOST = 8 };

// The other process: this program without the library. It looks at the descriptors it is sent, then reads from each.
static void receiver(int from) {
  int fd[MOST], n = 0;
  char flags[MOST], space[CMSG_SPACE(sizeof fd)], c;
  struct iovec v = {&c, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  SYS(recvmsg(from, &m, 0));
  struct cmsghdr* h = CMSG_FIRSTHDR(&m);
  CHECK(h);
  n = (int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  memcpy(fd, CMSG_DATA(h), (size_t)n * sizeof(int));
  for (int i = 0; i < n; i++) flags[i] = (char)('a' + !!(fcntl(fd[i], F_GETFL) & O_NONBLOCK));
  EQ(write(from, flags, (size_t)n), n);
  while (read(from, &c, 1) == 1) { // a letter: what to do with the first
    long r = 0;
    if (c == 'r') r = read(fd[0], &flags, 1);
    if (c == 'n') r = fcntl(fd[0], F_SETFL, fcntl(fd[0], F_GETFL) | O_NONBLOCK);
    if (c == 'b') r = fcntl(fd[0], F_SETFL, fcntl(fd[0], F_GETFL) & ~O_NONBLOCK);
    if (c == 't' || c == 'u') {
      struct timeval t = {0, c == 't' ? 20000 : 0};
      r = setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    }
    c = (char)(r < 0 ? 'e' : '0' + r);
    EQ(write(from, &c, 1), 1);
  }
}
__attribute__((constructor)) static void act_as_receiver(void) {
  const char* fd = getenv("GMP_TEST_RECEIVER");
  if (!fd) return;
  receiver(atoi(fd));
  _exit(0);
}
static pid_t start_receiver(int pair[2]) {
  SYS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    char number[16];
    close(pair[0]);
    snprintf(number, sizeof number, "%d", pair[1]);
    setenv("GMP_TEST_RECEIVER", number, 1);
    unsetenv("LD_PRELOAD");
    execl("/proc/self/exe", "io_shared", NULL);
    _exit(99);
  }
  SYS(close(pair[1]));
  return child;
}
static void end_receiver(pid_t child, int pair[2]) {
  int status;
  SYS(close(pair[0]));
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
}
static void pass(int to, const int* fd, int n) {
  char space[CMSG_SPACE(sizeof(int) * MOST)] = {0}, c = 'f';
  struct iovec v = {&c, 1};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n)};
  struct cmsghdr* h = CMSG_FIRSTHDR(&m);
  *h = (struct cmsghdr){CMSG_LEN(sizeof(int) * (size_t)n), SOL_SOCKET, SCM_RIGHTS};
  memcpy(CMSG_DATA(h), fd, sizeof(int) * (size_t)n);
  EQ(sendmsg(to, &m, 0), 1);
}
static char ask(int to, char what) {
  char c;
  EQ(write(to, &what, 1), 1);
  EQ(read(to, &c, 1), 1);
  return c;
}
static void expect_all_blocking(int from, int n) {
  char flags[MOST + 1] = "";
  EQ(read(from, flags, MOST), n);
  if (strspn(flags, "a") != (size_t)n) FAIL("the receiver sees %s", flags);
}

CASE(passed_while_blocked) {
  int pair[2], pipes[2], un[2], tcp[2], event, listener = listening(5);
  pid_t child = start_receiver(pair);
  SYS(pipe(pipes));
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, un));
  tcp_pair(tcp);
  event = eventfd(0, 0);
  int waited[] = {pipes[0], un[0], tcp[0], event, listener};
  struct caller c[5];
  static char bytes[5][8];
  for (int i = 0; i < 5; i++) call_in_thread(&c[i], i < 4 ? do_read : do_accept, waited[i], bytes[i], 8);
  come_to_rest(&c[4]);
  pass(pair[0], waited, 5);
  expect_all_blocking(pair[0], 5);
  // Both wait on the pipe: each gets one byte.
  char what = 'r';
  EQ(write(pair[0], &what, 1), 1);
  EQ(write(pipes[1], "x", 1), 1);
  EQ(write(un[1], "x", 1), 1);
  EQ(write(tcp[1], "x", 1), 1);
  SYS(eventfd_write(event, 1));
  int client = connected_to(listener);
  pause_ms(5);
  CHECK(!c[0].back || c[0].result == 1);
  if (!c[0].back) { // the other had it, or nobody yet
    EQ(read(pair[0], &what, 1), 1);
    EQ(what, '1');
    EQ(write(pipes[1], "x", 1), 1);
  } else {
    EQ(write(pipes[1], "x", 1), 1);
    EQ(read(pair[0], &what, 1), 1);
    EQ(what, '1');
  }
  long accepted = 0;
  for (int i = 0; i < 5; i++) {
    long r = outcome(&c[i]);
    if (i < 4) EQ(r, i < 3 ? 1 : 8);
    else accepted = r;
  }
  SYS(accepted);
  end_receiver(child, pair);
  close_pair(pipes);
  close_pair(un);
  close_pair(tcp);
  int rest[] = {event, listener, client, (int)accepted};
  for (int i = 0; i < 4; i++) SYS(close(rest[i]));
}

// Standard input of a child is blocking while our thread reads from it, and stays so after.
CASE(inherited_while_blocked) {
  int fd[2], said[2];
  SYS(pipe(fd));
  SYS(pipe(said));
  struct caller c;
  call_in_thread(&c, do_read, fd[0], buffer, 1);
  come_to_rest(&c);
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    dup2(fd[0], 0);
    dup2(said[1], 1);
    unsetenv("LD_PRELOAD");
    execl("/bin/sh", "sh", "-c", "grep flags /proc/self/fdinfo/0", NULL);
    _exit(99);
  }
  EQ(waitpid(child, NULL, 0), child);
  ssize_t n = read(said[0], buffer, sizeof buffer - 1);
  CHECK(n > 0);
  buffer[n] = 0;
  fputs(buffer, stdout);
  write_byte(fd[1]);
  EQ(outcome(&c), 1);
  close_pair(fd);
  close_pair(said);
}

// The flag and the limits belong to the open file: set by another process, they count here.
static void changed_elsewhere(int fd[2], bool sock) {
  int pair[2];
  pid_t child = start_receiver(pair);
  struct caller c;
  for (int round = 0; round < 3; round++) {
    call_in_thread(&c, do_read, fd[0], buffer, 1);
    come_to_rest(&c);
    if (round == 0) {
      pass(pair[0], fd, 1);
      expect_all_blocking(pair[0], 1);
    }
    EQ(ask(pair[0], 'n'), '0');
    pause_ms(2);
    CHECK(!c.back); // one that waits goes on waiting
    write_byte(fd[1]);
    EQ(outcome(&c), 1);
    call_in_thread(&c, do_read, fd[0], buffer, 1);
    EQ(outcome(&c), -EAGAIN);
    EQ(ask(pair[0], 'b'), '0');
    if (!sock) continue;
    EQ(ask(pair[0], 't'), '0');
    call_in_thread(&c, do_read, fd[0], buffer, 1);
    EQ(outcome(&c), -EAGAIN);
    EQ(ask(pair[0], 'u'), '0');
  }
  end_receiver(child, pair);
}
CASE(changed_by_a_receiver) {
  int fd[2];
  SYS(pipe(fd));
  changed_elsewhere(fd, false);
  close_pair(fd);
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
  changed_elsewhere(fd, true);
  close_pair(fd);
  tcp_pair(fd);
  changed_elsewhere(fd, true);
  close_pair(fd);
}

static void child_sets(int fd, int flags) {
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) _exit(fcntl(fd, F_SETFL, flags) == 0 ? 0 : 1);
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
}
CASE(changed_by_a_child) {
  int fd[2];
  struct caller c;
  for (int kind = 0; kind < 2; kind++) {
    kind ? tcp_pair(fd) : (void)pipe(fd);
    for (int round = 0; round < 3; round++) {
      call_in_thread(&c, do_read, fd[0], buffer, 10);
      come_to_rest(&c);
      write_byte(fd[1]);
      EQ(outcome(&c), 1);
      child_sets(fd[0], O_NONBLOCK);
      call_in_thread(&c, do_read, fd[0], buffer, 10);
      EQ(outcome(&c), -EAGAIN);
      child_sets(fd[0], 0);
    }
    close_pair(fd);
  }
}
// A full pipe made non-blocking by a child: a writer that starts then is told.
CASE(writer_changed_by_a_child) {
  int fd[2];
  struct caller c;
  static char big[1 << 18];
  SYS(pipe(fd));
  call_in_thread(&c, do_write, fd[1], big, sizeof big);
  come_to_rest(&c);
  child_sets(fd[1], O_NONBLOCK);
  size_t got = 0;
  while (got < 65536) got += (size_t)read(fd[0], buffer, sizeof buffer); // room: then it looks again, at the flag too
  long n = outcome(&c);
  CHECK(n >= 65536 && n < (long)sizeof big);
  call_in_thread(&c, do_write, fd[1], big, sizeof big);
  n = outcome(&c);
  CHECK(n == -EAGAIN || (n > 0 && n <= 65536));
  close_pair(fd);
}

// Numbers changed by system calls that no library function made.
CASE(changed_by_raw_calls) {
  int a[2], b[2];
  struct caller c;
  SYS(pipe(a));
  SYS(pipe(b));
  for (int round = 0; round < 6; round++) {
    call_in_thread(&c, do_read, a[0], buffer, 1);
    come_to_rest(&c);
    write_byte(a[1]);
    EQ(outcome(&c), 1);
    int saved = dup(a[0]);
    switch (round % 3) {
    case 0: EQ(syscall(SYS_dup2, b[0], a[0]), a[0]); break;
    case 1: EQ(syscall(SYS_dup3, b[0], a[0], O_CLOEXEC), a[0]); break;
    default:
      SYS(syscall(SYS_close_range, a[0], a[0], 0));
      EQ(syscall(SYS_fcntl, b[0], F_DUPFD, a[0]), a[0]);
    }
    call_in_thread(&c, do_read, a[0], buffer, 1);
    come_to_rest(&c);
    write_byte(b[1]);
    EQ(outcome(&c), 1);
    SYS(syscall(SYS_fcntl, a[0], F_SETFL, O_NONBLOCK));
    call_in_thread(&c, do_read, a[0], buffer, 1);
    EQ(outcome(&c), -EAGAIN);
    int off = 0;
    SYS(syscall(SYS_ioctl, a[0], FIONBIO, &off));
    SYS(dup2(saved, a[0]));
    SYS(close(saved));
  }
  close_pair(a);
  close_pair(b);
}

// Another process takes from the same listener: a thread that loses a race waits for the next connection, and can be cancelled then.
CASE(acceptors_in_two_processes) {
  int listener = listening(128);
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0)
    for (;;) {
      int fd = accept(listener, NULL, NULL);
      if (fd < 0) _exit(1);
      if (write(fd, "c", 1) != 1) _exit(2);
      close(fd);
    }
  struct caller c[4];
  for (int i = 0; i < 4; i++) call_in_thread(&c[i], do_accept, listener, NULL, 0);
  int ours = 0, others = 0;
  for (int i = 0; i < 200; i++) {
    int fd = connected_to(listener);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (bool found = false; !found;) {
      if (poll(&p, 1, 1) == 1) { // the child says so
        char byte;
        EQ(read(fd, &byte, 1), 1);
        EQ(byte, 'c');
        others++;
        found = true;
      }
      for (int k = 0; k < 4 && !found; k++)
        if (c[k].back) {
          long accepted = outcome(&c[k]);
          SYS(accepted);
          SYS(close((int)accepted));
          call_in_thread(&c[k], do_accept, listener, NULL, 0);
          ours++;
          found = true;
        }
    }
    SYS(close(fd));
  }
  EQ(ours + others, 200);
  for (int i = 0; i < 4; i++) {
    OK(pthread_cancel(c[i].thread));
    CHECK(finish(c[i].thread) == PTHREAD_CANCELED);
  }
  SYS(kill(child, SIGKILL));
  EQ(waitpid(child, NULL, 0), child);
  SYS(close(listener));
}
