// Messages and flags: MSG_WAITALL, MSG_PEEK, MSG_OOB, MSG_TRUNC, MSG_EOR, low-water marks, empty datagrams, packets, control data,
// batches, and errors of sockets that are not connected.
#include "caller.h"
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/uio.h>

static char buffer[1 << 16];
static void unix_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd)); }
static void seqpacket_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd)); }
static void dgram_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd)); }
static void udp_made(int fd[2]) {
  fd[0] = bound(SOCK_DGRAM);
  fd[1] = bound(SOCK_DGRAM);
  struct sockaddr_in a = address_of(fd[0]), b = address_of(fd[1]);
  SYS(connect(fd[1], (struct sockaddr*)&a, sizeof a));
  SYS(connect(fd[0], (struct sockaddr*)&b, sizeof b));
}
static void (*const streams[])(int[2]) = {unix_made, tcp_pair};
static void (*const messages[])(int[2]) = {dgram_made, seqpacket_made, udp_made};

static long do_recv(struct caller* c) { return recv(c->fd, c->bytes, c->size, c->other); }
// How many bytes end the call, as Linux has it: a look at a unix stream takes MSG_WAITALL for nothing, and so do messages.
static size_t enough(void (*make)(int[2]), int flags, size_t size) {
  if (size == 0 || !(flags & MSG_WAITALL)) return size != 0;
  return make == tcp_pair || (make == unix_made && !(flags & MSG_PEEK)) ? size : 1;
}
// The first part is there before, the rest comes while it waits (if it waits), and no more before it is back when that was enough.
static long received(void (*make)(int[2]), int flags, size_t size, const char* first, const char* rest) {
  int fd[2];
  make(fd);
  struct caller c = {.other = flags};
  if (*first) EQ(send(fd[1], first, strlen(first), 0), (ssize_t)strlen(first));
  if (make == tcp_pair && *first) { // loopback is asynchronous
    struct pollfd p = {.fd = fd[0], .events = POLLIN};
    EQ(poll(&p, 1, -1), 1);
  }
  memset(buffer, '.', 64);
  call_in_thread(&c, do_recv, fd[0], buffer, size);
  come_to_rest(&c);
  for (size_t i = 0, sent = strlen(first);; i++, sent++) {
    while (sent >= enough(make, flags, size) && !c.back) pause_ms(1);
    if (!rest[i]) break;
    EQ(send(fd[1], &rest[i], 1, MSG_NOSIGNAL), 1);
    pause_ms(2);
  }
  bool back = c.back;
  if (!back) SYS(shutdown(fd[1], SHUT_WR));
  long r = outcome(&c);
  printf("flags %x: %ld %.*s%s\n", flags, r, (int)size, buffer, back ? "" : ", at the end of the stream");
  close_pair(fd);
  return r;
}
CASE(waitall_and_peek) {
  for (int i = 0; i < 2; i++) {
    received(streams[i], 0, 8, "", "abc");
    received(streams[i], MSG_WAITALL, 8, "abc", "defgh");
    received(streams[i], MSG_WAITALL, 8, "abc", "de");
    received(streams[i], MSG_PEEK, 8, "abc", "de");
    received(streams[i], MSG_PEEK | MSG_WAITALL, 3, "abc", "");
    received(streams[i], MSG_PEEK | MSG_WAITALL, 8, "abc", i ? "defgh" : "");
    received(streams[i], MSG_PEEK | MSG_WAITALL, 8, "abc", i ? "d" : "");
    received(streams[i], MSG_WAITALL, 0, "abc", "");
  }
  received(tcp_pair, MSG_TRUNC, 8, "abc", "de"); // thrown away, counted
  received(tcp_pair, MSG_TRUNC | MSG_WAITALL, 5, "abc", "de");
  for (int i = 0; i < 3; i++) {
    received(messages[i], MSG_WAITALL, 8, "abc", "");
    received(messages[i], MSG_PEEK, 2, "abc", "");
    received(messages[i], MSG_TRUNC, 2, "abc", "");
    received(messages[i], MSG_TRUNC | MSG_PEEK, 2, "abc", "");
    received(messages[i], MSG_TRUNC, 2, "", "a");
  }
}

