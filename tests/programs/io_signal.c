// A handler runs while a thread is blocked: in each call, with SA_RESTART and without, with a time limit on the socket, with
// a part of a write done, and with a mask of its own for the wait.
#include "caller.h"
#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>

static _Atomic int handled;
static void count(int number) {
  (void)number;
  handled++;
}
static void install(int flags) {
  struct sigaction action = {.sa_handler = count, .sa_flags = flags};
  SYS(sigaction(SIGUSR1, &action, NULL));
}

static int fd[2], third, epoll;
static char buffer[1 << 20], folder[] = "/tmp/gmp-signal-XXXXXX", path[64];
static struct sockaddr_un name;
static socklen_t name_length;
static sem_t semaphore;

// What there is before the call, and what ends it.
static void a_pipe(void) { SYS(pipe(fd)); }
static void a_full_pipe(void) {
  SYS(pipe(fd));
  SYS(fcntl(fd[1], F_SETFL, O_NONBLOCK));
  while (write(fd[1], buffer, 4096) > 0) {
  }
  SYS(fcntl(fd[1], F_SETFL, 0));
}
static void a_unix(void) { SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd)); }
static void a_dgram(void) { SYS(socketpair(AF_UNIX, SOCK_DGRAM, 0, fd)); }
static void a_tcp(void) {
  int small = 32768;
  tcp_pair(fd);
  SYS(setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
  SYS(setsockopt(fd[0], SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
}
static void a_full_unix(void) {
  a_unix();
  while (send(fd[1], buffer, 4096, MSG_DONTWAIT) > 0) {
  }
}
static void limit(int which) {
  struct timeval t = {50, 0};
  SYS(setsockopt(fd[0], SOL_SOCKET, which, &t, sizeof t));
  SYS(setsockopt(fd[1], SOL_SOCKET, which, &t, sizeof t));
}
static void a_limited_unix(void) {
  a_unix();
  limit(SO_RCVTIMEO);
}
static void a_limited_tcp(void) {
  a_tcp();
  limit(SO_RCVTIMEO);
}
static void a_full_limited_unix(void) {
  a_full_unix();
  limit(SO_SNDTIMEO);
}
static void a_listener(void) {
  fd[0] = listening(4);
  fd[1] = -1;
}
static void a_limited_listener(void) {
  a_listener();
  fd[1] = dup(fd[0]);
  limit(SO_RCVTIMEO);
}
static void a_full_listener(void) {
  fd[0] = socket(AF_UNIX, SOCK_STREAM, 0);
  memset(&name, 0, sizeof name);
  name.sun_family = AF_UNIX;
  static int n;
  int k = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "gmp-signal-%d-%d", getpid(), n++);
  name_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)k);
  SYS(bind(fd[0], (struct sockaddr*)&name, name_length));
  SYS(listen(fd[0], 0));
  int first = socket(AF_UNIX, SOCK_STREAM, 0);
  SYS(connect(first, (struct sockaddr*)&name, name_length)); // the one there is room for
  SYS(close(first));
  third = socket(AF_UNIX, SOCK_STREAM, 0);
  fd[1] = dup(third);
}
static void a_full_limited_listener(void) {
  a_full_listener();
  limit(SO_SNDTIMEO);
}
static void a_fifo(void) {
  SYS(mkfifo(path, 0600));
  fd[0] = open(path, O_RDWR);
  fd[1] = dup(fd[0]);
  SYS(unlink(path));
}
static void a_closed_fifo(void) {
  SYS(mkfifo(path, 0600));
  fd[0] = fd[1] = -1;
}
static void an_eventfd(void) {
  fd[0] = eventfd(0, 0);
  fd[1] = -1;
}
static void a_full_eventfd(void) {
  fd[0] = eventfd(0, 0);
  fd[1] = -1;
  SYS(eventfd_write(fd[0], UINT64_MAX - 1));
}
static void a_timer(void) {
  fd[0] = timerfd_create(CLOCK_MONOTONIC, 0);
  fd[1] = -1;
}
static void an_inotify(void) {
  fd[0] = inotify_init1(0);
  fd[1] = -1;
  SYS(inotify_add_watch(fd[0], folder, IN_CREATE));
}
static void a_pty(void) {
  fd[1] = posix_openpt(O_RDWR | O_NOCTTY);
  SYS(grantpt(fd[1]));
  SYS(unlockpt(fd[1]));
  fd[0] = open(ptsname(fd[1]), O_RDWR | O_NOCTTY);
}
static void an_epoll(void) {
  SYS(pipe(fd));
  epoll = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN};
  SYS(epoll_ctl(epoll, EPOLL_CTL_ADD, fd[0], &e));
}
static void a_locked_file(void) {
  fd[0] = open(path, O_RDWR | O_CREAT, 0600);
  fd[1] = open(path, O_RDWR);
  SYS(unlink(path));
  SYS(flock(fd[1], LOCK_EX));
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  SYS(fcntl(fd[1], F_OFD_SETLK, &range));
}
static void a_message_queue(void) {
  SYS(fd[0] = msgget(IPC_PRIVATE, 0600));
  fd[1] = -2;
}
static void a_posix_queue(void) {
  char text[64];
  snprintf(text, sizeof text, "/gmp-signal-%d", getpid());
  struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16};
  SYS(fd[0] = mq_open(text, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
  SYS(mq_unlink(text));
  fd[1] = -1;
}
static void a_semaphore(void) {
  OK(sem_init(&semaphore, 0, 0));
  fd[0] = fd[1] = -1;
}
static void two_pipes(void) {
  SYS(pipe(fd));
  int other[2];
  SYS(pipe(other));
  epoll = other[0];
  third = other[1];
}
static void a_file_and_a_full_pipe(void) {
  a_full_pipe();
  third = open(path, O_RDWR | O_CREAT, 0600);
  SYS(unlink(path));
  SYS(ftruncate(third, 8192));
}

static long c_read(struct caller* c) { return read(fd[0], c->bytes, 10); }
static long c_readv(struct caller* c) {
  struct iovec v = {c->bytes, 10};
  return readv(fd[0], &v, 1);
}
static long c_recv(struct caller* c) { return recv(fd[0], c->bytes, 10, 0); }
static long c_waitall(struct caller* c) { return recv(fd[0], c->bytes, 1, MSG_WAITALL); }
static long c_recvmsg(struct caller* c) {
  struct iovec v = {c->bytes, 10};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return recvmsg(fd[0], &m, 0);
}
static long c_recvmmsg(struct caller* c) {
  struct iovec v = {c->bytes, 10};
  struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
  return recvmmsg(fd[0], &m, 1, 0, NULL);
}
static long c_write(struct caller* c) { return write(fd[1], c->bytes, 4096); }
static long c_writev(struct caller* c) {
  struct iovec v = {c->bytes, 4096};
  return writev(fd[1], &v, 1);
}
static long c_sendmsg(struct caller* c) {
  struct iovec v = {c->bytes, 4096};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return sendmsg(fd[1], &m, 0);
}
static long c_accept(struct caller* c) {
  (void)c;
  int r = accept(fd[0], NULL, NULL);
  if (r >= 0) SYS(close(r));
  return r < 0 ? r : 0;
}
static long c_connect(struct caller* c) {
  (void)c;
  return connect(third, (struct sockaddr*)&name, name_length);
}
static long c_open(struct caller* c) {
  (void)c;
  int r = open(path, O_RDONLY);
  if (r >= 0) SYS(close(r));
  return r < 0 ? r : 0;
}
static long c_read8(struct caller* c) { return read(fd[0], c->bytes, 8); }
static long c_write8(struct caller* c) {
  uint64_t one = 1;
  (void)c;
  return write(fd[0], &one, 8);
}
static long c_inotify(struct caller* c) { return read(fd[0], c->bytes, 4096); }
static struct pollfd wanted(void) { return (struct pollfd){.fd = fd[0], .events = POLLIN}; }
static long c_poll(struct caller* c) {
  struct pollfd p = wanted();
  (void)c;
  return poll(&p, 1, 50000);
}
static long c_poll_nothing(struct caller* c) {
  (void)c;
  return poll(NULL, 0, 50000);
}
static long c_ppoll(struct caller* c) {
  struct pollfd p = wanted();
  (void)c;
  return ppoll(&p, 1, NULL, NULL);
}
static sigset_t no_signals;
static long c_ppoll_mask(struct caller* c) {
  struct pollfd p = wanted();
  (void)c;
  return ppoll(&p, 1, NULL, &no_signals);
}
static long c_select_with(const sigset_t* mask, bool p) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(fd[0], &in);
  return p ? pselect(fd[0] + 1, &in, NULL, NULL, NULL, mask) : select(fd[0] + 1, &in, NULL, NULL, NULL);
}
static long c_select(struct caller* c) {
  (void)c;
  return c_select_with(NULL, false);
}
static long c_pselect(struct caller* c) {
  (void)c;
  return c_select_with(NULL, true);
}
static long c_pselect_mask(struct caller* c) {
  (void)c;
  return c_select_with(&no_signals, true);
}
static struct epoll_event event;
static long c_epoll(struct caller* c) {
  (void)c;
  return epoll_wait(epoll, &event, 1, -1);
}
static long c_epoll_pwait(struct caller* c) {
  (void)c;
  return epoll_pwait(epoll, &event, 1, 50000, &no_signals);
}
static long c_epoll_pwait2(struct caller* c) {
  (void)c;
  return epoll_pwait2(epoll, &event, 1, NULL, &no_signals);
}
static long c_pause(struct caller* c) {
  (void)c;
  return pause();
}
static long c_sigsuspend(struct caller* c) {
  (void)c;
  return sigsuspend(&no_signals);
}
static long c_flock(struct caller* c) {
  (void)c;
  return flock(fd[0], LOCK_EX);
}
static long c_range(struct caller* c) {
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  (void)c;
  return fcntl(fd[0], F_OFD_SETLKW, &range);
}
static long c_msgrcv(struct caller* c) { return msgrcv(fd[0], c->bytes, 8, 0, 0); }
static long c_mq(struct caller* c) { return mq_receive(fd[0], c->bytes, 16, NULL); }
static long c_sem(struct caller* c) {
  (void)c;
  return sem_wait(&semaphore);
}
static long c_splice(struct caller* c) {
  (void)c;
  return splice(fd[0], NULL, third, NULL, 10, 0);
}
static long c_tee(struct caller* c) {
  (void)c;
  return tee(fd[0], third, 10, 0);
}
static long c_sendfile(struct caller* c) {
  (void)c;
  return sendfile(fd[1], third, NULL, 4096);
}

