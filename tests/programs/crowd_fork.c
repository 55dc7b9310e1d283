// A process of many threads has children; and one that ends badly.
#include <signal.h>
#include <sys/wait.h>
#include "check.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long waiting;
static bool over;

static void* wait_for_the_end(void* unused) {
  OK(pthread_mutex_lock(&lock));
  waiting++;
  OK(pthread_cond_broadcast(&changed));
  while (!over) OK(pthread_cond_wait(&changed, &lock));
  OK(pthread_mutex_unlock(&lock));
  return unused;
}

static void* twice(void* n) { return (void*)((intptr_t)n * 2); }

// The child works with memory, locks and threads of its own.
static int child(void) {
  pthread_t t[8];
  for (intptr_t i = 0; i < 8; i++) t[i] = start(twice, (void*)i);
  long sum = 0;
  for (int i = 0; i < 8; i++) sum += (long)(intptr_t)finish(t[i]);
  char* p = malloc(100000);
  memset(p, 1, 100000);
  free(p);
  return sum == 56 ? 7 : 1;
}

static void* forker(void* unused) {
  for (int i = 0; i < 3; i++) {
    const pid_t pid = fork();
    if (pid == 0) _exit(child());
    SYS(pid);
    int status;
    EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    EQ(WEXITSTATUS(status), 7);
  }
  return unused;
}

// --size=N threads.
CASE(fork_with_many_threads) {
  const long n = size_or(1000);
  pthread_t* t = calloc((size_t)n, sizeof *t);
  pthread_attr_t a;
  pthread_attr_init(&a);
  OK(pthread_attr_setstacksize(&a, 65536));
  for (long i = 0; i < n; i++) OK(pthread_create(&t[i], &a, wait_for_the_end, NULL));
  OK(pthread_mutex_lock(&lock));
  while (waiting < n) OK(pthread_cond_wait(&changed, &lock));
  OK(pthread_mutex_unlock(&lock));
  finish(start(forker, NULL));
  forker(NULL);
  OK(pthread_mutex_lock(&lock));
  over = true;
  OK(pthread_cond_broadcast(&changed));
  OK(pthread_mutex_unlock(&lock));
  for (long i = 0; i < n; i++) finish(t[i]);
  free(t);
}

static void* crash(void* unused) {
  struct sigaction now;
  SYS(sigaction(SIGSEGV, NULL, &now));
  CHECK(now.sa_handler == SIG_DFL);
  *(volatile int*)unused = 1;
  return NULL;
}
CASE_ALONE(crash_in_a_thread) { finish(start(crash, NULL)); }
