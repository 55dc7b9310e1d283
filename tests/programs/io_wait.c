// poll, select and epoll to the letter: odd arguments and events, instances inside instances, one-shot and exclusive watches, many
// threads on one instance, high numbers, FIFOs without writers.
#include "caller.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static char buffer[65536];

// In a thread: main alone would not do before the first one was made.
static void in_thread(void* (*body)(void*)) { finish(start(body, NULL)); }

static void* odd_polls(void* argument) {
  int fd[2], u[2];
  SYS(pipe(fd));
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, u));
  EQ(poll(NULL, 0, 0), 0);
  EQ(poll(NULL, 0, 3), 0);
  struct pollfd p[3] = {{.fd = -1, .events = POLLIN, .revents = 9}, {.fd = -7, .events = POLLOUT, .revents = 9}, {.fd = fd[0]}};
  EQ(poll(p, 2, 3), 0);
  EQ(p[0].revents | p[1].revents, 0);
  EQ(poll(p, 3, 3), 0); // events 0: only errors
  write_byte(fd[1]);
  EQ(poll(p, 3, 3), 0);
  SYS(close(fd[1]));
  EQ(poll(p, 3, -1), 1);
  EQ(p[2].revents, POLLHUP);
  p[2].fd = 12345;
  EQ(poll(p, 3, -1), 1);
  EQ(p[2].revents, POLLNVAL);
  static void* volatile nowhere = (void*)8;
  ERRNO(poll(nowhere, 1, 0), EFAULT);
  struct rlimit files;
  SYS(getrlimit(RLIMIT_NOFILE, &files));
  static struct pollfd* many;
  many = calloc(files.rlim_cur + 1, sizeof *many);
  ERRNO(poll(many, files.rlim_cur + 1, 0), EINVAL);
  free(many);
  p[2] = (struct pollfd){.fd = u[0], .events = POLLRDHUP};
  SYS(shutdown(u[1], SHUT_WR));
  EQ(poll(p, 3, -1), 1);
  EQ(p[2].revents, POLLRDHUP);
  p[2].events = POLLRDNORM | POLLWRNORM | POLLWRBAND;
  EQ(poll(p, 3, -1), 1);
  printf("unix half shut: %x\n", p[2].revents);
  SYS(close(u[1]));
  EQ(poll(p, 3, -1), 1);
  printf("unix closed: %x\n", p[2].revents);
  SYS(close(fd[0]));
  SYS(close(u[0]));
  return argument;
}
CASE(odd_polls) { in_thread(odd_polls); }

