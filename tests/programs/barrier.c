// Barriers: exactly one serial thread a round, reuse, destruction right after use.
#include "check.h"
#include <stdatomic.h>

static pthread_barrier_t barrier;
static _Atomic long serial, arrived;
static long rounds, width;

static void* cross(void* argument) {
  for (long i = 0; i < rounds; i++) {
    atomic_fetch_add(&arrived, 1);
    int rc = pthread_barrier_wait(&barrier);
    if (rc == PTHREAD_BARRIER_SERIAL_THREAD)
      atomic_fetch_add(&serial, 1);
    else
      OK(rc);
    CHECK(arrived >= (i + 1) * width); // nobody is through before all have come
    CHECK(arrived <= (i + 2) * width);
  }
  return argument;
}

static void meet(long threads, long times) {
  pthread_t t[200];
  serial = arrived = 0;
  width = threads;
  rounds = times;
  OK(pthread_barrier_init(&barrier, NULL, (unsigned)threads));
  for (long i = 0; i < threads; i++) t[i] = start(cross, NULL);
  for (long i = 0; i < threads; i++) finish(t[i]);
  EQ(serial, times);
  OK(pthread_barrier_destroy(&barrier));
}

CASE(one) { meet(1, 100); }
CASE(two_1000_rounds) { meet(2, 1000); }
CASE(ten_1000_rounds) { meet(10, 1000); }
CASE(two_hundred) { meet(200, 20); }

CASE(refusals) {
  EQ(pthread_barrier_init(&barrier, NULL, 0), EINVAL);
  pthread_barrierattr_t attr;
  OK(pthread_barrierattr_init(&attr));
  EQ(pthread_barrierattr_setpshared(&attr, 99), EINVAL);
  OK(pthread_barrierattr_destroy(&attr));
}

static void* meet_and_go(void* b) {
  pthread_barrier_wait(b);
  return NULL;
}

CASE(destroyed_at_once) {
  for (int i = 0; i < 200; i++) {
    pthread_barrier_t* b = malloc(sizeof *b);
    OK(pthread_barrier_init(b, NULL, 3));
    pthread_t x = start(meet_and_go, b), y = start(meet_and_go, b);
    int rc = pthread_barrier_wait(b);
    CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
    OK(pthread_barrier_destroy(b)); // waits for those who are still on their way out
    memset(b, 0xff, sizeof *b);
    free(b);
    finish(x);
    finish(y);
  }
}
