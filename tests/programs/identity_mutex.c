// Mutexes in which the kernel must know the owner: robust and priority-inheriting ones shared with other processes, whose holder dies; and those with a
// priority ceiling.
#include "check.h"
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

struct shared {
  pthread_mutex_t m[3];
  pthread_cond_t c;
  atomic_int step, count;
  int value;
};
static struct shared* s;

static void prepare(bool robust, bool inherit, int type) {
  s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(s != MAP_FAILED);
  pthread_mutexattr_t a;
  OK(pthread_mutexattr_init(&a));
  OK(pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
  OK(pthread_mutexattr_settype(&a, type));
  if (robust) OK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
  if (inherit) OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
  for (int i = 0; i < 3; i++) OK(pthread_mutex_init(&s->m[i], &a));
  OK(pthread_mutexattr_destroy(&a));
  pthread_condattr_t c;
  OK(pthread_condattr_init(&c));
  OK(pthread_condattr_setpshared(&c, PTHREAD_PROCESS_SHARED));
  OK(pthread_cond_init(&s->c, &c));
  OK(pthread_condattr_destroy(&c));
}

static void* adds(void* unused) {
  (void)unused;
  for (int i = 0; i < 100; i++) {
    OK(pthread_mutex_lock(&s->m[0]));
    int v = s->value;
    if (i % 10 == 0) sched_yield();
    s->value = v + 1;
    OK(pthread_mutex_unlock(&s->m[0]));
  }
  return NULL;
}
static void contend(void) {
  pthread_t t[4];
  pid_t pid = fork();
  for (int i = 0; i < 4; i++) t[i] = start(adds, NULL);
  for (int i = 0; i < 4; i++) finish(t[i]);
  if (pid == 0) _exit(5);
  int status;
  EQ(waitpid(pid, &status, 0), pid);
  EQ(WEXITSTATUS(status), 5);
  EQ(s->value, 800);
}
CASE(contended_robust) { prepare(true, false, PTHREAD_MUTEX_NORMAL), contend(); }
CASE(contended_inheriting) { prepare(false, true, PTHREAD_MUTEX_NORMAL), contend(); }
CASE(contended_both) { prepare(true, true, PTHREAD_MUTEX_RECURSIVE), contend(); }

static void* nothing(void* unused) { return unused; }

static void* holds(void* unused) {
  (void)unused;
  OK(pthread_mutex_lock(&s->m[0]));
  OK(pthread_mutex_lock(&s->m[1]));
  sched_yield();
  pause_ms(1);
  atomic_fetch_add(&s->step, 1);
  for (;;) pause_ms(1000);
}
static void* holds_other(void* unused) {
  (void)unused;
  OK(pthread_mutex_lock(&s->m[2]));
  atomic_fetch_add(&s->step, 1);
  for (;;) pause_ms(1000);
}
static void* waits_for_it(void* m) {
  EQ(pthread_mutex_lock(m), EOWNERDEAD);
  OK(pthread_mutex_consistent(m));
  OK(pthread_mutex_unlock(m));
  OK(pthread_mutex_lock(m));
  OK(pthread_mutex_unlock(m));
  return NULL;
}
// A process with threads that hold locks is killed; or ends by itself; or becomes another program.
static void owner_process_dies(int how) {
  pid_t pid = fork();
  if (pid == 0) {
    start(holds, NULL);
    start(holds_other, NULL);
    while (atomic_load(&s->step) < 2) pause_ms(1);
    if (how == 1) _exit(0);
    if (how == 2) execl("/bin/true", "true", NULL);
    for (;;) pause_ms(1000);
  }
  while (atomic_load(&s->step) < 2) pause_ms(1);
  pthread_t t[2] = {start(waits_for_it, &s->m[0]), start(waits_for_it, &s->m[2])};
  pause_ms(2);
  if (how == 0) SYS(kill(pid, SIGKILL));
  finish(t[0]), finish(t[1]);
  EQ(waitpid(pid, NULL, 0), pid);
  EQ(pthread_mutex_trylock(&s->m[1]), EOWNERDEAD);
  OK(pthread_mutex_unlock(&s->m[1]));
  EQ(pthread_mutex_lock(&s->m[1]), ENOTRECOVERABLE);
}
CASE(owner_killed) { prepare(true, false, PTHREAD_MUTEX_NORMAL), owner_process_dies(0); }
CASE(owner_killed_inheriting) { prepare(true, true, PTHREAD_MUTEX_NORMAL), owner_process_dies(0); }
CASE(owner_exits) { prepare(true, false, PTHREAD_MUTEX_ERRORCHECK), owner_process_dies(1); }
CASE(owner_execs) { prepare(true, false, PTHREAD_MUTEX_NORMAL), owner_process_dies(2); }

static void* ends_holding(void* unused) {
  (void)unused;
  OK(pthread_mutex_lock(&s->m[0]));
  OK(pthread_mutex_lock(&s->m[1]));
  OK(pthread_mutex_lock(&s->m[2]));
  OK(pthread_mutex_unlock(&s->m[1]));
  sched_yield();
  return NULL;
}
static void* holder_then_waiter(void* unused) {
  (void)unused;
  waits_for_it(&s->m[0]);
  waits_for_it(&s->m[2]);
  OK(pthread_mutex_lock(&s->m[1]));
  OK(pthread_mutex_unlock(&s->m[1]));
  return NULL;
}
// Only a thread ends; its memory is used again at once.
static void owner_thread_ends(void) {
  for (int i = 0; i < 10; i++) {
    pthread_t t = start(ends_holding, NULL);
    finish(t);
    for (int k = 0; k < 3; k++) finish(start(nothing, NULL));
    finish(start(holder_then_waiter, NULL));
  }
}
CASE(owner_thread_ends_robust) { prepare(true, false, PTHREAD_MUTEX_NORMAL), owner_thread_ends(); }
CASE(owner_thread_ends_inheriting) { prepare(true, true, PTHREAD_MUTEX_NORMAL), owner_thread_ends(); }

static void* cond_waiter(void* unused) {
  (void)unused;
  OK(pthread_mutex_lock(&s->m[0]));
  atomic_fetch_add(&s->count, 1);
  while (atomic_load(&s->step) == 0) OK(pthread_cond_wait(&s->c, &s->m[0]));
  OK(pthread_mutex_unlock(&s->m[0]));
  return NULL;
}
static void with_cond(void) {
  pthread_t t[3];
  for (int i = 0; i < 3; i++) t[i] = start(cond_waiter, NULL);
  while (atomic_load(&s->count) < 3) pause_ms(1);
  OK(pthread_mutex_lock(&s->m[0]));
  struct timespec soon = in_ms(CLOCK_REALTIME, 2);
  EQ(pthread_cond_timedwait(&s->c, &s->m[0], &soon), ETIMEDOUT);
  atomic_store(&s->step, 1);
  OK(pthread_cond_broadcast(&s->c));
  OK(pthread_mutex_unlock(&s->m[0]));
  for (int i = 0; i < 3; i++) finish(t[i]);
}
CASE(cond_with_robust) { prepare(true, false, PTHREAD_MUTEX_NORMAL), with_cond(); }
CASE(cond_with_inheriting) { prepare(false, true, PTHREAD_MUTEX_NORMAL), with_cond(); }

static void* locked_by_another(void* m) {
  EQ(pthread_mutex_trylock(m), EBUSY);
  EQ(pthread_mutex_unlock(m), EPERM);
  struct timespec soon = in_ms(CLOCK_REALTIME, 2);
  EQ(pthread_mutex_timedlock(m, &soon), ETIMEDOUT);
  return NULL;
}
CASE(errors) {
  for (int inherit = 0; inherit < 2; inherit++) {
    prepare(true, inherit, PTHREAD_MUTEX_ERRORCHECK);
    OK(pthread_mutex_lock(&s->m[0]));
    EQ(pthread_mutex_lock(&s->m[0]), EDEADLK);
    finish(start(locked_by_another, &s->m[0]));
    OK(pthread_mutex_unlock(&s->m[0]));
    EQ(pthread_mutex_unlock(&s->m[0]), EPERM);
    prepare(true, inherit, PTHREAD_MUTEX_RECURSIVE);
    OK(pthread_mutex_lock(&s->m[0]));
    OK(pthread_mutex_lock(&s->m[0]));
    OK(pthread_mutex_trylock(&s->m[0]));
    for (int i = 0; i < 3; i++) OK(pthread_mutex_unlock(&s->m[0]));
    EQ(pthread_mutex_unlock(&s->m[0]), EPERM);
  }
}

static int kernel_priority(void) {
  struct sched_param p;
  SYS(syscall(SYS_sched_getparam, 0, &p));
  return p.sched_priority;
}
static pthread_mutex_t protect;
static int protect_value;
static void* under_ceiling(void* unused) {
  (void)unused;
  struct sched_param p = {.sched_priority = 2};
  int policy;
  OK(pthread_setschedparam(pthread_self(), SCHED_FIFO, &p));
  for (int i = 0; i < 20; i++) {
    OK(pthread_mutex_lock(&protect));
    EQ(kernel_priority(), 6);
    OK(pthread_getschedparam(pthread_self(), &policy, &p));
    EQ(p.sched_priority, 2);
    int v = protect_value;
    if (i % 4 == 0) pause_ms(1);
    protect_value = v + 1;
    OK(pthread_mutex_unlock(&protect));
    EQ(kernel_priority(), 2);
  }
  p.sched_priority = 9;
  OK(pthread_setschedparam(pthread_self(), SCHED_FIFO, &p));
  EQ(pthread_mutex_lock(&protect), EINVAL); // above the ceiling
  return NULL;
}
static void* ordinary(void* unused) {
  (void)unused;
  EQ(kernel_priority(), 0);
  return NULL;
}
CASE(priority_ceiling) {
  if (geteuid() != 0) return;
  pthread_mutexattr_t a;
  OK(pthread_mutexattr_init(&a));
  OK(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_PROTECT));
  OK(pthread_mutexattr_setprioceiling(&a, 6));
  OK(pthread_mutex_init(&protect, &a));
  int ceiling;
  OK(pthread_mutex_getprioceiling(&protect, &ceiling));
  EQ(ceiling, 6);
  pthread_t t[3];
  for (int r = 0; r < 2; r++) {
    for (int i = 0; i < 3; i++) t[i] = start(under_ceiling, NULL);
    for (int i = 0; i < 3; i++) finish(t[i]);
    for (int i = 0; i < 3; i++) finish(start(ordinary, NULL));
  }
  EQ(protect_value, 120);
  OK(pthread_mutex_setprioceiling(&protect, 8, &ceiling));
  EQ(ceiling, 6);
  OK(pthread_mutex_destroy(&protect));
  OK(pthread_mutexattr_destroy(&a));
}