// Each event alone, while blocked.
static long events_while(int fd, short events, void (*cause)(int), int with) {
  struct caller c;
  call_in_thread(&c, do_poll, fd, NULL, (size_t)events);
  come_to_rest(&c);
  cause(with);
  return outcome(&c);
}
static void shut_writing(int fd) { SYS(shutdown(fd, SHUT_WR)); }
static void shut_all(int fd) { SYS(close(fd)); }
static void reset(int fd) {
  struct linger at_once = {1, 0};
  SYS(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
  SYS(close(fd));
}
static void empty(int fd) {
  SYS(fcntl(fd, F_SETFL, O_NONBLOCK));
  while (read(fd, buffer, sizeof buffer) > 0) {
  }
}
CASE(events_alone) {
  int fd[2];
  static const short wanted[] = {0, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLIN | POLLRDHUP};
  for (int kind = 0; kind < 3; kind++)
    for (int w = 0; w < 6; w++)
      for (int how = 0; how < 3; how++) {
        if (kind == 0) SYS(pipe(fd));
        if (kind == 1) SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
        if (kind == 2) tcp_pair(fd);
        bool wakes = kind == 0 || how == 1 || (how == 2 && kind == 2) || (wanted[w] & (POLLIN | POLLRDHUP)) || how == 2;
        if (wanted[w] == POLLOUT && kind != 0) wakes = true; // writable at once
        if (kind == 2 && how == 1 && !(wanted[w] & ~POLLPRI)) wakes = false; // half-closed by the other end: no hang-up
        if (kind == 0 && how == 0) wakes = false;                            // no half
        if (wakes) {
          long r = events_while(fd[0], wanted[w], how == 0 ? shut_writing : how == 1 || kind == 0 ? shut_all : reset, fd[1]);
          printf("kind %d wanted %x how %d: %lx\n", kind, wanted[w], how, wanted[w] == POLLOUT ? 0 : r);
        }
        if (!wakes || how == 0) SYS(close(fd[1]));
        SYS(close(fd[0]));
      }
  SYS(pipe(fd)); // room to write
  SYS(fcntl(fd[1], F_SETFL, O_NONBLOCK));
  while (write(fd[1], buffer, sizeof buffer) > 0) {
  }
  EQ(events_while(fd[1], POLLOUT, empty, fd[0]), POLLOUT);
  while (write(fd[1], buffer, sizeof buffer) > 0) {
  }
  EQ(events_while(fd[1], POLLOUT, shut_all, fd[0]) & POLLERR, POLLERR);
  SYS(close(fd[1]));
}

static long do_epoll(struct caller* c) {
  struct epoll_event e[4];
  long r = epoll_wait(c->fd, e, 4, -1);
  return r == 1 ? (long)e[0].data.u32 : r;
}
static void watch(int epoll, int fd, uint32_t events, uint32_t label) {
  struct epoll_event e = {.events = events, .data.u32 = label};
  SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e));
}
// An instance in an instance in an instance, the innermost stirs; by epoll_wait, poll and select.
CASE(nested_instances) {
  for (int way = 0; way < 3; way++)
    for (int edge = 0; edge < 2; edge++) {
      int a = epoll_create1(0), b = epoll_create1(0), d = epoll_create1(0), event = eventfd(0, 0);
      struct caller c, inner;
      watch(d, event, EPOLLIN | (edge ? EPOLLET : 0), 1);
      call_in_thread(&inner, do_epoll, d, NULL, 0); // someone waits on the innermost already
      come_to_rest(&inner);
      watch(b, d, EPOLLIN | (edge ? EPOLLET : 0), 2);
      watch(a, b, EPOLLIN, 3);
      call_in_thread(&c, way ? do_poll : do_epoll, a, NULL, POLLIN);
      come_to_rest(&c);
      SYS(eventfd_write(event, 1));
      if (!edge) EQ(outcome(&c), way ? POLLIN : 3); // with an edge only one of the two need see it
      EQ(outcome(&inner), 1);
      if (edge) {
        while (!c.back) SYS(eventfd_write(event, 1));
        outcome(&c);
      }
      ERRNO(epoll_ctl(d, EPOLL_CTL_ADD, a, &(struct epoll_event){.events = EPOLLIN}), ELOOP);
      int all[] = {a, b, d, event};
      for (int i = 0; i < 4; i++) SYS(close(all[i]));
    }
  // As deep as the system allows, with a thread waiting at every level before the next is added.
  int level[6], depth = 0, event = eventfd(0, 0);
  struct caller c[6];
  int below = event;
  for (; depth < 6; depth++) {
    level[depth] = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)depth};
    if (epoll_ctl(level[depth], EPOLL_CTL_ADD, below, &e) != 0) break;
    call_in_thread(&c[depth], do_epoll, level[depth], NULL, 0);
    come_to_rest(&c[depth]);
    below = level[depth];
  }
  printf("depth %d, errno %d\n", depth, depth < 6 ? errno : 0);
  SYS(eventfd_write(event, 1));
  for (int i = 0; i < depth; i++) EQ(outcome(&c[i]), i);
  for (int i = 0; i < depth; i++) SYS(close(level[i]));
  if (depth < 6) SYS(close(level[depth]));
  SYS(close(event));
}

