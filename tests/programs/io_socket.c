// Sockets: many acceptors, bursts, datagrams, connect in all its ways, time limits, ancillary data, shutdown.
#include "net.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/stat.h>

static int listener;
static _Atomic long accepted;

static void* accept_until_shut(void* argument) {
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) {
      EQ(errno, EINVAL); // the listener was shut down
      return argument;
    }
    atomic_fetch_add(&accepted, 1);
    read_byte(fd);
    write_byte(fd);
    SYS(close(fd));
  }
}
static void* connect_and_talk(void* argument) {
  for (int i = 0; i < 10; i++) {
    int fd = connected_to(listener);
    write_byte(fd);
    read_byte(fd);
    char c;
    EQ(read(fd, &c, 1), 0);
    SYS(close(fd));
  }
  return argument;
}

CASE(many_acceptors) {
  pthread_t server[20], client[20];
  accepted = 0;
  listener = listening(128);
  for (int i = 0; i < 20; i++) server[i] = start(accept_until_shut, NULL);
  for (int i = 0; i < 20; i++) client[i] = start(connect_and_talk, NULL);
  for (int i = 0; i < 20; i++) finish(client[i]);
  EQ(accepted, 200);
  SYS(shutdown(listener, SHUT_RDWR)); // wakes every acceptor
  for (int i = 0; i < 20; i++) finish(server[i]);
  SYS(close(listener));
}

// Two arrive at once: both waiters must get one, for each waits till the other has.
static pthread_barrier_t both_served;
static void* accept_one(void* argument) {
  int fd = accept(listener, NULL, NULL);
  SYS(fd);
  pthread_barrier_wait(&both_served);
  SYS(close(fd));
  return argument;
}

CASE(burst_wakes_two_acceptors) {
  OK(pthread_barrier_init(&both_served, NULL, 2));
  listener = listening(10);
  struct sockaddr_in to = address_of(listener);
  for (int i = 0; i < 50; i++) {
    pthread_t a = start(accept_one, NULL), b = start(accept_one, NULL);
    if (i % 2) pause_ms(1);
    int c[2];
    for (int k = 0; k < 2; k++) {
      c[k] = socket(AF_INET, SOCK_STREAM, 0);
      SYS(c[k]);
      SYS(connect(c[k], (struct sockaddr*)&to, sizeof to));
    }
    finish(a);
    finish(b);
    close_pair(c);
  }
  SYS(close(listener));
  OK(pthread_barrier_destroy(&both_served));
}

static int shared_fd;
static void* read_one_of_two(void* argument) {
  read_byte(shared_fd);
  pthread_barrier_wait(&both_served);
  return argument;
}

CASE(burst_wakes_two_readers) {
  OK(pthread_barrier_init(&both_served, NULL, 2));
  for (int kind = 0; kind < 2; kind++) {
    int fd[2];
    if (kind)
      SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    else
      SYS(pipe(fd));
    shared_fd = fd[0];
    for (int i = 0; i < 100; i++) {
      pthread_t a = start(read_one_of_two, NULL), b = start(read_one_of_two, NULL);
      if (i % 4 == 0) pause_ms(1);
      EQ(write(fd[1], "xx", 2), 2);
      finish(a);
      finish(b);
    }
    close_pair(fd);
  }
  OK(pthread_barrier_destroy(&both_served));
}

static void* udp_echo(void* argument) {
  int fd = *(int*)argument;
  for (;;) {
    char buffer[2000];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr*)&from, &length);
    SYS(n);
    if (n == 0) return NULL; // an empty datagram ends it
    EQ(sendto(fd, buffer, (size_t)n, 0, (struct sockaddr*)&from, length), n);
  }
}

CASE(udp) {
  int server = bound(SOCK_DGRAM), client = bound(SOCK_DGRAM);
  struct sockaddr_in to = address_of(server);
  pthread_t t = start(udp_echo, &server);
  unsigned char out[1400], in[2000];
  for (size_t i = 1; i <= 300; i++) {
    fill_pattern(out, i, i * 4);
    EQ(sendto(client, out, i * 4, 0, (struct sockaddr*)&to, sizeof to), i * 4);
    EQ(recvfrom(client, in, sizeof in, 0, NULL, NULL), i * 4);
    check_pattern(in, i, i * 4);
  }
  EQ(sendto(client, out, 0, 0, (struct sockaddr*)&to, sizeof to), 0);
  finish(t);
  SYS(connect(client, (struct sockaddr*)&to, sizeof to));
  EQ(send(client, "trunc", 5, 0), 5);
  EQ(recv(server, in, 2, MSG_TRUNC), 5);
  SYS(close(server));
  SYS(close(client));
}

