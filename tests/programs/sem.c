// Semaphores: unnamed, named, timed, shared, counted; posted from a signal handler.
#include "check.h"
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int value_of(sem_t* s) {
  int value;
  OK(sem_getvalue(s, &value));
  return value;
}

CASE(counts) {
  sem_t s;
  ERRNO(sem_init(&s, 0, (unsigned)SEM_VALUE_MAX + 1), EINVAL);
  OK(sem_init(&s, 0, 2));
  EQ(value_of(&s), 2);
  OK(sem_wait(&s));
  OK(sem_trywait(&s));
  ERRNO(sem_trywait(&s), EAGAIN);
  EQ(value_of(&s), 0);
  OK(sem_post(&s));
  EQ(value_of(&s), 1);
  OK(sem_destroy(&s));
  OK(sem_init(&s, 0, SEM_VALUE_MAX));
  ERRNO(sem_post(&s), EOVERFLOW);
  EQ(value_of(&s), SEM_VALUE_MAX);
  OK(sem_destroy(&s));
}

CASE(timed) {
  sem_t s;
  OK(sem_init(&s, 0, 0));
  struct timespec until = in_ms(CLOCK_REALTIME, 25);
  ERRNO(sem_timedwait(&s, &until), ETIMEDOUT);
  CHECK(now_ns(CLOCK_REALTIME) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
  until = in_ms(CLOCK_MONOTONIC, 25);
  ERRNO(sem_clockwait(&s, CLOCK_MONOTONIC, &until), ETIMEDOUT);
  CHECK(now_ns(CLOCK_MONOTONIC) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
  ERRNO(sem_clockwait(&s, CLOCK_PROCESS_CPUTIME_ID, &until), EINVAL);
  until = in_ms(CLOCK_REALTIME, -1000);
  ERRNO(sem_timedwait(&s, &until), ETIMEDOUT);
  until.tv_nsec = -1;
  ERRNO(sem_timedwait(&s, &until), EINVAL);
  OK(sem_post(&s));
  until = in_ms(CLOCK_REALTIME, -1000);
  OK(sem_timedwait(&s, &until)); // free: the time is not looked at
  OK(sem_destroy(&s));
}

static sem_t ping, pong;
static void* answer(void* argument) {
  for (int i = 0; i < 2000; i++) {
    OK(sem_wait(&ping));
    OK(sem_post(&pong));
  }
  return argument;
}

CASE(ping_pong) {
  OK(sem_init(&ping, 0, 0));
  OK(sem_init(&pong, 0, 0));
  pthread_t t = start(answer, NULL);
  for (int i = 0; i < 2000; i++) {
    OK(sem_post(&ping));
    OK(sem_wait(&pong));
  }
  finish(t);
  EQ(value_of(&ping) + value_of(&pong), 0);
}

static sem_t slots;
static _Atomic int inside, most;
static void* use_slot(void* argument) {
  for (int i = 0; i < 50; i++) {
    OK(sem_wait(&slots));
    int now = atomic_fetch_add(&inside, 1) + 1;
    CHECK(now <= 5);
    int seen = most;
    while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {
    }
    if (i % 4 == 0)
      pause_ms(0);
    else
      sched_yield();
    atomic_fetch_sub(&inside, 1);
    OK(sem_post(&slots));
  }
  return argument;
}

CASE(at_most_five) {
  OK(sem_init(&slots, 0, 5));
  pthread_t t[60];
  for (int i = 0; i < 60; i++) t[i] = start(use_slot, NULL);
  for (int i = 0; i < 60; i++) finish(t[i]);
  EQ(value_of(&slots), 5);
  CHECK(most >= 1);
}

static _Atomic long got;
static sem_t crowd;
static void* take_one(void* argument) {
  OK(sem_wait(&crowd));
  got++;
  return argument;
}

CASE(posts_to_a_crowd) {
  static pthread_t t[1000];
  OK(sem_init(&crowd, 0, 0));
  for (int i = 0; i < 1000; i++) t[i] = start(take_one, NULL);
  for (int i = 0; i < 1000; i++) OK(sem_post(&crowd));
  for (int i = 0; i < 1000; i++) finish(t[i]);
  EQ(got, 1000);
  EQ(value_of(&crowd), 0);
}

static void* take_timed(void* argument) {
  int taken = 0;
  for (int i = 0; i < 200; i++) {
    struct timespec until = from_ns(now_ns(CLOCK_REALTIME) + 50000);
    if (sem_timedwait(&crowd, &until) == 0)
      taken++;
    else
      EQ(errno, ETIMEDOUT);
  }
  (void)argument;
  return (void*)(intptr_t)taken;
}

CASE(posts_race_time_outs) {
  OK(sem_init(&crowd, 0, 0));
  pthread_t t[10];
  for (int i = 0; i < 10; i++) t[i] = start(take_timed, NULL);
  for (int i = 0; i < 1000; i++) {
    OK(sem_post(&crowd));
    if (i % 8 == 0) sched_yield();
  }
  long taken = 0;
  for (int i = 0; i < 10; i++) taken += (long)finish(t[i]);
  EQ(taken + value_of(&crowd), 1000); // none lost, none doubled
}

static void* wait_named(void* name) {
  sem_t* s = sem_open(name, 0);
  CHECK(s != SEM_FAILED);
  OK(sem_wait(s));
  OK(sem_close(s));
  return NULL;
}

CASE(named) {
  char name[64];
  snprintf(name, sizeof name, "/gmp-test-%d", (int)getpid());
  CHECK(sem_open(name, 0) == SEM_FAILED && errno == ENOENT);
  sem_t* s = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
  CHECK(s != SEM_FAILED);
  CHECK(sem_open(name, O_CREAT | O_EXCL, 0600, 0) == SEM_FAILED && errno == EEXIST);
  pthread_t t[5];
  for (int i = 0; i < 5; i++) t[i] = start(wait_named, name);
  pause_ms(5);
  for (int i = 0; i < 5; i++) OK(sem_post(s));
  for (int i = 0; i < 5; i++) finish(t[i]);
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    OK(sem_post(s));
    _exit(0);
  }
  OK(sem_wait(s)); // posted by another process
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
  OK(sem_unlink(name));
  ERRNO(sem_unlink(name), ENOENT);
  OK(sem_close(s));
}

static void* wait_shared(void* s) {
  OK(sem_wait(s));
  return NULL;
}

CASE(shared_between_processes) {
  sem_t* s = mmap(NULL, 2 * sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(s != MAP_FAILED);
  OK(sem_init(&s[0], 1, 0));
  OK(sem_init(&s[1], 1, 0));
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    for (int i = 0; i < 100; i++) {
      OK(sem_wait(&s[0]));
      OK(sem_post(&s[1]));
    }
    _exit(0);
  }
  for (int i = 0; i < 100; i++) {
    OK(sem_post(&s[0]));
    finish(start(wait_shared, &s[1]));
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
  SYS(munmap(s, 2 * sizeof *s));
}

static sem_t from_handler;
static void handler(int number) {
  (void)number;
  if (sem_post(&from_handler) != 0) _exit(2); // POSIX: async-signal-safe
}
static void* take_from_handler(void* argument) {
  for (int i = 0; i < 100; i++)
    while (sem_wait(&from_handler) != 0) EQ(errno, EINTR);
  return argument;
}

CASE(posted_by_a_handler) {
  OK(sem_init(&from_handler, 0, 0));
  struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
  SYS(sigaction(SIGUSR1, &action, NULL));
  pthread_t a = start(take_from_handler, NULL), b = start(take_from_handler, NULL);
  for (int i = 0; i < 200; i++) OK(raise(SIGUSR1));
  finish(a);
  finish(b);
  EQ(value_of(&from_handler), 0);
  signal(SIGUSR1, SIG_DFL);
}

// The waiter owns the semaphore and frees it as soon as it is through: the poster may not touch it after its post.
static void* post_it(void* s) {
  OK(sem_post(s));
  return NULL;
}

CASE(destroyed_after_wait) {
  for (int i = 0; i < 500; i++) {
    sem_t* s = malloc(sizeof *s);
    OK(sem_init(s, 0, 0));
    pthread_t t = start(post_it, s);
    OK(sem_wait(s));
    OK(sem_destroy(s));
    memset(s, 0xff, sizeof *s);
    free(s);
    finish(t);
  }
}