// Each one-shot event is one thread's, and none comes until the watch is armed again.
static int shared, events[32];
static _Atomic long taken[32], total;
static void* take_events(void* argument) {
  const long rounds = (long)argument;
  for (;;) {
    struct epoll_event e[3];
    int n = epoll_wait(shared, e, 3, -1);
    SYS(n);
    for (int i = 0; i < n; i++) {
      if (e[i].data.u32 == 99) return NULL;
      uint64_t value;
      EQ(read(events[e[i].data.u32], &value, 8), 8);
      taken[e[i].data.u32] += (long)value;
      if (++total == rounds) watch(shared, events[31], EPOLLIN, 99); // readable for ever: ends all
      struct epoll_event again = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = e[i].data.u32};
      SYS(epoll_ctl(shared, EPOLL_CTL_MOD, events[e[i].data.u32], &again));
    }
  }
}
static void* give_events(void* argument) {
  for (int round = 0; round < 50; round++)
    for (int i = 0; i < 16; i++) {
      long had = taken[i];
      SYS(eventfd_write(events[i], 1));
      if (round % 2)
        while (taken[i] == had) sched_yield(); // each armed again before the next, or several at once
    }
  return argument;
}
CASE(one_shot) {
  shared = epoll_create1(0);
  total = 0;
  for (int i = 0; i < 32; i++) {
    taken[i] = 0;
    events[i] = eventfd(0, 0);
    if (i < 16) watch(shared, events[i], EPOLLIN | EPOLLONESHOT, (uint32_t)i);
  }
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(take_events, (void*)-1);
  finish(start(give_events, NULL));
  for (int i = 0; i < 16; i++)
    while (taken[i] < 50) sched_yield();
  SYS(eventfd_write(events[31], 1));
  watch(shared, events[31], EPOLLIN, 99);
  for (int i = 0; i < 8; i++) finish(t[i]);
  for (int i = 0; i < 16; i++) EQ(taken[i], 50);
  for (int i = 0; i < 32; i++) SYS(close(events[i]));
  SYS(close(shared));
}

// Exclusive watches of one listener by an instance a thread: every connection finds somebody, nobody is refused one.
static int listener;
static _Atomic long served;
static void* serve(void* argument) {
  int epoll = epoll_create1(0);
  watch(epoll, listener, EPOLLIN | EPOLLEXCLUSIVE, 1);
  watch(epoll, *(int*)argument, EPOLLIN, 2);
  for (;;) {
    struct epoll_event e;
    EQ(epoll_wait(epoll, &e, 1, -1), 1);
    if (e.data.u32 == 2) break;
    int fd = accept(listener, NULL, NULL); // non-blocking: another may have been faster
    if (fd < 0) {
      EQ(errno, EAGAIN);
      continue;
    }
    write_byte(fd);
    SYS(close(fd));
    served++;
  }
  SYS(close(epoll));
  return NULL;
}
CASE(exclusive) {
  int end = eventfd(0, 0);
  listener = listening(64);
  SYS(fcntl(listener, F_SETFL, O_NONBLOCK));
  served = 0;
  pthread_t t[6];
  for (int i = 0; i < 6; i++) t[i] = start(serve, &end);
  for (int i = 0; i < 100; i++) {
    int fd[4];
    for (int k = 0; k < 4; k++) fd[k] = connected_to(listener);
    for (int k = 0; k < 4; k++) {
      read_byte(fd[k]);
      SYS(close(fd[k]));
    }
  }
  SYS(eventfd_write(end, 1));
  for (int i = 0; i < 6; i++) finish(t[i]);
  EQ(served, 400);
  SYS(close(listener));
  SYS(close(end));
}

// Many in epoll_wait on one instance: a level-triggered event that nobody takes wakes them all; n edges wake n.
static _Atomic int awake;
static void* wait_once(void* argument) {
  struct epoll_event e;
  EQ(epoll_wait(shared, &e, 1, -1), 1);
  awake++;
  return argument;
}
CASE(many_on_one_instance) {
  for (int way = 0; way < 2; way++) {
    shared = epoll_create1(0);
    awake = 0;
    int event[12];
    pthread_t t[12];
    for (int i = 0; i < 12; i++) {
      event[i] = eventfd(0, 0);
      watch(shared, event[i], EPOLLIN | (way ? EPOLLET : 0), 0);
    }
    for (int i = 0; i < 12; i++) t[i] = start(wait_once, NULL);
    pause_ms(10);
    for (int i = 0; i < (way ? 12 : 1); i++) SYS(eventfd_write(event[i], 1)); // at once: they may share an edge
    for (int i = 0; i < 12; i++) finish(t[i]);
    EQ(awake, 12);
    for (int i = 0; i < 12; i++) SYS(close(event[i]));
    SYS(close(shared));
  }
}

