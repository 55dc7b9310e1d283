// Read-write locks: kinds, try and timed forms, refusals, an invariant under stress.
#include "check.h"
#include <semaphore.h>
#include <stdatomic.h>

static pthread_rwlock_t l;

static void make(int kind) {
  pthread_rwlockattr_t attr;
  int got;
  OK(pthread_rwlockattr_init(&attr));
  OK(pthread_rwlockattr_setkind_np(&attr, kind));
  OK(pthread_rwlockattr_getkind_np(&attr, &got));
  EQ(got, kind);
  OK(pthread_rwlock_init(&l, &attr));
  OK(pthread_rwlockattr_destroy(&attr));
}

static int try_read(void) { return pthread_rwlock_tryrdlock(&l); }
static int try_write(void) { return pthread_rwlock_trywrlock(&l); }
static int unlock(void) { return pthread_rwlock_unlock(&l); }
static int timed_read(void) {
  struct timespec until = in_ms(CLOCK_REALTIME, 20);
  return pthread_rwlock_timedrdlock(&l, &until);
}
static int timed_write(void) {
  struct timespec until = in_ms(CLOCK_REALTIME, 20);
  return pthread_rwlock_timedwrlock(&l, &until);
}
static int clock_read(void) {
  struct timespec until = in_ms(CLOCK_MONOTONIC, 20);
  int rc = pthread_rwlock_clockrdlock(&l, CLOCK_MONOTONIC, &until);
  if (rc == ETIMEDOUT) CHECK(now_ns(CLOCK_MONOTONIC) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
  return rc;
}
static int clock_write(void) {
  struct timespec until = in_ms(CLOCK_MONOTONIC, 20);
  int rc = pthread_rwlock_clockwrlock(&l, CLOCK_MONOTONIC, &until);
  if (rc == ETIMEDOUT) CHECK(now_ns(CLOCK_MONOTONIC) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
  return rc;
}

typedef int (*attempt_t)(void);
// Makes the attempt in another thread; gives the lock back where it got it.
static void* make_attempt(void* argument) {
  int rc = (*(attempt_t*)argument)();
  if (rc == 0) OK(unlock());
  return (void*)(intptr_t)rc;
}
static int elsewhere(attempt_t call) { return (int)(intptr_t)finish(start(make_attempt, &call)); }

static const int kinds[] = {PTHREAD_RWLOCK_PREFER_READER_NP, PTHREAD_RWLOCK_PREFER_WRITER_NP,
                            PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP};

CASE(rules) {
  for (int i = 0; i < 3; i++) {
    make(kinds[i]);
    OK(pthread_rwlock_rdlock(&l));
    OK(elsewhere(try_read));
    OK(elsewhere(timed_read));
    OK(elsewhere(clock_read));
    EQ(elsewhere(try_write), EBUSY);
    EQ(elsewhere(timed_write), ETIMEDOUT);
    EQ(elsewhere(clock_write), ETIMEDOUT);
    OK(try_read());
    OK(unlock());
    OK(unlock());
    OK(pthread_rwlock_wrlock(&l));
    EQ(elsewhere(try_read), EBUSY);
    EQ(elsewhere(try_write), EBUSY);
    EQ(elsewhere(timed_read), ETIMEDOUT);
    EQ(elsewhere(timed_write), ETIMEDOUT);
    EQ(elsewhere(clock_read), ETIMEDOUT);
    EQ(elsewhere(clock_write), ETIMEDOUT);
    EQ(pthread_rwlock_wrlock(&l), EDEADLK);
    EQ(pthread_rwlock_rdlock(&l), EDEADLK);
    EQ(try_write(), EBUSY);
    OK(unlock());
    OK(elsewhere(try_write));
    OK(timed_write());
    OK(unlock());
    OK(clock_write());
    OK(unlock());
    OK(pthread_rwlock_destroy(&l));
  }
}

CASE(refusals) {
  make(PTHREAD_RWLOCK_PREFER_READER_NP);
  struct timespec bad = {0, 1000000000}, past = in_ms(CLOCK_REALTIME, -1000);
  EQ(pthread_rwlock_timedrdlock(&l, &bad), EINVAL);
  EQ(pthread_rwlock_timedwrlock(&l, &bad), EINVAL);
  EQ(pthread_rwlock_clockrdlock(&l, CLOCK_PROCESS_CPUTIME_ID, &past), EINVAL);
  OK(pthread_rwlock_timedrdlock(&l, &past)); // free: the time is not looked at
  OK(unlock());
  OK(pthread_rwlock_wrlock(&l));
  OK(unlock());
  pthread_rwlockattr_t attr;
  OK(pthread_rwlockattr_init(&attr));
  EQ(pthread_rwlockattr_setkind_np(&attr, 99), EINVAL);
  EQ(pthread_rwlockattr_setpshared(&attr, 99), EINVAL);
  OK(pthread_rwlockattr_destroy(&attr));
  OK(pthread_rwlock_destroy(&l));
}

static sem_t entered, leave;
static _Atomic int written;
static void* read_and_stay(void* argument) {
  OK(pthread_rwlock_rdlock(&l));
  OK(sem_post(&entered));
  OK(sem_wait(&leave));
  OK(unlock());
  return argument;
}
static void* write_once(void* argument) {
  OK(pthread_rwlock_wrlock(&l));
  written = 1;
  OK(unlock());
  return argument;
}

CASE(readers_share) {
  for (int k = 0; k < 3; k++) {
    make(kinds[k]);
    OK(sem_init(&entered, 0, 0));
    OK(sem_init(&leave, 0, 0));
    written = 0;
    pthread_t t[50];
    for (int i = 0; i < 50; i++) t[i] = start(read_and_stay, NULL);
    for (int i = 0; i < 50; i++) OK(sem_wait(&entered)); // all fifty inside at once
    pthread_t w = start(write_once, NULL);
    pause_ms(5);
    EQ(written, 0);
    if (kinds[k] == PTHREAD_RWLOCK_PREFER_READER_NP) { // a waiting writer does not keep readers out
      OK(elsewhere(try_read));
      OK(pthread_rwlock_rdlock(&l));
      OK(unlock());
    }
    for (int i = 0; i < 50; i++) OK(sem_post(&leave));
    for (int i = 0; i < 50; i++) finish(t[i]);
    finish(w);
    EQ(written, 1);
    OK(pthread_rwlock_destroy(&l));
  }
}

CASE(preferred_writer_keeps_readers_out) {
  make(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  written = 0;
  OK(pthread_rwlock_rdlock(&l));
  pthread_t w = start(write_once, NULL);
  int rc;
  while ((rc = elsewhere(try_read)) == 0) pause_ms(1); // until the writer waits
  EQ(rc, EBUSY);
  EQ(written, 0);
  OK(unlock());
  finish(w);
  OK(elsewhere(try_read));
  OK(pthread_rwlock_destroy(&l));
}

static long a, b;
static _Atomic int readers, writers;
static void* mix(void* argument) {
  intptr_t me = (intptr_t)argument;
  for (int i = 0; i < 400; i++) {
    if ((me + i) % 5 == 0) {
      struct timespec until = in_ms(CLOCK_REALTIME, 60000);
      OK(i % 2 ? pthread_rwlock_wrlock(&l) : pthread_rwlock_timedwrlock(&l, &until));
      EQ(atomic_fetch_add(&writers, 1), 0);
      EQ(readers, 0);
      EQ(a, b);
      a++;
      if (i % 3 == 0) sched_yield();
      b++;
      atomic_fetch_sub(&writers, 1);
    } else {
      int rc = i % 3 ? pthread_rwlock_rdlock(&l) : pthread_rwlock_tryrdlock(&l);
      if (rc == EBUSY) continue;
      OK(rc);
      atomic_fetch_add(&readers, 1);
      EQ(writers, 0);
      EQ(a, b);
      if (i % 4 == 0) sched_yield();
      EQ(a, b);
      atomic_fetch_sub(&readers, 1);
    }
    OK(unlock());
  }
  return NULL;
}

static void stress(int kind, int threads) {
  make(kind);
  a = b = 0;
  pthread_t t[100];
  for (intptr_t i = 0; i < threads; i++) t[i] = start(mix, (void*)i);
  for (int i = 0; i < threads; i++) finish(t[i]);
  EQ(a, threads * 80L);
  OK(pthread_rwlock_destroy(&l));
}

CASE(stress_prefer_readers) {
  stress(PTHREAD_RWLOCK_PREFER_READER_NP, 10);
  stress(PTHREAD_RWLOCK_PREFER_READER_NP, 100);
}
CASE(stress_prefer_writers) {
  stress(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP, 10);
  stress(PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP, 100);
}

CASE(static_initialisers) {
  pthread_rwlock_t plain = PTHREAD_RWLOCK_INITIALIZER;
  pthread_rwlock_t writer = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
  OK(pthread_rwlock_rdlock(&plain));
  OK(pthread_rwlock_rdlock(&plain));
  OK(pthread_rwlock_unlock(&plain));
  OK(pthread_rwlock_unlock(&plain));
  OK(pthread_rwlock_wrlock(&writer));
  EQ(pthread_rwlock_wrlock(&writer), EDEADLK);
  OK(pthread_rwlock_unlock(&writer));
}
