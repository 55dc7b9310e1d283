// Threads: create, join in all its forms, detach, identity, names, bounds of the stack, numbers.
#include "check.h"
#include <malloc.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

static void* twice(void* argument) { return (void*)(2 * (intptr_t)argument); }
static void* nothing(void* argument) { return argument; }
static void* wait_sem(void* sem) {
  while (sem_wait((sem_t*)sem) != 0) {
  }
  return sem;
}

CASE(return_values) {
  pthread_t t[64];
  for (intptr_t i = 0; i < 64; i++) t[i] = start(twice, (void*)i);
  for (intptr_t i = 0; i < 64; i++) EQ((intptr_t)finish(t[i]), 2 * i);
  OK(pthread_join(start(twice, NULL), NULL));
}

static void* who_am_i(void* argument) {
  CHECK(pthread_equal(pthread_self(), pthread_self()));
  CHECK(!pthread_equal(pthread_self(), *(pthread_t*)argument));
  return (void*)pthread_self();
}

CASE(self_and_equal) {
  pthread_t self = pthread_self();
  pthread_t a = start(who_am_i, &self), b = start(who_am_i, &self);
  CHECK(!pthread_equal(a, b));
  CHECK(pthread_equal((pthread_t)finish(a), a));
  CHECK(pthread_equal((pthread_t)finish(b), b));
  CHECK(pthread_equal(self, pthread_self()));
}

static void* post(void* sem) {
  OK(sem_post((sem_t*)sem));
  return NULL;
}

static void* detach_self(void* sem) {
  OK(pthread_detach(pthread_self()));
  OK(sem_post((sem_t*)sem));
  return NULL;
}

CASE(detach) {
  static sem_t done; // static: a detached thread may still be inside sem_post when we return
  OK(sem_init(&done, 0, 0));
  for (int i = 0; i < 200; i++) {
    if (i % 2)
      OK(pthread_detach(start(post, &done)));
    else
      start(detach_self, &done);
  }
  for (int i = 0; i < 200; i++) OK(sem_wait(&done));
}

CASE(join_of_detached) {
  static sem_t go;
  OK(sem_init(&go, 0, 0));
  pthread_t t = start(wait_sem, &go);
  OK(pthread_detach(t));
  EQ(pthread_join(t, NULL), EINVAL);
  EQ(pthread_detach(t), EINVAL);
  EQ(pthread_tryjoin_np(t, NULL), EBUSY); // glibc looks at "still running" first
  OK(sem_post(&go));
}

CASE(try_timed_clock_join) {
  sem_t go;
  OK(sem_init(&go, 0, 0));
  pthread_t t = start(wait_sem, &go);
  void* result = NULL;
  EQ(pthread_tryjoin_np(t, &result), EBUSY);
  int64_t before = now_ns(CLOCK_MONOTONIC);
  struct timespec until = in_ms(CLOCK_REALTIME, 20);
  EQ(pthread_timedjoin_np(t, &result, &until), ETIMEDOUT);
  until = in_ms(CLOCK_MONOTONIC, 20);
  EQ(pthread_clockjoin_np(t, &result, CLOCK_MONOTONIC, &until), ETIMEDOUT);
  until = in_ms(CLOCK_REALTIME, 20);
  EQ(pthread_clockjoin_np(t, &result, CLOCK_REALTIME, &until), ETIMEDOUT);
  CHECK(now_ns(CLOCK_MONOTONIC) - before >= 55 * 1000000);
  until = in_ms(CLOCK_MONOTONIC, -1000);
  EQ(pthread_clockjoin_np(t, &result, CLOCK_MONOTONIC, &until), ETIMEDOUT);
  EQ(pthread_clockjoin_np(t, &result, CLOCK_PROCESS_CPUTIME_ID, &until), EINVAL);
  CHECK(result == NULL);
  OK(sem_post(&go));
  until = in_ms(CLOCK_REALTIME, 60000);
  OK(pthread_timedjoin_np(t, &result, &until));
  CHECK(result == &go);

  t = start(wait_sem, &go);
  OK(sem_post(&go));
  int rc;
  while ((rc = pthread_tryjoin_np(t, &result)) == EBUSY) sched_yield();
  OK(rc);
  t = start(wait_sem, &go);
  OK(sem_post(&go));
  until = in_ms(CLOCK_MONOTONIC, 60000);
  OK(pthread_clockjoin_np(t, &result, CLOCK_MONOTONIC, &until));
}