static void* time_outs(void* argument) {
  int epoll = epoll_create1(0), fd[2];
  struct epoll_event e;
  SYS(pipe(fd));
  watch(epoll, fd[0], EPOLLIN, 0);
  struct pollfd p = {.fd = fd[0], .events = POLLIN};
  fd_set in;
  static const int ms[] = {0, 1, 7, 25};
  for (int i = 0; i < 4; i++) {
    int64_t least = ms[i] * 1000000ll, before = now_ns(CLOCK_MONOTONIC);
    struct timespec ts = from_ns(least);
    struct timeval tv = {0, ms[i] * 1000};
    EQ(poll(&p, 1, ms[i]), 0);
    EQ(ppoll(&p, 1, &ts, NULL), 0);
    EQ(epoll_wait(epoll, &e, 1, ms[i]), 0);
    EQ(epoll_pwait(epoll, &e, 1, ms[i], NULL), 0);
    EQ(epoll_pwait2(epoll, &e, 1, &ts, NULL), 0);
    FD_ZERO(&in);
    FD_SET(fd[0], &in);
    EQ(select(fd[0] + 1, &in, NULL, NULL, &tv), 0);
    EQ(tv.tv_sec + tv.tv_usec, 0);
    FD_SET(fd[0], &in);
    EQ(pselect(fd[0] + 1, &in, NULL, NULL, &ts, NULL), 0);
    EQ(now_ns(CLOCK_MONOTONIC) - before >= 7 * least, 1);
  }
  struct timespec bad = {0, 1000000000}, negative = {-1, 0};
  ERRNO(ppoll(&p, 1, &bad, NULL), EINVAL);
  ERRNO(epoll_pwait2(epoll, &e, 1, &bad, NULL), EINVAL);
  ERRNO(pselect(0, NULL, NULL, NULL, &negative, NULL), EINVAL);
  static volatile int minus_one = -1; // unknown to the compiler, which would warn
  ERRNO(epoll_wait(epoll, &e, minus_one, 0), EINVAL);
  static struct epoll_event* volatile nowhere = (void*)8;
  write_byte(fd[1]);
  ERRNO(epoll_wait(epoll, nowhere, 1, -1), EFAULT);
  ERRNO(epoll_wait(fd[0], &e, 1, -1), EINVAL);
  close_pair(fd);
  SYS(close(epoll));
  return argument;
}
CASE(time_outs) { in_thread(time_outs); }

static long do_big_select(struct caller* c) { // sets larger than fd_set, as programs make them
  unsigned long* in = calloc((size_t)c->fd / 64 + 1, 8);
  in[c->fd / 64] |= 1ul << c->fd % 64;
  long r = syscall(SYS_select, c->fd + 1, in, NULL, NULL, NULL);
  bool set = in[c->fd / 64] >> c->fd % 64 & 1;
  free(in);
  return r < 0 ? r : r * 2 + set;
}
static long do_wide_select(struct caller* c) {
  unsigned long* in = calloc((size_t)c->fd / 64 + 1, 8);
  in[c->fd / 64] |= 1ul << c->fd % 64;
  long r = select(c->fd + 1, (fd_set*)in, NULL, NULL, NULL);
  bool set = in[c->fd / 64] >> c->fd % 64 & 1;
  free(in);
  return r < 0 ? r : r * 2 + set;
}
static long do_readv(struct caller* c) {
  struct iovec v = {c->bytes, c->size};
  return readv(c->fd, &v, 1);
}
// Numbers above what any table of ours or the program's may have been made for.
CASE(high_numbers) {
  static const int numbers[] = {1500, 65535, 65536, 70000, 200000};
  struct rlimit files = {1 << 18, 1 << 18}, old;
  SYS(getrlimit(RLIMIT_NOFILE, &old));
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) puts("no more numbers than usual");
  for (int i = 0; i < 5; i++)
    for (int kind = 0; kind < 3; kind++) {
      int fd[2];
      if (kind == 0) SYS(pipe(fd));
      if (kind == 1) SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
      if (kind == 2) tcp_pair(fd);
      int high = fcntl(fd[0], F_DUPFD, numbers[i]);
      if (high < 0) {
        printf("no %d\n", numbers[i]);
        close_pair(fd);
        continue;
      }
      long (*const calls[])(struct caller*) = {do_read, do_readv, do_poll, do_wide_select, do_big_select};
      for (int k = 0; k < 5; k++) {
        struct caller c;
        call_in_thread(&c, calls[k], high, buffer, 1);
        come_to_rest(&c);
        write_byte(fd[1]);
        printf("%d: %ld\n", high, outcome(&c));
        if (k > 1) read_byte(high);
      }
      int epoll = epoll_create1(0), high_epoll = fcntl(epoll, F_DUPFD, numbers[i]);
      watch(high_epoll, high, EPOLLIN, 5);
      struct caller c;
      call_in_thread(&c, do_epoll, high_epoll, NULL, 0);
      come_to_rest(&c);
      write_byte(fd[1]);
      EQ(outcome(&c), 5);
      SYS(close(epoll));
      SYS(close(high_epoll));
      SYS(close(high));
      close_pair(fd);
    }
  SYS(setrlimit(RLIMIT_NOFILE, &old));
}

