// Large and partial transfers: vectors whose elements a write stops in, more than the kernel moves in one call, many small
// elements, non-blocking partial writes, transfers between descriptors, appends.
#include "caller.h"
#include <limits.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

enum { BIG = 3000000 };
static unsigned char* bytes;
static void unix_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd)); }
static void pipe_made(int fd[2]) { SYS(pipe(fd)); }
static void (*const makers[])(int[2]) = {pipe_made, unix_made, tcp_pair};

static long do_writev(struct caller* c) {
  return writev(c->fd, (struct iovec*)c->bytes, (int)c->size);
}
static long do_sendmsg(struct caller* c) {
  struct msghdr m = {.msg_iov = (struct iovec*)c->bytes, .msg_iovlen = c->size};
  return sendmsg(c->fd, &m, 0);
}
static long do_sendmmsg(struct caller* c) {
  struct mmsghdr m[3] = {0};
  for (int i = 0; i < 3; i++) {
    m[i].msg_hdr.msg_iov = (struct iovec*)c->bytes + (size_t)i * c->size / 3;
    m[i].msg_hdr.msg_iovlen = c->size / 3;
  }
  long n = sendmmsg(c->fd, m, 3, 0), sum = 0;
  for (int i = 0; i < n; i++) sum += m[i].msg_len;
  return n == 3 ? sum : -1;
}
static void take_all(int fd, size_t total) {
  static unsigned char in[70000];
  size_t got = 0, step = 1;
  while (got < total) {
    step = step * 5 % 69997 + 1;
    ssize_t n = read(fd, in, step);
    SYS(n);
    CHECK(n > 0);
    check_pattern(in, got, (size_t)n);
    got += (size_t)n;
  }
  EQ(got, total);
}
// Elements of odd lengths, empty ones among them: however the pieces fall, every byte comes once and in order.
CASE(odd_vectors) {
  static struct iovec v[1023];
  bytes = malloc(BIG);
  fill_pattern(bytes, 0, BIG);
  for (int kind = 0; kind < 3; kind++)
    for (int way = 0; way < 3; way++) {
      if (kind == 0 && way > 0) continue;
      int fd[2];
      makers[kind](fd);
      size_t at = 0, n = 0;
      for (; n < 1023; n++) {
        size_t length = n % 7 == 3 ? 0 : (n * 7919) % 5003;
        v[n] = (struct iovec){bytes + at, length};
        at += length;
      }
      struct caller c;
      call_in_thread(&c, way == 0 ? do_writev : way == 1 ? do_sendmsg : do_sendmmsg, fd[1], (char*)v, n);
      take_all(fd[0], at);
      EQ(outcome(&c), (long)at);
      close_pair(fd);
    }
  free(bytes);
}

// A non-blocking writer is told how much went; what it repeats from there is right.
static long do_rest(struct caller* c) {
  size_t at = 0;
  while (at < BIG) {
    struct iovec v[2] = {{bytes + at, (BIG - at) / 2}, {bytes + at + (BIG - at) / 2, BIG - at - (BIG - at) / 2}};
    ssize_t n = writev(c->fd, v, 2);
    if (n < 0) {
      EQ(errno, EAGAIN);
      struct pollfd p = {.fd = c->fd, .events = POLLOUT};
      EQ(poll(&p, 1, -1), 1);
      continue;
    }
    CHECK(n > 0);
    at += (size_t)n;
  }
  return (long)at;
}
CASE(nonblocking_parts) {
  bytes = malloc(BIG);
  fill_pattern(bytes, 0, BIG);
  for (int kind = 0; kind < 3; kind++) {
    int fd[2];
    makers[kind](fd);
    SYS(fcntl(fd[1], F_SETFL, O_NONBLOCK));
    struct caller c;
    call_in_thread(&c, do_rest, fd[1], NULL, 0);
    take_all(fd[0], BIG);
    EQ(outcome(&c), BIG);
    close_pair(fd);
  }
  free(bytes);
}

