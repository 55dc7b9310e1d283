// Condition variables: results, both clocks, no wake-up lost, crowds, destruction right after a broadcast.
#include "check.h"
#include <signal.h>
#include <semaphore.h>
#include <stdatomic.h>

static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static long waiting, released, woken;

static void reset(void) { waiting = released = woken = 0; }

static void* wait_turn(void* argument) {
  OK(pthread_mutex_lock(&m));
  waiting++;
  while (released == 0) OK(pthread_cond_wait(&c, &m));
  released--;
  woken++;
  OK(pthread_mutex_unlock(&m));
  return argument;
}

static void until_waiting(long n) {
  for (;;) {
    OK(pthread_mutex_lock(&m));
    long now = waiting;
    OK(pthread_mutex_unlock(&m));
    if (now >= n) return;
    pause_ms(1);
  }
}

CASE(signal_one_by_one) {
  reset();
  pthread_t t[20];
  for (int i = 0; i < 20; i++) t[i] = start(wait_turn, NULL);
  until_waiting(20);
  for (int i = 0; i < 20; i++) {
    OK(pthread_mutex_lock(&m));
    released++;
    OK(pthread_cond_signal(&c));
    OK(pthread_mutex_unlock(&m));
    for (;;) { // exactly the released ones get through
      OK(pthread_mutex_lock(&m));
      long now = woken;
      OK(pthread_mutex_unlock(&m));
      CHECK(now <= i + 1);
      if (now == i + 1) break;
      sched_yield();
    }
  }
  for (int i = 0; i < 20; i++) finish(t[i]);
}

static void broadcast_to(int n, bool locked) {
  pthread_t* t = calloc((size_t)n, sizeof *t);
  for (int i = 0; i < n; i++) t[i] = start(wait_turn, NULL);
  until_waiting(n);
  OK(pthread_mutex_lock(&m));
  released = n;
  if (locked) OK(pthread_cond_broadcast(&c));
  OK(pthread_mutex_unlock(&m));
  if (!locked) OK(pthread_cond_broadcast(&c));
  for (int i = 0; i < n; i++) finish(t[i]);
  EQ(woken, n);
  EQ(released, 0);
  free(t);
}

CASE(broadcast_to_1000) {
  reset();
  broadcast_to(1000, true);
  reset();
  broadcast_to(1000, false);
}

CASE(nobody_waits) {
  OK(pthread_cond_signal(&c));
  OK(pthread_cond_broadcast(&c));
  struct timespec until = in_ms(CLOCK_REALTIME, 10); // a signal is not stored
  OK(pthread_mutex_lock(&m));
  int rc;
  do rc = pthread_cond_timedwait(&c, &m, &until);
  while (rc == 0);
  EQ(rc, ETIMEDOUT);
  OK(pthread_mutex_unlock(&m));
}

static void times_out(pthread_cond_t* cond, clockid_t clock, bool by_call) {
  OK(pthread_mutex_lock(&m));
  struct timespec until = in_ms(clock, 30);
  int rc;
  do rc = by_call ? pthread_cond_clockwait(cond, &m, clock, &until) : pthread_cond_timedwait(cond, &m, &until);
  while (rc == 0);
  EQ(rc, ETIMEDOUT);
  CHECK(now_ns(clock) >= (int64_t)until.tv_sec * 1000000000 + until.tv_nsec);
  until = in_ms(clock, -10000);
  do rc = by_call ? pthread_cond_clockwait(cond, &m, clock, &until) : pthread_cond_timedwait(cond, &m, &until);
  while (rc == 0);
  EQ(rc, ETIMEDOUT);
  EQ(pthread_mutex_trylock(&m), EBUSY); // the mutex is held again after a time-out
  until.tv_nsec = 1000000000;
  EQ(pthread_cond_timedwait(cond, &m, &until), EINVAL);
  EQ(pthread_mutex_trylock(&m), EBUSY);
  OK(pthread_mutex_unlock(&m));
}

