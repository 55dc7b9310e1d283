// Every kind of descriptor that can be waited for: how to make one, and how to make it readable.
#pragma once
#include "caller.h"
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <mqueue.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <termios.h>

struct made {
  int fd[2];  // [0] is waited for, [1] feeds it (or is -1)
  long extra; // a child, a mapping
};
struct kind {
  const char* name;
  bool (*make)(struct made*); // false: this machine has none; natively and preloaded alike
  void (*feed)(struct made*);
  size_t size;   // of one read
  long expected; // its result; 0: not for reading
};

static char kinds_folder[] = "/tmp/gmp-kinds-XXXXXX";
static inline char* in_folder(const char* name) {
  static char path[100];
  snprintf(path, sizeof path, "%s/%s", kinds_folder, name);
  return path;
}

static inline void feed_byte(struct made* m) { write_byte(m->fd[1]); }
static inline bool make_pipe(struct made* m) { return pipe(m->fd) == 0; }
static inline bool make_packets(struct made* m) { return pipe2(m->fd, O_DIRECT) == 0; }
static inline bool make_fifo(struct made* m) {
  char* path = in_folder("fifo");
  SYS(mkfifo(path, 0600));
  m->fd[0] = open(path, O_RDONLY | O_NONBLOCK);
  m->fd[1] = open(path, O_WRONLY);
  SYS(fcntl(m->fd[0], F_SETFL, 0));
  return unlink(path) == 0;
}
static inline bool make_fifo_both_ways(struct made* m) {
  char* path = in_folder("fifo");
  SYS(mkfifo(path, 0600));
  m->fd[0] = open(path, O_RDWR);
  m->fd[1] = dup(m->fd[0]);
  return unlink(path) == 0;
}
static inline bool make_unix(struct made* m) { return socketpair(AF_UNIX, SOCK_STREAM, 0, m->fd) == 0; }
static inline bool make_unix_dgram(struct made* m) { return socketpair(AF_UNIX, SOCK_DGRAM, 0, m->fd) == 0; }
static inline bool make_seqpacket(struct made* m) { return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, m->fd) == 0; }
static inline bool make_tcp(struct made* m) {
  tcp_pair(m->fd);
  return true;
}
static inline bool make_udp(struct made* m) {
  m->fd[0] = bound(SOCK_DGRAM);
  m->fd[1] = bound(SOCK_DGRAM);
  struct sockaddr_in to = address_of(m->fd[0]);
  return connect(m->fd[1], (struct sockaddr*)&to, sizeof to) == 0;
}
static inline bool make_pty(struct made* m) {
  m->fd[1] = posix_openpt(O_RDWR | O_NOCTTY);
  if (m->fd[1] < 0 || grantpt(m->fd[1]) || unlockpt(m->fd[1])) return false;
  m->fd[0] = open(ptsname(m->fd[1]), O_RDWR | O_NOCTTY);
  struct termios raw;
  SYS(tcgetattr(m->fd[0], &raw));
  cfmakeraw(&raw);
  return tcsetattr(m->fd[0], TCSANOW, &raw) == 0;
}
static inline bool make_pty_master(struct made* m) {
  struct made other;
  if (!make_pty(&other)) return false;
  m->fd[0] = other.fd[1];
  m->fd[1] = other.fd[0];
  return true;
}
static inline bool make_eventfd(struct made* m) { return (m->fd[0] = eventfd(0, 0)) >= 0; }
static inline void feed_eventfd(struct made* m) { SYS(eventfd_write(m->fd[0], 1)); }
static inline bool make_timerfd(struct made* m) { return (m->fd[0] = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0; }
static inline void feed_timerfd(struct made* m) {
  struct itimerspec at_once = {.it_value = {0, 1}};
  SYS(timerfd_settime(m->fd[0], 0, &at_once, NULL));
}
static inline bool make_signalfd(struct made* m) { // SIGUSR2 is blocked in all threads
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  return (m->fd[0] = signalfd(-1, &set, 0)) >= 0;
}
static inline void feed_signalfd(struct made* m) {
  (void)m;
  SYS(kill(getpid(), SIGUSR2));
}
static inline bool make_inotify(struct made* m) {
  m->fd[0] = inotify_init();
  return m->fd[0] >= 0 && inotify_add_watch(m->fd[0], kinds_folder, IN_CREATE) >= 0;
}
static inline void feed_inotify(struct made* m) {
  (void)m;
  SYS(close(open(in_folder("file"), O_CREAT | O_WRONLY, 0600)));
  SYS(unlink(in_folder("file")));
}
static inline bool make_netlink(struct made* m) {
  m->fd[0] = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  return m->fd[0] >= 0;
}
static inline void feed_netlink(struct made* m) { // a request that is answered by one error message
  struct {
    struct nlmsghdr h;
    struct rtgenmsg g;
  } request = {{sizeof request, 999, NLM_F_REQUEST | NLM_F_ACK, 1, 0}, {AF_UNSPEC}};
  EQ(write(m->fd[0], &request, sizeof request), (ssize_t)sizeof request);
}
static inline bool make_pidfd(struct made* m) {
  int hold[2];
  SYS(pipe(hold));
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    char c;
    close(hold[1]);
    _exit(read(hold[0], &c, 1) == 1 ? 0 : 1);
  }
  SYS(close(hold[0]));
  m->extra = child;
  m->fd[1] = hold[1];
  m->fd[0] = (int)syscall(SYS_pidfd_open, child, 0);
  return m->fd[0] >= 0;
}
static inline bool make_epoll(struct made* m) { // an instance with a pipe in it
  int p[2];
  SYS(pipe(p));
  m->fd[0] = epoll_create(4);
  struct epoll_event e = {.events = EPOLLIN};
  SYS(epoll_ctl(m->fd[0], EPOLL_CTL_ADD, p[0], &e));
  m->fd[1] = p[1];
  m->extra = p[0];
  return m->fd[0] >= 0;
}
static inline bool make_queue(struct made* m) {
  char name[64];
  snprintf(name, sizeof name, "/gmp-kinds-%d", getpid());
  struct mq_attr attr = {.mq_maxmsg = 8, .mq_msgsize = 16};
  m->fd[0] = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
  if (m->fd[0] >= 0) SYS(mq_unlink(name));
  return m->fd[0] >= 0;
}
static inline void feed_queue(struct made* m) { SYS(mq_send(m->fd[0], "x", 1, 0)); }
static inline bool make_uring(struct made* m) {
  struct io_uring_params p = {0};
  m->fd[0] = (int)syscall(SYS_io_uring_setup, 4, &p);
  if (m->fd[0] < 0) return false;
  m->extra = (long)malloc(sizeof p);
  memcpy((void*)m->extra, &p, sizeof p);
  return true;
}
static inline void feed_uring(struct made* m) { // one no-op
  struct io_uring_params* p = (void*)m->extra;
  size_t n = p->sq_off.array + p->sq_entries * 4;
  char* ring = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[0], IORING_OFF_SQ_RING);
  struct io_uring_sqe* sqe =
      mmap(NULL, p->sq_entries * sizeof *sqe, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[0], IORING_OFF_SQES);
  CHECK(ring != MAP_FAILED && (void*)sqe != MAP_FAILED);
  memset(sqe, 0, sizeof *sqe);
  sqe->opcode = IORING_OP_NOP;
  *(unsigned*)(ring + p->sq_off.array) = 0;
  __atomic_fetch_add((unsigned*)(ring + p->sq_off.tail), 1, __ATOMIC_SEQ_CST);
  EQ(syscall(SYS_io_uring_enter, m->fd[0], 1, 0, 0, NULL, 0), 1);
  SYS(munmap(ring, n));
  SYS(munmap(sqe, p->sq_entries * sizeof *sqe));
}

