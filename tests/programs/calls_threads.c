// Locks under their older names, spin locks, priorities and processors.
#include "beside.h"
#include <sys/prctl.h>
#include <threads.h>

#define OLD(name) __asm__(".symver old_" #name ", __" #name "@GLIBC_2.2.5")
OLD(pthread_mutex_init);
OLD(pthread_mutex_destroy);
OLD(pthread_mutex_lock);
OLD(pthread_mutex_trylock);
OLD(pthread_mutex_unlock);
OLD(pthread_once);
OLD(pthread_rwlock_init);
OLD(pthread_rwlock_destroy);
OLD(pthread_rwlock_rdlock);
OLD(pthread_rwlock_tryrdlock);
OLD(pthread_rwlock_wrlock);
OLD(pthread_rwlock_trywrlock);
OLD(pthread_rwlock_unlock);
extern __typeof__(pthread_mutex_init) old_pthread_mutex_init;
extern __typeof__(pthread_mutex_destroy) old_pthread_mutex_destroy;
extern __typeof__(pthread_mutex_lock) old_pthread_mutex_lock;
extern __typeof__(pthread_mutex_trylock) old_pthread_mutex_trylock;
extern __typeof__(pthread_mutex_unlock) old_pthread_mutex_unlock;
extern __typeof__(pthread_once) old_pthread_once;
extern __typeof__(pthread_rwlock_init) old_pthread_rwlock_init;
extern __typeof__(pthread_rwlock_destroy) old_pthread_rwlock_destroy;
extern __typeof__(pthread_rwlock_rdlock) old_pthread_rwlock_rdlock;
extern __typeof__(pthread_rwlock_tryrdlock) old_pthread_rwlock_tryrdlock;
extern __typeof__(pthread_rwlock_wrlock) old_pthread_rwlock_wrlock;
extern __typeof__(pthread_rwlock_trywrlock) old_pthread_rwlock_trywrlock;
extern __typeof__(pthread_rwlock_unlock) old_pthread_rwlock_unlock;
__asm__(".symver old_pthread_yield, pthread_yield@GLIBC_2.2.5");
extern int old_pthread_yield(void);
__asm__(".symver old_pthread_mutex_consistent, pthread_mutex_consistent_np@GLIBC_2.4");
extern int old_pthread_mutex_consistent(pthread_mutex_t*);
extern int __sched_yield(void), __nanosleep(const struct timespec*, struct timespec*);
extern int __sched_getparam(pid_t, struct sched_param*), __sched_getscheduler(pid_t);
extern int __sched_setscheduler(pid_t, int, const struct sched_param*);

static pthread_mutex_t mutex;
static pthread_rwlock_t rwlock;
static pthread_spinlock_t spin;
static long sum;
static void* add(void* argument) {
  for (int i = 0; i < 1000; i++) {
    OK(i % 2 ? old_pthread_mutex_trylock(&mutex) : old_pthread_mutex_lock(&mutex));
    sum++;
    EQ(old_pthread_mutex_trylock(&mutex), EBUSY);
    OK(old_pthread_mutex_unlock(&mutex));
    OK(i % 2 ? old_pthread_rwlock_trywrlock(&rwlock) : old_pthread_rwlock_wrlock(&rwlock));
    sum++;
    EQ(old_pthread_rwlock_tryrdlock(&rwlock), EBUSY);
    OK(old_pthread_rwlock_unlock(&rwlock));
    OK(old_pthread_rwlock_tryrdlock(&rwlock));
    OK(old_pthread_rwlock_rdlock(&rwlock));
    OK(old_pthread_rwlock_unlock(&rwlock));
    OK(old_pthread_rwlock_unlock(&rwlock));
    OK(i % 2 ? pthread_spin_trylock(&spin) : pthread_spin_lock(&spin));
    sum++;
    EQ(pthread_spin_trylock(&spin), EBUSY);
    OK(pthread_spin_unlock(&spin));
  }
  return argument;
}
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int initialised;
static void initialise(void) { initialised++; }

// One thread after the other: every name does what it should alone.
CASE(older_names) {
  OK(old_pthread_mutex_init(&mutex, NULL));
  OK(old_pthread_rwlock_init(&rwlock, NULL));
  OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
  OK(old_pthread_once(&once, initialise));
  OK(old_pthread_once(&once, initialise));
  EQ(initialised, 1);
  sum = 0;
  for (int i = 0; i < 3; i++) finish(start(add, NULL));
  EQ(sum, 9000);
  OK(pthread_spin_destroy(&spin));
  OK(old_pthread_rwlock_destroy(&rwlock));
  OK(old_pthread_mutex_destroy(&mutex));
  EQ(__nanosleep(&(struct timespec){0, 1000}, NULL), 0);
}

