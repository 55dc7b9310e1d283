// Robust mutexes (an owner that dies), priority inheritance and ceilings, locks shared between processes.
#include "check.h"
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static pthread_mutex_t m;

static void make(pthread_mutex_t* mutex, int type, int robust, int protocol, int shared) {
  pthread_mutexattr_t attr;
  OK(pthread_mutexattr_init(&attr));
  OK(pthread_mutexattr_settype(&attr, type));
  OK(pthread_mutexattr_setrobust(&attr, robust));
  OK(pthread_mutexattr_setprotocol(&attr, protocol));
  OK(pthread_mutexattr_setpshared(&attr, shared));
  OK(pthread_mutex_init(mutex, &attr));
  OK(pthread_mutexattr_destroy(&attr));
}

static void* die_with_lock(void* argument) {
  OK(pthread_mutex_lock(&m));
  return argument;
}
static void* exit_with_lock(void* argument) {
  OK(pthread_mutex_trylock(&m));
  pthread_exit(argument);
}
static void* wait_for_dead(void* argument) {
  int rc = pthread_mutex_lock(&m);
  if (rc == EOWNERDEAD) {
    OK(pthread_mutex_consistent(&m));
    OK(pthread_mutex_unlock(&m));
  } else if (rc == 0)
    OK(pthread_mutex_unlock(&m));
  (void)argument;
  return (void*)(intptr_t)rc;
}

static void owner_dies(int type, int protocol) {
  make(&m, type, PTHREAD_MUTEX_ROBUST, protocol, PTHREAD_PROCESS_PRIVATE);
  finish(start(die_with_lock, NULL));
  EQ(pthread_mutex_lock(&m), EOWNERDEAD);
  OK(pthread_mutex_consistent(&m));
  OK(pthread_mutex_unlock(&m));
  finish(start(exit_with_lock, NULL));
  EQ(pthread_mutex_trylock(&m), EOWNERDEAD);
  OK(pthread_mutex_consistent(&m));
  OK(pthread_mutex_unlock(&m));
  OK(pthread_mutex_lock(&m));
  EQ(pthread_mutex_consistent(&m), EINVAL); // it is consistent
  OK(pthread_mutex_unlock(&m));
  finish(start(die_with_lock, NULL));
  struct timespec until = in_ms(CLOCK_REALTIME, 60000);
  EQ(pthread_mutex_timedlock(&m, &until), EOWNERDEAD);
  OK(pthread_mutex_unlock(&m)); // given up without being made consistent: for good
  EQ(pthread_mutex_lock(&m), ENOTRECOVERABLE);
  EQ(pthread_mutex_trylock(&m), ENOTRECOVERABLE);
  OK(pthread_mutex_destroy(&m));
}