static void r_byte(void) { write_byte(fd[1]); }
static void r_drain(void) { CHECK(read(fd[0], buffer, 65536) > 0); }
static void r_drain_all(void) {
  while (recv(fd[0], buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
  }
}
static void r_connect(void) {
  int c = connected_to(fd[0]);
  SYS(close(c));
}
static void r_accept(void) { SYS(close(accept(fd[0], NULL, NULL))); }
static void r_open(void) { SYS(close(open(path, O_WRONLY))); }
static void r_event(void) { SYS(eventfd_write(fd[0], 1)); }
static void r_take_event(void) {
  eventfd_t v;
  SYS(eventfd_read(fd[0], &v));
}
static void r_timer(void) {
  struct itimerspec at_once = {.it_value = {0, 1}};
  SYS(timerfd_settime(fd[0], 0, &at_once, NULL));
}
static void r_touch(void) {
  SYS(close(open(path, O_CREAT | O_WRONLY, 0600)));
  SYS(unlink(path));
}
static void r_line(void) { EQ(write(fd[1], "hi\n", 3), 3); }
static void r_unlock(void) {
  SYS(flock(fd[1], LOCK_UN));
  struct flock range = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_len = 10};
  SYS(fcntl(fd[1], F_OFD_SETLK, &range));
}
static void r_message(void) {
  struct {
    long type;
    char text[8];
  } m = {1, "abc"};
  SYS(msgsnd(fd[0], &m, 3, 0));
}
static void r_mq(void) { SYS(mq_send(fd[0], "abc", 3, 0)); }
static void r_post(void) { OK(sem_post(&semaphore)); }

