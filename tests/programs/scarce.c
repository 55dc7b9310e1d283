// A program that copes when the system has nothing left to give: pthread_create and malloc may fail and are tried again. What it prints does not
// depend on that. tests/bats/inject.bats runs it while system calls fail.
#include "check.h"
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>

static pthread_t start_sometime(void* (*body)(void*), void* argument) {
  pthread_t t;
  for (;;) {
    const int rc = pthread_create(&t, NULL, body, argument);
    if (rc == 0) return t;
    if (rc != EAGAIN && rc != ENOMEM) FAIL("pthread_create gives %d", rc);
    pause_ms(1);
  }
}
static void* allocate_sometime(size_t size) {
  void* p;
  while (!(p = malloc(size))) pause_ms(1);
  return p;
}

enum { kThreads = 60, kRounds = 10 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long turn, sum;

// Each waits for its turn, kRounds times over.
static void* take_turns(void* argument) {
  const long me = (long)argument;
  for (long round = 0; round < kRounds; round++) {
    OK(pthread_mutex_lock(&lock));
    while (turn != round * kThreads + me) OK(pthread_cond_wait(&changed, &lock));
    turn++;
    sum += me;
    OK(pthread_cond_broadcast(&changed));
    OK(pthread_mutex_unlock(&lock));
  }
  return argument;
}
CASE(turns) {
  pthread_t t[kThreads];
  for (long i = 0; i < kThreads; i++) t[i] = start_sometime(take_turns, (void*)i);
  for (long i = 0; i < kThreads; i++) EQ((long)finish(t[i]), i);
  EQ(sum, (long)kRounds * kThreads * (kThreads - 1) / 2);
}

static void* allocate_and_sleep(void* argument) {
  const long me = (long)argument;
  for (int i = 0; i < kRounds; i++) {
    const size_t size = (size_t)(200000 + me * 1000 + i); // from mmap
    char* p = allocate_sometime(size);
    memset(p, (int)me, size);
    pause_ms(1);
    EQ(p[size - 1], (char)me);
    free(p);
  }
  return argument;
}
CASE(allocations_and_sleeps) {
  pthread_t t[kThreads];
  for (long i = 0; i < kThreads; i++) t[i] = start_sometime(allocate_and_sleep, (void*)i);
  for (long i = 0; i < kThreads; i++) finish(t[i]);
}

// A ring of sockets: each thread adds 1 to what it reads and passes it on. All block in the kernel natively.
static int ring[kThreads][2];
static void* pass_on(void* argument) {
  const long me = (long)argument;
  for (int round = 0; round < kRounds; round++) {
    long v;
    EQ(recv(ring[me][0], &v, sizeof v, MSG_WAITALL), sizeof v);
    v++;
    EQ(write(ring[(me + 1) % kThreads][1], &v, sizeof v), sizeof v);
  }
  return argument;
}
CASE(a_ring_of_sockets) {
  pthread_t t[kThreads];
  for (int i = 0; i < kThreads; i++) SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, ring[i]));
  for (long i = 1; i < kThreads; i++) t[i] = start_sometime(pass_on, (void*)i);
  for (long round = 0; round < kRounds; round++) {
    long v = round * kThreads;
    EQ(write(ring[1][1], &v, sizeof v), sizeof v);
    EQ(recv(ring[0][0], &v, sizeof v, MSG_WAITALL), sizeof v);
    EQ(v, (round + 1) * kThreads - 1);
  }
  for (long i = 1; i < kThreads; i++) finish(t[i]);
  for (int i = 0; i < kThreads; i++) close(ring[i][0]), close(ring[i][1]);
}

// A chain of readers, and threads that give their processor up to nobody.
static int pipes[8][2];
static void* pass_one(void* argument) {
  const long me = (long)argument;
  char c;
  EQ(read(pipes[me][0], &c, 1), 1);
  if (me + 1 < 8) EQ(write(pipes[me + 1][1], &c, 1), 1);
  return argument;
}
static atomic_bool flag;
static void* spin(void* argument) {
  while (!flag) {
  }
  return argument;
}
CASE(spinners_and_a_chain) {
  pthread_t t[8], s[3];
  for (int i = 0; i < 8; i++) SYS(pipe(pipes[i]));
  for (long i = 0; i < 8; i++) t[i] = start_sometime(pass_one, (void*)i);
  for (int i = 0; i < 3; i++) s[i] = start_sometime(spin, NULL);
  pause_ms(5);
  EQ(write(pipes[0][1], "x", 1), 1);
  for (int i = 0; i < 8; i++) finish(t[i]);
  flag = true;
  for (int i = 0; i < 3; i++) finish(s[i]);
  for (int i = 0; i < 8; i++) close(pipes[i][0]), close(pipes[i][1]);
}