static long read_at_mark(struct caller* c) {
  struct iovec v[2] = {{c->bytes, 1}, {c->bytes + 1, c->size - 1}};
  struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
  switch (c->other) {
  case 0: return read(c->fd, c->bytes, c->size);
  case 1: return readv(c->fd, v, 2);
  case 2: return recv(c->fd, c->bytes, c->size, 0);
  case 3: return recvmsg(c->fd, &m, 0);
  default: return recv(c->fd, c->bytes, c->size, MSG_PEEK);
  }
}
// SO_RCVLOWAT: a read waits until the mark is reached, or all it asked for is there.
CASE(low_water_mark) {
  static const size_t sizes[] = {64, 5, 3};
  for (int kind = 0; kind < 2; kind++)
    for (int call = 0; call < 5; call++)
      for (int s = 0; s < 3; s++) {
        int fd[2], mark = 10;
        if (call == 4 && kind == 0 && sizes[s] > 3) continue; // a peek takes what there is on unix sockets, of one piece
        streams[kind](fd);
        SYS(setsockopt(fd[0], SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark));
        struct caller c = {.other = call};
        const bool late = kind == 1 && sizes[s] > 3; // TCP counts what it has copied already no more
        if (!late) EQ(send(fd[1], "abc", 3, 0), 3);
        call_in_thread(&c, read_at_mark, fd[0], buffer, sizes[s]);
        come_to_rest(&c);
        if (late) EQ(send(fd[1], "abc", 3, 0), 3);
        if (sizes[s] > 3) {
          CHECK(!c.back);
          EQ(send(fd[1], "de", 2, 0), 2);
          if (sizes[s] == 64) {
            come_to_rest(&c);
            CHECK(!c.back);
          }
          if (sizes[s] == 64 || kind == 1) EQ(send(fd[1], "fghij", 5, 0), 5); // TCP wakes nobody below the mark
        }
        EQ(outcome(&c), sizes[s] == 64 ? 10 : (long)sizes[s]);
        close_pair(fd);
      }
}

static long do_recv_mark(struct caller* c) {
  long n = recv(c->fd, c->bytes, c->size, 0);
  int at = ioctl(c->fd, SIOCATMARK, &c->other);
  return at < 0 ? at : n;
}
CASE(urgent_data) {
  int fd[2], on = 1;
  struct caller c;
  for (int in_line = 0; in_line < 2; in_line++) {
    tcp_pair(fd);
    ERRNO(recv(fd[0], buffer, 1, MSG_OOB), EINVAL);
    SYS(setsockopt(fd[0], SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof on));
    call_in_thread(&c, do_recv_mark, fd[0], buffer, 64);
    come_to_rest(&c);
    EQ(send(fd[1], "abc", 3, 0), 3);
    EQ(outcome(&c), 3);
    call_in_thread(&c, do_poll, fd[0], buffer, POLLPRI);
    come_to_rest(&c);
    EQ(send(fd[1], "U", 1, MSG_OOB), 1);
    EQ(outcome(&c), POLLPRI);
    if (!in_line) {
      EQ(recv(fd[0], buffer, 1, MSG_OOB | MSG_PEEK), 1);
      EQ(recv(fd[0], buffer, 1, MSG_OOB), 1);
      EQ(buffer[0], 'U');
      ERRNO(recv(fd[0], buffer, 1, MSG_OOB), EINVAL);
    } else
      ERRNO(recv(fd[0], buffer, 1, MSG_OOB), EINVAL);
    // a read stops at the mark, and the next one goes past it
    EQ(send(fd[1], "def", 3, 0), 3);
    struct pollfd p = {.fd = fd[0], .events = POLLIN};
    EQ(poll(&p, 1, -1), 1);
    long got = 0;
    while (got < 3 + in_line) {
      call_in_thread(&c, do_recv_mark, fd[0], buffer, 64);
      long n = outcome(&c);
      CHECK(n > 0);
      got += n;
    }
    EQ(got, 3 + in_line);
    // an urgent byte out of line does not end a wait for data
    call_in_thread(&c, do_recv_mark, fd[0], buffer, 64);
    come_to_rest(&c);
    EQ(send(fd[1], "V", 1, MSG_OOB), 1);
    come_to_rest(&c);
    EQ(c.back, in_line);
    EQ(send(fd[1], "g", 1, 0), 1);
    EQ(outcome(&c), 1);
    close_pair(fd);
  }
}

