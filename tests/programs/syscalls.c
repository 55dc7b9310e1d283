// syscall(): private futexes between threads, as Rust's and C++'s libraries call them; identity.
#include "check.h"
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static _Atomic uint32_t word;
static long futex(_Atomic uint32_t* at, int op, uint32_t value, const struct timespec* t, _Atomic uint32_t* other,
                  uint32_t last) {
  return syscall(SYS_futex, at, op, value, t, other, last);
}

static void* wait_for_change(void* argument) {
  while (word == 0) {
    long rc = futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    if (rc != 0) CHECK(errno == EAGAIN || errno == EINTR);
  }
  return argument;
}

CASE(wait_and_wake) {
  for (int round = 0; round < 50; round++) {
    word = 0;
    pthread_t t[10];
    for (int i = 0; i < 10; i++) t[i] = start(wait_for_change, NULL);
    if (round % 2) pause_ms(1);
    word = 1;
    long woken = futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    CHECK(woken >= 0 && woken <= 10);
    for (int i = 0; i < 10; i++) finish(t[i]);
  }
  ERRNO(futex(&word, FUTEX_WAIT_PRIVATE, 77, NULL, NULL, 0), EAGAIN); // the value is another
  EQ(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
}

static _Atomic int waiting, woken;
static void* wait_once(void* argument) {
  waiting++;
  EQ(futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), 0);
  woken++;
  return argument;
}

CASE(wake_counts) {
  word = 0;
  waiting = woken = 0;
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(wait_once, NULL);
  long total = 0;
  while (total < 8) { // the calls' results add up to the waiters, however they came in
    long n = futex(&word, FUTEX_WAKE_PRIVATE, 3, NULL, NULL, 0);
    CHECK(n >= 0 && n <= 3);
    total += n;
    if (n == 0) sched_yield();
  }
  EQ(total, 8);
  for (int i = 0; i < 8; i++) finish(t[i]);
  EQ(woken, 8);
}

static void* times_out(void* argument) {
  _Atomic uint32_t own = 5;
  struct timespec t = {0, 15000000};
  int64_t before = now_ns(CLOCK_MONOTONIC);
  ERRNO(futex(&own, FUTEX_WAIT_PRIVATE, 5, &t, NULL, 0), ETIMEDOUT);
  CHECK(now_ns(CLOCK_MONOTONIC) - before >= 15000000);
  t = in_ms(CLOCK_MONOTONIC, 15); // absolute with BITSET
  ERRNO(futex(&own, FUTEX_WAIT_BITSET_PRIVATE, 5, &t, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
  CHECK(now_ns(CLOCK_MONOTONIC) >= (int64_t)t.tv_sec * 1000000000 + t.tv_nsec);
  t = in_ms(CLOCK_REALTIME, 15);
  ERRNO(futex(&own, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 5, &t, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
  CHECK(now_ns(CLOCK_REALTIME) >= (int64_t)t.tv_sec * 1000000000 + t.tv_nsec);
  t = (struct timespec){0, 1000000000};
  ERRNO(futex(&own, FUTEX_WAIT_PRIVATE, 5, &t, NULL, 0), EINVAL);
  return argument;
}

CASE(time_outs) {
  pthread_t t[20];
  times_out(NULL);
  for (int i = 0; i < 20; i++) t[i] = start(times_out, NULL);
  for (int i = 0; i < 20; i++) finish(t[i]);
}

static _Atomic int by_bit[2];
static void* wait_bit(void* argument) {
  intptr_t bit = (intptr_t)argument;
  waiting++;
  EQ(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 1u << bit), 0);
  by_bit[bit]++;
  return NULL;
}

CASE(bitsets) {
  word = 0;
  waiting = 0;
  pthread_t t[10];
  for (intptr_t i = 0; i < 10; i++) t[i] = start(wait_bit, (void*)(i % 2));
  long total = 0;
  while (total < 5) { // only the waiters of bit 0
    total += futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 2, NULL, NULL, 1);
    sched_yield();
  }
  for (int i = 0; i < 10; i += 2) finish(t[i]);
  EQ(by_bit[0], 5);
  EQ(by_bit[1], 0);
  while (total < 10) {
    total += futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    sched_yield();
  }
  for (int i = 1; i < 10; i += 2) finish(t[i]);
  EQ(by_bit[1], 5);
}

static _Atomic uint32_t target;
static void* wait_requeued(void* argument) {
  waiting++;
  EQ(futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), 0);
  woken++;
  return argument;
}

CASE(requeue) {
  word = target = 0;
  waiting = woken = 0;
  pthread_t t[6];
  for (int i = 0; i < 6; i++) t[i] = start(wait_requeued, NULL);
  ERRNO(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)6L, &target, 99), EAGAIN);
  long total = 0;
  while (total < 6) { // woken here or moved over there
    long n = futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void*)6L, &target, 0);
    CHECK(n >= 0);
    total += n;
    sched_yield();
  }
  while (woken < 6) {
    futex(&target, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    sched_yield();
  }
  for (int i = 0; i < 6; i++) finish(t[i]);
}

