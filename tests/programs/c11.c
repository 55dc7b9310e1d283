// <threads.h>: thrd, mtx, cnd, tss, call_once.
#include "check.h"
#include <stdatomic.h>
#include <threads.h>

static int twice(void* argument) { return 2 * *(int*)argument; }
static int exits(void* argument) {
  thrd_exit(*(int*)argument);
  return -1;
}
static thrd_t launch(thrd_start_t body, void* argument) {
  thrd_t t;
  EQ(thrd_create(&t, body, argument), thrd_success);
  return t;
}
static int reap(thrd_t t) {
  int result;
  EQ(thrd_join(t, &result), thrd_success);
  return result;
}

static mtx_t mutex;
static cnd_t cond;
static int turn, waiting;

CASE(threads) {
  int n[50];
  thrd_t t[50];
  for (int i = 0; i < 50; i++) {
    n[i] = i - 25;
    t[i] = launch(i % 2 ? twice : exits, &n[i]);
  }
  for (int i = 0; i < 50; i++) EQ(reap(t[i]), i % 2 ? 2 * n[i] : n[i]);
  CHECK(thrd_equal(thrd_current(), thrd_current()));
  EQ(thrd_detach(launch(twice, &turn)), thrd_success);
  thrd_yield();
}

static int try_it(void* m) {
  int rc = mtx_trylock(m);
  if (rc == thrd_success) EQ(mtx_unlock(m), thrd_success);
  return rc;
}
static int time_it(void* m) {
  struct timespec until = in_ms(CLOCK_REALTIME, 20);
  int rc = mtx_timedlock(m, &until);
  if (rc == thrd_timedout) CHECK(now_ns(CLOCK_REALTIME) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
  return rc;
}

CASE(mutexes) {
  int types[] = {mtx_plain, mtx_timed, mtx_plain | mtx_recursive, mtx_timed | mtx_recursive};
  for (int i = 0; i < 4; i++) {
    EQ(mtx_init(&mutex, types[i]), thrd_success);
    EQ(mtx_lock(&mutex), thrd_success);
    EQ(reap(launch(try_it, &mutex)), thrd_busy);
    if (types[i] & mtx_timed) EQ(reap(launch(time_it, &mutex)), thrd_timedout);
    if (types[i] & mtx_recursive) {
      EQ(mtx_lock(&mutex), thrd_success);
      EQ(mtx_unlock(&mutex), thrd_success);
    }
    EQ(mtx_unlock(&mutex), thrd_success);
    EQ(reap(launch(try_it, &mutex)), thrd_success);
    mtx_destroy(&mutex);
  }
}

enum { MEMBERS = 20, LAPS = 50 };
static int member(void* argument) {
  int me = *(int*)argument;
  for (int lap = 0; lap < LAPS; lap++) {
    EQ(mtx_lock(&mutex), thrd_success);
    while (turn % MEMBERS != me) EQ(cnd_wait(&cond, &mutex), thrd_success);
    turn++;
    EQ(cnd_broadcast(&cond), thrd_success);
    EQ(mtx_unlock(&mutex), thrd_success);
  }
  return 0;
}

CASE(conditions) {
  int n[MEMBERS];
  thrd_t t[MEMBERS];
  EQ(mtx_init(&mutex, mtx_plain), thrd_success);
  EQ(cnd_init(&cond), thrd_success);
  turn = 0;
  for (int i = 0; i < MEMBERS; i++) {
    n[i] = i;
    t[i] = launch(member, &n[i]);
  }
  for (int i = 0; i < MEMBERS; i++) EQ(reap(t[i]), 0);
  EQ(turn, MEMBERS * LAPS);
  EQ(mtx_lock(&mutex), thrd_success);
  struct timespec until = in_ms(CLOCK_REALTIME, 15);
  int rc;
  do rc = cnd_timedwait(&cond, &mutex, &until);
  while (rc == thrd_success);
  EQ(rc, thrd_timedout);
  EQ(mtx_unlock(&mutex), thrd_success);
}

static int wait_for_signal(void* argument) {
  EQ(mtx_lock(&mutex), thrd_success);
  waiting++;
  while (turn == 0) EQ(cnd_wait(&cond, &mutex), thrd_success);
  turn--;
  EQ(mtx_unlock(&mutex), thrd_success);
  return argument == NULL;
}

CASE(signals) {
  turn = waiting = 0;
  thrd_t t[30];
  for (int i = 0; i < 30; i++) t[i] = launch(wait_for_signal, NULL);
  for (int i = 0; i < 30; i++) {
    EQ(mtx_lock(&mutex), thrd_success);
    turn++;
    EQ(mtx_unlock(&mutex), thrd_success);
    EQ(cnd_signal(&cond), thrd_success);
  }
  for (int i = 0; i < 30; i++) EQ(reap(t[i]), 1);
}

static tss_t key;
static _Atomic int destroyed, calls;
static void count_destroyed(void* value) {
  CHECK(value != NULL);
  destroyed++;
}
static int set_value(void* value) {
  CHECK(tss_get(key) == NULL);
  EQ(tss_set(key, value), thrd_success);
  thrd_yield();
  CHECK(tss_get(key) == value);
  return 0;
}

CASE(specific) {
  EQ(tss_create(&key, count_destroyed), thrd_success);
  thrd_t t[20];
  for (int i = 0; i < 20; i++) t[i] = launch(set_value, &turn);
  for (int i = 0; i < 20; i++) reap(t[i]);
  EQ(destroyed, 20);
  tss_delete(key);
}

static once_flag once = ONCE_FLAG_INIT;
static void init(void) {
  calls++;
  struct timespec t = {0, 5000000};
  EQ(thrd_sleep(&t, NULL), 0);
}
static int use_once(void* argument) {
  call_once(&once, init);
  EQ(calls, 1);
  return argument != NULL;
}

CASE(once_only) {
  thrd_t t[20];
  for (int i = 0; i < 20; i++) t[i] = launch(use_once, NULL);
  for (int i = 0; i < 20; i++) EQ(reap(t[i]), 0);
}

CASE(sleeping) {
  struct timespec t = {0, 20000000}, bad = {0, -1};
  int64_t before = now_ns(CLOCK_MONOTONIC);
  EQ(thrd_sleep(&t, NULL), 0);
  CHECK(now_ns(CLOCK_MONOTONIC) - before >= 20000000);
  CHECK(thrd_sleep(&bad, NULL) < -1);
}
