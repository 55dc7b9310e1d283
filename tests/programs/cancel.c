// Cancellation in its deferred form: a thread blocked in each kind of call, delayed, cleaned up after.
#include "net.h"
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

static _Atomic int cleaned;
static sem_t ready, never;
static int fds[2];

static void clean(void* argument) {
  (void)argument;
  cleaned++;
}

static void* blocked(void* call) {
  pthread_cleanup_push(clean, NULL);
  OK(sem_post(&ready));
  (*(void (**)(void))call)();
  pthread_cleanup_pop(0);
  FAIL("the call returned, errno %d", errno);
}

// Cancelled while blocked (a pause makes that likely) and at once (the request may be pending before the call).
static void cancelled_in(void (*call)(void)) {
  OK(sem_init(&ready, 0, 0));
  OK(sem_init(&never, 0, 0));
  for (int i = 0; i < 6; i++) {
    cleaned = 0;
    pthread_t t = start(blocked, &call);
    OK(sem_wait(&ready));
    if (i % 2) pause_ms(5);
    OK(pthread_cancel(t));
    CHECK(finish(t) == PTHREAD_CANCELED);
    EQ(cleaned, 1);
  }
}

static void in_sem_wait(void) { sem_wait(&never); }
static void in_sem_timedwait(void) {
  struct timespec until = in_ms(CLOCK_REALTIME, 100000);
  sem_timedwait(&never, &until);
}
static void in_sem_clockwait(void) {
  struct timespec until = in_ms(CLOCK_MONOTONIC, 100000);
  sem_clockwait(&never, CLOCK_MONOTONIC, &until);
}
CASE(semaphores) {
  cancelled_in(in_sem_wait);
  cancelled_in(in_sem_timedwait);
  cancelled_in(in_sem_clockwait);
}

static void in_read(void) {
  char c;
  CHECK(read(fds[0], &c, 1) < 1);
}
static void in_readv(void) {
  char c;
  struct iovec v = {&c, 1};
  CHECK(readv(fds[0], &v, 1) < 1);
}
static void in_write(void) {
  static char block[100000];
  while (write(fds[1], block, sizeof block) > 0) {
  }
}
CASE(pipes) {
  SYS(pipe(fds));
  cancelled_in(in_read);
  cancelled_in(in_readv);
  cancelled_in(in_write);
  close_pair(fds);
}

static void in_recv(void) {
  char c;
  recv(fds[0], &c, 1, 0);
}
static void in_recvfrom(void) {
  char c;
  recvfrom(fds[0], &c, 1, 0, NULL, NULL);
}
static void in_recvmsg(void) {
  char c;
  struct iovec v = {&c, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  recvmsg(fds[0], &m, 0);
}
static void in_send(void) {
  static char block[1000000];
  while (send(fds[1], block, sizeof block, MSG_NOSIGNAL) > 0) {
  }
}
CASE(sockets) {
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
  cancelled_in(in_recv);
  cancelled_in(in_recvfrom);
  cancelled_in(in_recvmsg);
  cancelled_in(in_send);
  close_pair(fds);
}

static void in_accept(void) { accept(fds[0], NULL, NULL); }
static void in_accept4(void) { accept4(fds[0], NULL, NULL, SOCK_CLOEXEC); }
CASE(accepting) {
  fds[0] = listening(1);
  cancelled_in(in_accept);
  cancelled_in(in_accept4);
  SYS(close(fds[0]));
}

static void in_sleep(void) { sleep(1000); }
static void in_usleep(void) { usleep(999999999); }
static void in_nanosleep(void) { pause_ms(1000000); }
static void in_clock_nanosleep(void) {
  struct timespec until = in_ms(CLOCK_MONOTONIC, 1000000);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}
CASE(sleeps) {
  cancelled_in(in_sleep);
  cancelled_in(in_usleep);
  cancelled_in(in_nanosleep);
  cancelled_in(in_clock_nanosleep);
}

static void in_poll(void) {
  struct pollfd p = {.fd = fds[0], .events = POLLIN};
  poll(&p, 1, -1);
}
static void in_poll_of_nothing(void) { poll(NULL, 0, 1000000); }
static void in_ppoll(void) {
  struct pollfd p = {.fd = fds[0], .events = POLLIN};
  ppoll(&p, 1, NULL, NULL);
}
static void in_select(void) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(fds[0], &in);
  select(fds[0] + 1, &in, NULL, NULL, NULL);
}
static void in_pselect(void) {
  struct timespec t = {1000, 0};
  pselect(0, NULL, NULL, NULL, &t, NULL);
}
CASE(polling) {
  SYS(pipe(fds));
  cancelled_in(in_poll);
  cancelled_in(in_poll_of_nothing);
  cancelled_in(in_ppoll);
  cancelled_in(in_select);
  cancelled_in(in_pselect);
  close_pair(fds);
}

