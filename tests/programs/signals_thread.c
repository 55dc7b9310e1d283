// Signals for one thread: by which ways they come, what they carry, in which order, and what is pending meanwhile.
#include "net.h"
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

static sigset_t only(int number) {
  sigset_t s;
  sigemptyset(&s);
  sigaddset(&s, number);
  return s;
}
static void install(int number, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
  SYS(sigaction(number, &action, NULL));
}

// What the handlers have seen, by the thread.
static __thread volatile int seen;
static __thread int order[64];
static __thread siginfo_t last;
static __thread bool mask_right;
static void see(int number, siginfo_t* info, void* context) {
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  mask_right = sigismember(&now, number) && !sigismember(&((ucontext_t*)context)->uc_sigmask, number);
  last = *info;
  if (seen < 64) order[seen] = number == SIGRTMIN ? info->si_value.sival_int : number;
  seen++;
}

static _Atomic int ready, done;
static _Atomic pid_t worker_tid;
static sem_t never;
static void* waits_at(void* gate) {
  sem_wait(gate);
  return NULL;
}
static void* does_nothing(void* argument) { return argument; }

// Each way of sending reaches the thread that is meant, and says who sent it how.
static const char* const ways[] = {"pthread_kill", "tgkill", "SYS_tgkill", "SYS_tkill", "pthread_sigqueue", "SYS_rt_tgsigqueueinfo"};
enum { Ways = 6 };
static void* takes_each_way(void* which) {
  long busy = (long)which;
  worker_tid = (pid_t)syscall(SYS_gettid);
  for (int way = 0; way < Ways; way++) {
    seen = 0;
    ready = way + 1;
    if (busy) {
      while (seen == 0) {
      }
    } else {
      EQ(sem_wait(&never), -1);
      EQ(errno, EINTR);
    }
    EQ(seen, 1);
    CHECK(mask_right);
    EQ(last.si_signo, SIGUSR1);
    EQ(last.si_code, way < 4 ? SI_TKILL : SI_QUEUE);
    EQ(last.si_pid, getpid());
    EQ(last.si_uid, getuid());
    if (way >= 4) EQ(last.si_value.sival_int, 40 + way);
    done = way + 1;
  }
  return NULL;
}
static void send_each_way(long busy) {
  install(SIGUSR1, see, 0);
  OK(sem_init(&never, 0, 0));
  ready = done = 0;
  pthread_t t = start(takes_each_way, (void*)busy);
  for (int way = 0; way < Ways; way++) {
    while (ready != way + 1) sched_yield();
    union sigval value = {.sival_int = 40 + way};
    siginfo_t info;
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value = value;
    if (!busy) pause_ms(2);
    switch (way) {
    case 0: OK(pthread_kill(t, SIGUSR1)); break;
    case 1: SYS(tgkill(getpid(), worker_tid, SIGUSR1)); break;
    case 2: SYS(syscall(SYS_tgkill, getpid(), worker_tid, SIGUSR1)); break;
    case 3: SYS(syscall(SYS_tkill, worker_tid, SIGUSR1)); break;
    case 4: OK(pthread_sigqueue(t, SIGUSR1, value)); break;
    default: SYS(syscall(SYS_rt_tgsigqueueinfo, getpid(), worker_tid, SIGUSR1, &info)); break;
    }
    while (done != way + 1) sched_yield();
    printf("%s\n", ways[way]);
  }
  finish(t);
}
CASE(each_way_to_a_waiting_thread) { send_each_way(0); }
CASE(each_way_to_a_busy_thread) { send_each_way(1); }

CASE(wrong_targets) {
  ERRNO(tgkill(getpid(), 0x7ffffff0, SIGUSR1), ESRCH);
  ERRNO(tgkill(getpid(), -1, SIGUSR1), EINVAL);
  ERRNO(tgkill(getpid(), getpid(), 65), EINVAL);
  SYS(tgkill(getpid(), getpid(), 0));
  EQ(pthread_kill(pthread_self(), 65), EINVAL);
  EQ(pthread_kill(pthread_self(), 0), 0);
  ERRNO(kill(getpid(), 65), EINVAL);
  ERRNO(raise(-1), EINVAL);
}

