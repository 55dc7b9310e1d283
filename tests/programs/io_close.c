// A descriptor is closed, replaced or shut down by another thread while a call waits on it. What Linux does is the rule: the
// call holds the file, not the number. Written to both the old file and the number's new one, results tell which was meant.
#include "caller.h"
#include <mqueue.h>
#include <setjmp.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>

static char buffer[1 << 20];

static long do_recv(struct caller* c) { return recv(c->fd, c->bytes, c->size, 0); }
static long do_recv_all(struct caller* c) { return recv(c->fd, c->bytes, c->size, MSG_WAITALL); }
static long do_recvmsg(struct caller* c) {
  struct iovec v = {c->bytes, c->size};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return recvmsg(c->fd, &m, 0);
}
static long do_recvmmsg(struct caller* c) {
  struct iovec v[2] = {{c->bytes, 1}, {c->bytes + 1, 1}};
  struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = &v[0], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &v[1], .msg_iovlen = 1}}};
  return recvmmsg(c->fd, m, 2, 0, NULL);
}
static long do_readv(struct caller* c) {
  struct iovec v = {c->bytes, c->size};
  return readv(c->fd, &v, 1);
}
static long do_select(struct caller* c) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(c->fd, &in);
  long r = select(c->fd + 1, &in, NULL, NULL, NULL);
  return r < 0 ? r : r * 2 + !!FD_ISSET(c->fd, &in);
}
static long do_epoll(struct caller* c) {
  struct epoll_event e;
  long r = epoll_wait(c->fd, &e, 1, -1);
  return r < 0 ? r : r * 1000 + e.data.fd;
}

// The kinds whose closing shows: a stream whose other end is `feed`.
static void pipe_made(int fd[2]) { SYS(pipe(fd)); }
static void unix_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd)); }
static void dgram_made(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd)); }
static void (*const makers[])(int[2]) = {pipe_made, unix_made, tcp_pair, dgram_made};

static void close_it(int fd) { SYS(close(fd)); }
static void replace_it(int fd) { // by a pipe that stays empty
  int idle[2];
  SYS(pipe(idle));
  EQ(dup2(idle[0], fd), fd);
  SYS(close(idle[0]));
}

// The reader has to be blocked first. Was it not yet, it says EBADF (or waits on the new file, which is fed too): tried again.
static void taken_away(long (*call)(struct caller*), int first_kind, int last_kind, size_t size, void (*take)(int)) {
  for (int kind = first_kind; kind <= last_kind; kind++) {
    bool was_blocked = false;
    for (int i = 0; i < 300 && !was_blocked; i++) {
      int fd[2];
      makers[kind](fd);
      int keep = dup(fd[0]); // so that a feed can't fail
      struct caller c;
      call_in_thread(&c, call, fd[0], buffer, size);
      come_to_rest(&c);
      take(fd[0]);
      pause_ms(3);
      if (!c.back) {
        memset(buffer, 0, 2);
        EQ(write(fd[1], "ab", size < 2 ? 1 : 2), size < 2 ? 1 : 2);
        if (kind == 3 && size > 1) write_byte(fd[1]); // a second datagram
        const long r = outcome(&c); // it may be late all the same, and only now see that there is no such descriptor
        was_blocked = r != -EBADF;
        if (was_blocked) EQ(r, size > 1 ? 2 : 1);
        if (was_blocked) EQ(buffer[0], 'a');
      } else
        EQ(outcome(&c), -EBADF);
      SYS(close(keep));
      SYS(close(fd[1]));
      if (take == replace_it) SYS(close(fd[0]));
      closefrom(40); // the idle pipes' other ends
    }
    CHECK(was_blocked);
  }
}
CASE(close_under_read) { taken_away(do_read, 0, 3, 1, close_it); }
CASE(close_under_readv) { taken_away(do_readv, 0, 3, 1, close_it); }
CASE(close_under_recv) { taken_away(do_recv, 1, 3, 1, close_it); }
CASE(close_under_recv_all) { taken_away(do_recv_all, 1, 2, 2, close_it); }
CASE(close_under_recvmsg) { taken_away(do_recvmsg, 1, 3, 1, close_it); }
CASE(close_under_recvmmsg) { taken_away(do_recvmmsg, 3, 3, 2, close_it); }
CASE(dup2_under_read) { taken_away(do_read, 0, 3, 1, replace_it); }
CASE(dup2_under_recvmsg) { taken_away(do_recvmsg, 1, 3, 1, replace_it); }

