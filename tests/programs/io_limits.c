// SO_RCVTIMEO and SO_SNDTIMEO in every call, alone and with part done; what changes while a call waits; connections that
// are held back or half made; control data cut short.
#include "caller.h"
#include <linux/errqueue.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/uio.h>

static char buffer[1 << 20];
static void unix_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd)); }
static void dgram_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd)); }
static void seqpacket_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd)); }
static void udp_made(int fd[2]) {
  fd[0] = bound(SOCK_DGRAM);
  fd[1] = bound(SOCK_DGRAM);
  struct sockaddr_in to = address_of(fd[0]);
  SYS(connect(fd[1], (struct sockaddr*)&to, sizeof to));
}
static void (*const makers[])(int[2]) = {unix_made, tcp_pair, dgram_made, seqpacket_made, udp_made};

static void limit(int fd, int which, int ms) {
  struct timeval t = {ms / 1000, ms % 1000 * 1000};
  SYS(setsockopt(fd, SOL_SOCKET, which, &t, sizeof t));
}
static long do_recv(struct caller* c) { return recv(c->fd, c->bytes, c->size, c->other); }
static long do_readv(struct caller* c) {
  struct iovec v = {c->bytes, c->size};
  return readv(c->fd, &v, 1);
}
static long do_recvmsg(struct caller* c) {
  struct iovec v = {c->bytes, c->size};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return recvmsg(c->fd, &m, c->other);
}
static long do_send(struct caller* c) { return send(c->fd, c->bytes, c->size, c->other); }
static long do_writev(struct caller* c) {
  struct iovec v[2] = {{c->bytes, c->size / 2}, {c->bytes + c->size / 2, c->size - c->size / 2}};
  return writev(c->fd, v, 2);
}

CASE(receiving_limits) {
  static long (*const calls[])(struct caller*) = {do_read, do_readv, do_recv, do_recvmsg};
  for (int kind = 0; kind < 5; kind++)
    for (int call = 0; call < 4; call++) {
      int fd[2];
      makers[kind](fd);
      limit(fd[0], SO_RCVTIMEO, 15);
      struct caller c = {.other = 0};
      int64_t before = now_ns(CLOCK_MONOTONIC);
      call_in_thread(&c, calls[call], fd[0], buffer, 10);
      EQ(outcome(&c), -EAGAIN);
      CHECK(now_ns(CLOCK_MONOTONIC) - before >= 15000000);
      EQ(send(fd[1], "abc", 3, 0), 3);
      call_in_thread(&c, calls[call], fd[0], buffer, 10);
      EQ(outcome(&c), 3);
      if (kind < 2 && call > 1) { // part of what was asked for
        c.other = MSG_WAITALL;
        EQ(send(fd[1], "abc", 3, 0), 3);
        before = now_ns(CLOCK_MONOTONIC);
        call_in_thread(&c, calls[call], fd[0], buffer, 10);
        EQ(outcome(&c), 3);
        CHECK(now_ns(CLOCK_MONOTONIC) - before >= 15000000);
        call_in_thread(&c, calls[call], fd[0], buffer, 10);
        EQ(outcome(&c), -EAGAIN);
      }
      int copy = dup(fd[0]); // the limit is the open file's
      c.other = 0;
      call_in_thread(&c, calls[call], copy, buffer, 10);
      EQ(outcome(&c), -EAGAIN);
      limit(copy, SO_RCVTIMEO, 0);
      call_in_thread(&c, calls[call], fd[0], buffer, 10);
      come_to_rest(&c);
      limit(fd[0], SO_RCVTIMEO, 1); // does not touch a call that waits
      pause_ms(20);
      CHECK(!c.back);
      EQ(send(fd[1], "abc", 3, 0), 3);
      EQ(outcome(&c), 3);
      SYS(close(copy));
      close_pair(fd);
    }
}