// Standard signals merge, real-time ones queue in order, and the lowest number goes first.
static void* opens_after_a_while(void* argument) {
  sigset_t both = only(SIGUSR1), now;
  sigaddset(&both, SIGRTMIN);
  sigaddset(&both, SIGUSR2);
  OK(pthread_sigmask(SIG_BLOCK, &both, NULL));
  ready = 1;
  while (done == 0) sched_yield();
  SYS(sigpending(&now));
  CHECK(sigismember(&now, SIGUSR1) && sigismember(&now, SIGRTMIN) && !sigismember(&now, SIGUSR2));
  seen = 0;
  sigdelset(&both, SIGUSR2);
  OK(pthread_sigmask(SIG_UNBLOCK, &both, NULL));
  EQ(seen, 11);
  SYS(sigpending(&now));
  CHECK(sigisemptyset(&now));
  EQ(order[0], SIGUSR1);
  for (int i = 0; i < 10; i++) EQ(order[i + 1], 100 + i);
  return argument;
}
static void both_kinds(int how) {
  install(SIGUSR1, see, 0);
  sigset_t usr1 = only(SIGUSR1), rt = only(SIGRTMIN);
  struct sigaction action = {.sa_sigaction = see, .sa_flags = SA_SIGINFO, .sa_mask = rt};
  // Natively what is pending at once nests, the last one on top: so that each waits for the other, in both directions.
  sigaddset(&action.sa_mask, SIGUSR1);
  SYS(sigaction(SIGUSR1, &action, NULL));
  SYS(sigaction(SIGRTMIN, &action, NULL));
  if (how) { // to the process, which blocks it as a whole
    OK(pthread_sigmask(SIG_BLOCK, &usr1, NULL));
    OK(pthread_sigmask(SIG_BLOCK, &rt, NULL));
  }
  ready = done = 0;
  pthread_t t = start(opens_after_a_while, NULL);
  while (!ready) sched_yield();
  for (int i = 0; i < 10; i++) {
    union sigval value = {.sival_int = 100 + i};
    if (how) {
      SYS(sigqueue(getpid(), SIGRTMIN, value));
      SYS(kill(getpid(), SIGUSR1));
    } else {
      OK(pthread_sigqueue(t, SIGRTMIN, value));
      OK(pthread_kill(t, SIGUSR1));
    }
  }
  if (how) {
    sigset_t now;
    SYS(sigpending(&now));
    CHECK(sigismember(&now, SIGUSR1) && sigismember(&now, SIGRTMIN));
    for (int i = 0; i < 10; i++) {
      siginfo_t info;
      EQ(sigwaitinfo(&rt, &info), SIGRTMIN);
      EQ(info.si_value.sival_int, 100 + i);
      EQ(info.si_code, SI_QUEUE);
    }
    int number;
    OK(sigwait(&usr1, &number));
    EQ(number, SIGUSR1);
    SYS(sigpending(&now));
    CHECK(sigisemptyset(&now));
    for (int i = 0; i < 10; i++) OK(pthread_sigqueue(t, SIGRTMIN, (union sigval){.sival_int = 100 + i}));
    OK(pthread_kill(t, SIGUSR1));
  }
  done = 1;
  finish(t);
  OK(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL));
  OK(pthread_sigmask(SIG_UNBLOCK, &rt, NULL));
}
CASE(order_in_a_thread) { both_kinds(0); }
CASE(order_in_the_process) { both_kinds(1); }