static long do_recvmsg(struct caller* c) {
  static char control[256];
  struct iovec v = {c->bytes, c->size};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  long n = recvmsg(c->fd, &m, c->other);
  c->other = m.msg_flags | (m.msg_controllen ? 1 << 20 : 0);
  if (n >= 0 && m.msg_controllen) {
    struct cmsghdr* h = CMSG_FIRSTHDR(&m);
    for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) close(((int*)CMSG_DATA(h))[i]);
  }
  return n;
}
// Zero-length messages are messages; zero-length reads and writes on streams are nothing.
CASE(empty_messages) {
  struct caller c;
  for (int i = 0; i < 3; i++) {
    int fd[2];
    messages[i](fd);
    call_in_thread(&c, do_read, fd[0], buffer, 10);
    come_to_rest(&c);
    EQ(send(fd[1], "", 0, 0), 0);
    EQ(outcome(&c), 0);
    EQ(write(fd[1], "", 0), 0);
    EQ(send(fd[1], "abc", 3, 0), 3);
    call_in_thread(&c, do_read, fd[0], buffer, 10);
    long n = outcome(&c); // Linux: write of nothing sends an empty datagram too
    printf("after an empty write: %ld\n", n);
    if (n == 0) EQ(recv(fd[0], buffer, 0, 0), 0); // takes the message, all of it thrown away
    ERRNO(recv(fd[0], buffer, 1, MSG_DONTWAIT), EAGAIN);
    struct iovec none[2] = {{buffer, 0}, {buffer, 0}};
    struct msghdr m = {.msg_iov = none, .msg_iovlen = 2};
    EQ(sendmsg(fd[1], &m, 0), 0);
    call_in_thread(&c, do_read, fd[0], buffer, 10);
    EQ(outcome(&c), 0);
    close_pair(fd);
  }
  for (int i = 0; i < 2; i++) {
    int fd[2];
    streams[i](fd);
    EQ(write(fd[1], "", 0), 0);
    EQ(send(fd[1], "", 0, 0), 0);
    ERRNO(recv(fd[0], buffer, 1, MSG_DONTWAIT), EAGAIN);
    call_in_thread(&c, do_read, fd[0], buffer, 0);
    EQ(outcome(&c), 0);
    struct iovec none[2] = {{buffer, 0}, {buffer, 0}};
    EQ(readv(fd[0], none, 2), 0);
    EQ(writev(fd[1], none, 2), 0);
    close_pair(fd);
  }
}

CASE(seqpacket_and_packets) {
  int fd[2];
  struct caller c = {0};
  seqpacket_made(fd);
  EQ(write(fd[1], "abcdef", 6), 6);
  EQ(send(fd[1], "gh", 2, MSG_EOR), 2);
  EQ(send(fd[1], "i", 1, 0), 1);
  for (int i = 0; i < 3; i++) {
    c.other = 0;
    call_in_thread(&c, do_recvmsg, fd[0], buffer, 4);
    long n = outcome(&c);
    printf("%ld flags %x\n", n, (unsigned)c.other);
  }
  SYS(close(fd[1]));
  call_in_thread(&c, do_read, fd[0], buffer, 4);
  EQ(outcome(&c), 0);
  SYS(close(fd[0]));
  SYS(pipe2(fd, O_DIRECT)); // a packet a read
  EQ(write(fd[1], "abc", 3), 3);
  EQ(write(fd[1], "de", 2), 2);
  for (int i = 0; i < 2; i++) {
    call_in_thread(&c, do_read, fd[0], buffer, 100);
    EQ(outcome(&c), 3 - i);
  }
  EQ(write(fd[1], "abc", 3), 3);
  EQ(write(fd[1], "de", 2), 2);
  call_in_thread(&c, do_read, fd[0], buffer, 1); // the rest of the packet is lost
  EQ(outcome(&c), 1);
  call_in_thread(&c, do_read, fd[0], buffer, 100);
  EQ(outcome(&c), 2);
  close_pair(fd);
}