static const struct row {
  const char* name;
  void (*before)(void);
  long (*call)(struct caller*);
  void (*release)(void);
} rows[] = {
    {"read pipe", a_pipe, c_read, r_byte},
    {"readv pipe", a_pipe, c_readv, r_byte},
    {"read unix", a_unix, c_read, r_byte},
    {"readv tcp", a_tcp, c_readv, r_byte},
    {"recv tcp", a_tcp, c_recv, r_byte},
    {"recv all", a_unix, c_waitall, r_byte},
    {"recvmsg", a_unix, c_recvmsg, r_byte},
    {"recvmmsg", a_dgram, c_recvmmsg, r_byte},
    {"write pipe", a_full_pipe, c_write, r_drain},
    {"writev pipe", a_full_pipe, c_writev, r_drain},
    {"write unix", a_full_unix, c_write, r_drain_all},
    {"sendmsg unix", a_full_unix, c_sendmsg, r_drain_all},
    {"accept", a_listener, c_accept, r_connect},
    {"connect", a_full_listener, c_connect, r_accept},
    {"open fifo", a_closed_fifo, c_open, r_open},
    {"read fifo", a_fifo, c_read, r_byte},
    {"read eventfd", an_eventfd, c_read8, r_event},
    {"write eventfd", a_full_eventfd, c_write8, r_take_event},
    {"read timer", a_timer, c_read8, r_timer},
    {"read inotify", an_inotify, c_inotify, r_touch},
    {"read pty", a_pty, c_read, r_line},
    {"limited read", a_limited_unix, c_read, r_byte},
    {"limited readv", a_limited_tcp, c_readv, r_byte},
    {"limited recv", a_limited_tcp, c_recv, r_byte},
    {"limited recvmmsg", a_limited_unix, c_recvmmsg, r_byte},
    {"limited accept", a_limited_listener, c_accept, r_connect},
    {"limited write", a_full_limited_unix, c_write, r_drain_all},
    {"limited connect", a_full_limited_listener, c_connect, r_accept},
    {"poll", a_pipe, c_poll, r_byte},
    {"poll nothing", a_pipe, c_poll_nothing, r_byte},
    {"ppoll", a_pipe, c_ppoll, r_byte},
    {"ppoll with a mask", a_pipe, c_ppoll_mask, r_byte},
    {"select", a_pipe, c_select, r_byte},
    {"pselect", a_pipe, c_pselect, r_byte},
    {"pselect with a mask", a_pipe, c_pselect_mask, r_byte},
    {"epoll_wait", an_epoll, c_epoll, r_byte},
    {"epoll_pwait", an_epoll, c_epoll_pwait, r_byte},
    {"epoll_pwait2", an_epoll, c_epoll_pwait2, r_byte},
    {"pause", a_pipe, c_pause, r_byte},
    {"sigsuspend", a_pipe, c_sigsuspend, r_byte},
    {"flock", a_locked_file, c_flock, r_unlock},
    {"range lock", a_locked_file, c_range, r_unlock},
    {"msgrcv", a_message_queue, c_msgrcv, r_message},
    {"mq_receive", a_posix_queue, c_mq, r_mq},
    {"sem_wait", a_semaphore, c_sem, r_post},
    {"splice", two_pipes, c_splice, r_byte},
    {"tee", two_pipes, c_tee, r_byte},
    {"sendfile", a_file_and_a_full_pipe, c_sendfile, r_drain},
};