// A FIFO nobody has opened for writing yet reads as ended, although poll says nothing; once somebody has, it waits.
CASE(fifo_without_writers) {
  char folder[] = "/tmp/gmp-wait-XXXXXX", path[64];
  CHECK(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/f", folder);
  SYS(mkfifo(path, 0600));
  int in = open(path, O_RDONLY | O_NONBLOCK);
  SYS(in);
  SYS(fcntl(in, F_SETFL, 0));
  for (int round = 0; round < 3; round++) {
    struct caller c;
    call_in_thread(&c, do_read, in, buffer, 4);
    EQ(outcome(&c), 0);
    call_in_thread(&c, do_readv, in, buffer, 4);
    EQ(outcome(&c), 0);
    int out = open(path, O_WRONLY);
    SYS(out);
    call_in_thread(&c, do_read, in, buffer, 4);
    come_to_rest(&c);
    CHECK(!c.back);
    write_byte(out);
    EQ(outcome(&c), 1);
    call_in_thread(&c, do_read, in, buffer, 4);
    come_to_rest(&c);
    CHECK(!c.back);
    SYS(close(out));
    EQ(outcome(&c), 0);
  }
  SYS(close(in));
  SYS(unlink(path));
  SYS(rmdir(folder));
}

// More descriptors than a parked wait can hold: the kernel's own call, and the others go on.
enum { MANY = 300 };
static long do_poll_many(struct caller* c) { return poll((struct pollfd*)c->bytes, MANY, -1); }
CASE(very_many) {
  static struct pollfd p[MANY];
  static int fd[MANY];
  for (int i = 0; i < MANY; i++) {
    fd[i] = eventfd(0, 0);
    SYS(fd[i]);
  }
  int epoll = epoll_create1(0);
  for (int i = 0; i < MANY; i++) watch(epoll, fd[i], EPOLLIN, (uint32_t)i);
  struct caller c;
  call_in_thread(&c, do_epoll, epoll, NULL, 0);
  come_to_rest(&c);
  SYS(eventfd_write(fd[277], 1));
  EQ(outcome(&c), 277);
  for (int i = 0; i < MANY; i++) p[i] = (struct pollfd){.fd = fd[i], .events = POLLIN};
  EQ(poll(p, MANY, -1), 1);
  EQ(p[277].revents, POLLIN);
  EQ(read(fd[277], buffer, 8), 8);
  call_in_thread(&c, do_poll_many, 0, (char*)p, 0);
  come_to_rest(&c);
  SYS(eventfd_write(fd[3], 1));
  EQ(outcome(&c), 1);
  EQ(p[3].revents, POLLIN);
  for (int i = 0; i < MANY; i++) SYS(close(fd[i]));
  SYS(close(epoll));
}