static void send_with_fd(int to, const char* text, int passed) {
  char space[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {(char*)text, strlen(text)};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  if (passed >= 0) {
    m.msg_control = space;
    m.msg_controllen = sizeof space;
    struct cmsghdr* h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(h), &passed, sizeof(int));
  }
  EQ(sendmsg(to, &m, 0), (ssize_t)strlen(text));
}
// Passed descriptors are borders in the stream, for MSG_WAITALL too.
CASE(control_data_and_waitall) {
  for (int flags = 0; flags <= MSG_WAITALL; flags += MSG_WAITALL)
    for (int order = 0; order < 4; order++) {
      int fd[2];
      unix_made(fd);
      if (order & 1) send_with_fd(fd[1], "ab", 0);
      send_with_fd(fd[1], "cd", -1);
      if (order & 2) send_with_fd(fd[1], "ef", 0);
      send_with_fd(fd[1], "gh", -1);
      SYS(shutdown(fd[1], SHUT_WR));
      for (;;) {
        struct caller c = {.other = flags};
        memset(buffer, 0, 64);
        call_in_thread(&c, do_recvmsg, fd[0], buffer, 64);
        long n = outcome(&c);
        printf("order %d: %ld %s%s\n", order, n, buffer, c.other >> 20 ? " with a descriptor" : "");
        if (n <= 0) break;
      }
      close_pair(fd);
    }
}

CASE(not_connected) {
  int s = socket(AF_INET, SOCK_STREAM, 0), u = socket(AF_UNIX, SOCK_STREAM, 0), q = socket(AF_UNIX, SOCK_SEQPACKET, 0),
      d = bound(SOCK_DGRAM), all[] = {s, u, q, d};
  signal(SIGPIPE, SIG_IGN);
  for (int i = 0; i < 4; i++) {
    struct caller c = {.other = MSG_WAITALL};
    if (i < 3) {
      call_in_thread(&c, do_read, all[i], buffer, 4);
      printf("read %ld", outcome(&c));
      call_in_thread(&c, do_recv, all[i], buffer, 4);
      printf(", recv %ld", outcome(&c));
    }
    call_in_thread(&c, do_write, all[i], buffer, 4);
    printf(", write %ld", outcome(&c));
    call_in_thread(&c, do_accept, all[i], buffer, 4);
    printf(", accept %ld", outcome(&c));
    call_in_thread(&c, do_poll, all[i], buffer, i < 3 ? POLLIN : POLLOUT);
    printf(", poll %lx\n", outcome(&c));
  }
  for (int i = 0; i < 4; i++) SYS(close(all[i]));
  int fd[2]; // a datagram socket is connected, and again not
  udp_made(fd);
  EQ(send(fd[1], "a", 1, 0), 1);
  struct sockaddr nobody = {.sa_family = AF_UNSPEC};
  SYS(connect(fd[1], &nobody, sizeof nobody));
  ERRNO(send(fd[1], "a", 1, 0), EDESTADDRREQ);
  SYS(close(fd[0])); // the port is closed: the error comes with the next call
  struct sockaddr_in to = address_of(fd[1]);
  fd[0] = bound(SOCK_DGRAM);
  struct sockaddr_in gone = address_of(fd[0]);
  SYS(close(fd[0]));
  (void)to;
  SYS(connect(fd[1], (struct sockaddr*)&gone, sizeof gone));
  struct caller c = {.other = 0};
  call_in_thread(&c, do_recv, fd[1], buffer, 10);
  come_to_rest(&c);
  EQ(send(fd[1], "a", 1, 0), 1);
  EQ(outcome(&c), -ECONNREFUSED);
  SYS(close(fd[1]));
}