// A mutex as Rust's standard library builds it: 0 free, 1 taken, 2 taken and waited for.
static _Atomic uint32_t lock;
static long counter;
static void rust_lock(void) {
  uint32_t seen = 0;
  if (atomic_compare_exchange_strong(&lock, &seen, 1)) return;
  while (atomic_exchange(&lock, 2) != 0) futex(&lock, FUTEX_WAIT_BITSET_PRIVATE, 2, NULL, NULL, FUTEX_BITSET_MATCH_ANY);
}
static void rust_unlock(void) {
  if (atomic_exchange(&lock, 0) == 2) futex(&lock, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
static void* count(void* argument) {
  for (int i = 0; i < 1000; i++) {
    rust_lock();
    counter++;
    if (i % 50 == 0) sched_yield();
    rust_unlock();
  }
  return argument;
}

CASE(mutex_of_futexes) {
  pthread_t t[20];
  for (int i = 0; i < 20; i++) t[i] = start(count, NULL);
  for (int i = 0; i < 20; i++) finish(t[i]);
  EQ(counter, 20000);
}

static void* identity(void* argument) {
  pid_t* mine = argument;
  *mine = (pid_t)syscall(SYS_gettid);
  EQ(gettid(), *mine);
  EQ(syscall(SYS_getpid), getpid());
  CHECK(*mine != getpid());
  return NULL;
}

CASE(identities) {
  pid_t a, b;
  EQ(syscall(SYS_gettid), getpid());
  pthread_t x = start(identity, &a), y = start(identity, &b);
  finish(x);
  finish(y);
}

// The kernel clears the word and wakes when the thread is gone. Not to be joined: libc's own word is not cleared then.
static _Atomic int cleared[8];
static void* leaves_word(void* argument) {
  _Atomic int* mine = argument;
  sched_yield();
  EQ(syscall(SYS_set_tid_address, mine), gettid());
  sched_yield();
  return NULL;
}

CASE(tid_address_is_cleared) {
  for (int i = 0; i < 8; i++) cleared[i] = i + 1;
  for (int i = 0; i < 8; i++) OK(pthread_detach(start(leaves_word, &cleared[i])));
  for (int i = 0; i < 8; i++)
    while (cleared[i] != 0) futex((_Atomic uint32_t*)&cleared[i], FUTEX_WAIT, (uint32_t)i + 1, NULL, NULL, 0);
}

static void* borrows_address(void* argument) {
  int* address = NULL;
  for (int i = 0; i < 20; i++) {
    if (prctl(PR_GET_TID_ADDRESS, &address) != 0) { // a kernel without it
      EQ(errno, EINVAL);
      break;
    }
    EQ(*address, gettid());
    EQ(syscall(SYS_set_tid_address, NULL), gettid());
    sched_yield();
    int* none = address;
    EQ(prctl(PR_GET_TID_ADDRESS, &none), 0);
    CHECK(none == NULL);
    EQ(syscall(SYS_set_tid_address, address), gettid());
    sched_yield();
  }
  return argument;
}

CASE(tid_address_and_back) {
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(borrows_address, NULL);
  for (int i = 0; i < 8; i++) finish(t[i]);
  borrows_address(NULL);
}

CASE(others_pass_through) {
  ERRNO(syscall(SYS_close, -1), EBADF);
  ERRNO(syscall(99999), ENOSYS);
  int fd[2];
  SYS(syscall(SYS_pipe2, fd, 0));
  EQ(syscall(SYS_write, fd[1], "abc", 3L), 3);
  char buffer[4];
  EQ(syscall(SYS_read, fd[0], buffer, 4L), 3);
  SYS(syscall(SYS_close, fd[0]));
  SYS(syscall(SYS_close, fd[1]));
}
