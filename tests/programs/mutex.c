// Mutexes: every type, result and initialiser; timed forms; what is refused.
#include "check.h"
#include <semaphore.h>
#include <stdatomic.h>

static void make(pthread_mutex_t* m, int type) {
  pthread_mutexattr_t attr;
  int got;
  OK(pthread_mutexattr_init(&attr));
  OK(pthread_mutexattr_settype(&attr, type));
  OK(pthread_mutexattr_gettype(&attr, &got));
  EQ(got, type);
  OK(pthread_mutex_init(m, &attr));
  OK(pthread_mutexattr_destroy(&attr));
}

struct attempt {
  pthread_mutex_t* mutex;
  int (*call)(pthread_mutex_t*);
};
static void* attempt(void* argument) {
  struct attempt* a = argument;
  return (void*)(intptr_t)a->call(a->mutex);
}
// The result of the call made by another thread.
static int elsewhere(int (*call)(pthread_mutex_t*), pthread_mutex_t* mutex) {
  struct attempt a = {mutex, call};
  return (int)(intptr_t)finish(start(attempt, &a));
}

static void normal_rules(pthread_mutex_t* m) {
  OK(pthread_mutex_lock(m));
  EQ(pthread_mutex_trylock(m), EBUSY);
  EQ(elsewhere(pthread_mutex_trylock, m), EBUSY);
  OK(pthread_mutex_unlock(m));
  OK(pthread_mutex_trylock(m));
  OK(pthread_mutex_unlock(m));
  OK(pthread_mutex_destroy(m));
}

CASE(normal) {
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  normal_rules(&m);
  OK(pthread_mutex_init(&m, NULL));
  normal_rules(&m);
  make(&m, PTHREAD_MUTEX_NORMAL);
  normal_rules(&m);
  make(&m, PTHREAD_MUTEX_ADAPTIVE_NP);
  normal_rules(&m);
  pthread_mutex_t adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
  normal_rules(&adaptive);
}

static int trylock_and_unlock(pthread_mutex_t* m) {
  int rc = pthread_mutex_trylock(m);
  if (rc == 0) OK(pthread_mutex_unlock(m));
  return rc;
}

static void recursive_rules(pthread_mutex_t* m) {
  for (int i = 0; i < 1000; i++) OK(i % 2 ? pthread_mutex_lock(m) : pthread_mutex_trylock(m));
  EQ(elsewhere(pthread_mutex_trylock, m), EBUSY);
  EQ(elsewhere(pthread_mutex_unlock, m), EPERM);
  for (int i = 0; i < 999; i++) OK(pthread_mutex_unlock(m));
  EQ(elsewhere(pthread_mutex_trylock, m), EBUSY);
  OK(pthread_mutex_unlock(m));
  EQ(pthread_mutex_unlock(m), EPERM);
  OK(elsewhere(trylock_and_unlock, m));
  OK(pthread_mutex_destroy(m));
}

CASE(recursive) {
  pthread_mutex_t m = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
  recursive_rules(&m);
  make(&m, PTHREAD_MUTEX_RECURSIVE);
  recursive_rules(&m);
}

static void errorcheck_rules(pthread_mutex_t* m) {
  struct timespec until = in_ms(CLOCK_REALTIME, 10000);
  EQ(pthread_mutex_unlock(m), EPERM);
  OK(pthread_mutex_lock(m));
  EQ(pthread_mutex_lock(m), EDEADLK);
  EQ(pthread_mutex_trylock(m), EBUSY);
  EQ(pthread_mutex_timedlock(m, &until), EDEADLK);
  EQ(elsewhere(pthread_mutex_unlock, m), EPERM);
  EQ(elsewhere(pthread_mutex_trylock, m), EBUSY);
  OK(pthread_mutex_unlock(m));
  EQ(pthread_mutex_unlock(m), EPERM);
  OK(elsewhere(trylock_and_unlock, m));
  OK(pthread_mutex_destroy(m));
}

CASE(errorcheck) {
  pthread_mutex_t m = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  errorcheck_rules(&m);
  make(&m, PTHREAD_MUTEX_ERRORCHECK);
  errorcheck_rules(&m);
}

