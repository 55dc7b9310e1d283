// What is always ready, or is no stream at all: regular files, tmpfs, memory files, /proc, devices, directories; terminals and their
// modes and hang-ups; local sockets of rarer families. The same answers from a thread as natively, and the others go on meanwhile.
#include "caller.h"
#include <linux/vm_sockets.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>

static char buffer[8192];

#define SAY(call) (errno = 0, result = (long)(call), printf("%s: %s is %ld, errno %d\n", name, #call, result, errno))
static void look_at(const char* name, int fd, bool changing) {
  long result;
  struct iovec v[2] = {{buffer, 3}, {buffer + 3, 5}};
  struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
  fd_set in;
  int epoll = epoll_create1(0), value;
  struct epoll_event e = {.events = EPOLLIN | EPOLLOUT};
  SAY(poll(&p, 1, -1));
  printf("revents %x\n", p.revents);
  p.events = 0;
  SAY(poll(&p, 1, 3));
  p.events = POLLPRI;
  if (!changing) SAY(poll(&p, 1, 3));
  FD_ZERO(&in);
  FD_SET(fd, &in);
  SAY(select(fd + 1, &in, NULL, NULL, NULL));
  SAY(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
  for (int nonblock = 0; nonblock < 2; nonblock++) {
    SAY(lseek(fd, 0, SEEK_SET));
    SAY(read(fd, buffer, 8));
    SAY(readv(fd, v, 2));
    SAY(pread(fd, buffer, 5, 1));
    SAY(read(fd, buffer, 0));
    SAY(write(fd, "", 0));
    SAY(recv(fd, buffer, 1, 0));
    SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
  }
  SAY(fcntl(fd, F_SETFL, 0));
  if (!changing) SAY(ioctl(fd, FIONREAD, &value));
  SYS(close(epoll));
}

static void* all_files(void* argument) {
  static const struct {
    const char* name;
    int flags;
    bool changing;
  } paths[] = {{"/proc/self/stat", O_RDONLY, true}, {"/proc/self/mounts", O_RDONLY, true},   {"/proc/version", O_RDONLY, true},
               {"/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY, true},
               {"/dev/null", O_RDWR, false},        {"/dev/zero", O_RDWR, false}, {"/dev/urandom", O_RDONLY, true},
               {"/tmp", O_RDONLY, false},           {"/etc/passwd", O_RDONLY, false}};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    int fd = open(paths[i].name, paths[i].flags);
    if (fd < 0) {
      printf("no %s here\n", paths[i].name);
      continue;
    }
    look_at(paths[i].name, fd, paths[i].changing);
    SYS(close(fd));
  }
  for (int kind = 0; kind < 3; kind++) {
    static const char* const names[] = {"/tmp/gmp-files-XXXXXX", "/dev/shm/gmp-files-XXXXXX", "memory"};
    char path[64];
    strcpy(path, names[kind]);
    int fd = kind < 2 ? mkstemp(path) : memfd_create("x", MFD_CLOEXEC);
    if (fd < 0) {
      printf("no %s here\n", names[kind]);
      continue;
    }
    if (kind < 2) SYS(unlink(path));
    EQ(write(fd, "0123456789abcdef", 16), 16);
    look_at(names[kind], fd, false);
    struct iovec v[2] = {{"xy", 2}, {"z", 1}};
    EQ(pwritev(fd, v, 2, 14), 3);
    EQ(pread(fd, buffer, 100, 10), 7);
    CHECK(memcmp(buffer, "abcdxyz", 7) == 0);
    EQ(preadv2(fd, (struct iovec[]){{buffer, 4}}, 1, 2, 0), 4);
    CHECK(memcmp(buffer, "2345", 4) == 0);
    EQ(lseek(fd, 0, SEEK_END), 17);
    EQ(read(fd, buffer, 10), 0);
    EQ(preadv2(fd, (struct iovec[]){{buffer, 4}}, 1, -1, 0), 0);
    SYS(fcntl(fd, F_SETFL, O_APPEND));
    EQ(pwrite(fd, "!", 1, 0), 1); // appends all the same: Linux
    EQ(lseek(fd, 0, SEEK_END), 18);
    SYS(close(fd));
  }
  return argument;
}
CASE(always_ready) {
  finish(start(all_files, NULL));
}

static int terminal[2]; // slave, master
static void terminal_made(bool raw, int min, int time) {
  terminal[1] = posix_openpt(O_RDWR | O_NOCTTY);
  SYS(terminal[1]);
  SYS(grantpt(terminal[1]));
  SYS(unlockpt(terminal[1]));
  terminal[0] = open(ptsname(terminal[1]), O_RDWR | O_NOCTTY);
  SYS(terminal[0]);
  struct termios t;
  SYS(tcgetattr(terminal[0], &t));
  if (raw) cfmakeraw(&t);
  t.c_lflag &= ~(tcflag_t)ECHO;
  t.c_cc[VMIN] = raw ? (cc_t)min : t.c_cc[VMIN];
  t.c_cc[VTIME] = raw ? (cc_t)time : t.c_cc[VTIME];
  SYS(tcsetattr(terminal[0], TCSANOW, &t));
}
CASE(terminal_modes) {
  struct caller c;
  terminal_made(false, 0, 0); // a line at a time
  call_in_thread(&c, do_read, terminal[0], buffer, 100);
  come_to_rest(&c);
  EQ(write(terminal[1], "ab", 2), 2);
  come_to_rest(&c);
  CHECK(!c.back);
  EQ(write(terminal[1], "c\n", 2), 2);
  EQ(outcome(&c), 4);
  call_in_thread(&c, do_read, terminal[0], buffer, 100);
  come_to_rest(&c);
  EQ(write(terminal[1], "\4", 1), 1); // end of file
  EQ(outcome(&c), 0);
  close_pair(terminal);
  terminal_made(true, 3, 0); // three at least
  call_in_thread(&c, do_read, terminal[0], buffer, 100);
  come_to_rest(&c);
  EQ(write(terminal[1], "ab", 2), 2);
  come_to_rest(&c);
  CHECK(!c.back);
  EQ(write(terminal[1], "c", 1), 1);
  EQ(outcome(&c), 3);
  close_pair(terminal);
  terminal_made(true, 0, 1); // a tenth of a second at most
  int64_t before = now_ns(CLOCK_MONOTONIC);
  call_in_thread(&c, do_read, terminal[0], buffer, 100);
  EQ(outcome(&c), 0);
  CHECK(now_ns(CLOCK_MONOTONIC) - before >= 80000000);
  close_pair(terminal);
  terminal_made(true, 0, 0); // not at all
  call_in_thread(&c, do_read, terminal[0], buffer, 100);
  EQ(outcome(&c), 0);
  SYS(fcntl(terminal[0], F_SETFL, O_NONBLOCK));
  call_in_thread(&c, do_read, terminal[0], buffer, 100);
  printf("nothing to wait for, and not waiting: %ld\n", outcome(&c));
  close_pair(terminal);
}
CASE(terminal_hang_up) {
  static char much[200000];
  struct caller c;
  for (int way = 0; way < 4; way++) {
    terminal_made(true, 1, 0);
    const int side = way % 2; // who waits
    call_in_thread(&c, way < 2 ? do_read : do_poll, terminal[side], buffer, way < 2 ? 10 : POLLIN);
    come_to_rest(&c);
    SYS(close(terminal[!side]));
    printf("way %d: %ld\n", way, outcome(&c));
    SYS(close(terminal[side]));
  }
  terminal_made(true, 1, 0); // a full one: the writer waits for the reader
  SYS(fcntl(terminal[0], F_SETFL, O_NONBLOCK));
  long there = 0, n;
  while ((n = write(terminal[0], buffer, 100)) > 0) there += n;
  EQ(errno, EAGAIN);
  SYS(fcntl(terminal[0], F_SETFL, 0));
  call_in_thread(&c, do_write, terminal[0], much, sizeof much);
  come_to_rest(&c);
  CHECK(!c.back); // far more than a terminal holds
  for (long got = 0; got < there + (long)sizeof much; got += n) CHECK((n = read(terminal[1], buffer, 500)) > 0);
  EQ(outcome(&c), (long)sizeof much);
  close_pair(terminal);
}

// Families that nothing special is known of: vsock's loopback, and a kernel algorithm.
CASE(rarer_families) {
  struct caller c;
  struct sockaddr_vm a = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = VMADDR_PORT_ANY};
  int listener = socket(AF_VSOCK, SOCK_STREAM, 0), client = -1;
  socklen_t length = sizeof a;
  if (listener >= 0 && bind(listener, (struct sockaddr*)&a, sizeof a) == 0 && listen(listener, 3) == 0) {
    SYS(getsockname(listener, (struct sockaddr*)&a, &length));
    a.svm_cid = VMADDR_CID_LOCAL;
    client = socket(AF_VSOCK, SOCK_STREAM, 0);
    call_in_thread(&c, do_accept, listener, NULL, 0);
    if (connect(client, (struct sockaddr*)&a, sizeof a) == 0) {
      long served = outcome(&c);
      SYS(served);
      for (int i = 0; i < 5; i++) {
        call_in_thread(&c, i % 2 ? do_poll : do_read, (int)served, buffer, i % 2 ? POLLIN : 1);
        come_to_rest(&c);
        write_byte(client);
        EQ(outcome(&c), 1);
        if (i % 2) read_byte((int)served);
      }
      call_in_thread(&c, do_read, (int)served, buffer, 1);
      come_to_rest(&c);
      SYS(close(client));
      EQ(outcome(&c), 0);
      SYS(close((int)served));
    } else {
      puts("no vsock here");
      SYS(pthread_cancel(c.thread));
      CHECK(finish(c.thread) == PTHREAD_CANCELED);
    }
  } else
    puts("no vsock here");
  if (listener >= 0) SYS(close(listener));
}
