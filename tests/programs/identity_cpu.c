// Processor time of single threads: their own, another's, as a clock to sleep on and to time by, and in getrusage.
#include "check.h"
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define MS 1000000LL

static int64_t own(void) { return now_ns(CLOCK_THREAD_CPUTIME_ID); }
static void burn(int64_t ns) {
  int64_t end = own() + ns;
  while (own() < end) {
  }
}
static int64_t usage(void) {
  struct rusage r;
  SYS(getrusage(RUSAGE_THREAD, &r));
  return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000 * MS + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000;
}

// One works, others sleep and hand over: only the worker's clock goes.
static void* works(void* unused) {
  (void)unused;
  int64_t t = own();
  for (int i = 0; i < 20; i++) {
    burn(MS);
    sched_yield();
  }
  CHECK(own() - t >= 20 * MS);
  return NULL;
}
static void* idles(void* unused) {
  (void)unused;
  int64_t t = own();
  for (int i = 0; i < 15; i++) pause_ms(1);
  CHECK(own() - t < 15 * MS); // beside threads that burn 60
  return NULL;
}
CASE(each_its_own) {
  pthread_t t[6];
  int64_t before = own();
  for (int i = 0; i < 6; i++) t[i] = start(i % 2 ? idles : works, NULL);
  for (int i = 0; i < 6; i++) finish(t[i]);
  CHECK(own() - before < 40 * MS);
}

static void* never_back(void* unused) {
  (void)unused;
  int64_t last = own();
  for (int i = 0; i < 2000; i++) {
    int64_t t = own();
    CHECK(t >= last);
    last = t;
    if (i % 5 == 0) sched_yield();
  }
  return NULL;
}
CASE(never_goes_back) {
  pthread_t t[5];
  for (int i = 0; i < 5; i++) t[i] = start(never_back, NULL);
  for (int i = 0; i < 5; i++) finish(t[i]);
}

static atomic_bool enough;
static void* until_enough(void* unused) {
  (void)unused;
  while (!atomic_load(&enough)) {
  }
  return NULL;
}
CASE(of_another) {
  clockid_t clock, mine;
  struct timespec res;
  atomic_store(&enough, false);
  pthread_t t = start(until_enough, NULL);
  OK(pthread_getcpuclockid(t, &clock));
  OK(pthread_getcpuclockid(pthread_self(), &mine));
  CHECK(clock != mine && clock != CLOCK_THREAD_CPUTIME_ID);
  SYS(clock_getres(clock, &res));
  EQ(res.tv_sec, 0);
  SYS(syscall(SYS_clock_getres, clock, &res));
  int64_t a = now_ns(clock), m = own();
  struct timespec until = from_ns(a + 30 * MS), nap = from_ns(10 * MS);
  OK(clock_nanosleep(clock, TIMER_ABSTIME, &until, NULL));
  CHECK(now_ns(clock) >= a + 30 * MS);
  OK(clock_nanosleep(clock, 0, &nap, NULL));
  CHECK(now_ns(clock) >= a + 40 * MS);
  CHECK(own() - m < 30 * MS);
  EQ(clock_nanosleep(mine, 0, &nap, NULL), EINVAL);
  EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &nap, NULL), EINVAL);
  int64_t before = now_ns(mine), both = own();
  CHECK(both >= before && both - before < 20 * MS);
  atomic_store(&enough, true);
  finish(t);
  ERRNO(clock_gettime(clock, &res), EINVAL);
  ERRNO(clock_getres(clock, &res), EINVAL);
}

static void* rusage_goes(void* unused) {
  (void)unused;
  int64_t u = usage(), c = own();
  burn(25 * MS);
  u = usage() - u, c = own() - c;
  CHECK(u >= 15 * MS && u <= c + 10 * MS);
  return NULL;
}
CASE(rusage_of_thread) {
  pthread_t t[3];
  for (int i = 0; i < 3; i++) t[i] = start(rusage_goes, NULL);
  for (int i = 0; i < 3; i++) finish(t[i]);
  struct rusage r;
  SYS(getrusage(RUSAGE_SELF, &r));
  ERRNO(getrusage(42, &r), EINVAL);
}

static atomic_int fired;
static void on_timer(int s) {
  (void)s;
  atomic_fetch_add(&fired, 1);
}
static void* timed(void* unused) {
  (void)unused;
  struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
  timer_t timer;
  SYS(timer_create(CLOCK_THREAD_CPUTIME_ID, &e, &timer));
  struct itimerspec s = {.it_value = from_ns(10 * MS)};
  SYS(timer_settime(timer, 0, &s, NULL));
  int64_t t = own();
  pause_ms(30);
  if (own() - t < 8 * MS) EQ(atomic_load(&fired), 0); // asleep, it does not go on
  while (atomic_load(&fired) == 0) burn(MS);
  SYS(timer_delete(timer));
  return NULL;
}
CASE(timer_on_it) {
  signal(SIGUSR1, on_timer);
  finish(start(timed, NULL));
  EQ(atomic_load(&fired), 1);
}

// Other clocks are not touched.
CASE(other_clocks) {
  struct timespec t;
  SYS(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t));
  SYS(clock_gettime(CLOCK_BOOTTIME, &t));
  SYS(clock_gettime(CLOCK_MONOTONIC_RAW, &t));
  ERRNO(clock_gettime(999, &t), EINVAL);
  ERRNO(clock_gettime(-1, &t), EINVAL);
  finish(start(never_back, NULL));
  clockid_t process;
  OK(clock_getcpuclockid(0, &process));
  SYS(clock_gettime(process, &t));
  errno = 11;
  SYS(clock_gettime(CLOCK_REALTIME, &t));
  EQ(errno, 11);
}