CASE(join_self) { EQ(pthread_join(pthread_self(), NULL), EDEADLK); }

static void* tree(void* argument) {
  intptr_t depth = (intptr_t)argument;
  if (depth == 0) return (void*)1;
  pthread_t left = start(tree, (void*)(depth - 1)), right = start(tree, (void*)(depth - 1));
  return (void*)((intptr_t)finish(left) + (intptr_t)finish(right));
}

CASE(tree_of_threads) { EQ((intptr_t)finish(start(tree, (void*)10)), 1024); }

static void* chain(void* argument) {
  intptr_t left = (intptr_t)argument;
  return left == 0 ? NULL : (void*)((intptr_t)finish(start(chain, (void*)(left - 1))) + 1);
}

CASE(chain_of_threads) { EQ((intptr_t)finish(start(chain, (void*)500)), 500); }

CASE(many_in_a_row) {
  for (intptr_t i = 0, n = size_or(20000); i < n; i++) EQ((intptr_t)finish(start(nothing, (void*)i)), i);
}

CASE(many_at_once) {
  long n = size_or(5000);
  pthread_t* t = calloc((size_t)n, sizeof *t);
  sem_t go;
  OK(sem_init(&go, 0, 0));
  for (long i = 0; i < n; i++) t[i] = start(wait_sem, &go);
  for (long i = 0; i < n; i++)
    for (long k = i + 1; k < n && k < i + 5; k++) CHECK(!pthread_equal(t[i], t[k]));
  for (long i = 0; i < n; i++) OK(sem_post(&go));
  for (long i = 0; i < n; i++) CHECK(finish(t[i]) == &go);
  free(t);
}

static void* many_creators(void* argument) {
  for (intptr_t i = 0; i < 300; i++) EQ((intptr_t)finish(start(twice, (void*)i)), 2 * i);
  return argument;
}

CASE(many_creators) {
  pthread_t t[16];
  for (int i = 0; i < 16; i++) t[i] = start(many_creators, NULL);
  for (int i = 0; i < 16; i++) finish(t[i]);
}

static void* rename_self(void* go) {
  char name[16] = "";
  OK(pthread_setname_np(pthread_self(), "fifteen-letters"));
  OK(pthread_getname_np(pthread_self(), name, sizeof name));
  CHECK(strcmp(name, "fifteen-letters") == 0);
  EQ(pthread_setname_np(pthread_self(), "sixteen--letters"), ERANGE);
  EQ(pthread_getname_np(pthread_self(), name, 15), ERANGE);
  wait_sem(go);
  OK(pthread_getname_np(pthread_self(), name, sizeof name));
  CHECK(strcmp(name, "by-main") == 0);
  return NULL;
}

CASE(names) {
  char mine[16], name[16];
  OK(pthread_getname_np(pthread_self(), mine, sizeof mine));
  sem_t go;
  OK(sem_init(&go, 0, 0));
  pthread_t plain = start(wait_sem, &go);
  OK(pthread_getname_np(plain, name, sizeof name));
  CHECK(strcmp(name, mine) == 0); // inherited from the creator
  OK(sem_post(&go));
  finish(plain);
  pthread_t t = start(rename_self, &go);
  do {
    pause_ms(1);
    OK(pthread_getname_np(t, name, sizeof name));
  } while (strcmp(name, "fifteen-letters") != 0);
  OK(pthread_setname_np(t, "by-main"));
  OK(sem_post(&go));
  finish(t);
  OK(pthread_getname_np(pthread_self(), name, sizeof name));
  CHECK(strcmp(name, mine) == 0); // a thread's name is its own
}

static void inside_own_stack(size_t at_least) {
  pthread_attr_t attr;
  void* low;
  size_t size, guard;
  int state;
  char local;
  OK(pthread_getattr_np(pthread_self(), &attr));
  OK(pthread_attr_getstack(&attr, &low, &size));
  CHECK(&local > (char*)low && &local < (char*)low + size);
  CHECK(size >= at_least);
  OK(pthread_attr_getguardsize(&attr, &guard));
  OK(pthread_attr_getdetachstate(&attr, &state));
  EQ(state, PTHREAD_CREATE_JOINABLE);
  OK(pthread_attr_destroy(&attr));
}

static void* check_bounds(void* argument) {
  inside_own_stack((size_t)argument);
  sched_yield();
  inside_own_stack((size_t)argument);
  return NULL;
}