// The limit on queued signals: EAGAIN for the one too many, and what is queued stays.
CASE(queue_is_bounded) {
  sigset_t rt = only(SIGRTMIN);
  OK(pthread_sigmask(SIG_BLOCK, &rt, NULL));
  struct rlimit old, few;
  SYS(getrlimit(RLIMIT_SIGPENDING, &old));
  ready = done = 0;
  pthread_t t = start(opens_after_a_while, NULL); // a thread must exist
  few = (struct rlimit){3000, old.rlim_max}; // other processes of the user count, too
  SYS(setrlimit(RLIMIT_SIGPENDING, &few));
  int n = 0;
  while (n < 3500 && pthread_sigqueue(pthread_self(), SIGRTMIN, (union sigval){.sival_int = n}) == 0) n++;
  CHECK(n <= 3000);
  EQ(pthread_sigqueue(pthread_self(), SIGRTMIN, (union sigval){.sival_int = n}), EAGAIN);
  OK(raise(SIGCHLD)); // a standard one gets through whatever the limit
  for (int i = 0; i < n; i++) {
    siginfo_t info;
    EQ(sigwaitinfo(&rt, &info), SIGRTMIN);
    EQ(info.si_value.sival_int, i);
  }
  SYS(setrlimit(RLIMIT_SIGPENDING, &old));
  install(SIGUSR1, see, 0);
  install(SIGRTMIN, see, 0);
  sigset_t full;
  sigfillset(&full);
  struct sigaction action = {.sa_sigaction = see, .sa_flags = SA_SIGINFO, .sa_mask = full};
  SYS(sigaction(SIGUSR1, &action, NULL));
  SYS(sigaction(SIGRTMIN, &action, NULL));
  while (ready == 0) sched_yield(); // it blocks them
  for (int i = 0; i < 10; i++) OK(pthread_sigqueue(t, SIGRTMIN, (union sigval){.sival_int = 100 + i}));
  OK(pthread_kill(t, SIGUSR1));
  done = 1;
  finish(t);
  OK(pthread_sigmask(SIG_UNBLOCK, &rt, NULL));
}

// sigwait and its kin in a thread see what is sent to that thread.
static void* waits_for_it(void* how) {
  sigset_t usr1 = only(SIGUSR1);
  ready++;
  siginfo_t info;
  int number = 0;
  struct timespec most = {30, 0};
  switch ((long)how) {
  case 0: OK(sigwait(&usr1, &number)); return NULL;
  case 1: EQ(sigwaitinfo(&usr1, &info), SIGUSR1); break;
  default: EQ(sigtimedwait(&usr1, &info, &most), SIGUSR1); break;
  }
  EQ(info.si_code, SI_QUEUE);
  EQ(info.si_value.sival_int, (int)(long)how);
  return NULL;
}
CASE(waited_for_by_its_thread) {
  sigset_t usr1 = only(SIGUSR1);
  OK(pthread_sigmask(SIG_BLOCK, &usr1, NULL));
  for (int early = 0; early < 2; early++) {
    ready = 0;
    pthread_t t[3];
    for (long i = 0; i < 3; i++) t[i] = start(waits_for_it, (void*)i);
    if (early == 0) {
      while (ready < 3) sched_yield();
      pause_ms(5);
    }
    for (int i = 2; i >= 0; i--) OK(pthread_sigqueue(t[i], SIGUSR1, (union sigval){.sival_int = i}));
    for (int i = 0; i < 3; i++) finish(t[i]);
  }
  struct timespec now = {0, 0};
  ERRNO(sigtimedwait(&usr1, NULL, &now), EAGAIN);
  OK(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL));
}