CASE(connect_refused) {
  int closed = listening(1);
  struct sockaddr_in to = address_of(closed);
  SYS(close(closed));
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  SYS(fd);
  ERRNO(connect(fd, (struct sockaddr*)&to, sizeof to), ECONNREFUSED);
  SYS(close(fd));
  fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  SYS(fd);
  int rc = connect(fd, (struct sockaddr*)&to, sizeof to);
  EQ(rc, -1);
  if (errno == EINPROGRESS) {
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    EQ(poll(&p, 1, 10000), 1);
    int error = 0;
    socklen_t length = sizeof error;
    SYS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
    EQ(error, ECONNREFUSED);
  } else
    EQ(errno, ECONNREFUSED);
  SYS(close(fd));
}

CASE(connect_in_progress) {
  listener = listening(5);
  struct sockaddr_in to = address_of(listener);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  SYS(fd);
  if (connect(fd, (struct sockaddr*)&to, sizeof to) != 0) EQ(errno, EINPROGRESS);
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  EQ(poll(&p, 1, 10000), 1);
  int error = 1;
  socklen_t length = sizeof error;
  SYS(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length));
  EQ(error, 0);
  connect(fd, (struct sockaddr*)&to, sizeof to); // Linux says 0 once, the first time it is asked after success
  ERRNO(connect(fd, (struct sockaddr*)&to, sizeof to), EISCONN);
  SYS(close(fd));
  SYS(close(listener));
}

static struct sockaddr_un unix_name;
static socklen_t unix_length;
static _Atomic int connected;
static void* connect_unix(void* argument) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  SYS(fd);
  SYS(connect(fd, (struct sockaddr*)&unix_name, unix_length));
  connected++;
  read_byte(fd);
  SYS(close(fd));
  return argument;
}

CASE(connect_blocks_while_backlog_is_full) {
  memset(&unix_name, 0, sizeof unix_name);
  unix_name.sun_family = AF_UNIX; // abstract: nothing to clean up
  int n = snprintf(unix_name.sun_path + 1, sizeof unix_name.sun_path - 1, "gmp-test-%d", (int)getpid());
  unix_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  SYS(fd);
  SYS(bind(fd, (struct sockaddr*)&unix_name, unix_length));
  SYS(listen(fd, 1));
  pthread_t t[12];
  for (int i = 0; i < 12; i++) t[i] = start(connect_unix, NULL);
  pause_ms(10);
  CHECK(connected <= 2);
  for (int i = 0; i < 12; i++) {
    int c = accept(fd, NULL, NULL);
    SYS(c);
    write_byte(c);
    SYS(close(c));
  }
  for (int i = 0; i < 12; i++) finish(t[i]);
  EQ(connected, 12);
  SYS(close(fd));
}

