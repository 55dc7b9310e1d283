// Built with -fsanitize=thread: the library stands aside, and the sanitizer's own functions, which lie behind it, must all the same see each call.
// A wait that it did not see is a lock that it takes to be held twice, and a report is the status 66.
#include "check.h"
#include <semaphore.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static long waiting, turn, sum;

static void* wait_turn(void* argument) {
  OK(pthread_mutex_lock(&m));
  waiting++;
  while (turn == 0) OK(pthread_cond_wait(&c, &m));
  sum += (long)argument;
  OK(pthread_mutex_unlock(&m));
  return NULL;
}

CASE(waits_for_a_condition) {
  pthread_t t[8];
  waiting = turn = sum = 0;
  for (long i = 0; i < 8; i++) t[i] = start(wait_turn, (void*)i);
  for (;;) {
    OK(pthread_mutex_lock(&m));
    const bool all = waiting == 8;
    if (all) turn = 1;
    OK(pthread_mutex_unlock(&m));
    if (all) break;
    pause_ms(1);
  }
  OK(pthread_cond_broadcast(&c));
  for (int i = 0; i < 8; i++) finish(t[i]);
  EQ(sum, 28);
}

static void* wait_for_time(void* argument) {
  OK(pthread_mutex_lock(&m));
  waiting++;
  OK(pthread_cond_signal(&c));
  const struct timespec end = in_ms(CLOCK_REALTIME, 20);
  int result = 0;
  while (result == 0) result = pthread_cond_timedwait(argument, &m, &end);
  EQ(result, ETIMEDOUT);
  sum++;
  OK(pthread_mutex_unlock(&m));
  return NULL;
}

CASE(waits_for_a_condition_and_the_clock) {
  pthread_cond_t never;
  OK(pthread_cond_init(&never, NULL));
  waiting = sum = 0;
  pthread_t t = start(wait_for_time, &never);
  OK(pthread_mutex_lock(&m));
  while (waiting == 0) OK(pthread_cond_wait(&c, &m));
  sum++;
  OK(pthread_mutex_unlock(&m));
  finish(t);
  EQ(sum, 2);
  OK(pthread_cond_destroy(&never));
}

static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static sem_t sem;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static long made, kept[4];
static void make(void) { made = 5; }
static void* others(void* argument) {
  const long i = (long)argument;
  OK(pthread_once(&once, make));
  kept[i] = made;
  pthread_barrier_wait(&barrier);
  EQ(kept[(i + 1) % 4], 5);
  for (int k = 0; k < 50; k++) {
    OK(pthread_rwlock_rdlock(&rw));
    const long seen = sum;
    OK(pthread_rwlock_unlock(&rw));
    OK(pthread_rwlock_wrlock(&rw));
    CHECK(sum >= seen);
    sum++;
    OK(pthread_rwlock_unlock(&rw));
  }
  OK(sem_post(&sem));
  return NULL;
}

CASE(other_locks) {
  pthread_t t[4];
  sum = 0;
  OK(sem_init(&sem, 0, 0));
  OK(pthread_barrier_init(&barrier, NULL, 4));
  for (long i = 0; i < 4; i++) t[i] = start(others, (void*)i);
  for (int i = 0; i < 4; i++) OK(sem_wait(&sem));
  EQ(sum, 200);
  for (int i = 0; i < 4; i++) finish(t[i]);
  OK(pthread_barrier_destroy(&barrier));
  OK(sem_destroy(&sem));
}
