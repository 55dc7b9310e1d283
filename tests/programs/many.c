// Many threads at once: alive, blocked in read or on a condition variable. Prints what the kernel says of the process
// while they are; the script asserts on that, since it differs between a native and a preloaded run.
#include "net.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>

static long status_of(const char* key) {
  FILE* f = fopen("/proc/self/status", "r");
  char line[256];
  long value = -1;
  CHECK(f);
  while (fgets(line, sizeof line, f))
    if (strncmp(line, key, strlen(key)) == 0) value = atol(line + strlen(key));
  fclose(f);
  CHECK(value >= 0);
  return value;
}

static _Atomic long arrived;
static long memory_before;

static void until_arrived(long n) {
  while (arrived < n) pause_ms(1);
  pause_ms(100); // the last ones come to rest; kernel threads that lent a hand go to sleep
}

static void report(long n) {
  long memory = status_of("VmRSS:") + status_of("VmPTE:") - memory_before;
  printf("alive: %ld\nThreads: %ld\nbytes a thread: %ld\n", n, status_of("Threads:"), memory * 1024 / n);
  fflush(stdout);
}

static pthread_t* start_all(long n, void* (*body)(void*)) {
  pthread_t* t = malloc((size_t)n * sizeof *t);
  memset(t, 0, (size_t)n * sizeof *t);
  arrived = 0;
  memory_before = status_of("VmRSS:") + status_of("VmPTE:");
  for (long i = 0; i < n; i++) {
    int rc = pthread_create(&t[i], NULL, body, (void*)i);
    if (rc != 0) {
      printf("alive: %ld and no more: %s\n", i, strerror(rc));
      exit(3);
    }
  }
  return t;
}

static void finish_all(pthread_t* t, long n) {
  for (long i = 0; i < n; i++) EQ((intptr_t)finish(t[i]), i);
  free(t);
}

static int (*pairs)[2];
static long pair_count;
static void* read_own(void* argument) {
  arrived++;
  read_byte(pairs[(intptr_t)argument % pair_count][0]);
  return argument;
}

CASE_ALONE(in_read) {
  long n = size_or(10000);
  struct rlimit limit;
  SYS(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  SYS(setrlimit(RLIMIT_NOFILE, &limit));
  pair_count = (long)(limit.rlim_max - 200) / 2; // where descriptors do not suffice, several threads share a socket
  if (pair_count > n) pair_count = n;
  pairs = malloc((size_t)pair_count * sizeof *pairs);
  for (long i = 0; i < pair_count; i++) SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]));
  pthread_t* t = start_all(n, read_own);
  until_arrived(n);
  report(n);
  for (long i = n - 1; i >= 0; i--) write_byte(pairs[i % pair_count][1]);
  finish_all(t, n);
  for (long i = 0; i < pair_count; i++) close_pair(pairs[i]);
  free(pairs);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static bool open_gate;
static void* wait_at_gate(void* argument) {
  OK(pthread_mutex_lock(&lock));
  arrived++;
  while (!open_gate) OK(pthread_cond_wait(&cond, &lock));
  OK(pthread_mutex_unlock(&lock));
  return argument;
}

CASE_ALONE(in_cond_wait) {
  long n = size_or(10000);
  pthread_t* t = start_all(n, wait_at_gate);
  until_arrived(n);
  report(n);
  OK(pthread_mutex_lock(&lock));
  open_gate = true;
  OK(pthread_cond_broadcast(&cond));
  OK(pthread_mutex_unlock(&lock));
  finish_all(t, n);
}

static sem_t gate;
static void* wait_sem(void* argument) {
  arrived++;
  OK(sem_wait(&gate));
  return argument;
}

CASE_ALONE(alive) {
  long n = size_or(100000);
  OK(sem_init(&gate, 0, 0));
  pthread_t* t = start_all(n, wait_sem);
  until_arrived(n);
  report(n);
  for (long i = 0; i < n; i++) OK(sem_post(&gate));
  finish_all(t, n);
}

static void* sleep_a_while(void* argument) {
  arrived++;
  pause_ms(1000);
  return argument;
}

CASE_ALONE(asleep) {
  long n = size_or(10000);
  pthread_t* t = start_all(n, sleep_a_while);
  while (arrived < n) pause_ms(1);
  report(n);
  finish_all(t, n);
}