CASE(robust_owner_dies) {
  owner_dies(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
  owner_dies(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
  owner_dies(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
}

CASE(robust_inherit_owner_dies) { owner_dies(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT); }

static void* hold_then_die(void* argument) {
  OK(pthread_mutex_lock(&m));
  pause_ms(20); // the waiters queue up behind
  return argument;
}

CASE(robust_waiter_is_told) {
  make(&m, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE, PTHREAD_PROCESS_PRIVATE);
  pthread_t owner = start(hold_then_die, NULL);
  pause_ms(5);
  pthread_t t[10];
  for (int i = 0; i < 10; i++) t[i] = start(wait_for_dead, NULL);
  int told = 0;
  for (int i = 0; i < 10; i++) {
    intptr_t rc = (intptr_t)finish(t[i]);
    CHECK(rc == 0 || rc == EOWNERDEAD);
    told += rc == EOWNERDEAD;
  }
  finish(owner);
  if (told == 0) { // every waiter was faster than the owner
    EQ(pthread_mutex_lock(&m), EOWNERDEAD);
    OK(pthread_mutex_consistent(&m));
    OK(pthread_mutex_unlock(&m));
  } else
    EQ(told, 1);
  OK(pthread_mutex_destroy(&m));
}

CASE(robust_two_locks) {
  // A thread dies with several robust mutexes: each is told of.
  static pthread_mutex_t* both[2];
  static pthread_mutex_t other;
  make(&m, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE, PTHREAD_PROCESS_PRIVATE);
  make(&other, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ROBUST, PTHREAD_PRIO_NONE, PTHREAD_PROCESS_PRIVATE);
  both[0] = &m;
  both[1] = &other;
  finish(start(die_with_lock, NULL));
  EQ(pthread_mutex_lock(both[0]), EOWNERDEAD);
  OK(pthread_mutex_consistent(both[0]));
  OK(pthread_mutex_lock(both[1]));
  OK(pthread_mutex_unlock(both[1]));
  OK(pthread_mutex_unlock(both[0]));
  OK(pthread_mutex_destroy(both[0]));
  OK(pthread_mutex_destroy(both[1]));
}

static void* inherit_try(void* argument) {
  EQ(pthread_mutex_trylock(&m), EBUSY);
  struct timespec until = in_ms(CLOCK_REALTIME, 15);
  EQ(pthread_mutex_timedlock(&m, &until), ETIMEDOUT);
  EQ(pthread_mutex_unlock(&m), EPERM);
  return argument;
}

CASE(inherit_rules) {
  make(&m, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT, PTHREAD_PROCESS_PRIVATE);
  OK(pthread_mutex_lock(&m));
  EQ(pthread_mutex_lock(&m), EDEADLK);
  finish(start(inherit_try, NULL));
  OK(pthread_mutex_unlock(&m));
  OK(pthread_mutex_destroy(&m));
  make(&m, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED, PTHREAD_PRIO_INHERIT, PTHREAD_PROCESS_PRIVATE);
  OK(pthread_mutex_lock(&m));
  OK(pthread_mutex_lock(&m));
  finish(start(inherit_try, NULL));
  OK(pthread_mutex_unlock(&m));
  OK(pthread_mutex_unlock(&m));
  OK(pthread_mutex_destroy(&m));
}

struct shared {
  pthread_mutex_t mutex;
  pthread_cond_t cond;
  pthread_barrier_t barrier;
  pthread_rwlock_t rwlock;
  long count, turn;
};

static struct shared* make_shared(int robust) {
  struct shared* s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(s != MAP_FAILED);
  make(&s->mutex, PTHREAD_MUTEX_NORMAL, robust, PTHREAD_PRIO_NONE, PTHREAD_PROCESS_SHARED);
  pthread_condattr_t cond;
  OK(pthread_condattr_init(&cond));
  OK(pthread_condattr_setpshared(&cond, PTHREAD_PROCESS_SHARED));
  OK(pthread_cond_init(&s->cond, &cond));
  pthread_barrierattr_t barrier;
  OK(pthread_barrierattr_init(&barrier));
  OK(pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED));
  OK(pthread_barrier_init(&s->barrier, &barrier, 2));
  pthread_rwlockattr_t rwlock;
  OK(pthread_rwlockattr_init(&rwlock));
  OK(pthread_rwlockattr_setpshared(&rwlock, PTHREAD_PROCESS_SHARED));
  OK(pthread_rwlock_init(&s->rwlock, &rwlock));
  return s;
}

static void* count_shared(void* argument) {
  struct shared* s = argument;
  for (int i = 0; i < 2000; i++) {
    OK(pthread_mutex_lock(&s->mutex));
    s->count++;
    OK(pthread_mutex_unlock(&s->mutex));
    OK(pthread_rwlock_wrlock(&s->rwlock));
    s->turn++;
    OK(pthread_rwlock_unlock(&s->rwlock));
  }
  return NULL;
}

static pid_t forked(void (*body)(struct shared*), struct shared* s) {
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    body(s);
    _exit(0);
  }
  return child;
}

static void ended_well(pid_t child) {
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
}

static void child_counts(struct shared* s) {
  pthread_barrier_wait(&s->barrier);
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(count_shared, s);
  for (int i = 0; i < 4; i++) finish(t[i]);
}

// The children of these cases are made before this process has a thread, as the first case of a run of its own.
CASE(shared_counter) {
  struct shared* s = make_shared(PTHREAD_MUTEX_STALLED);
  pid_t child = forked(child_counts, s);
  child_counts(s);
  ended_well(child);
  EQ(s->count, 16000);
  EQ(s->turn, 16000);
  SYS(munmap(s, sizeof *s));
}

static void take_turns(struct shared* s, long me) {
  for (int i = 0; i < 300; i++) {
    OK(pthread_mutex_lock(&s->mutex));
    while (s->turn % 2 != me) OK(pthread_cond_wait(&s->cond, &s->mutex));
    s->turn++;
    OK(pthread_cond_broadcast(&s->cond));
    OK(pthread_mutex_unlock(&s->mutex));
  }
}
static void odd_turns(struct shared* s) { take_turns(s, 1); }
static void* even_turns(void* s) {
  take_turns(s, 0);
  return NULL;
}

CASE(shared_cond) {
  struct shared* s = make_shared(PTHREAD_MUTEX_STALLED);
  pid_t child = forked(odd_turns, s);
  finish(start(even_turns, s));
  ended_well(child);
  EQ(s->turn, 600);
  SYS(munmap(s, sizeof *s));
}

static void die_locked(struct shared* s) {
  OK(pthread_mutex_lock(&s->mutex));
  s->count = 77;
  _exit(0);
}

CASE(shared_robust) {
  struct shared* s = make_shared(PTHREAD_MUTEX_ROBUST);
  ended_well(forked(die_locked, s));
  EQ(s->count, 77);
  EQ(pthread_mutex_lock(&s->mutex), EOWNERDEAD);
  OK(pthread_mutex_consistent(&s->mutex));
  OK(pthread_mutex_unlock(&s->mutex));
  OK(pthread_mutex_lock(&s->mutex));
  OK(pthread_mutex_unlock(&s->mutex));
  SYS(munmap(s, sizeof *s));
}