static long by_mutex, by_rwlock, by_spin;
static void* add_apart(void* argument) {
  for (int i = 0; i < 2000; i++) {
    OK(old_pthread_mutex_lock(&mutex));
    long m = by_mutex;
    if (i % 64 == 0) OK(old_pthread_yield());
    by_mutex = m + 1;
    OK(old_pthread_mutex_unlock(&mutex));
    OK(old_pthread_rwlock_wrlock(&rwlock));
    m = by_rwlock;
    if (i % 64 == 0) OK(__sched_yield());
    by_rwlock = m + 1;
    OK(old_pthread_rwlock_unlock(&rwlock));
    OK(pthread_spin_lock(&spin));
    m = by_spin;
    if (i % 512 == 0) sched_yield();
    by_spin = m + 1;
    OK(pthread_spin_unlock(&spin));
  }
  return argument;
}
CASE(older_names_contended) {
  OK(old_pthread_mutex_init(&mutex, NULL));
  OK(old_pthread_rwlock_init(&rwlock, NULL));
  OK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
  by_mutex = by_rwlock = by_spin = 0;
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(add_apart, NULL);
  for (int i = 0; i < 4; i++) finish(t[i]);
  EQ(by_mutex, 8000);
  EQ(by_rwlock, 8000);
  EQ(by_spin, 8000);
}

static void* die_with_lock(void* m) {
  OK(pthread_mutex_lock(m));
  return NULL;
}
CASE(consistent_by_its_older_name) {
  pthread_mutexattr_t a;
  OK(pthread_mutexattr_init(&a));
  OK(pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
  pthread_mutex_t m;
  OK(pthread_mutex_init(&m, &a));
  finish(start(die_with_lock, &m));
  EQ(pthread_mutex_lock(&m), EOWNERDEAD);
  OK(old_pthread_mutex_consistent(&m));
  OK(pthread_mutex_unlock(&m));
  OK(pthread_mutex_lock(&m));
  OK(pthread_mutex_unlock(&m));
  OK(pthread_mutex_destroy(&m));
}

CASE_ANYWHERE(ceilings) {
  pthread_mutexattr_t a;
  OK(pthread_mutexattr_init(&a));
  pthread_mutex_t m;
  int ceiling;
  OK(pthread_mutex_init(&m, &a));
  EQ(pthread_mutex_getprioceiling(&m, &ceiling), EINVAL); // not of that protocol
  EQ(pthread_mutex_setprioceiling(&m, 5, &ceiling), EINVAL);
  OK(pthread_mutex_destroy(&m));
  cnd_t c;
  EQ(cnd_init(&c), thrd_success);
  cnd_destroy(&c);
}

CASE_ANYWHERE(priorities) {
  struct sched_param p = {7};
  int policy;
  EQ(sched_getscheduler(0), SCHED_OTHER);
  EQ(__sched_getscheduler(0), SCHED_OTHER);
  OK(sched_getparam(0, &p));
  EQ(p.sched_priority, 0);
  p.sched_priority = 7;
  OK(__sched_getparam(0, &p));
  EQ(p.sched_priority, 0);
  OK(sched_setscheduler(0, SCHED_OTHER, &p));
  OK(__sched_setscheduler(0, SCHED_OTHER, &p));
  OK(sched_setparam(0, &p));
  OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &p));
  OK(pthread_setschedprio(pthread_self(), 0));
  OK(pthread_getschedparam(pthread_self(), &policy, &p));
  EQ(policy, SCHED_OTHER);
  p.sched_priority = 1000;
  ERRNO(sched_setparam(0, &p), EINVAL);
  EQ(pthread_setschedprio(pthread_self(), 1000), EINVAL);
}

CASE_ANYWHERE(processors) {
  cpu_set_t set, again;
  CPU_ZERO(&set);
  CPU_ZERO(&again);
  SYS(sched_getaffinity(0, sizeof set, &set));
  CHECK(CPU_COUNT(&set) > 0);
  SYS(sched_setaffinity(0, sizeof set, &set));
  OK(pthread_setaffinity_np(pthread_self(), sizeof set, &set));
  OK(pthread_getaffinity_np(pthread_self(), sizeof again, &again));
  CHECK(CPU_EQUAL(&set, &again));
  CHECK(sched_getcpu() >= 0);
  clockid_t clock;
  struct timespec t;
  OK(pthread_getcpuclockid(pthread_self(), &clock));
  SYS(clock_gettime(clock, &t));
  char name[16] = "";
  SYS(prctl(PR_SET_NAME, "gmp-calls"));
  SYS(prctl(PR_GET_NAME, name));
  CHECK(strcmp(name, "gmp-calls") == 0);
}
