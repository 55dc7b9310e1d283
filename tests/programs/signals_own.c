// What a thread brings upon itself, SIGPIPE and SIGXFSZ, is that thread's: its handler runs there before the call is over, a blocked one is pending for that
// thread and for no other, wherever it goes on, and can be taken or let in.
#include "net.h"
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

enum { kThreads = 6 };
static __thread int mine;
static void came(int number) {
  (void)number;
  mine++;
}
static sigset_t set_of(int number) {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, number);
  return s;
}

// Every way to write to nobody.
enum way { kWrite, kWritev, kSend, kSendto, kSendmsg, kSendmmsg, kSplice, kSendfile, kStdio, kDontwait, kNosignal, kWays };
static long write_by(enum way way, int fd, int from) {
  static const char text[] = "text";
  struct iovec v[2] = {{(void*)text, 2}, {(void*)(text + 2), 2}};
  struct mmsghdr m[2] = {{.msg_hdr = {.msg_iov = v, .msg_iovlen = 2}}, {.msg_hdr = {.msg_iov = v, .msg_iovlen = 1}}};
  long r = -1;
  errno = 0;
  switch (way) {
  case kWrite: r = write(fd, text, 4); break;
  case kWritev: r = writev(fd, v, 2); break;
  case kSend: r = send(fd, text, 4, 0); break;
  case kSendto: r = sendto(fd, text, 4, 0, NULL, 0); break;
  case kSendmsg: r = sendmsg(fd, &m[0].msg_hdr, 0); break;
  case kSendmmsg: r = sendmmsg(fd, m, 2, 0); break;
  case kSplice: r = splice(from, NULL, fd, NULL, 4, 0); break;
  case kSendfile: r = sendfile(fd, from, &(off_t){0}, 4); break;
  case kStdio: {
    FILE* f = fdopen(dup(fd), "w");
    CHECK(f != NULL);
    fputs(text, f);
    r = fflush(f);
    fclose(f); // tries once more
    return r;
  }
  case kDontwait: r = send(fd, text, 4, MSG_DONTWAIT); break;
  case kNosignal: r = send(fd, text, 4, MSG_NOSIGNAL); break;
  case kWays: break;
  }
  return r;
}
static bool wants_socket(enum way way) { return way == kSend || way == kSendto || way == kSendmsg || way == kSendmmsg || way >= kDontwait; }
static void to_nobody(enum way way, int fd[2]) {
  if (wants_socket(way)) SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
  else SYS(pipe(fd));
  SYS(close(fd[0]));
}
static int source_for(enum way way) {
  int fd[2];
  if (way == kSendfile) {
    int f = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    SYS(f);
    return f;
  }
  if (way != kSplice) return -1;
  SYS(pipe(fd));
  EQ(write(fd[1], "text", 4), 4);
  SYS(close(fd[1]));
  return fd[0];
}

static char lines[kThreads][4096];
static void say(size_t me, const char* how, int way, long r, int error, int signals) {
  char* at = lines[me] + strlen(lines[me]);
  snprintf(at, sizeof lines[me] - (size_t)(at - lines[me]), "%s %d: %ld, error %d, signals %d\n", how, way, r, error, signals);
}
static void all_threads(void* (*body)(void*)) {
  pthread_t t[kThreads];
  memset(lines, 0, sizeof lines);
  for (size_t i = 0; i < kThreads; i++) t[i] = start(body, (void*)i);
  for (size_t i = 0; i < kThreads; i++) finish(t[i]);
  for (size_t i = 0; i < kThreads; i++) fputs(lines[i], stdout);
}

static void* handles(void* me) {
  for (enum way way = 0; way < kWays; way++) {
    int fd[2], from = source_for(way);
    to_nobody(way, fd);
    mine = 0;
    const long r = write_by(way, fd[1], from);
    say((size_t)me, "handled", (int)way, r, errno, mine);
    sched_yield();
    SYS(close(fd[1]));
    if (from >= 0) SYS(close(from));
  }
  return NULL;
}
CASE(pipe_handled_where_it_is_due) {
  struct sigaction a = {.sa_handler = came};
  SYS(sigaction(SIGPIPE, &a, NULL));
  all_threads(handles);
}

// As libpq and others do: block, write, take what has come, and put the mask back.
static void* takes(void* me) {
  sigset_t pipe_only = set_of(SIGPIPE), pending;
  OK(pthread_sigmask(SIG_BLOCK, &pipe_only, NULL));
  for (enum way way = 0; way < kWays; way++) {
    int fd[2], from = source_for(way);
    to_nobody(way, fd);
    const long r = write_by(way, fd[1], from);
    const int error = errno;
    usleep(300); // it may be on another kernel thread after that
    SYS(sigpending(&pending));
    const int waiting = sigismember(&pending, SIGPIPE);
    siginfo_t info = {0};
    const int taken = sigtimedwait(&pipe_only, &info, &(struct timespec){0, 0});
    say((size_t)me, "blocked", (int)way, r, error, waiting * 100 + (taken == SIGPIPE) * 10 + (taken < 0 || info.si_code == SI_USER));
    SYS(sigpending(&pending));
    EQ(sigismember(&pending, SIGPIPE), 0);
    SYS(close(fd[1]));
    if (from >= 0) SYS(close(from));
  }
  OK(pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL));
  return NULL;
}
static atomic_bool over;
static void* stands_by(void* argument) { // would be killed by another's
  while (!over) {
    sched_yield();
    usleep(50);
  }
  return argument;
}
CASE(pipe_blocked_and_taken) {
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(stands_by, NULL);
  all_threads(takes);
  over = true;
  for (int i = 0; i < 4; i++) finish(t[i]);
}