static void end_row(const struct row* r) {
  if (r->before == a_message_queue) {
    SYS(msgctl(fd[0], IPC_RMID, NULL));
    return;
  }
  if (r->before == a_closed_fifo) SYS(unlink(path));
  if (r->before == an_epoll || r->before == two_pipes) SYS(close(epoll));
  if (r->call == c_connect || r->call == c_splice || r->call == c_tee || r->call == c_sendfile) SYS(close(third));
  for (int i = 0; i < 2; i++)
    if (fd[i] >= 0) SYS(close(fd[i]));
}
static void each(void (*look)(const struct row*)) {
  sigemptyset(&no_signals);
  memcpy(folder, "/tmp/gmp-signal-XXXXXX", sizeof folder);
  CHECK(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/f", folder);
  signal(SIGPIPE, SIG_IGN);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    check_current = rows[i].name;
    rows[i].before();
    look(&rows[i]);
    end_row(&rows[i]);
  }
  SYS(rmdir(folder));
}

static void ends_early(const struct row* r) {
  struct caller c = {0};
  handled = 0;
  call_in_thread(&c, r->call, -1, buffer, 0);
  come_to_rest(&c);
  poke_until_back(&c, SIGUSR1);
  EQ(outcome(&c), -EINTR);
  CHECK(handled > 0);
}
CASE(without_restart) {
  install(0);
  each(ends_early);
}

