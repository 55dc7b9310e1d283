// Many threads at once: alive, blocked in read or on a condition variable. Prints what the kernel says of the process
// while they are; the script asserts on that, since it differs between a native and a preloaded run.
#include "net.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/file.h>
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

static long descriptors(void) {
  struct rlimit limit;
  SYS(getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  SYS(setrlimit(RLIMIT_NOFILE, &limit));
  return (long)limit.rlim_max;
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
  pair_count = (descriptors() - 200) / 2; // where descriptors do not suffice, several threads share a socket
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

// A server written with stdio: a thread for each connection, lines in, lines out.
static void* line_server(void* argument) {
  long i = (intptr_t)argument;
  FILE* f = fdopen(pairs[i][0], "r+");
  CHECK(f);
  arrived++;
  char line[100];
  while (fgets(line, sizeof line, f)) {
    CHECK(fprintf(f, "%ld: %s", i, line) > 0);
    OK(fflush(f));
  }
  OK(fclose(f));
  return argument;
}

CASE_ALONE(stdio_server) {
  long n = size_or(5000);
  if (n > (descriptors() - 200) / 2) FAIL("%ld connections need more descriptors than are allowed here", n);
  pairs = malloc((size_t)n * sizeof *pairs);
  int listener = listening(4096);
  for (long i = 0; i < n; i++) {
    pairs[i][1] = connected_to(listener);
    SYS(pairs[i][0] = accept(listener, NULL, NULL));
  }
  pthread_t* t = start_all(n, line_server);
  until_arrived(n);
  report(n);
  for (int round = 0; round < 3; round++) {
    for (long i = 0; i < n; i++) CHECK(dprintf(pairs[i][1], "round %d\n", round) > 0);
    for (long i = n - 1; i >= 0; i--) {
      char got[100], wanted[100];
      int length = sprintf(wanted, "%ld: round %d\n", i, round);
      EQ(recv(pairs[i][1], got, (size_t)length, MSG_WAITALL), length);
      EQ(memcmp(got, wanted, (size_t)length), 0);
    }
  }
  printf("Threads at the end: %ld\n", status_of("Threads:"));
  for (long i = 0; i < n; i++) SYS(close(pairs[i][1]));
  finish_all(t, n);
  free(pairs);
}

// All of them block in the kernel, where nothing but a kernel thread can wait. Afterwards these go.
static char lock_file[] = "/tmp/many-flock-XXXXXX";
static void* wait_for_flock(void* argument) {
  int fd = open(lock_file, O_RDWR);
  SYS(fd);
  arrived++;
  SYS(flock(fd, LOCK_EX));
  SYS(flock(fd, LOCK_UN));
  SYS(close(fd));
  return argument;
}

CASE_ALONE(in_flock) {
  long n = size_or(1000);
  CHECK(descriptors() > n + 100);
  int fd = mkstemp(lock_file);
  SYS(fd);
  SYS(flock(fd, LOCK_EX));
  pthread_t* t = start_all(n, wait_for_flock);
  until_arrived(n);
  report(n);
  SYS(flock(fd, LOCK_UN));
  finish_all(t, n);
  SYS(close(fd));
  SYS(unlink(lock_file));
  while (status_of("Threads:") >= 20) pause_ms(10);
  printf("Threads afterwards: fewer than 20\n");
}

// Calls that end by themselves, many at once: data that the page cache does not have, and data on its way to the disk.
static void* write_and_sync(void* argument) {
  char name[] = "/tmp/many-sync-XXXXXX";
  unsigned char bytes[8192];
  int fd = mkstemp(name);
  SYS(fd);
  SYS(unlink(name));
  arrived++;
  for (int i = 0; i < 4; i++) {
    fill_pattern(bytes, (size_t)i * sizeof bytes, sizeof bytes);
    EQ(pwrite(fd, bytes, sizeof bytes, i * (off_t)sizeof bytes), (ssize_t)sizeof bytes);
    SYS(fsync(fd));
    SYS(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    EQ(pread(fd, bytes, sizeof bytes, i * (off_t)sizeof bytes), (ssize_t)sizeof bytes);
    check_pattern(bytes, (size_t)i * sizeof bytes, sizeof bytes);
  }
  SYS(close(fd));
  return argument;
}

CASE_ALONE(in_fsync) {
  long n = size_or(1000);
  CHECK(descriptors() > n + 100);
  pthread_t* t = start_all(n, write_and_sync);
  finish_all(t, n);
  while (status_of("Threads:") >= 20) pause_ms(10);
  printf("alive: %ld\nThreads afterwards: fewer than 20\n", n);
}