static void* lets_in(void* me) {
  sigset_t pipe_only = set_of(SIGPIPE);
  for (enum way way = 0; way < kWays; way++) {
    int fd[2], from = source_for(way);
    to_nobody(way, fd);
    OK(pthread_sigmask(SIG_BLOCK, &pipe_only, NULL));
    mine = 0;
    const long r = write_by(way, fd[1], from);
    const int error = errno, before = mine;
    usleep(100);
    OK(pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL));
    say((size_t)me, "let in", (int)way, r, error, before * 10 + mine);
    SYS(close(fd[1]));
    if (from >= 0) SYS(close(from));
  }
  return NULL;
}
CASE(pipe_blocked_and_let_in) {
  struct sigaction a = {.sa_handler = came};
  SYS(sigaction(SIGPIPE, &a, NULL));
  all_threads(lets_in);
}

// While a part is through already. Whoever reads sees the part, and goes.
static char much[1 << 20];
static int pair[2];
static void* writes_much(void* block) {
  sigset_t pipe_only = set_of(SIGPIPE), pending;
  if (block) OK(pthread_sigmask(SIG_BLOCK, &pipe_only, NULL));
  mine = 0;
  const long written = write(pair[1], much, sizeof much);
  SYS(sigpending(&pending));
  if (block) EQ(mine, 0);
  printf("%s, handled %d, pending %d\n", written > 0 ? "a part" : "nothing", mine, sigismember(&pending, SIGPIPE));
  if (block) OK(pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL));
  printf("then %d\n", mine);
  return NULL;
}
CASE(pipe_when_part_is_through) {
  struct sigaction a = {.sa_handler = came};
  SYS(sigaction(SIGPIPE, &a, NULL));
  for (int i = 0; i < 24; i++) {
    if (i % 3) SYS(pipe(pair));
    else SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    pthread_t t = start(writes_much, i % 2 ? &a : NULL);
    char in[1000];
    for (size_t got = 0; got < 70000;) {
      ssize_t n = read(pair[0], in, sizeof in);
      SYS(n);
      got += (size_t)n;
    }
    if (i % 4 == 0) usleep(1000);
    SYS(close(pair[0]));
    finish(t);
    SYS(close(pair[1]));
  }
}

static void* writes_once(void* argument) {
  int fd[2];
  to_nobody(kWrite, fd);
  sigset_t pipe_only = set_of(SIGPIPE);
  if (argument) OK(pthread_sigmask(SIG_BLOCK, &pipe_only, NULL));
  EQ(write(fd[1], "x", 1), -1);
  EQ(errno, EPIPE);
  puts("still here");
  fflush(stdout);
  usleep(500);
  OK(pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL));
  puts("not here");
  return NULL;
}
CASE_ALONE(pipe_ends_the_process) { finish(start(writes_once, NULL)); }
CASE_ALONE(pipe_let_in_ends_the_process) { finish(start(writes_once, &pair)); }

// The limit of a file's size.
static void* writes_too_far(void* me) {
  char name[] = "/tmp/own.XXXXXX";
  int fd = mkstemp(name);
  SYS(fd);
  SYS(unlink(name));
  sigset_t size_only = set_of(SIGXFSZ), pending;
  for (int way = 0; way < 4; way++) {
    if (way % 2) OK(pthread_sigmask(SIG_BLOCK, &size_only, NULL));
    mine = 0;
    errno = 0;
    const long r = way < 2 ? pwrite(fd, "x", 1, 1 << 20) : ftruncate(fd, 2 << 20);
    const int error = errno;
    usleep(200);
    SYS(sigpending(&pending));
    say((size_t)me, "limit", way, r, error, mine * 10 + sigismember(&pending, SIGXFSZ));
    OK(pthread_sigmask(SIG_UNBLOCK, &size_only, NULL));
    say((size_t)me, "then", way, 0, 0, mine);
  }
  SYS(close(fd));
  return NULL;
}
CASE_ALONE(file_size) {
  struct sigaction a = {.sa_handler = came};
  SYS(sigaction(SIGXFSZ, &a, NULL));
  SYS(setrlimit(RLIMIT_FSIZE, &(struct rlimit){1 << 20, 1 << 20}));
  all_threads(writes_too_far);
}
