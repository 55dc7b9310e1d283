// Every kind of descriptor: a blocking read that a partner wakes, O_NONBLOCK, time-outs and wake-ups of poll, select
// and epoll, duplicates, many readers, calls that make no sense for it.
#include "kinds.h"
#include <sys/select.h>
#include <sys/uio.h>

static char buffer[8192];

static void each(void (*look)(const struct kind*, struct made*), bool readable_only) {
  kinds_begin();
  for (int i = 0; i < KINDS; i++) {
    struct made m;
    if (readable_only && !kinds[i].expected) continue;
    if (!make_kind(&kinds[i], &m)) continue;
    check_current = kinds[i].name;
    look(&kinds[i], &m);
    done_with(&kinds[i], &m);
  }
  kinds_end();
}

static void read_while_fed(const struct kind* k, struct made* m) {
  struct caller c;
  for (int i = 0; i < 3; i++) {
    call_in_thread(&c, do_read, m->fd[0], buffer, k->size);
    if (i) come_to_rest(&c);
    EQ(fcntl(m->fd[0], F_GETFL) & O_NONBLOCK, 0); // while somebody blocks on it
    k->feed(m);
    EQ(outcome(&c), k->expected);
  }
}
CASE(blocking_read) { each(read_while_fed, true); }

static long do_readv(struct caller* c) {
  struct iovec v[2] = {{c->bytes, c->size}, {c->bytes + c->size, c->size}};
  return readv(c->fd, v, 2);
}
static void readv_while_fed(const struct kind* k, struct made* m) {
  struct caller c;
  call_in_thread(&c, do_readv, m->fd[0], buffer, k->size);
  come_to_rest(&c);
  k->feed(m);
  EQ(outcome(&c), k->expected);
}
CASE(blocking_readv) { each(readv_while_fed, true); }

static void says_eagain(const struct kind* k, struct made* m) {
  int flags = fcntl(m->fd[0], F_GETFL);
  SYS(fcntl(m->fd[0], F_SETFL, flags | O_NONBLOCK));
  ERRNO(read(m->fd[0], buffer, k->size), EAGAIN);
  struct iovec v = {buffer, k->size};
  ERRNO(readv(m->fd[0], &v, 1), EAGAIN);
  k->feed(m);
  struct pollfd p = {.fd = m->fd[0], .events = POLLIN};
  EQ(poll(&p, 1, -1), 1); // a timer fires when it fires
  EQ(read(m->fd[0], buffer, k->size), k->expected);
  ERRNO(read(m->fd[0], buffer, k->size), EAGAIN);
  SYS(fcntl(m->fd[0], F_SETFL, flags));
  read_while_fed(k, m);
  SYS(fcntl(m->fd[0], F_SETFL, flags | O_NONBLOCK));
  ERRNO(read(m->fd[0], buffer, k->size), EAGAIN);
}
static void* each_eagain(void* argument) {
  each(says_eagain, true);
  return argument;
}
CASE(nonblocking) {
  each(says_eagain, true);
  finish(start(each_eagain, NULL));
}

static void polled(const struct kind* k, struct made* m) {
  struct pollfd p = {.fd = m->fd[0], .events = POLLIN, .revents = 77};
  int64_t before = now_ns(CLOCK_MONOTONIC);
  EQ(poll(&p, 1, 12), 0);
  EQ(p.revents, 0);
  CHECK(now_ns(CLOCK_MONOTONIC) - before >= 12000000);
  struct caller c;
  call_in_thread(&c, do_poll, m->fd[0], NULL, POLLIN);
  come_to_rest(&c);
  k->feed(m);
  long r = outcome(&c);
  EQ(r & POLLIN, POLLIN);
  printf("%s: poll says %lx\n", k->name, r);
}
CASE(poll_each) { each(polled, false); }

static long do_select(struct caller* c) {
  fd_set in, except;
  FD_ZERO(&in);
  FD_ZERO(&except);
  FD_SET(c->fd, &in);
  FD_SET(c->fd, &except);
  long r = select(c->fd + 1, &in, NULL, &except, NULL);
  return r < 0 ? r : r * 4 + !!FD_ISSET(c->fd, &in) + 2 * !!FD_ISSET(c->fd, &except);
}
static void selected(const struct kind* k, struct made* m) {
  fd_set in;
  struct timeval t = {0, 12000};
  FD_ZERO(&in);
  FD_SET(m->fd[0], &in);
  EQ(select(m->fd[0] + 1, &in, NULL, NULL, &t), 0);
  CHECK(!FD_ISSET(m->fd[0], &in));
  struct caller c;
  call_in_thread(&c, do_select, m->fd[0], NULL, 0);
  come_to_rest(&c);
  k->feed(m);
  printf("%s: select says %ld\n", k->name, outcome(&c));
}
CASE(select_each) { each(selected, false); }