CASE(sending_limits) {
  static long (*const calls[])(struct caller*) = {do_write, do_writev, do_send};
  for (int kind = 0; kind < 4; kind++)
    for (int call = 0; call < 3; call++) {
      int fd[2], small = 20000;
      makers[kind](fd);
      SYS(setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
      limit(fd[1], SO_SNDTIMEO, 15);
      struct caller c = {.other = 0};
      const size_t size = kind < 2 ? sizeof buffer : 1000;
      for (int parts = 0;; parts++) {
        call_in_thread(&c, calls[call], fd[1], buffer, size);
        long n = outcome(&c);
        if (n == -EAGAIN) break;
        CHECK(n > 0);
        if (kind >= 2) EQ(n, 1000);
        CHECK(parts < 2000);
      }
      close_pair(fd);
    }
  struct sockaddr_un name = {.sun_family = AF_UNIX};
  int n = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "gmp-limits-%d", getpid());
  socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
  int listener = socket(AF_UNIX, SOCK_STREAM, 0), a = socket(AF_UNIX, SOCK_STREAM, 0), b = socket(AF_UNIX, SOCK_STREAM, 0);
  SYS(bind(listener, (struct sockaddr*)&name, length));
  SYS(listen(listener, 0));
  SYS(connect(a, (struct sockaddr*)&name, length));
  limit(b, SO_SNDTIMEO, 15);
  ERRNO(connect(b, (struct sockaddr*)&name, length), EAGAIN);
  SYS(fcntl(b, F_SETFL, O_NONBLOCK));
  ERRNO(connect(b, (struct sockaddr*)&name, length), EAGAIN);
  limit(listener, SO_RCVTIMEO, 15);
  int served = accept(listener, NULL, NULL);
  SYS(served);
  struct timeval t;
  socklen_t size = sizeof t;
  SYS(getsockopt(served, SOL_SOCKET, SO_RCVTIMEO, &t, &size));
  printf("a unix connection has its listener's limit: %d\n", t.tv_usec > 0);
  ERRNO(accept(listener, NULL, NULL), EAGAIN);
  int all[] = {listener, a, b, served};
  for (int i = 0; i < 4; i++) SYS(close(all[i]));
  listener = listening(2);
  limit(listener, SO_RCVTIMEO, 15);
  a = connected_to(listener);
  SYS(served = accept(listener, NULL, NULL));
  struct caller c = {.other = 0};
  SYS(getsockopt(served, SOL_SOCKET, SO_RCVTIMEO, &t, &size));
  printf("a tcp connection has its listener's limit: %d\n", t.tv_usec > 0);
  if (t.tv_usec > 0) {
    call_in_thread(&c, do_read, served, buffer, 1);
    EQ(outcome(&c), -EAGAIN);
  }
  int rest[] = {listener, a, served};
  for (int i = 0; i < 3; i++) SYS(close(rest[i]));
}

// O_NONBLOCK set while a call waits: sockets go on to the end as they began, a pipe's writer stops at the next wait.
static void flag_while(int kind) {
  int fd[2];
  if (kind < 2) makers[kind](fd);
  else SYS(pipe(fd));
  struct caller c = {.other = 0};
  call_in_thread(&c, do_write, fd[1], buffer, sizeof buffer);
  struct pollfd begun = {.fd = fd[0], .events = POLLIN};
  EQ(poll(&begun, 1, -1), 1); // else the flag may come before the call
  SYS(fcntl(fd[1], F_SETFL, O_NONBLOCK));
  static char in[65536];
  size_t got = 0;
  SYS(fcntl(fd[0], F_SETFL, O_NONBLOCK));
  while (!c.back) { // in small pieces, so that the writer must wait again and again
    ssize_t n = read(fd[0], in, sizeof in);
    if (n > 0) got += (size_t)n;
    else pause_ms(1);
  }
  long n = outcome(&c);
  if (kind < 2) EQ(n, (long)sizeof buffer);
  else CHECK(n < (long)sizeof buffer);
  close_pair(fd);
}
CASE(flag_set_under_way) {
  for (int kind = 0; kind < 3; kind++) flag_while(kind);
  for (int kind = 0; kind < 5; kind++) {
    int fd[2];
    makers[kind](fd);
    struct caller c = {.other = MSG_WAITALL};
    if (kind < 2) {
      EQ(send(fd[1], "0", 1, 0), 1);
      call_in_thread(&c, do_recv, fd[0], buffer, 7);
      for (int left = 1; left != 0; sched_yield()) SYS(ioctl(fd[0], FIONREAD, &left)); // it has begun
      SYS(fcntl(fd[0], F_SETFL, O_NONBLOCK));
      EQ(send(fd[1], "abc", 3, 0), 3);
      come_to_rest(&c);
      CHECK(!c.back);
      EQ(send(fd[1], "def", 3, 0), 3);
      EQ(outcome(&c), 7);
    } else {
      long n = -EAGAIN;
      for (int tries = 0; n == -EAGAIN && tries < 20; tries++) { // the flag may come before the call
        if (tries) EQ(recv(fd[0], buffer, 3, 0), 3);
        SYS(fcntl(fd[0], F_SETFL, 0));
        call_in_thread(&c, do_recv, fd[0], buffer, 3);
        come_to_rest(&c);
        SYS(fcntl(fd[0], F_SETFL, O_NONBLOCK));
        EQ(send(fd[1], "abc", 3, 0), 3);
        n = outcome(&c);
      }
      EQ(n, 3);
    }
    call_in_thread(&c, do_recv, fd[0], buffer, 3);
    EQ(outcome(&c), -EAGAIN);
    close_pair(fd);
  }
}