// No call moves more than 2 GiB less a page; a blocking one moves that.
CASE(more_than_two_gigabytes) {
  const size_t size = 3ul << 30, most = 0x7ffff000;
  char* all = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(all != MAP_FAILED);
  int null = open("/dev/null", O_WRONLY), fd[2];
  SYS(null);
  struct caller c;
  for (int way = 0; way < 2; way++) {
    SYS(pipe(fd));
    struct iovec v[2] = {{all, size / 2}, {all, size / 2}};
    if (way) call_in_thread(&c, do_writev, fd[1], (char*)v, 2);
    else call_in_thread(&c, do_write, fd[1], all, size);
    size_t got = 0;
    while (got < most) {
      ssize_t n = splice(fd[0], NULL, null, NULL, 1 << 20, 0);
      SYS(n);
      CHECK(n > 0);
      got += (size_t)n;
    }
    EQ(outcome(&c), (long)most);
    EQ(got, most);
    close_pair(fd);
  }
  call_in_thread(&c, do_write, null, all, size);
  EQ(outcome(&c), (long)most);
  SYS(pipe(fd));
  call_in_thread(&c, do_write, fd[1], all, (size_t)SSIZE_MAX + 1); // what read(2) leaves open, Linux answers
  come_to_rest(&c);
  close(fd[0]);
  signal(SIGPIPE, SIG_IGN);
  long r = outcome(&c);
  printf("more than SSIZE_MAX: %ld\n", r);
  SYS(close(fd[1]));
  struct iovec v[2] = {{all, SSIZE_MAX}, {all, SSIZE_MAX}};
  call_in_thread(&c, do_writev, null, (char*)v, 2);
  printf("a vector of more: %ld\n", outcome(&c));
  call_in_thread(&c, do_writev, null, (char*)v, IOV_MAX + 1);
  EQ(outcome(&c), -EINVAL);
  SYS(close(null));
  SYS(munmap(all, size));
}

// Between descriptors: a file to a socket and a pipe that are full, a pipe to a socket; all while the partner reads.
static long do_sendfile(struct caller* c) {
  off_t at = 0;
  while (at < BIG) SYS(sendfile(c->fd, c->other, &at, (size_t)(BIG - at)));
  return at;
}
static long do_splice(struct caller* c) {
  long sum = 0;
  while (sum < BIG) {
    ssize_t n = splice(c->other, NULL, c->fd, NULL, (size_t)(BIG - sum), SPLICE_F_MORE);
    SYS(n);
    CHECK(n > 0);
    sum += n;
  }
  return sum;
}
CASE(between_descriptors) {
  char name[] = "/tmp/gmp-large-XXXXXX";
  int file = mkstemp(name);
  SYS(file);
  SYS(unlink(name));
  bytes = malloc(BIG);
  fill_pattern(bytes, 0, BIG);
  EQ(write(file, bytes, BIG), BIG);
  for (int kind = 0; kind < 3; kind++) {
    int fd[2], through[2];
    makers[kind](fd);
    struct caller c = {.other = file}, feed;
    call_in_thread(&c, do_sendfile, fd[1], NULL, 0);
    come_to_rest(&c);
    take_all(fd[0], BIG);
    EQ(outcome(&c), BIG);
    SYS(pipe(through));
    c.other = through[0];
    call_in_thread(&c, do_splice, fd[1], NULL, 0);
    come_to_rest(&c);
    call_in_thread(&feed, do_write, through[1], (char*)bytes, BIG);
    take_all(fd[0], BIG);
    EQ(outcome(&c), BIG);
    EQ(outcome(&feed), BIG);
    close_pair(fd);
    close_pair(through);
  }
  free(bytes);
  SYS(close(file));
}

static char name[] = "/tmp/gmp-append-XXXXXX";
static void* append(void* argument) {
  char line[32];
  int fd = open(name, O_WRONLY | O_APPEND);
  SYS(fd);
  memset(line, (int)(intptr_t)argument, sizeof line);
  for (int i = 0; i < 100; i++) EQ(write(fd, line, sizeof line), (ssize_t)sizeof line);
  EQ(lseek(fd, 0, SEEK_CUR) % (long)sizeof line, 0);
  SYS(close(fd));
  return NULL;
}
CASE(appends) {
  static char line[32];
  pthread_t t[8];
  int fd = mkstemp(name), count[8] = {0};
  SYS(fd);
  for (intptr_t i = 0; i < 8; i++) t[i] = start(append, (void*)(i + 'a'));
  for (int i = 0; i < 8; i++) finish(t[i]);
  for (int i = 0; i < 800; i++) {
    EQ(read(fd, line, sizeof line), (ssize_t)sizeof line);
    for (size_t k = 1; k < sizeof line; k++) EQ(line[k], line[0]);
    count[line[0] - 'a']++;
  }
  for (int i = 0; i < 8; i++) EQ(count[i], 100);
  SYS(close(fd));
  SYS(unlink(name));
}