static int epoll;
static void in_epoll_wait(void) {
  struct epoll_event e;
  epoll_wait(epoll, &e, 1, -1);
}
static void in_epoll_pwait(void) {
  struct epoll_event e;
  epoll_pwait(epoll, &e, 1, 100000, NULL);
}
CASE(epoll_waiting) {
  epoll = epoll_create1(0);
  SYS(epoll);
  cancelled_in(in_epoll_wait);
  cancelled_in(in_epoll_pwait);
  SYS(close(epoll));
}

static pthread_t joined;
static sem_t end_joined;
static void* wait_end(void* argument) {
  while (sem_wait(&end_joined) != 0) {
  }
  return argument;
}
static void in_join(void) { pthread_join(joined, NULL); }
static void in_timedjoin(void) {
  struct timespec until = in_ms(CLOCK_REALTIME, 100000);
  pthread_timedjoin_np(joined, NULL, &until);
}
CASE(joining) {
  OK(sem_init(&end_joined, 0, 0));
  joined = start(wait_end, NULL);
  cancelled_in(in_join);
  cancelled_in(in_timedjoin);
  OK(sem_post(&end_joined));
  OK(pthread_join(joined, NULL)); // a cancelled join leaves the thread joinable
}

static pthread_mutex_t lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static void give_back(void* argument) {
  (void)argument;
  EQ(pthread_mutex_lock(&lock), EDEADLK); // held again before the handlers run
  OK(pthread_mutex_unlock(&lock));
}
static void in_cond_wait(void) {
  OK(pthread_mutex_lock(&lock));
  pthread_cleanup_push(give_back, NULL);
  for (;;) OK(pthread_cond_wait(&cond, &lock));
  pthread_cleanup_pop(0);
}
static void in_cond_timedwait(void) {
  struct timespec until = in_ms(CLOCK_REALTIME, 100000);
  OK(pthread_mutex_lock(&lock));
  pthread_cleanup_push(give_back, NULL);
  for (;;) OK(pthread_cond_timedwait(&cond, &lock, &until));
  pthread_cleanup_pop(0);
}
static void in_cond_clockwait(void) {
  struct timespec until = in_ms(CLOCK_MONOTONIC, 100000);
  OK(pthread_mutex_lock(&lock));
  pthread_cleanup_push(give_back, NULL);
  for (;;) OK(pthread_cond_clockwait(&cond, &lock, CLOCK_MONOTONIC, &until));
  pthread_cleanup_pop(0);
}
CASE(conditions) {
  cancelled_in(in_cond_wait);
  cancelled_in(in_cond_timedwait);
  cancelled_in(in_cond_clockwait);
  OK(pthread_mutex_lock(&lock));
  OK(pthread_mutex_unlock(&lock));
}

// A cancelled waiter may not take a signal with it: of two waiters and one signal, one lives.
static int living, signals;
static void unlock(void* argument) { OK(pthread_mutex_unlock(argument)); }
static void* wait_for_signal(void* argument) {
  OK(pthread_mutex_lock(&lock));
  pthread_cleanup_push(unlock, &lock);
  while (signals == 0) OK(pthread_cond_wait(&cond, &lock));
  signals--;
  living++;
  pthread_cleanup_pop(1);
  return argument;
}
CASE(signal_is_not_lost) {
  for (int i = 0; i < 100; i++) {
    living = signals = 0;
    pthread_t doomed = start(wait_for_signal, &lock), other = start(wait_for_signal, &lock);
    if (i % 3 == 0) pause_ms(1);
    OK(pthread_mutex_lock(&lock));
    signals = 1;
    OK(pthread_cond_signal(&cond));
    OK(pthread_mutex_unlock(&lock));
    OK(pthread_cancel(doomed));
    bool died = finish(doomed) == PTHREAD_CANCELED;
    if (!died) { // it took the signal first: send the other one
      OK(pthread_mutex_lock(&lock));
      signals = 1;
      OK(pthread_cond_signal(&cond));
      OK(pthread_mutex_unlock(&lock));
    }
    finish(other);
    EQ(living, died ? 1 : 2);
  }
}

static void in_testcancel(void) {
  for (;;) {
    pthread_testcancel();
    sched_yield();
  }
}
CASE(testcancel) { cancelled_in(in_testcancel); }

static void* disabled(void* argument) {
  int old;
  char c;
  OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old));
  EQ(old, PTHREAD_CANCEL_ENABLE);
  OK(sem_post(&ready));
  EQ(read(fds[0], &c, 1), 1); // goes on although cancelled meanwhile
  pthread_testcancel();
  pause_ms(1);
  cleaned = 10;
  OK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old));
  EQ(old, PTHREAD_CANCEL_DISABLE);
  pthread_cleanup_push(clean, NULL);
  pthread_testcancel();
  pthread_cleanup_pop(0);
  FAIL("still alive");
  return argument;
}
CASE(disabled_state_delays) {
  OK(sem_init(&ready, 0, 0));
  SYS(pipe(fds));
  pthread_t t = start(disabled, NULL);
  OK(sem_wait(&ready));
  pause_ms(3);
  OK(pthread_cancel(t));
  pause_ms(3);
  write_byte(fds[1]);
  CHECK(finish(t) == PTHREAD_CANCELED);
  EQ(cleaned, 11);
  close_pair(fds);
  EQ(pthread_setcancelstate(99, NULL), EINVAL);
  EQ(pthread_setcanceltype(99, NULL), EINVAL);
}