// Corked data is not there; a deferred connection is not there until it has something to say.
CASE(held_back) {
  int fd[2], on = 1, seconds = 5;
  struct caller c = {.other = 0};
  tcp_pair(fd);
  call_in_thread(&c, do_recv, fd[0], buffer, 100);
  come_to_rest(&c);
  EQ(send(fd[1], "abc", 3, MSG_MORE), 3);
  EQ(send(fd[1], "def", 3, 0), 3);
  EQ(outcome(&c), 6);
  call_in_thread(&c, do_recvmsg, fd[0], buffer, 100);
  come_to_rest(&c);
  struct iovec v = {"gh", 2};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  EQ(sendmsg(fd[1], &m, MSG_MORE), 2);
  EQ(sendmsg(fd[1], &m, MSG_EOR), 2);
  EQ(outcome(&c), 4);
  close_pair(fd);
  int listener = listening(3);
  SYS(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds));
  SYS(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  call_in_thread(&c, do_accept, listener, NULL, 0);
  come_to_rest(&c);
  int client = connected_to(listener);
  pause_ms(10);
  CHECK(!c.back);
  write_byte(client);
  long served = outcome(&c);
  SYS(served);
  read_byte((int)served);
  SYS(close((int)served));
  SYS(close(client));
  SYS(close(listener));
}

static long do_recvmsg_control(struct caller* c) {
  char control[CMSG_SPACE(sizeof(int))];
  struct iovec v = {c->bytes, c->size};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = (size_t)(c->other >> 8)};
  long n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC);
  c->other = (int)(m.msg_flags & ~MSG_CMSG_CLOEXEC);
  struct cmsghdr* h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
  if (h && h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof(int))) {
    int fd;
    memcpy(&fd, CMSG_DATA(h), sizeof fd);
    EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
    SYS(close(fd));
    c->other |= 1 << 20;
  }
  return n;
}
// Two descriptors are sent, there is room for one, or none.
CASE(control_data_cut_short) {
  for (size_t room = 0; room <= CMSG_SPACE(sizeof(int)); room += CMSG_SPACE(sizeof(int))) {
    int fd[2], two[2] = {0, 1};
    unix_made(fd);
    struct caller c = {.other = (int)room << 8};
    call_in_thread(&c, do_recvmsg_control, fd[0], buffer, 10);
    come_to_rest(&c);
    char space[CMSG_SPACE(sizeof two)] = {0};
    struct iovec v = {"abc", 3};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = CMSG_SPACE(sizeof(int))};
    struct cmsghdr* h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(h), two, sizeof(int));
    EQ(sendmsg(fd[1], &m, 0), 3);
    long n = outcome(&c);
    printf("room %zu: %ld, flags %x\n", room, n, (unsigned)c.other);
    close_pair(fd);
  }
}

// Connections in the making: a blocking connect on one under way, and what poll says of refused and made ones.
static struct sockaddr_in target;
static long do_connect(struct caller* c) { return connect(c->fd, (struct sockaddr*)&target, sizeof target); }
CASE(connecting) {
  int listener = listening(2);
  target = address_of(listener);
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connect(s, (struct sockaddr*)&target, sizeof target) != 0) EQ(errno, EINPROGRESS);
  SYS(fcntl(s, F_SETFL, 0));
  struct caller c = {.other = 0};
  call_in_thread(&c, do_connect, s, NULL, 0);
  long r = outcome(&c);
  CHECK(r == 0 || r == -EISCONN);
  call_in_thread(&c, do_poll, s, NULL, POLLOUT);
  EQ(outcome(&c), POLLOUT);
  write_byte(s);
  int served = accept(listener, NULL, NULL);
  read_byte(served);
  SYS(close(served));
  SYS(close(listener));
  SYS(close(s));
  SYS(s = socket(AF_INET, SOCK_STREAM, 0));
  call_in_thread(&c, do_connect, s, NULL, 0);
  EQ(outcome(&c), -ECONNREFUSED);
  call_in_thread(&c, do_poll, s, NULL, POLLIN | POLLOUT);
  printf("refused: poll says %lx\n", outcome(&c));
  SYS(close(s));
}

// The error queue never waits, and says so by poll.
CASE(error_queue) {
  int s = bound(SOCK_DGRAM), on = 1, other = bound(SOCK_DGRAM);
  struct sockaddr_in to = address_of(other);
  SYS(close(other));
  SYS(setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof on));
  struct caller c = {.other = MSG_ERRQUEUE};
  call_in_thread(&c, do_recv, s, buffer, 10);
  EQ(outcome(&c), -EAGAIN);
  call_in_thread(&c, do_poll, s, NULL, 0);
  come_to_rest(&c);
  EQ(sendto(s, "abc", 3, 0, (struct sockaddr*)&to, sizeof to), 3);
  EQ(outcome(&c), POLLERR);
  c.other = MSG_ERRQUEUE;
  call_in_thread(&c, do_recv, s, buffer, 10);
  EQ(outcome(&c), 3); // the datagram that did not arrive
  SYS(close(s));
}