CASE(stack_bounds) {
  inside_own_stack(65536); // main's, before and after threads exist
  finish(start(check_bounds, (void*)65536));
  pthread_attr_t attr;
  OK(pthread_attr_init(&attr));
  OK(pthread_attr_setstacksize(&attr, 1 << 20));
  pthread_t t;
  OK(pthread_create(&t, &attr, check_bounds, (void*)(1 << 20)));
  OK(pthread_join(t, NULL));
  inside_own_stack(65536);
  OK(pthread_attr_destroy(&attr));
}

static void* bounds_of_other(void* go) { return wait_sem(go); }

CASE(getattr_of_other) {
  sem_t go;
  OK(sem_init(&go, 0, 0));
  pthread_attr_t attr;
  OK(pthread_attr_init(&attr));
  OK(pthread_attr_setguardsize(&attr, 8192));
  OK(pthread_attr_setstacksize(&attr, 512 * 1024));
  pthread_t t;
  OK(pthread_create(&t, &attr, bounds_of_other, &go));
  OK(pthread_attr_destroy(&attr));
  OK(pthread_getattr_np(t, &attr));
  size_t size, guard;
  OK(pthread_attr_getstacksize(&attr, &size));
  OK(pthread_attr_getguardsize(&attr, &guard));
  CHECK(size >= 512 * 1024 - 16384 && size < 1024 * 1024);
  EQ(guard, 8192);
  OK(pthread_attr_destroy(&attr));
  OK(sem_post(&go));
  finish(t);
}

static void* kernel_identity(void* argument) {
  pid_t* tid = argument;
  *tid = gettid();
  CHECK(*tid != getpid());
  EQ(syscall(SYS_gettid), *tid);
  for (int i = 0; i < 20; i++) {
    sched_yield();
    EQ(gettid(), *tid);
  }
  EQ(getpid(), (pid_t)syscall(SYS_getpid));
  return NULL;
}

static pid_t gathered[100];
static pthread_barrier_t all_here;
static void* gather(void* slot) {
  kernel_identity(slot);
  int rc = pthread_barrier_wait(&all_here); // all are alive while the ids are compared
  CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
  pthread_barrier_wait(&all_here);
  return NULL;
}

CASE(thread_ids) {
  EQ(gettid(), getpid());
  OK(pthread_barrier_init(&all_here, NULL, 101));
  pthread_t t[100];
  for (int i = 0; i < 100; i++) t[i] = start(gather, &gathered[i]);
  pthread_barrier_wait(&all_here);
  for (int i = 0; i < 100; i++)
    for (int k = 0; k < i; k++) CHECK(gathered[i] != gathered[k]);
  EQ(gettid(), getpid());
  pthread_barrier_wait(&all_here);
  for (int i = 0; i < 100; i++) finish(t[i]);
  OK(pthread_barrier_destroy(&all_here));
}

static _Atomic long yielded;
static void* yield_often(void* argument) {
  for (int i = 0; i < 2000; i++) {
    EQ(sched_yield(), 0);
    atomic_fetch_add(&yielded, 1);
  }
  return argument;
}

CASE(yield) {
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(yield_often, NULL);
  for (int i = 0; i < 8; i++) finish(t[i]);
  EQ(yielded, 16000);
}

static _Atomic int flag_for_spinner;
static void* spin_with_yield(void* argument) {
  while (!flag_for_spinner) sched_yield();
  return argument;
}

CASE(yield_lets_others_run) {
  pthread_t t = start(spin_with_yield, NULL);
  for (int i = 0; i < 100; i++) sched_yield();
  flag_for_spinner = 1;
  finish(t);
}

static void* fill_the_allocators_cache(void* argument) {
  void* p[64 * 6];
  for (int i = 0; i < 64 * 6; i++) memset(p[i] = malloc(24 + (size_t)(i % 64) * 16), i, 24);
  for (int i = 0; i < 64 * 6; i++) free(p[i]);
  return argument;
}

// What malloc keeps for a thread goes back when it ends: the heap is used by others.
CASE(allocators_cache_goes_back) {
  finish(start(nothing, NULL));
  size_t before = mallinfo2().uordblks;
  for (int i = 0; i < 20; i++) {
    finish(start(fill_the_allocators_cache, NULL));
    CHECK(mallinfo2().uordblks < before + 20000); // 200 KB were in that cache
  }
}