// A descriptor for what all threads block.
CASE(all_block_it) {
  sigset_t usr1 = only(SIGUSR1), now;
  sem_t gate;
  OK(sem_init(&gate, 0, 0));
  pthread_t t[3]; // these have it open, and end
  for (int i = 0; i < 3; i++) t[i] = start(waits_at, &gate);
  pause_ms(3);
  for (int i = 0; i < 3; i++) OK(sem_post(&gate));
  for (int i = 0; i < 3; i++) finish(t[i]);
  install(SIGUSR1, see, 0);
  OK(pthread_sigmask(SIG_BLOCK, &usr1, NULL));
  seen = 0;
  int fd = signalfd(-1, &usr1, SFD_NONBLOCK);
  SYS(fd);
  struct signalfd_siginfo got;
  for (int i = 0; i < 20; i++) {
    ERRNO(read(fd, &got, sizeof got), EAGAIN);
    SYS(kill(getpid(), SIGUSR1));
    SYS(sigpending(&now));
    CHECK(sigismember(&now, SIGUSR1));
    struct pollfd p = {.fd = fd, .events = POLLIN};
    EQ(poll(&p, 1, 0), 1);
    EQ(read(fd, &got, sizeof got), sizeof got);
    EQ(got.ssi_signo, SIGUSR1);
    EQ(got.ssi_code, SI_USER);
    EQ(got.ssi_pid, getpid());
  }
  EQ(seen, 0);
  SYS(kill(getpid(), SIGUSR1));
  OK(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL));
  EQ(seen, 1);
  SYS(close(fd));
}

