// Threads that call nothing for long make room for others, and notice nothing of it.
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include "check.h"

enum { kSpinners = 4 };

static atomic_bool stop;
static atomic_int spinning;
static atomic_long turns[64];

static void* spin(void* n) {
  atomic_fetch_add(&spinning, 1);
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) turns[(intptr_t)n]++;
  return NULL;
}
static void* set_stop(void* unused) {
  (void)unused;
  atomic_store(&stop, true);
  return NULL;
}
static void reset(void) {
  atomic_store(&stop, false);
  atomic_store(&spinning, 0);
  for (int i = 0; i < 64; i++) turns[i] = 0;
}

// The fifth ends the others.
CASE(spinners_let_a_fifth_run) {
  pthread_t t[kSpinners];
  reset();
  for (intptr_t i = 0; i < kSpinners; i++) t[i] = start(spin, (void*)i);
  pthread_t fifth = start(set_stop, NULL);
  finish(fifth);
  for (int i = 0; i < kSpinners; i++) finish(t[i]);
}

// main itself is the spinner.
CASE(spin_wait_on_a_flag) {
  reset();
  pthread_t t = start(set_stop, NULL);
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
  }
  finish(t);
}

// All get on, also those that began last.
CASE(all_spinners_get_on) {
  enum { kAll = 8 };
  pthread_t t[kAll];
  reset();
  for (intptr_t i = 0; i < kAll; i++) t[i] = start(spin, (void*)i);
  for (int i = 0; i < kAll; i++)
    while (turns[i] == 0) pause_ms(1);
  long seen[kAll];
  for (int i = 0; i < kAll; i++) seen[i] = turns[i];
  for (int i = 0; i < kAll; i++)
    while (turns[i] == seen[i]) pause_ms(1);
  atomic_store(&stop, true);
  for (int i = 0; i < kAll; i++) finish(t[i]);
}

// A sleeper, a pipe's reader and a condition's waiter get their turn beside spinners.
static int fds[2];
static void* read_one(void* unused) {
  char c;
  EQ(read(fds[0], &c, 1), 1);
  return unused;
}
CASE(waiters_beside_spinners) {
  pthread_t t[kSpinners];
  reset();
  SYS(pipe(fds));
  for (intptr_t i = 0; i < kSpinners; i++) t[i] = start(spin, (void*)i);
  for (int i = 0; i < 3; i++) {
    pthread_t reader = start(read_one, NULL);
    pause_ms(1);
    EQ(write(fds[1], "x", 1), 1);
    finish(reader);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < kSpinners; i++) finish(t[i]);
  close(fds[0]), close(fds[1]);
}

// Few kernel threads serve many spinners (the script holds the preloaded figure against a bound).
static long kernel_threads(void) {
  char line[200];
  long n = 0;
  FILE* f = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, f)) sscanf(line, "Threads: %ld", &n);
  fclose(f);
  return n;
}
CASE(many_spinners) {
  enum { kMany = 64 };
  pthread_t t[kMany];
  reset();
  for (intptr_t i = 0; i < kMany; i++) t[i] = start(spin, (void*)i);
  long most = 0;
  for (int i = 0; i < kMany; i++)
    while (turns[i] < 2) {
      const long n = kernel_threads();
      if (n > most) most = n;
      pause_ms(1);
    }
  atomic_store(&stop, true);
  for (int i = 0; i < kMany; i++) finish(t[i]);
  fprintf(stderr, "kernel threads: %ld\n", most);
}

// errno is a thread's own wherever it goes on.
static void* errno_spinner(void* n) {
  const int mine = 100 + (int)(intptr_t)n;
  errno = mine;
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
    for (volatile int i = 0; i < 10000; i++) {
    }
    EQ(errno, mine);
    turns[(intptr_t)n]++;
  }
  EQ(errno, mine);
  return NULL;
}
CASE(errno_survives) {
  pthread_t t[8];
  reset();
  for (intptr_t i = 0; i < 8; i++) t[i] = start(errno_spinner, (void*)i);
  for (int i = 0; i < 8; i++)
    while (turns[i] < 2000) pause_ms(1);
  atomic_store(&stop, true);
  for (int i = 0; i < 8; i++) finish(t[i]);
}

// A thread with every signal blocked, and one on a small stack of the program's own: no signal is to be had or to be risked there.
static void* spin_masked(void* n) {
  sigset_t all;
  sigfillset(&all);
  OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
  return spin(n);
}
CASE(spinners_out_of_reach) {
  static char stack[16384] __attribute__((aligned(64)));
  pthread_attr_t a;
  pthread_attr_init(&a);
  OK(pthread_attr_setstack(&a, stack, sizeof stack));
  reset();
  pthread_t small, t[2];
  OK(pthread_create(&small, &a, spin, (void*)0));
  for (intptr_t i = 1; i < 3; i++) t[i - 1] = start(spin_masked, (void*)i);
  while (turns[0] == 0 || turns[1] == 0 || turns[2] == 0) pause_ms(1);
  pthread_t last = start(set_stop, NULL);
  finish(last);
  finish(small), finish(t[0]), finish(t[1]);
}

// Stacks that the program switches to by itself.
static ucontext_t back, inside;
static void coroutine(void) {
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) turns[0]++;
  swapcontext(&inside, &back);
}
static void* run_coroutine(void* unused) {
  static char stack[32768];
  getcontext(&inside);
  inside.uc_stack.ss_sp = stack;
  inside.uc_stack.ss_size = sizeof stack;
  inside.uc_link = NULL;
  makecontext(&inside, coroutine, 0);
  swapcontext(&back, &inside);
  return unused;
}
CASE(spinning_coroutine) {
  reset();
  pthread_t t = start(run_coroutine, NULL), s = start(spin, (void*)1);
  while (turns[0] == 0 || turns[1] == 0) pause_ms(1);
  pthread_t last = start(set_stop, NULL);
  finish(last), finish(t), finish(s);
}