// A writer goes on into the file that it began with.
static void write_taken_away(void (*take)(int), int kind, bool rest) {
  int fd[2];
  makers[kind](fd);
  struct caller c;
  memset(buffer, 'w', sizeof buffer);
  call_in_thread(&c, do_write, fd[1], buffer, sizeof buffer);
  size_t got = 0;
  static char in[65536];
  while (got < 1000) { // it is under way
    ssize_t n = read(fd[0], in, 1000);
    SYS(n);
    got += (size_t)n;
  }
  if (rest) come_to_rest(&c);
  take(fd[1]);
  ssize_t n;
  while ((n = read(fd[0], in, sizeof in)) > 0) got += (size_t)n;
  EQ(n, 0); // the writer's was the last reference: when it is done the stream ends
  EQ(got, sizeof buffer);
  EQ(outcome(&c), (long)sizeof buffer);
  SYS(close(fd[0]));
  if (take == replace_it) SYS(close(fd[1]));
}
CASE(close_under_write) {
  for (int i = 0; i < 30; i++) write_taken_away(close_it, i % 3, i < 3);
}
CASE(dup2_under_write) {
  for (int i = 0; i < 30; i++) write_taken_away(replace_it, i % 3, i < 3);
}

// The listener is closed under accept: the call has it still, and takes the next connection.
CASE(close_under_accept) {
  for (int way = 0; way < 2; way++) {
    int listener = listening(5);
    struct sockaddr_in to = address_of(listener);
    struct caller c;
    call_in_thread(&c, do_accept, listener, NULL, 0);
    come_to_rest(&c);
    way ? replace_it(listener) : close_it(listener);
    pause_ms(3);
    CHECK(!c.back);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    SYS(connect(client, (struct sockaddr*)&to, sizeof to));
    long fd = outcome(&c);
    SYS(fd);
    write_byte(client);
    read_byte((int)fd);
    SYS(close((int)fd));
    SYS(close(client));
    if (way) SYS(close(listener));
    int late = socket(AF_INET, SOCK_STREAM, 0); // with accept's end the listener is gone
    ERRNO(connect(late, (struct sockaddr*)&to, sizeof to), ECONNREFUSED);
    SYS(close(late));
  }
}

static void replace_by_fed(int fd) {
  int fed[2];
  SYS(pipe(fed));
  write_byte(fed[1]);
  EQ(dup2(fed[0], fd), fd);
  close_pair(fed);
}
// poll and select wait for what they found at first, and look at the numbers again when that stirs.
static void polled_taken_away(long (*call)(struct caller*), void (*take)(int), long expected) {
  for (int kind = 0; kind < 3; kind++) {
    int fd[2];
    makers[kind](fd);
    int keep = dup(fd[0]);
    struct caller c;
    call_in_thread(&c, call, fd[0], NULL, POLLIN);
    come_to_rest(&c);
    pause_ms(5);
    take(fd[0]);
    pause_ms(5);
    CHECK(!c.back);
    write_byte(fd[1]);
    EQ(outcome(&c), expected);
    SYS(close(keep));
    SYS(close(fd[1]));
    if (take == replace_by_fed) SYS(close(fd[0]));
  }
}
CASE(dup2_under_poll) { polled_taken_away(do_poll, replace_by_fed, POLLIN | POLLHUP); }
CASE(close_under_poll) { polled_taken_away(do_poll, close_it, POLLNVAL); }
CASE(close_under_select) { polled_taken_away(do_select, close_it, 3); }