CASE(time_outs) {
  times_out(&c, CLOCK_REALTIME, false);
  times_out(&c, CLOCK_REALTIME, true);
  times_out(&c, CLOCK_MONOTONIC, true);
  pthread_condattr_t attr;
  clockid_t clock;
  pthread_cond_t monotonic;
  OK(pthread_condattr_init(&attr));
  EQ(pthread_condattr_setclock(&attr, CLOCK_PROCESS_CPUTIME_ID), EINVAL);
  OK(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
  OK(pthread_condattr_getclock(&attr, &clock));
  EQ(clock, CLOCK_MONOTONIC);
  OK(pthread_cond_init(&monotonic, &attr));
  times_out(&monotonic, CLOCK_MONOTONIC, false);
  OK(pthread_cond_destroy(&monotonic));
  OK(pthread_condattr_destroy(&attr));
  struct timespec until = in_ms(CLOCK_REALTIME, 5);
  OK(pthread_mutex_lock(&m));
  EQ(pthread_cond_clockwait(&c, &m, CLOCK_PROCESS_CPUTIME_ID, &until), EINVAL);
  OK(pthread_mutex_unlock(&m));
}

static void* time_out_in_thread(void* argument) {
  times_out(&c, CLOCK_MONOTONIC, true);
  return argument;
}

CASE(many_time_outs) {
  pthread_t t[100];
  for (int i = 0; i < 100; i++) t[i] = start(time_out_in_thread, NULL);
  for (int i = 0; i < 100; i++) finish(t[i]);
}

static void* timed_but_signalled(void* argument) {
  OK(pthread_mutex_lock(&m));
  waiting++;
  struct timespec until = in_ms(CLOCK_REALTIME, 60000);
  while (released == 0) OK(pthread_cond_timedwait(&c, &m, &until));
  released--;
  OK(pthread_mutex_unlock(&m));
  return argument;
}

CASE(timed_wait_signalled) {
  reset();
  pthread_t t[50];
  for (int i = 0; i < 50; i++) t[i] = start(timed_but_signalled, NULL);
  until_waiting(50);
  for (int i = 0; i < 50; i++) {
    OK(pthread_mutex_lock(&m));
    released++;
    OK(pthread_mutex_unlock(&m));
    OK(pthread_cond_signal(&c));
  }
  for (int i = 0; i < 50; i++) finish(t[i]);
}

// Signals and time-outs race: a signal is consumed by a thread that reports 0, never lost with one that timed out.
static _Atomic long tokens_taken, timed_out;
static long tokens;
static bool closed;
static void* race_timeout(void* argument) {
  OK(pthread_mutex_lock(&m));
  while (!closed || tokens > 0) {
    struct timespec until = from_ns(now_ns(CLOCK_REALTIME) + 100000);
    int rc = pthread_cond_timedwait(&c, &m, &until);
    CHECK(rc == 0 || rc == ETIMEDOUT);
    if (rc == ETIMEDOUT) timed_out++;
    if (tokens > 0) {
      tokens--;
      tokens_taken++;
    }
  }
  OK(pthread_mutex_unlock(&m));
  return argument;
}

CASE(signals_race_time_outs) {
  pthread_t t[8];
  closed = false;
  tokens = 0;
  for (int i = 0; i < 8; i++) t[i] = start(race_timeout, NULL);
  for (int i = 0; i < 2000; i++) {
    OK(pthread_mutex_lock(&m));
    tokens++;
    OK(pthread_cond_signal(&c));
    OK(pthread_mutex_unlock(&m));
    if (i % 16 == 0) sched_yield();
  }
  OK(pthread_mutex_lock(&m));
  closed = true;
  OK(pthread_mutex_unlock(&m));
  for (int i = 0; i < 8; i++) finish(t[i]);
  EQ(tokens_taken, 2000);
}

// A bounded buffer: every number goes through exactly once.
#define ROOM 8
static long buffer[ROOM];
static int filled, first;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static long per_producer;
static void* produce(void* argument) {
  for (long i = 1; i <= per_producer; i++) {
    OK(pthread_mutex_lock(&m));
    while (filled == ROOM) OK(pthread_cond_wait(&not_full, &m));
    buffer[(first + filled++) % ROOM] = i;
    OK(pthread_mutex_unlock(&m));
    OK(pthread_cond_signal(&not_empty));
  }
  return argument;
}
static void* consume(void* argument) {
  long sum = 0;
  for (long i = 0; i < per_producer; i++) {
    OK(pthread_mutex_lock(&m));
    while (filled == 0) OK(pthread_cond_wait(&not_empty, &m));
    sum += buffer[first];
    first = (first + 1) % ROOM;
    filled--;
    OK(pthread_cond_signal(&not_full));
    OK(pthread_mutex_unlock(&m));
  }
  (void)argument;
  return (void*)sum;
}

CASE(bounded_buffer) {
  per_producer = size_or(1500);
  pthread_t p[10], q[10];
  for (int i = 0; i < 10; i++) {
    p[i] = start(produce, NULL);
    q[i] = start(consume, NULL);
  }
  long sum = 0;
  for (int i = 0; i < 10; i++) {
    finish(p[i]);
    sum += (long)finish(q[i]);
  }
  EQ(sum, 10 * (per_producer * (per_producer + 1) / 2));
  EQ(filled, 0);
}

// A ring of 1,000 threads passes a token round: each wake-up must reach its one addressee.
#define RING 1000
static struct {
  pthread_mutex_t lock;
  pthread_cond_t cond;
  long token;
} ring[RING];
static long laps;
static void* ring_member(void* argument) {
  intptr_t me = (intptr_t)argument;
  intptr_t next = (me + 1) % RING;
  for (long lap = 0; lap < laps; lap++) {
    OK(pthread_mutex_lock(&ring[me].lock));
    while (ring[me].token == 0) OK(pthread_cond_wait(&ring[me].cond, &ring[me].lock));
    long token = ring[me].token;
    ring[me].token = 0;
    OK(pthread_mutex_unlock(&ring[me].lock));
    if (me == RING - 1 && lap == laps - 1) return (void*)token;
    OK(pthread_mutex_lock(&ring[next].lock));
    ring[next].token = token + 1;
    OK(pthread_cond_signal(&ring[next].cond));
    OK(pthread_mutex_unlock(&ring[next].lock));
  }
  return NULL;
}

CASE(ring_of_1000) {
  static pthread_t t[RING];
  laps = size_or(10);
  for (intptr_t i = 0; i < RING; i++) {
    OK(pthread_mutex_init(&ring[i].lock, NULL));
    OK(pthread_cond_init(&ring[i].cond, NULL));
  }
  ring[0].token = 1;
  for (intptr_t i = 0; i < RING; i++) t[i] = start(ring_member, (void*)i);
  long last = 0;
  for (int i = 0; i < RING; i++) last += (long)finish(t[i]);
  EQ(last, laps * RING);
}

// POSIX allows destroying a condition variable as soon as all have been woken: woken threads touch it no more.
struct short_lived {
  pthread_mutex_t* lock;
  pthread_cond_t cond;
  long waiting, go;
};
static void* wait_short_lived(void* argument) {
  struct short_lived* s = argument;
  pthread_mutex_t* lock = s->lock;
  OK(pthread_mutex_lock(lock));
  s->waiting++;
  while (!s->go) OK(pthread_cond_wait(&s->cond, lock));
  s->waiting--;
  OK(pthread_mutex_unlock(lock));
  return NULL;
}

CASE(destroy_after_broadcast) {
  for (int round = 0; round < 100; round++) {
    struct short_lived* s = calloc(1, sizeof *s);
    s->lock = &m;
    OK(pthread_cond_init(&s->cond, NULL));
    pthread_t t[5];
    for (int i = 0; i < 5; i++) t[i] = start(wait_short_lived, s);
    long now = 0;
    while (now < 5) {
      OK(pthread_mutex_lock(&m));
      now = s->waiting;
      if (now == 5) {
        s->go = 1;
        OK(pthread_cond_broadcast(&s->cond));
        OK(pthread_cond_destroy(&s->cond)); // waits, if need be, for those still inside
        memset(&s->cond, 0xff, sizeof s->cond);
      }
      OK(pthread_mutex_unlock(&m));
      sched_yield();
    }
    for (int i = 0; i < 5; i++) finish(t[i]);
    free(s);
  }
}

// With a recursive or an error-checking mutex the wait gives it up and takes it back as it was.
static pthread_mutex_t typed;
static void* wake_typed(void* argument) {
  OK(pthread_mutex_lock(&typed));
  released = 1;
  OK(pthread_cond_signal(&c));
  OK(pthread_mutex_unlock(&typed));
  return argument;
}

CASE(mutex_types) {
  int types[] = {PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_ADAPTIVE_NP};
  for (int i = 0; i < 3; i++) {
    pthread_mutexattr_t attr;
    OK(pthread_mutexattr_init(&attr));
    OK(pthread_mutexattr_settype(&attr, types[i]));
    OK(pthread_mutexattr_setrobust(&attr, i == 1 ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED));
    OK(pthread_mutex_init(&typed, &attr));
    reset();
    OK(pthread_mutex_lock(&typed));
    pthread_t t = start(wake_typed, NULL);
    while (!released) OK(pthread_cond_wait(&c, &typed));
    OK(pthread_mutex_unlock(&typed));
    if (types[i] != PTHREAD_MUTEX_ADAPTIVE_NP) EQ(pthread_mutex_unlock(&typed), EPERM);
    finish(t);
    OK(pthread_mutex_destroy(&typed));
  }
}

// A handler does not end a wait: natively pthread_cond_wait goes on. The waits here have no loop and no predicate.
static atomic_long handled, returned;
static void count_handled(int sig) {
  (void)sig;
  handled++;
}

static void* wait_once(void* argument) {
  OK(pthread_mutex_lock(&m));
  waiting++;
  OK(pthread_cond_wait(&c, &m));
  returned++;
  OK(pthread_mutex_unlock(&m));
  return argument;
}

static void handle_usr1(int flags) {
  struct sigaction a = {.sa_handler = count_handled, .sa_flags = flags};
  SYS(sigaction(SIGUSR1, &a, NULL));
}

CASE(handlers_do_not_wake) {
  for (int i = 0; i < 2; i++) {
    handle_usr1(i ? SA_RESTART : 0);
    reset();
    handled = returned = 0;
    pthread_t t = start(wait_once, NULL);
    until_waiting(1);
    for (int n = 1; n <= 20; n++) {
      OK(pthread_kill(t, SIGUSR1));
      while (handled < n) pause_ms(1);
    }
    pause_ms(20);
    EQ(returned, 0);
    OK(pthread_cond_signal(&c));
    finish(t);
    EQ(returned, 1);
  }
}

// Signals to waiters that are just running handlers: each counts for one of them, and a broadcast for all.
static atomic_bool stop_kicking;
static pthread_t kicked[4];
static void* kick(void* argument) {
  while (!stop_kicking) {
    for (int i = 0; i < 4; i++) OK(pthread_kill(kicked[i], SIGUSR1));
    sched_yield();
  }
  return argument;
}

static pthread_cond_t* short_cond;
static void* wait_rounds(void* argument) {
  for (long round = 0; round < 100; round++) {
    OK(pthread_mutex_lock(&m));
    waiting++;
    OK(pthread_cond_wait(short_cond, &m));
    returned++;
    OK(pthread_mutex_unlock(&m));
    while (waiting < 4 * (round + 1) || returned < 4 * (round + 1)) sched_yield();
  }
  while (!stop_kicking) pause_ms(1);
  return argument;
}

CASE(signals_race_handlers) {
  handle_usr1(0);
  reset();
  returned = stop_kicking = 0;
  short_cond = calloc(1, sizeof *short_cond);
  OK(pthread_cond_init(short_cond, NULL));
  for (int i = 0; i < 4; i++) kicked[i] = start(wait_rounds, NULL);
  pthread_t k = start(kick, NULL);
  for (long round = 0; round < 100; round++) {
    until_waiting(4 * (round + 1));
    OK(pthread_mutex_lock(&m));
    if (round % 2) OK(pthread_cond_broadcast(short_cond));
    else
      for (int i = 0; i < 4; i++) OK(pthread_cond_signal(short_cond));
    if (round == 99) { // nobody but those that have been woken is inside
      OK(pthread_cond_destroy(short_cond));
      memset(short_cond, 0xff, sizeof *short_cond);
    }
    OK(pthread_mutex_unlock(&m));
    while (returned < 4 * (round + 1)) sched_yield();
    EQ(returned, 4 * (round + 1));
  }
  stop_kicking = true;
  finish(k);
  for (int i = 0; i < 4; i++) finish(kicked[i]);
  free(short_cond);
}