CASE(accept_flags) {
  listener = listening(5);
  int a = connected_to(listener), b = connected_to(listener);
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  int plain = accept(listener, (struct sockaddr*)&from, &length);
  SYS(plain);
  EQ(from.sin_port, address_of(a).sin_port);
  EQ(fcntl(plain, F_GETFL) & O_NONBLOCK, 0);
  EQ(fcntl(plain, F_GETFD), 0);
  int flagged = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  SYS(flagged);
  EQ(fcntl(flagged, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EQ(fcntl(flagged, F_GETFD), FD_CLOEXEC);
  char c;
  ERRNO(read(flagged, &c, 1), EAGAIN);
  ERRNO(accept4(listener, NULL, NULL, 0x1234567), EINVAL);
  SYS(fcntl(listener, F_SETFL, O_NONBLOCK));
  ERRNO(accept(listener, NULL, NULL), EAGAIN);
  int all[] = {a, b, plain, flagged, listener};
  for (int i = 0; i < 5; i++) SYS(close(all[i]));
}

static void limit(int fd, int which, int ms) {
  struct timeval t = {ms / 1000, ms % 1000 * 1000};
  SYS(setsockopt(fd, SOL_SOCKET, which, &t, sizeof t));
}
static void* limited(void* argument) {
  int fd[2];
  char c;
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
  limit(fd[0], SO_RCVTIMEO, 30);
  int64_t before = now_ns(CLOCK_MONOTONIC);
  ERRNO(recv(fd[0], &c, 1, 0), EAGAIN);
  ERRNO(read(fd[0], &c, 1), EAGAIN);
  CHECK(now_ns(CLOCK_MONOTONIC) - before >= 2 * 25 * 1000000);
  write_byte(fd[1]);
  read_byte(fd[0]);
  limit(fd[0], SO_RCVTIMEO, 0);
  limit(fd[0], SO_SNDTIMEO, 20);
  char* block = calloc(1, 1 << 20);
  ssize_t n;
  while ((n = send(fd[0], block, 1 << 20, 0)) > 0) {
  } // part of it, then nothing
  EQ(errno, EAGAIN);
  free(block);
  close_pair(fd);
  int l = listening(1);
  limit(l, SO_RCVTIMEO, 20);
  ERRNO(accept(l, NULL, NULL), EAGAIN);
  SYS(close(l));
  return argument;
}

CASE(time_limits) {
  pthread_t t[10];
  for (int i = 0; i < 10; i++) t[i] = start(limited, NULL);
  for (int i = 0; i < 10; i++) finish(t[i]);
}

static void* receive_fd(void* argument) {
  char byte, space[CMSG_SPACE(sizeof(int))];
  struct iovec v = {&byte, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
  EQ(recvmsg(*(int*)argument, &m, 0), 1);
  struct cmsghdr* h = CMSG_FIRSTHDR(&m);
  CHECK(h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS);
  int fd;
  memcpy(&fd, CMSG_DATA(h), sizeof fd);
  read_byte(fd);
  SYS(close(fd));
  return NULL;
}

CASE(descriptor_in_a_message) {
  for (int i = 0; i < 50; i++) {
    int fd[2], p[2];
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    SYS(pipe(p));
    pthread_t t = start(receive_fd, &fd[0]);
    char byte = 'm', space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec v = {&byte, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr* h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &p[0], sizeof(int));
    EQ(sendmsg(fd[1], &m, 0), 1);
    SYS(close(p[0])); // the receiver's is another number for the same pipe
    sched_yield();
    write_byte(p[1]);
    finish(t);
    SYS(close(p[1]));
    close_pair(fd);
  }
}

static void* receive_many(void* fd) {
  struct mmsghdr m[8];
  struct iovec v[8];
  char buffer[8][16];
  memset(m, 0, sizeof m);
  for (int i = 0; i < 8; i++) {
    v[i] = (struct iovec){buffer[i], 16};
    m[i].msg_hdr.msg_iov = &v[i];
    m[i].msg_hdr.msg_iovlen = 1;
  }
  long got = 0;
  while (got < 30) {
    int n = recvmmsg(*(int*)fd, m, 8, MSG_WAITFORONE, NULL);
    SYS(n);
    CHECK(n > 0);
    got += n;
  }
  return (void*)got;
}

CASE(message_vectors) {
  int fd[2];
  SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd));
  pthread_t t = start(receive_many, &fd[0]);
  struct mmsghdr m[3];
  struct iovec v = {"datagram", 8};
  memset(m, 0, sizeof m);
  for (int i = 0; i < 3; i++) m[i].msg_hdr = (struct msghdr){.msg_iov = &v, .msg_iovlen = 1};
  for (int sent = 0; sent < 30;) {
    int want = 30 - sent < 3 ? 30 - sent : 3, n = sendmmsg(fd[1], m, (unsigned)want, 0);
    SYS(n);
    sent += n;
  }
  EQ((intptr_t)finish(t), 30);
  close_pair(fd);
}

static void* recv_result(void* fd) {
  char c;
  return (void*)(intptr_t)recv(*(int*)fd, &c, 1, 0);
}

CASE(shutdown_wakes_receiver) {
  for (int i = 0; i < 20; i++) {
    int fd[2];
    if (i % 2)
      tcp_pair(fd);
    else
      SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    pthread_t a = start(recv_result, &fd[0]), b = start(recv_result, &fd[0]);
    if (i % 3 == 0) pause_ms(2);
    SYS(shutdown(fd[0], SHUT_RD));
    EQ((intptr_t)finish(a), 0);
    EQ((intptr_t)finish(b), 0);
    close_pair(fd);
  }
}