// Restarted calls go on as if nothing had been; the others end at the first signal.
static void goes_on_or_not(const struct row* r) {
  struct caller c = {0};
  handled = 0;
  call_in_thread(&c, r->call, -1, buffer, 0);
  come_to_rest(&c);
  for (int i = 0; i < 12 && !c.back; i++) {
    int seen = handled;
    OK(pthread_kill(c.thread, SIGUSR1));
    while (handled == seen && !c.back) sched_yield();
    pause_ms(1);
  }
  bool ended = c.back;
  if (!ended) r->release();
  printf("%s: %ld%s\n", r->name, outcome(&c), ended ? " by the signal" : "");
}
CASE(with_restart) {
  install(SA_RESTART);
  each(goes_on_or_not);
}

// Part of a write is through: it ends there, whatever the handler's flags.
static long c_write_big(struct caller* c) { return write(fd[1], c->bytes, sizeof buffer); }
static long c_send_big(struct caller* c) { return send(fd[1], c->bytes, sizeof buffer, 0); }
static long c_wait_for_ten(struct caller* c) { return recv(fd[0], c->bytes, 10, MSG_WAITALL); }
CASE(part_done) {
  for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
    install(flags);
    for (int kind = 0; kind < 4; kind++) {
      struct caller c = {0};
      kind == 0 ? a_pipe() : kind == 2 ? a_tcp() : a_unix();
      call_in_thread(&c, kind == 0 ? c_write_big : kind == 3 ? c_wait_for_ten : c_send_big, -1, buffer, 0);
      if (kind == 3) EQ(send(fd[1], "abc", 3, 0), 3);
      come_to_rest(&c);
      pause_ms(10);
      poke_until_back(&c, SIGUSR1);
      long n = outcome(&c);
      if (kind == 0) EQ(n, 65536);
      else if (kind == 3) EQ(n, 3);
      else CHECK(n > 0 && n < (long)sizeof buffer);
      close_pair(fd);
    }
  }
}

// A mask for the time of the wait: the signal is blocked else. Sent to the thread or the process, before or while it waits.
static long with_blocked(struct caller* c) {
  sigset_t set, now;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  if (c->other == 1) OK(pthread_kill(pthread_self(), SIGUSR1));
  if (c->other == 2) SYS(kill(getpid(), SIGUSR1));
  EQ(handled, 0);
  errno = 0;
  long (*const call)(struct caller*) = (long (*)(struct caller*))(void*)c->size;
  long r = call(c);
  int error = errno;
  CHECK(handled >= 1);
  OK(pthread_sigmask(SIG_SETMASK, NULL, &now));
  EQ(sigismember(&now, SIGUSR1), 1); // the mask is the old one again
  errno = error;
  return r;
}
CASE(masks_for_the_wait) {
  static long (*const calls[])(struct caller*) = {c_ppoll_mask, c_pselect_mask, c_epoll_pwait, c_epoll_pwait2, c_sigsuspend};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  install(SA_RESTART);
  for (int i = 0; i < 5; i++)
    for (int how = 0; how < 4; how++) {
      static const char* const names[] = {"ppoll", "pselect", "epoll_pwait", "epoll_pwait2", "sigsuspend"};
      static char text[64];
      snprintf(text, sizeof text, "%s, way %d", names[i], how);
      check_current = text;
      struct caller c = {.other = how};
      an_epoll();
      handled = 0;
      call_in_thread(&c, with_blocked, -1, buffer, (size_t)(void*)calls[i]);
      come_to_rest(&c);
      if (how == 0) poke_until_back(&c, SIGUSR1);
      while (how == 3 && !c.back) {
        SYS(kill(getpid(), SIGUSR1));
        pause_ms(2);
      }
      EQ(outcome(&c), -EINTR);
      close_pair(fd);
      SYS(close(epoll));
      struct timespec none = {0, 0}; // one more may be pending
      sigtimedwait(&set, NULL, &none);
    }
  OK(pthread_sigmask(SIG_UNBLOCK, &set, NULL));
}