// An instance closed under epoll_wait lives on for it.
CASE(close_under_epoll_wait) {
  for (int way = 0; way < 2; way++) {
    int epoll = epoll_create1(0), event = eventfd(0, 0);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = 7};
    SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &e));
    struct caller c;
    call_in_thread(&c, do_epoll, epoll, NULL, 0);
    come_to_rest(&c);
    pause_ms(5);
    way ? replace_it(epoll) : close_it(epoll);
    pause_ms(3);
    CHECK(!c.back);
    SYS(eventfd_write(event, 1));
    EQ(outcome(&c), 1007);
    SYS(close(event));
    if (way) SYS(close(epoll));
  }
}
// A descriptor that an instance watches is closed by its last number: it is watched no longer, even while waited for.
CASE(close_of_a_watched_one) {
  int epoll = epoll_create1(0), event = eventfd(0, 0), fd[2];
  SYS(pipe(fd));
  struct epoll_event e = {.events = EPOLLIN, .data.fd = 7};
  SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd[0], &e));
  e.data.fd = 8;
  SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, event, &e));
  struct caller c;
  call_in_thread(&c, do_epoll, epoll, NULL, 0);
  come_to_rest(&c);
  SYS(close(fd[0]));
  SYS(close(fd[1])); // its hang-up is nobody's
  pause_ms(3);
  CHECK(!c.back);
  SYS(eventfd_write(event, 1));
  EQ(outcome(&c), 1008);
  SYS(close(event));
  SYS(close(epoll));
}

// Closed by a function of its own; the number is another's at once.
CASE(queue_closed_and_reused) {
  for (int i = 0; i < 8; i++) {
    char name[64];
    snprintf(name, sizeof name, "/gmp-close-%d", getpid());
    struct mq_attr attr = {.mq_maxmsg = 8, .mq_msgsize = 16};
    mqd_t q = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
    SYS(q);
    SYS(mq_unlink(name));
    struct caller c;
    call_in_thread(&c, do_poll, q, NULL, POLLIN);
    come_to_rest(&c);
    SYS(mq_send(q, "a", 1, 0));
    EQ(outcome(&c), POLLIN);
    SYS(mq_close(q));
    int t = i % 2 ? timerfd_create(CLOCK_MONOTONIC, 0) : (int)syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0);
    EQ(t, q);
    call_in_thread(&c, i < 4 ? do_poll : do_read, t, buffer, i < 4 ? POLLIN : 8);
    come_to_rest(&c);
    struct itimerspec at_once = {.it_value = {0, 1}};
    SYS(timerfd_settime(t, 0, &at_once, NULL));
    EQ(outcome(&c), i < 4 ? POLLIN : 8);
    SYS(close(t));
  }
}

