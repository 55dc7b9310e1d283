// Mutual exclusion by the types of mutex and by spin locks, from 2 to 200 threads: an unprotected counter, and an
// invariant that is broken and mended inside.
#include "check.h"
#include <stdatomic.h>

static pthread_mutex_t lock;
static pthread_spinlock_t spin;
static long counter, left, right;
static _Atomic int inside;
static bool spinning;
static long rounds;

static void* add(void* argument) {
  for (long i = 0; i < rounds; i++) {
    if (spinning)
      OK(pthread_spin_lock(&spin));
    else if (i % 7 == 0) {
      int rc;
      while ((rc = pthread_mutex_trylock(&lock)) == EBUSY) sched_yield();
      OK(rc);
    } else if (i % 11 == 0) {
      struct timespec until = in_ms(CLOCK_REALTIME, 60000);
      OK(pthread_mutex_timedlock(&lock, &until));
    } else
      OK(pthread_mutex_lock(&lock));
    EQ(atomic_fetch_add(&inside, 1), 0);
    EQ(left, right);
    left++;
    counter++;
    if (i % 64 == 0 && !spinning) sched_yield();
    right++;
    EQ(atomic_fetch_sub(&inside, 1), 1);
    OK(spinning ? pthread_spin_unlock(&spin) : pthread_mutex_unlock(&lock));
  }
  return argument;
}

static void stress(int threads, long total) {
  pthread_t t[200];
  counter = left = right = 0;
  rounds = total / threads;
  for (int i = 0; i < threads; i++) t[i] = start(add, NULL);
  for (int i = 0; i < threads; i++) finish(t[i]);
  EQ(counter, rounds * threads);
}

static void stress_type(int type, int robust, int protocol) {
  pthread_mutexattr_t attr;
  OK(pthread_mutexattr_init(&attr));
  OK(pthread_mutexattr_settype(&attr, type));
  OK(pthread_mutexattr_setrobust(&attr, robust));
  OK(pthread_mutexattr_setprotocol(&attr, protocol));
  OK(pthread_mutex_init(&lock, &attr));
  spinning = false;
  long total = size_or(protocol == PTHREAD_PRIO_INHERIT ? 10000 : 40000);
  stress(2, total);
  stress(16, total);
  stress(200, total);
  OK(pthread_mutex_destroy(&lock));
  OK(pthread_mutexattr_destroy(&attr));
}

CASE(normal) { stress_type(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE); }
CASE(recursive) { stress_type(PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE); }
CASE(errorcheck) { stress_type(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE); }
CASE(adaptive) { stress_type(PTHREAD_MUTEX_ADAPTIVE_NP, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_NONE); }
CASE(robust) { stress_type(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE); }
CASE(inherit) { stress_type(PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT); }

CASE(spin) {
  OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
  OK(pthread_spin_lock(&spin));
  EQ(pthread_spin_trylock(&spin), EBUSY);
  OK(pthread_spin_unlock(&spin));
  OK(pthread_spin_trylock(&spin));
  OK(pthread_spin_unlock(&spin));
  spinning = true;
  stress(2, 40000);
  stress(16, 8000);
  OK(pthread_spin_destroy(&spin));
}

// The holder of a spin lock sleeps: those who spin must let it run, with one processor too.
static void* hold_spin(void* argument) {
  OK(pthread_spin_lock(&spin));
  counter++;
  pause_ms(1);
  OK(pthread_spin_unlock(&spin));
  return argument;
}

CASE(spin_holder_sleeps) {
  OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
  counter = 0;
  pthread_t t[12];
  for (int i = 0; i < 12; i++) t[i] = start(hold_spin, NULL);
  for (int i = 0; i < 12; i++) finish(t[i]);
  EQ(counter, 12);
  OK(pthread_spin_destroy(&spin));
}