// A handler that runs while its thread is preempted, and one that is itself preempted.
static atomic_int handled;
static void on_signal(int sig) {
  (void)sig;
  const int64_t end = now_ns(CLOCK_MONOTONIC) + 3000000;
  while (now_ns(CLOCK_MONOTONIC) < end) {
  }
  atomic_fetch_add(&handled, 1);
}
CASE(handlers_beside_preemption) {
  pthread_t t[2];
  struct sigaction act = {.sa_handler = on_signal};
  reset();
  sigaddset(&act.sa_mask, SIGUSR2);
  SYS(sigaction(SIGUSR1, &act, NULL));
  for (intptr_t i = 0; i < 2; i++) t[i] = start(spin, (void*)i);
  for (int i = 0; i < 2; i++)
    while (turns[i] == 0) pause_ms(1);
  for (int i = 0; i < 4; i++) {
    const int before = atomic_load(&handled);
    OK(pthread_kill(t[i % 2], SIGUSR1));
    while (atomic_load(&handled) == before) pause_ms(1);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < 2; i++) finish(t[i]);
  signal(SIGUSR1, SIG_DFL);
}

// SIGURG, which Go preempts with, is the program's.
static atomic_int urgent;
static void on_urgent(int sig) { atomic_fetch_add(&urgent, sig == SIGURG); }
CASE(sigurg_is_the_programs) {
  pthread_t t[kSpinners];
  struct sigaction old;
  reset();
  SYS(sigaction(SIGURG, NULL, &old));
  CHECK(old.sa_handler == SIG_DFL);
  signal(SIGURG, on_urgent);
  for (intptr_t i = 0; i < kSpinners; i++) t[i] = start(spin, (void*)i);
  for (int i = 0; i < kSpinners; i++)
    while (turns[i] < 100000) pause_ms(1);
  EQ(atomic_load(&urgent), 0);
  raise(SIGURG);
  EQ(atomic_load(&urgent), 1);
  atomic_store(&stop, true);
  for (int i = 0; i < kSpinners; i++) finish(t[i]);
  signal(SIGURG, SIG_DFL);
}

// Children of a process whose threads are preempted: made from a spinner's side, exec'd, waited for.
CASE(fork_and_exec_beside_spinners) {
  pthread_t t[kSpinners];
  reset();
  for (intptr_t i = 0; i < kSpinners; i++) t[i] = start(spin, (void*)i);
  for (int i = 0; i < 4; i++) {
    const pid_t pid = fork();
    if (pid == 0) {
      for (volatile int k = 0; k < 1000000; k++) {
      }
      if (i % 2) _exit(7);
      execl("/bin/sh", "sh", "-c", "exit 7", (char*)NULL);
      _exit(1);
    }
    SYS(pid);
    int status;
    EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    EQ(WEXITSTATUS(status), 7);
  }
  atomic_store(&stop, true);
  for (int i = 0; i < kSpinners; i++) finish(t[i]);
}

// An interpreter's lock: free around each call of the kernel, taken again at once. Who waits for it for 5 ms asks for it and is then waited for.
static pthread_mutex_t inner = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t is_free = PTHREAD_COND_INITIALIZER, is_taken = PTHREAD_COND_INITIALIZER;
static bool taken;
static long takings;
static atomic_bool asked_for;

static void take(void) {
  OK(pthread_mutex_lock(&inner));
  while (taken) {
    const long before = takings;
    const struct timespec until = in_ms(CLOCK_REALTIME, 5);
    if (pthread_cond_timedwait(&is_free, &inner, &until) == ETIMEDOUT && taken && takings == before) atomic_store(&asked_for, true);
  }
  taken = true;
  takings++;
  OK(pthread_cond_signal(&is_taken));
  OK(pthread_mutex_unlock(&inner));
}
static void let_go(void) {
  OK(pthread_mutex_lock(&inner));
  const long mine = takings;
  taken = false;
  OK(pthread_cond_signal(&is_free));
  if (atomic_exchange(&asked_for, false))
    while (takings == mine) OK(pthread_cond_wait(&is_taken, &inner));
  OK(pthread_mutex_unlock(&inner));
}

static int fed[2];
static void* look_whether_fed(void* rounds) {
  take();
  while (!atomic_load(&stop)) {
    for (int i = 0; i < 20000; i++) __asm__ volatile("" ::: "memory");
    ++*(long*)rounds;
    let_go();
    struct pollfd p = {fed[0], POLLIN, 0};
    poll(&p, 1, 20);
    take();
  }
  let_go();
  return NULL;
}

// One thread looks whether there is something to read and another reads it: the first is to be out of the way soon. (It went round thousands of times for
// each, on one P, when it was made to wait in its own code alone, where it has the lock, and after 14 ms.)
CASE(lock_let_go_around_calls) {
  enum { kItems = 20 };
  reset();
  SYS(pipe(fed));
  const pid_t feeder = fork();
  if (feeder == 0) {
    for (int i = 0; i < kItems; i++) {
      pause_ms(5);
      if (write(fed[1], "x", 1) != 1) _exit(1);
    }
    _exit(0);
  }
  SYS(feeder);
  long rounds = 0;
  pthread_t t = start(look_whether_fed, &rounds);
  char c;
  for (int i = 0; i < kItems; i++) {
    EQ(read(fed[0], &c, 1), 1);
    take();
    let_go();
  }
  atomic_store(&stop, true);
  finish(t);
  CHECK(rounds < 1000 * kItems);
  SYS(waitpid(feeder, NULL, 0));
  close(fed[0]);
  close(fed[1]);
}