// Room in another's queue: unix datagrams to a full receiver wait until it reads.
static struct sockaddr_un name;
static socklen_t name_length;
static long do_sendto(struct caller* c) {
  return sendto(c->fd, c->bytes, c->size, 0, (struct sockaddr*)&name, name_length);
}
CASE(full_receivers) {
  for (int kind = 0; kind < 2; kind++) {
    int fd[2], queued = 0;
    struct caller c;
    if (kind == 0) {
      fd[0] = socket(AF_UNIX, SOCK_DGRAM, 0);
      fd[1] = socket(AF_UNIX, SOCK_DGRAM, 0);
      memset(&name, 0, sizeof name);
      name.sun_family = AF_UNIX;
      int n = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "gmp-message-%d", getpid());
      name_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
      SYS(bind(fd[0], (struct sockaddr*)&name, name_length));
      while (sendto(fd[1], "abc", 3, MSG_DONTWAIT, (struct sockaddr*)&name, name_length) == 3) queued++;
    } else {
      seqpacket_made(fd);
      while (send(fd[1], buffer, 1000, MSG_DONTWAIT) == 1000) queued++;
    }
    EQ(errno, EAGAIN);
    call_in_thread(&c, kind ? do_write : do_sendto, fd[1], buffer, 1000);
    come_to_rest(&c);
    CHECK(!c.back);
    for (int i = 0; i <= queued; i++) CHECK(recv(fd[0], buffer, 1000, 0) > 0);
    EQ(outcome(&c), 1000);
    close_pair(fd);
  }
}

static long do_recvmmsg(struct caller* c) {
  static char bytes[4][16];
  struct iovec v[4];
  struct mmsghdr m[4];
  memset(m, 0, sizeof m);
  for (int i = 0; i < 4; i++) {
    v[i] = (struct iovec){bytes[i], 16};
    m[i].msg_hdr = (struct msghdr){.msg_iov = &v[i], .msg_iovlen = 1};
  }
  struct timespec t = {0, 30000000};
  long n = recvmmsg(c->fd, m, 4, c->other, c->size ? &t : NULL);
  c->size = n > 0 ? m[n - 1].msg_len : 0;
  return n;
}
// recvmmsg looks at its time-out only when a message has come.
CASE(batches) {
  int fd[2];
  struct caller c;
  dgram_made(fd);
  for (int flags = 0; flags < 2; flags++) {
    c.other = flags ? MSG_WAITFORONE : 0;
    call_in_thread(&c, do_recvmmsg, fd[0], NULL, 0);
    come_to_rest(&c);
    EQ(send(fd[1], "abc", 3, 0), 3);
    come_to_rest(&c);
    EQ(c.back, flags);
    if (!flags)
      for (int i = 0; i < 3; i++) EQ(send(fd[1], "abcd", 4, 0), 4);
    EQ(outcome(&c), flags ? 1 : 4);
    EQ(c.size, flags ? 3 : 4);
  }
  c.other = 0; // the time is up long before the first message, which ends the call
  call_in_thread(&c, do_recvmmsg, fd[0], NULL, 1);
  come_to_rest(&c);
  pause_ms(50);
  CHECK(!c.back);
  EQ(send(fd[1], "abcde", 5, 0), 5);
  EQ(outcome(&c), 1);
  EQ(c.size, 5);
  struct timeval limit = {0, 20000}; // with SO_RCVTIMEO what came until then
  SYS(setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  call_in_thread(&c, do_recvmmsg, fd[0], NULL, 0);
  EQ(outcome(&c), -EAGAIN);
  EQ(send(fd[1], "abcde", 5, 0), 5);
  call_in_thread(&c, do_recvmmsg, fd[0], NULL, 0);
  EQ(outcome(&c), 1);
  close_pair(fd);
}