static int timedlock_20ms(pthread_mutex_t* m) {
  struct timespec until = in_ms(CLOCK_REALTIME, 20);
  int64_t before = now_ns(CLOCK_REALTIME);
  int rc = pthread_mutex_timedlock(m, &until);
  if (rc == ETIMEDOUT) CHECK(now_ns(CLOCK_REALTIME) - before >= 19000000);
  return rc;
}
static int clocklock_20ms(pthread_mutex_t* m) {
  struct timespec until = in_ms(CLOCK_MONOTONIC, 20);
  int rc = pthread_mutex_clocklock(m, CLOCK_MONOTONIC, &until);
  if (rc == ETIMEDOUT) CHECK(now_ns(CLOCK_MONOTONIC) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
  return rc;
}
static int clocklock_past(pthread_mutex_t* m) {
  struct timespec until = in_ms(CLOCK_REALTIME, -5000);
  return pthread_mutex_clocklock(m, CLOCK_REALTIME, &until);
}
static int timedlock_bad(pthread_mutex_t* m) {
  struct timespec until = {0, 1000000000};
  return pthread_mutex_timedlock(m, &until);
}
static int clocklock_bad_clock(pthread_mutex_t* m) {
  struct timespec until = in_ms(CLOCK_MONOTONIC, 20);
  return pthread_mutex_clocklock(m, CLOCK_PROCESS_CPUTIME_ID, &until);
}

CASE(timed) {
  int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP};
  for (int i = 0; i < 4; i++) {
    pthread_mutex_t m;
    make(&m, types[i]);
    OK(timedlock_20ms(&m)); // free: at once
    EQ(elsewhere(timedlock_20ms, &m), ETIMEDOUT);
    EQ(elsewhere(clocklock_20ms, &m), ETIMEDOUT);
    EQ(elsewhere(clocklock_past, &m), ETIMEDOUT);
    EQ(elsewhere(timedlock_bad, &m), EINVAL);
    EQ(elsewhere(clocklock_bad_clock, &m), EINVAL);
    OK(pthread_mutex_unlock(&m));
    OK(clocklock_20ms(&m));
    OK(pthread_mutex_unlock(&m));
    OK(clocklock_past(&m)); // free: the time is not looked at
    OK(pthread_mutex_unlock(&m));
    OK(pthread_mutex_destroy(&m));
  }
}

static int timedlock_long(pthread_mutex_t* m) {
  struct timespec until = in_ms(CLOCK_REALTIME, 60000);
  int rc = pthread_mutex_timedlock(m, &until);
  if (rc == 0) OK(pthread_mutex_unlock(m));
  return rc;
}

CASE(timed_gets_it) {
  pthread_mutex_t m;
  make(&m, PTHREAD_MUTEX_NORMAL);
  OK(pthread_mutex_lock(&m));
  struct attempt a = {&m, timedlock_long};
  pthread_t t[10];
  for (int i = 0; i < 10; i++) t[i] = start(attempt, &a);
  pause_ms(10);
  OK(pthread_mutex_unlock(&m));
  for (int i = 0; i < 10; i++) EQ((intptr_t)finish(t[i]), 0);
  OK(pthread_mutex_destroy(&m));
}

CASE(destroy_busy) {
  pthread_mutex_t m;
  make(&m, PTHREAD_MUTEX_NORMAL);
  OK(pthread_mutex_lock(&m));
  EQ(pthread_mutex_destroy(&m), EBUSY);
  OK(pthread_mutex_unlock(&m));
  OK(pthread_mutex_destroy(&m));
}

CASE(attribute_refusals) {
  pthread_mutexattr_t attr;
  OK(pthread_mutexattr_init(&attr));
  EQ(pthread_mutexattr_settype(&attr, 77), EINVAL);
  EQ(pthread_mutexattr_setpshared(&attr, 77), EINVAL);
  EQ(pthread_mutexattr_setrobust(&attr, 77), EINVAL);
  EQ(pthread_mutexattr_setprotocol(&attr, 77), EINVAL);
  OK(pthread_mutexattr_destroy(&attr));
}

// Unlocked by another thread than locked it: undefined for the others, works for the normal type on Linux, and
// programs rely on it.
static int unlock_normal(pthread_mutex_t* m) { return pthread_mutex_unlock(m); }

CASE(normal_unlocked_by_other) {
  pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
  OK(pthread_mutex_lock(&m));
  OK(elsewhere(unlock_normal, &m));
  OK(pthread_mutex_lock(&m));
  OK(pthread_mutex_unlock(&m));
}

// The holder blocks in every way while others queue up.
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static long in_turn;
static void* hold_and_block(void* argument) {
  for (int i = 0; i < 20; i++) {
    OK(pthread_mutex_lock(&held));
    long seen = in_turn;
    if (i % 3 == 0)
      pause_ms(0);
    else
      sched_yield();
    in_turn = seen + 1;
    OK(pthread_mutex_unlock(&held));
  }
  return argument;
}

CASE(holder_blocks) {
  pthread_t t[30];
  for (int i = 0; i < 30; i++) t[i] = start(hold_and_block, NULL);
  for (int i = 0; i < 30; i++) finish(t[i]);
  EQ(in_turn, 600);
}

// A waiter gets in although a thread takes the lock again and again: the lock may be unfair for a while, not for ever.
static pthread_mutex_t greedy = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool served;
static void* take_again(void* argument) {
  while (!served) {
    OK(pthread_mutex_lock(&greedy));
    for (volatile int i = 0; i < 2000; i++) {
    }
    OK(pthread_mutex_unlock(&greedy));
  }
  return argument;
}
static void* want_once(void* argument) {
  for (int i = 0; i < 5; i++) {
    OK(pthread_mutex_lock(&greedy));
    OK(pthread_mutex_unlock(&greedy));
  }
  served = true;
  return argument;
}

CASE(no_starvation) {
  pthread_t a = start(take_again, NULL), b = start(take_again, NULL);
  pthread_t w = start(want_once, NULL);
  finish(w);
  finish(a);
  finish(b);
}