// shutdown wakes whoever is blocked, in every direction and call.
static void shut(long (*call)(struct caller*), int which, int how, size_t size, bool fill) {
  for (int kind = 1; kind < 3; kind++) {
    int fd[2];
    makers[kind](fd);
    if (fill)
      while (send(fd[0], buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
      }
    struct caller c;
    call_in_thread(&c, call, fd[0], buffer, size);
    come_to_rest(&c);
    SYS(shutdown(fd[which], how));
    printf("%ld ", outcome(&c));
    close_pair(fd);
  }
  puts(fill ? "writing" : "reading");
}
CASE(shutdown_wakes) {
  signal(SIGPIPE, SIG_IGN);
  shut(do_read, 0, SHUT_RD, 1, false);
  shut(do_read, 0, SHUT_RDWR, 1, false);
  shut(do_read, 1, SHUT_WR, 1, false);
  shut(do_recv_all, 0, SHUT_RD, 10, false);
  shut(do_recv_all, 1, SHUT_WR, 10, false);
  shut(do_recvmsg, 1, SHUT_WR, 10, false);
  shut(do_write, 0, SHUT_WR, 1000, true);
  shut(do_write, 0, SHUT_RDWR, 1000, true);
  shut(do_poll, 1, SHUT_WR, POLLIN | POLLRDHUP, false);
  shut(do_poll, 0, SHUT_RD, POLLIN | POLLRDHUP, false);
  shut(do_poll, 0, SHUT_RDWR, 0, false);
  shut(do_select, 1, SHUT_WR, 1, false);
  for (int how = SHUT_RD; how <= SHUT_RDWR; how++) { // a listener
    int listener = listening(1);
    struct caller c;
    call_in_thread(&c, do_accept, listener, NULL, 0);
    come_to_rest(&c);
    if (how == SHUT_WR) { // does nothing
      SYS(shutdown(listener, how));
      pause_ms(3);
      CHECK(!c.back);
      how = SHUT_RD;
    }
    SYS(shutdown(listener, how));
    EQ(outcome(&c), -EINVAL);
    SYS(close(listener));
    if (how == SHUT_RD) how = SHUT_WR;
  }
}

// Numbers are closed, replaced and made anew under threads that poll, select, wait on instances and read. Nobody may hang or be told of
// what never was, and no number is used up.
enum { NUMBERS = 12, FIRST = 100 };
static _Atomic bool over;
static _Atomic long looks;
static void* look_around(void* argument) {
  const int way = (int)(intptr_t)argument;
  struct pollfd p[NUMBERS];
  for (unsigned i = 0; !over; i++) {
    fd_set in;
    FD_ZERO(&in);
    for (int k = 0; k < NUMBERS; k++) {
      p[k] = (struct pollfd){.fd = FIRST + k, .events = k % 2 ? POLLIN : POLLOUT | POLLRDHUP};
      FD_SET(FIRST + k, &in);
    }
    const int some = (int)(i % NUMBERS);
    long r = 0;
    if (way == 0) r = poll(p, NUMBERS, 2);
    if (way == 1) r = select(FIRST + NUMBERS, &in, NULL, NULL, &(struct timeval){0, 2000});
    if (way == 2) r = poll(&p[some], 1, 1);
    if (way == 3) {
      struct epoll_event e;
      r = epoll_wait(FIRST + some, &e, 1, 1);
    }
    if (r < 0) CHECK(errno == EBADF || (way == 3 && errno == EINVAL));
    looks++;
  }
  return NULL;
}
static int open_numbers(void) {
  int n = 0;
  for (int k = 850; k < 1000; k++) n += fcntl(k, F_GETFD) != -1;
  return n;
}
CASE(numbers_in_motion) {
  const int before = open_numbers();
  pthread_t t[8];
  over = false;
  looks = 0;
  for (intptr_t i = 0; i < 8; i++) t[i] = start(look_around, (void*)(i % 4));
  for (int i = 0; i < 3000 || looks < 200; i++) {
    int made[2] = {-1, -1}, to = FIRST + i * 7 % NUMBERS;
    if (i % 5 == 0) makers[i / 5 % 4](made);
    else if (i % 5 == 1) made[0] = eventfd(1, 0);
    else if (i % 5 == 2) made[0] = epoll_create1(0);
    if (made[0] >= 0) EQ(dup2(made[0], to), to);
    else if (i % 5 == 3) close(to);
    else SYS(close_range((unsigned)to, (unsigned)to, 0));
    for (int k = 0; k < 2; k++)
      if (made[k] >= 0) SYS(close(made[k]));
    if (i % 16 == 0) sched_yield();
  }
  over = true;
  for (int i = 0; i < 8; i++) finish(t[i]);
  for (int k = 0; k < NUMBERS; k++) close(FIRST + k);
  int low[2];
  SYS(pipe(low));
  CHECK(low[1] < 20);
  close_pair(low);
  EQ(open_numbers(), before);
}

// A write is left by a handler's jump, or by cancellation, wherever it stands: the descriptor closed after that is closed.
static sigjmp_buf away;
static atomic_bool may_jump;
static void jumps(int number) {
  (void)number;
  if (atomic_exchange(&may_jump, false)) siglongjmp(away, 1);
}
static void* written_until_the_jump(void* fd) {
  if (sigsetjmp(away, 1) == 0) {
    may_jump = true;
    for (int i = 0; i < 4; i++) CHECK(write(*(int*)fd, buffer, sizeof buffer) > 0);
  }
  may_jump = false;
  SYS(close(*(int*)fd));
  return NULL;
}
static bool anywhere;
static void* written_until_cancelled(void* fd) {
  OK(pthread_setcanceltype(anywhere ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED, NULL));
  for (;;) CHECK(write(*(int*)fd, buffer, sizeof buffer) > 0);
}
static void left_and_closed(void* (*body)(void*), bool cancel) {
  for (int i = 0; i < 60; i++) {
    int fd[2];
    makers[i % 3](fd);
    anywhere = i % 2;
    pthread_t t = start(body, &fd[1]);
    static char in[65536];
    for (int got = 0; got < i * 1000 + 1;) {
      ssize_t n = read(fd[0], in, 1000);
      SYS(n);
      got += (int)n;
    }
    if (i % 4 == 0) pause_ms(1);
    OK(cancel ? pthread_cancel(t) : pthread_kill(t, SIGUSR1));
    if (cancel) {
      void* result;
      OK(pthread_join(t, &result));
      CHECK(result == PTHREAD_CANCELED);
      SYS(close(fd[1]));
    }
    while (read(fd[0], in, sizeof in) > 0) { // to its end
    }
    if (!cancel) finish(t);
    SYS(close(fd[0]));
  }
}
CASE(jump_out_of_a_write) {
  struct sigaction a = {.sa_handler = jumps};
  SYS(sigaction(SIGUSR1, &a, NULL));
  left_and_closed(written_until_the_jump, false);
}
CASE(cancelled_in_a_write) { left_and_closed(written_until_cancelled, true); }

// A handler forks in the middle of a write. The child writes elsewhere and ends; the write goes on.
static atomic_int forked;
static int pair_in_child;
static void forks(int number) {
  (void)number;
  int error = errno, fd[2];
  SYS(pipe(fd));
  pid_t p = fork();
  SYS(p);
  if (p == 0) {
    close(pair_in_child);
    _exit(write(fd[1], buffer, 60000) == 60000 && close(fd[1]) == 0 && close(fd[0]) == 0 ? 7 : 8);
  }
  int status;
  EQ(waitpid(p, &status, 0), p);
  EQ(WEXITSTATUS(status), 7);
  SYS(close(fd[0]));
  SYS(close(fd[1]));
  forked++;
  errno = error;
}
static atomic_bool writes_over;
static void* writes_while_forked(void* fd) {
  size_t done = 0;
  while (done < sizeof buffer) {
    ssize_t n = write(*(int*)fd, buffer, sizeof buffer - done); // a part, where a handler has run
    SYS(n);
    done += (size_t)n;
  }
  writes_over = true;
  return NULL;
}
CASE(fork_in_a_write) {
  struct sigaction a = {.sa_handler = forks, .sa_flags = SA_RESTART};
  SYS(sigaction(SIGUSR1, &a, NULL));
  for (int i = 0; i < 12; i++) {
    int fd[2];
    makers[i % 3](fd);
    pair_in_child = fd[1];
    writes_over = false;
    pthread_t t = start(writes_while_forked, &fd[1]);
    static char in[65536];
    size_t got = 0;
    for (int k = 0; got < sizeof buffer; k++) {
      ssize_t n = read(fd[0], in, k % 50 ? 5000 : 1);
      SYS(n);
      got += (size_t)n;
      if (k % 50 == 0 && !writes_over) OK(pthread_kill(t, SIGUSR1));
    }
    EQ(got, sizeof buffer);
    finish(t);
    SYS(close(fd[1]));
    EQ(read(fd[0], in, 1), 0);
    SYS(close(fd[0]));
  }
  CHECK(forked > 0);
}
