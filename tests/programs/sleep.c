// Sleeping: never shorter than asked, in the order of deadlines, refused where the time is no time.
#include "check.h"
#include <stdatomic.h>
#include <sys/resource.h>

static int64_t since(int64_t before) { return now_ns(CLOCK_MONOTONIC) - before; }

static void* sleep_all_ways(void* argument) {
  struct timespec t = {0, 15000000};
  int64_t before = now_ns(CLOCK_MONOTONIC);
  EQ(usleep(15000), 0);
  CHECK(since(before) >= 15000000);
  before = now_ns(CLOCK_MONOTONIC);
  EQ(nanosleep(&t, NULL), 0);
  CHECK(since(before) >= 15000000);
  before = now_ns(CLOCK_MONOTONIC);
  EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL), 0);
  CHECK(since(before) >= 15000000);
  before = now_ns(CLOCK_MONOTONIC);
  EQ(clock_nanosleep(CLOCK_REALTIME, 0, &t, NULL), 0);
  CHECK(since(before) >= 15000000);
  clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI};
  for (int i = 0; i < 4; i++) {
    struct timespec until = in_ms(clocks[i], 15);
    EQ(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL), 0);
    CHECK(now_ns(clocks[i]) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
    until = in_ms(clocks[i], -5000);
    EQ(clock_nanosleep(clocks[i], TIMER_ABSTIME, &until, NULL), 0);
  }
  return argument;
}

CASE(not_earlier) {
  sleep_all_ways(NULL);
  pthread_t t[50];
  for (int i = 0; i < 50; i++) t[i] = start(sleep_all_ways, NULL);
  for (int i = 0; i < 50; i++) finish(t[i]);
}

CASE(whole_seconds) {
  int64_t before = now_ns(CLOCK_MONOTONIC);
  EQ(sleep(1), 0);
  CHECK(since(before) >= 1000000000);
  EQ(sleep(0), 0);
}

CASE(refusals) {
  struct timespec bad[] = {{0, -1}, {0, 1000000000}, {-1, 0}};
  for (int i = 0; i < 3; i++) {
    ERRNO(nanosleep(&bad[i], NULL), EINVAL);
    EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad[i], NULL), EINVAL);
  }
  for (int i = 0; i < 2; i++) EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &bad[i], NULL), EINVAL);
  struct timespec t = {0, 1};
  EQ(clock_nanosleep(9999, 0, &t, NULL), EINVAL);
  EQ(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EINVAL);
  struct timespec zero = {0, 0};
  EQ(nanosleep(&zero, NULL), 0);
}

static void* refused_in_thread(void* argument) {
  struct timespec bad = {0, 1000000000};
  ERRNO(nanosleep(&bad, NULL), EINVAL);
  EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL), EINVAL);
  EQ(clock_nanosleep(9999, 0, &bad, NULL), EINVAL);
  return argument;
}
CASE(refusals_in_thread) { finish(start(refused_in_thread, NULL)); }

// Sleepers of one deadline each. None is late without bound: all end, and none before its time.
enum { SLEEPERS = 1000 };
static int64_t base, woke[SLEEPERS];
static void* one_of_many(void* argument) {
  intptr_t me = (intptr_t)argument;
  int64_t deadline = base + (me * 7919 % SLEEPERS) * 300000;
  struct timespec until = from_ns(deadline);
  EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), 0);
  woke[me] = now_ns(CLOCK_MONOTONIC);
  CHECK(woke[me] >= deadline);
  return NULL;
}

CASE(thousand_sleepers) {
  static pthread_t t[SLEEPERS];
  base = now_ns(CLOCK_MONOTONIC) + 100000000;
  for (intptr_t i = 0; i < SLEEPERS; i++) t[i] = start(one_of_many, (void*)i);
  for (int i = 0; i < SLEEPERS; i++) finish(t[i]);
}

// Order: A sleeper whose deadline is a whole second behind another's is never woken before it.
static _Atomic int stage;
static void* early(void* argument) {
  pause_ms(20);
  stage = 1;
  return argument;
}
static void* late(void* argument) {
  pause_ms(1020);
  EQ(stage, 1);
  return argument;
}
CASE(order_of_deadlines) {
  pthread_t l[20], e;
  for (int i = 0; i < 20; i++) l[i] = start(late, NULL);
  e = start(early, NULL);
  finish(e);
  for (int i = 0; i < 20; i++) finish(l[i]);
}

// Short sleeps go on while others sleep long, compute and yield.
static _Atomic bool stop;
static void* computes(void* argument) {
  while (!stop)
    for (volatile int i = 0; i < 10000; i++)
      if (i == 9999) sched_yield();
  return argument;
}
CASE(beside_computing) {
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(computes, NULL);
  for (int i = 0; i < 30; i++) pause_ms(1);
  stop = true;
  for (int i = 0; i < 4; i++) finish(t[i]);
}

// A program that does little, ten times a second, is idle: the rest of the process does not stay awake for it. (The library's watching thread took sixty
// naps after each time, several times what the program itself cost.)
static long switches(void) {
  struct rusage r;
  EQ(getrusage(RUSAGE_SELF, &r), 0);
  return r.ru_nvcsw + r.ru_nivcsw;
}
static void* now_and_then(void* argument) {
  for (int i = 0; i < 5; i++) pause_ms(100);
  long before = switches();
  for (int i = 0; i < 20; i++) pause_ms(100);
  *(long*)argument = switches() - before;
  return NULL;
}
CASE(little_and_often) {
  long n = 0;
  finish(start(now_and_then, &n));
  fprintf(stderr, "%ld switches\n", n);
  CHECK(n < 20 * 25);
}