// The other way round: blocked for the time of the wait only. The signal waits till after it.
static long c_blocked_for_the_wait(struct caller* c) {
  sigset_t set;
  struct pollfd p = wanted();
  fd_set in;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  FD_ZERO(&in);
  FD_SET(fd[0], &in);
  long r = c->other == 0   ? ppoll(&p, 1, NULL, &set)
           : c->other == 1 ? pselect(fd[0] + 1, &in, NULL, NULL, NULL, &set)
           : c->other == 2 ? epoll_pwait(epoll, &event, 1, -1, &set)
                           : epoll_pwait2(epoll, &event, 1, NULL, &set);
  EQ(handled, 1);
  return r;
}
CASE(blocked_for_the_wait) {
  install(0);
  for (int i = 0; i < 8; i++) {
    struct caller c = {.other = i / 2};
    an_epoll();
    handled = 0;
    call_in_thread(&c, c_blocked_for_the_wait, -1, buffer, 0);
    come_to_rest(&c);
    pause_ms(5);
    OK(pthread_kill(c.thread, SIGUSR1));
    pause_ms(3);
    CHECK(!c.back);
    EQ(handled, 0);
    write_byte(fd[1]);
    EQ(outcome(&c), 1);
    close_pair(fd);
    SYS(close(epoll));
  }
}

// signalfd: what is sent to the process and blocked by all.
static long c_signalfd(struct caller* c) {
  struct signalfd_siginfo s;
  (void)c;
  long n = read(fd[0], &s, sizeof s);
  return n < 0 ? n : (long)s.ssi_signo;
}
CASE(signalfd_of_the_process) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  OK(pthread_sigmask(SIG_BLOCK, &set, NULL));
  fd[0] = signalfd(-1, &set, 0);
  for (int i = 0; i < 10; i++) {
    struct caller c = {0};
    call_in_thread(&c, c_signalfd, -1, NULL, 0);
    if (i % 2) come_to_rest(&c);
    SYS(kill(getpid(), SIGUSR2));
    EQ(outcome(&c), SIGUSR2);
  }
  SYS(close(fd[0]));
}

// A connect that a handler interrupted goes on by itself: poll tells when it is done.
CASE(connect_interrupted) {
  install(0);
  a_full_listener();
  struct caller c = {0};
  call_in_thread(&c, c_connect, -1, buffer, 0);
  come_to_rest(&c);
  poke_until_back(&c, SIGUSR1);
  EQ(outcome(&c), -EINTR);
  r_accept();
  call_in_thread(&c, c_connect, -1, buffer, 0); // a unix socket begins anew
  EQ(outcome(&c), 0);
  SYS(close(third));
  close_pair(fd);
}

static void pipe_went(int number) {
  (void)number;
  handled++;
}
// SIGPIPE: once for a write to nobody, none with MSG_NOSIGNAL; to the thread that writes. On a pipe also when part is through.
static long c_write_signalled(struct caller* c) {
  static __thread int calls;
  long n = c->other & 1 ? send(fd[1], c->bytes, c->size, c->other & 2 ? MSG_NOSIGNAL : 0) : write(fd[1], c->bytes, c->size);
  calls++;
  return n;
}
CASE(sigpipe) {
  struct sigaction action = {.sa_handler = pipe_went};
  SYS(sigaction(SIGPIPE, &action, NULL));
  for (int way = 0; way < 10; way++) {
    struct caller c = {.other = way / 3 == 2 ? 3 : way / 3 ? 1 : 0};
    handled = 0;
    way < 3 ? a_pipe() : way < 9 ? a_unix() : a_tcp();
    const bool before = way % 3 == 0;
    if (before) SYS(close(fd[0]));
    if (way == 9) c.other = 1;
    size_t n = way % 3 == 2 ? sizeof buffer : 4096;
    if (way % 3 == 1) { // full already
      SYS(fcntl(fd[1], F_SETFL, O_NONBLOCK));
      while (write(fd[1], buffer, 4096) > 0) {
      }
      SYS(fcntl(fd[1], F_SETFL, 0));
    }
    if (way == 9) {
      write_byte(fd[1]); // the first goes out and is answered by a reset
      struct pollfd p = {.fd = fd[1], .events = 0};
      EQ(poll(&p, 1, -1), 1);
      struct caller reset = {.other = 1};
      call_in_thread(&reset, c_write_signalled, -1, buffer, 1);
      const long r = outcome(&reset);
      printf("after a reset: %ld, %d signals\n", r, handled);
    }
    call_in_thread(&c, c_write_signalled, -1, buffer, n);
    if (!before) {
      come_to_rest(&c);
      pause_ms(10);
      SYS(close(fd[0]));
    }
    long r = outcome(&c);
    printf("way %d: %s, %d signals\n", way, r > 0 ? "a part" : r == -EPIPE ? "EPIPE" : r == -ECONNRESET ? "ECONNRESET" : "?", handled);
    SYS(close(fd[1]));
  }
}