static void* types(void* argument) {
  int old;
  OK(pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &old));
  EQ(old, PTHREAD_CANCEL_DEFERRED);
  return argument;
}
CASE(type_is_deferred) { finish(start(types, NULL)); }

static void* cancels_itself(void* argument) {
  OK(pthread_cancel(pthread_self()));
  cleaned = 5; // deferred: not yet
  pthread_cleanup_push(clean, NULL);
  pthread_testcancel();
  pthread_cleanup_pop(0);
  return argument;
}
CASE(itself) {
  CHECK(finish(start(cancels_itself, NULL)) == PTHREAD_CANCELED);
  EQ(cleaned, 6);
}

static void* ends_with_request(void* argument) {
  OK(sem_post(&ready));
  while (sem_trywait(&never) != 0) {
  } // no cancellation point
  return argument;
}
CASE(request_without_a_point) {
  OK(sem_init(&ready, 0, 0));
  OK(sem_init(&never, 0, 0));
  pthread_t t = start(ends_with_request, &ready);
  OK(sem_wait(&ready));
  OK(pthread_cancel(t));
  OK(sem_post(&never));
  CHECK(finish(t) == &ready);
}

static void* at_once(void* argument) { return argument; }
CASE(finished_thread) {
  pthread_t t = start(at_once, &ready);
  pause_ms(10);
  OK(pthread_cancel(t));
  CHECK(finish(t) == &ready);
}

// No cancellation points: these finish their work although cancelled.
static pthread_barrier_t barrier;
static void* through_locks(void* argument) {
  static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  static pthread_rwlock_t l = PTHREAD_RWLOCK_INITIALIZER;
  OK(pthread_cancel(pthread_self()));
  OK(pthread_mutex_lock(&m));
  OK(pthread_mutex_unlock(&m));
  OK(pthread_rwlock_wrlock(&l));
  OK(pthread_rwlock_unlock(&l));
  sched_yield();
  int rc = pthread_barrier_wait(&barrier);
  CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
  return argument;
}
CASE(locks_are_no_points) {
  OK(pthread_barrier_init(&barrier, NULL, 2));
  pthread_t a = start(through_locks, &ready), b = start(through_locks, &ready);
  CHECK(finish(a) == &ready);
  CHECK(finish(b) == &ready);
}

static void in_waitpid(void) {
  int status;
  waitpid(-1, &status, 0);
}
static void in_pause(void) { pause(); }
static void in_sigwait(void) {
  sigset_t set;
  int number;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigwait(&set, &number);
}
static char fifo[64];
static void in_open(void) { open(fifo, O_RDONLY); }
static void in_range_lock(void) {
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  fcntl(fds[0], F_OFD_SETLKW, &range);
}

CASE(handed_off_open) {
  char folder[] = "/tmp/gmp-cancel-XXXXXX";
  CHECK(mkdtemp(folder));
  snprintf(fifo, sizeof fifo, "%s/f", folder);
  SYS(mkfifo(fifo, 0600));
  cancelled_in(in_open);
  SYS(unlink(fifo));
  SYS(rmdir(folder));
}
CASE(handed_off_waitpid) {
  fflush(stdout);
  SYS(pipe(fds));
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    char c;
    SYS(close(fds[1]));
    _exit(read(fds[0], &c, 1) == 0 ? 0 : 1);
  }
  cancelled_in(in_waitpid);
  close_pair(fds);
  int status;
  EQ(waitpid(child, &status, 0), child);
}
static mqd_t queue;
static void in_mq_receive(void) {
  char text[16];
  mq_receive(queue, text, sizeof text, NULL);
}
static int sysv_queue;
static void in_msgrcv(void) {
  long m[4];
  msgrcv(sysv_queue, m, 8, 0, 0);
}
CASE(handed_off_queues) {
  char name[64];
  snprintf(name, sizeof name, "/gmp-cancel-%d", getpid());
  struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 16};
  SYS(queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
  SYS(mq_unlink(name));
  cancelled_in(in_mq_receive);
  SYS(mq_close(queue));
  SYS(sysv_queue = msgget(IPC_PRIVATE, 0600));
  cancelled_in(in_msgrcv);
  SYS(msgctl(sysv_queue, IPC_RMID, NULL));
}
CASE(handed_off_pause) { cancelled_in(in_pause); }
CASE(handed_off_sigwait) { cancelled_in(in_sigwait); }
CASE(handed_off_range_lock) {
  char name[] = "/tmp/gmp-cancel-XXXXXX";
  fds[0] = mkstemp(name);
  fds[1] = open(name, O_RDWR);
  unlink(name);
  struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
  SYS(fcntl(fds[1], F_OFD_SETLK, &range));
  cancelled_in(in_range_lock);
  close_pair(fds);
}