// What is sent to one thread that reads a descriptor: waiting in read, poll or epoll_wait, or not there yet.
static int descriptor;
static int read_one(void) {
  struct signalfd_siginfo got;
  EQ(read(descriptor, &got, sizeof got), sizeof got);
  EQ(got.ssi_pid, getpid());
  EQ(got.ssi_uid, getuid());
  if (got.ssi_code != SI_TKILL) {
    EQ(got.ssi_code, SI_QUEUE);
    EQ(got.ssi_int, 44);
  }
  return (int)got.ssi_signo;
}
static void* reads_its_own(void* how) {
  worker_tid = (pid_t)syscall(SYS_gettid);
  ready = 1;
  if ((long)how == 1) {
    struct pollfd p = {.fd = descriptor, .events = POLLIN};
    EQ(poll(&p, 1, -1), 1);
  }
  if ((long)how == 2) {
    struct epoll_event e = {.events = EPOLLIN};
    int set = epoll_create1(0);
    SYS(epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &e));
    EQ(epoll_wait(set, &e, 1, -1), 1);
    SYS(close(set));
  }
  if ((long)how == 3) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(descriptor, &in);
    EQ(select(descriptor + 1, &in, NULL, NULL, NULL), 1);
    CHECK(FD_ISSET(descriptor, &in));
  }
  if ((long)how == 4)
    while (!done) pause_ms(1);
  EQ(read_one(), SIGUSR1);
  return NULL;
}
static void send_to_reader(long how, bool waits, bool queue) {
  ready = done = 0;
  pthread_t t = start(reads_its_own, (void*)how);
  while (!ready) sched_yield();
  if (waits) pause_ms(2);
  if (queue) OK(pthread_sigqueue(t, SIGUSR1, (union sigval){.sival_int = 44}));
  else OK(pthread_kill(t, SIGUSR1));
  finish(t);
}
CASE(descriptor_of_a_thread) {
  sigset_t usr1 = only(SIGUSR1);
  OK(pthread_sigmask(SIG_BLOCK, &usr1, NULL));
  finish(start(does_nothing, NULL));
  OK(raise(SIGUSR1)); // before there is a descriptor
  SYS(descriptor = signalfd(-1, &usr1, 0));
  EQ(read_one(), SIGUSR1);
  OK(raise(SIGUSR1));
  struct pollfd p = {.fd = descriptor, .events = POLLIN};
  EQ(poll(&p, 1, 0), 1);
  EQ(read_one(), SIGUSR1);
  EQ(poll(&p, 1, 0), 0);
  for (long how = 0; how < 4; how++)
    for (int i = 0; i < 8; i++) send_to_reader(how, i & 1, i & 2);
  SYS(close(descriptor));
}
// The others have a handler for it, which is not called, also when they open it later.
CASE(descriptor_though_others_take_it) {
  sigset_t usr1 = only(SIGUSR1);
  install(SIGUSR1, see, 0);
  sem_t gate;
  OK(sem_init(&gate, 0, 0));
  pthread_t other = start(waits_at, &gate);
  OK(pthread_sigmask(SIG_BLOCK, &usr1, NULL));
  SYS(descriptor = signalfd(-1, &usr1, 0));
  OK(raise(SIGUSR1));
  EQ(read_one(), SIGUSR1);
  for (long how = 0; how < 4; how++)
    for (int i = 0; i < 8; i++) send_to_reader(how, i & 1, i & 2);
  ready = 0;
  pthread_t t = start(reads_its_own, (void*)4);
  while (!ready) sched_yield();
  OK(pthread_kill(t, SIGUSR1));
  OK(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL));
  EQ(seen, 0);
  done = 1;
  finish(t);
  OK(sem_post(&gate));
  finish(other);
  EQ(seen, 0);
  SYS(close(descriptor));
}
// One reader for all, who is not sent any; what is queued is read in order, at once, to wherever it is to go.
CASE(descriptor_reads_in_order) {
  sigset_t rt = only(SIGRTMIN);
  OK(pthread_sigmask(SIG_BLOCK, &rt, NULL));
  pthread_t t = start(does_nothing, NULL);
  finish(t);
  for (int i = 1; i <= 5; i++) OK(pthread_sigqueue(pthread_self(), SIGRTMIN, (union sigval){.sival_int = i}));
  SYS(descriptor = signalfd(-1, &rt, SFD_NONBLOCK));
  for (int i = 6; i <= 8; i++) OK(pthread_sigqueue(pthread_self(), SIGRTMIN, (union sigval){.sival_int = i}));
  struct signalfd_siginfo got[4];
  ERRNO(read(descriptor, got, sizeof got[0] - 1), EINVAL);
  ERRNO(read(descriptor, (void*)16, sizeof got), EFAULT);
  // What did not get through is lost, natively.
  char parts[2][64];
  struct iovec v[] = {{parts[0], 64}, {parts[1], 64}};
  EQ(readv(descriptor, v, 2), 128);
  memcpy(got, parts, 128);
  EQ(got[0].ssi_int, 2);
  EQ(read(descriptor, got, sizeof got), sizeof got);
  for (int i = 0; i < 4; i++) EQ(got[i].ssi_int, 3 + i);
  sigset_t now;
  SYS(sigpending(&now));
  CHECK(sigismember(&now, SIGRTMIN));
  siginfo_t info;
  EQ(sigwaitinfo(&rt, &info), SIGRTMIN);
  EQ(info.si_value.sival_int, 7);
  EQ(read(descriptor, got, sizeof got), sizeof got[0]);
  EQ(got[0].ssi_int, 8);
  ERRNO(read(descriptor, got, sizeof got), EAGAIN);
  SYS(sigpending(&now));
  CHECK(!sigismember(&now, SIGRTMIN));
  SYS(close(descriptor));
}

// Ignoring a signal forgets what is pending.
CASE(ignoring_forgets) {
  sigset_t usr1 = only(SIGUSR1), now;
  OK(pthread_sigmask(SIG_BLOCK, &usr1, NULL));
  install(SIGUSR1, see, 0);
  pthread_t t = start(does_nothing, NULL);
  finish(t);
  seen = 0;
  OK(raise(SIGUSR1));
  SYS(sigpending(&now));
  CHECK(sigismember(&now, SIGUSR1));
  signal(SIGUSR1, SIG_IGN);
  SYS(sigpending(&now));
  CHECK(!sigismember(&now, SIGUSR1));
  install(SIGUSR1, see, 0);
  OK(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL));
  EQ(seen, 0);
}
