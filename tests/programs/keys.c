// Thread-specific data: destructors and their rounds, reuse, limits, NULL in a new thread.
#include "check.h"
#include <limits.h>
#include <stdatomic.h>

static pthread_key_t key, other;
static _Atomic int destroyed;
static void count_destroyed(void* value) {
  CHECK(value != NULL);
  destroyed++;
}

static void* set_it(void* value) {
  CHECK(pthread_getspecific(key) == NULL);
  OK(pthread_setspecific(key, value));
  sched_yield();
  CHECK(pthread_getspecific(key) == value);
  return NULL;
}

CASE(destructor_runs_once_a_thread) {
  destroyed = 0;
  OK(pthread_key_create(&key, count_destroyed));
  pthread_t t[100];
  for (intptr_t i = 0; i < 100; i++) t[i] = start(set_it, (void*)(i + 1));
  for (int i = 0; i < 100; i++) finish(t[i]);
  EQ(destroyed, 100);
  finish(start(set_it, NULL)); // NULL: nothing to destroy
  EQ(destroyed, 100);
  CHECK(pthread_getspecific(key) == NULL);
  OK(pthread_key_delete(key));
}

static _Atomic int rounds;
static void set_again(void* value) {
  rounds++;
  CHECK(pthread_getspecific(key) == NULL); // cleared before the destructor is called
  OK(pthread_setspecific(key, value));
}

CASE(rounds_are_limited) {
  rounds = 0;
  OK(pthread_key_create(&key, set_again));
  finish(start(set_it, &key));
  EQ(rounds, PTHREAD_DESTRUCTOR_ITERATIONS);
  OK(pthread_key_delete(key));
}

static void set_other(void* value) {
  if (pthread_getspecific(other) == NULL) OK(pthread_setspecific(other, value));
}

CASE(destructor_sets_another_key) {
  destroyed = 0;
  OK(pthread_key_create(&other, count_destroyed)); // the lower one: needs a second round
  OK(pthread_key_create(&key, set_other));
  finish(start(set_it, &key));
  EQ(destroyed, 1);
  OK(pthread_key_delete(key));
  OK(pthread_key_delete(other));
}

CASE(limit_and_refusals) {
  pthread_key_t keys[PTHREAD_KEYS_MAX + 1];
  int n = 0, rc;
  while (n <= PTHREAD_KEYS_MAX && (rc = pthread_key_create(&keys[n], NULL)) == 0) n++;
  EQ(rc, EAGAIN);
  CHECK(n >= 1000);
  for (int i = 0; i < n; i++) OK(pthread_setspecific(keys[i], &keys[i]));
  for (int i = 0; i < n; i++) CHECK(pthread_getspecific(keys[i]) == &keys[i]);
  OK(pthread_key_delete(keys[n / 2]));
  EQ(pthread_key_delete(keys[n / 2]), EINVAL);
  EQ(pthread_setspecific(keys[n / 2], &n), EINVAL);
  OK(pthread_key_create(&keys[n / 2], NULL)); // its slot again, but nobody's old value
  CHECK(pthread_getspecific(keys[n / 2]) == NULL);
  EQ(pthread_setspecific(PTHREAD_KEYS_MAX + 5, &n), EINVAL);
  EQ(pthread_key_delete(PTHREAD_KEYS_MAX + 5), EINVAL);
  for (int i = 0; i < n; i++) OK(pthread_key_delete(keys[i]));
}

static pthread_barrier_t barrier;
static void* keep_old_value(void* argument) {
  OK(pthread_setspecific(key, argument));
  pthread_barrier_wait(&barrier); // main deletes the key and makes a new one
  pthread_barrier_wait(&barrier);
  CHECK(pthread_getspecific(other) == NULL);
  return NULL;
}

CASE(deleted_key_is_forgotten) {
  destroyed = 0;
  OK(pthread_barrier_init(&barrier, NULL, 2));
  OK(pthread_key_create(&key, count_destroyed));
  pthread_t t = start(keep_old_value, &key);
  pthread_barrier_wait(&barrier);
  OK(pthread_key_delete(key));
  OK(pthread_key_create(&other, count_destroyed));
  pthread_barrier_wait(&barrier);
  finish(t);
  EQ(destroyed, 0); // no destructor for a key that is gone
  OK(pthread_key_delete(other));
  OK(pthread_barrier_destroy(&barrier));
}

static pthread_key_t many[300];
static void* use_many(void* argument) {
  intptr_t me = (intptr_t)argument;
  for (int i = 0; i < 300; i++) CHECK(pthread_getspecific(many[i]) == NULL);
  for (intptr_t i = 0; i < 300; i++) OK(pthread_setspecific(many[i], (void*)(me * 1000 + i + 1)));
  sched_yield();
  for (intptr_t i = 0; i < 300; i++) CHECK(pthread_getspecific(many[i]) == (void*)(me * 1000 + i + 1));
  return NULL;
}

CASE(many_keys_in_many_threads) {
  destroyed = 0;
  for (int i = 0; i < 300; i++) OK(pthread_key_create(&many[i], i % 2 ? count_destroyed : NULL));
  for (int round = 0; round < 3; round++) { // later rounds run in threads that reuse what earlier ones left
    pthread_t t[30];
    for (intptr_t i = 0; i < 30; i++) t[i] = start(use_many, (void*)i);
    for (int i = 0; i < 30; i++) finish(t[i]);
  }
  EQ(destroyed, 3 * 30 * 150);
  for (int i = 0; i < 300; i++) OK(pthread_key_delete(many[i]));
}

static void destructor_blocks(void* value) {
  pause_ms(1);
  sched_yield();
  count_destroyed(value);
}

CASE(destructor_may_block) {
  destroyed = 0;
  OK(pthread_key_create(&key, destructor_blocks));
  pthread_t t[20];
  for (int i = 0; i < 20; i++) t[i] = start(set_it, &key);
  for (int i = 0; i < 20; i++) finish(t[i]);
  EQ(destroyed, 20);
  OK(pthread_key_delete(key));
}

CASE(main_has_its_own) {
  OK(pthread_key_create(&key, NULL));
  OK(pthread_setspecific(key, &key));
  finish(start(set_it, &other));
  CHECK(pthread_getspecific(key) == &key);
  OK(pthread_key_delete(key));
}