static long do_epoll(struct caller* c) {
  struct epoll_event e;
  long r = epoll_wait(c->other, &e, 1, -1);
  return r == 1 ? (long)e.events : r;
}
static void epolled(const struct kind* k, struct made* m) {
  static const uint32_t ways[] = {EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLONESHOT, EPOLLIN | EPOLLEXCLUSIVE};
  for (int way = 0; way < 4; way++) {
    int epoll = epoll_create1(0);
    struct epoll_event e = {.events = ways[way]}, out[2];
    int added = epoll_ctl(epoll, EPOLL_CTL_ADD, m->fd[0], &e);
    printf("%s: way %d, added %d\n", k->name, way, added); // instances can't be watched exclusively
    if (added == 0) {
      EQ(epoll_wait(epoll, out, 2, 12), 0);
      struct caller c = {.other = epoll};
      call_in_thread(&c, do_epoll, 0, NULL, 0);
      come_to_rest(&c);
      k->feed(m);
      printf("epoll says %lx", outcome(&c));
      // again: level-triggered yes, edge-triggered and one-shot no
      printf(", then %d\n", epoll_wait(epoll, out, 2, 0));
      if (k->expected) EQ(read(m->fd[0], buffer, k->size), k->expected);
    }
    SYS(close(epoll));
    if (!k->expected) break; // can't be emptied again in one way for all
  }
}
CASE(epoll_each) { each(epolled, false); }

// A reader on a duplicate; the first number is closed under it and reused at once by another file.
static void duplicated(const struct kind* k, struct made* m) {
  struct caller c;
  int copy = dup(m->fd[0]), idle[2];
  SYS(copy);
  SYS(pipe(idle));
  call_in_thread(&c, do_read, copy, buffer, k->size);
  come_to_rest(&c);
  int number = m->fd[0];
  SYS(close(number));
  EQ(dup2(idle[0], number), number);
  m->fd[0] = copy;
  k->feed(m);
  EQ(outcome(&c), k->expected);
  write_byte(idle[1]);
  read_byte(number);
  SYS(close(number));
  close_pair(idle);
  read_while_fed(k, m);
}
CASE(duplicate) { each(duplicated, true); }

static void many(const struct kind* k, struct made* m) {
  enum { READERS = 6 };
  struct caller c[READERS];
  static char bytes[READERS][4096];
  for (int i = 0; i < READERS; i++) call_in_thread(&c[i], do_read, m->fd[0], bytes[i], k->size);
  come_to_rest(&c[READERS - 1]);
  for (int fed = 0; fed < READERS; fed++) {
    k->feed(m);
    for (int back = 0; back <= fed;) { // arrivals may be one: each is taken before the next
      back = 0;
      for (int i = 0; i < READERS; i++) back += c[i].back;
      pause_ms(1);
    }
  }
  for (int i = 0; i < READERS; i++) EQ(outcome(&c[i]), k->expected);
}
CASE(many_readers) { each(many, true); }

// What it answers to calls that don't fit, and to empty ones. All of these come back at once.
static void answers(const struct kind* k, struct made* m) {
  int fd = m->fd[0], value = 0;
  struct iovec v = {buffer, 0};
  socklen_t length = sizeof value;
  long result;
#define SAY(call) (errno = 0, result = (long)(call), printf("%s: %s is %ld, errno %d\n", k->name, #call, result, errno))
  SAY(pread(fd, buffer, 1, 0));
  SAY(pwrite(fd, buffer, 1, 0));
  SAY(lseek(fd, 0, SEEK_CUR));
  if (k->make != make_inotify) SAY(read(fd, buffer, 0)); // waits there
  SAY(readv(fd, &v, 0));
  SAY(writev(fd, &v, 0));
  SAY(recv(fd, buffer, 1, MSG_DONTWAIT));
  SAY(send(fd, buffer, 0, MSG_DONTWAIT));
  SAY(accept(fd, NULL, NULL));
  SAY(getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length));
  SAY(ioctl(fd, FIONREAD, &value));
  SAY(epoll_wait(fd, (struct epoll_event*)buffer, 1, 0));
  SAY(ftruncate(fd, 0));
  SAY(fsync(fd));
  if (!k->expected) SAY(read(fd, buffer, 16));
#undef SAY
  if (k->make == make_pidfd) k->feed(m); // the child may go
}
static void* each_answers(void* argument) {
  each(answers, false);
  return argument;
}
CASE(calls_that_do_not_fit) {
  each(answers, false);
  finish(start(each_answers, NULL));
}