static const struct kind kinds[] = {
    {"pipe", make_pipe, feed_byte, 16, 1},
    {"packet pipe", make_packets, feed_byte, 16, 1},
    {"fifo", make_fifo, feed_byte, 16, 1},
    {"fifo opened both ways", make_fifo_both_ways, feed_byte, 16, 1},
    {"unix stream", make_unix, feed_byte, 16, 1},
    {"unix datagram", make_unix_dgram, feed_byte, 16, 1},
    {"unix seqpacket", make_seqpacket, feed_byte, 16, 1},
    {"tcp", make_tcp, feed_byte, 16, 1},
    {"udp", make_udp, feed_byte, 16, 1},
    {"pty", make_pty, feed_byte, 16, 1},
    {"pty master", make_pty_master, feed_byte, 16, 1},
    {"eventfd", make_eventfd, feed_eventfd, 8, 8},
    {"timerfd", make_timerfd, feed_timerfd, 8, 8},
    {"signalfd", make_signalfd, feed_signalfd, 128, 128},
    {"inotify", make_inotify, feed_inotify, 4096, 32},
    {"netlink", make_netlink, feed_netlink, 4096, 40},
    {"pidfd", make_pidfd, feed_byte, 0, 0},
    {"epoll", make_epoll, feed_byte, 0, 0},
    {"message queue", make_queue, feed_queue, 0, 0},
    {"io_uring", make_uring, feed_uring, 0, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static inline bool make_kind(const struct kind* k, struct made* m) {
  *m = (struct made){{-1, -1}, 0};
  if (k->make(m)) return true;
  printf("no %s here\n", k->name);
  return false;
}
static inline void done_with(const struct kind* k, struct made* m) {
  if (k->make == make_pidfd) EQ(waitpid((pid_t)m->extra, NULL, 0), m->extra);
  if (k->make == make_epoll) SYS(close((int)m->extra));
  if (k->make == make_uring) free((void*)m->extra);
  if (m->fd[0] >= 0) SYS(close(m->fd[0]));
  if (m->fd[1] >= 0) SYS(close(m->fd[1]));
}
static inline void kinds_begin(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL)); // for signalfd, before any thread
  memcpy(kinds_folder, "/tmp/gmp-kinds-XXXXXX", sizeof kinds_folder);
  CHECK(mkdtemp(kinds_folder));
}
static inline void kinds_end(void) { SYS(rmdir(kinds_folder)); }
