// Policy, priority, affinity and nice value are what the kernel has of the thread that set them, and of no other.
#include "check.h"
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static bool root(void) { return geteuid() == 0; }
static cpu_set_t everywhere;
static int cpus[2], ncpus;

static void find_cpus(void) {
  SYS(sched_getaffinity(0, sizeof everywhere, &everywhere));
  ncpus = 0;
  for (int i = 0; i < CPU_SETSIZE && ncpus < 2; i++)
    if (CPU_ISSET(i, &everywhere)) cpus[ncpus++] = i;
}
static cpu_set_t only(int cpu) {
  cpu_set_t s;
  CPU_ZERO(&s);
  CPU_SET(cpu, &s);
  return s;
}
// Past any library: the kernel thread that runs this now.
static cpu_set_t kernel_mask(void) {
  cpu_set_t s;
  CPU_ZERO(&s);
  SYS(syscall(SYS_sched_getaffinity, 0, sizeof s, &s));
  return s;
}
static void is_only(int cpu) {
  cpu_set_t want = only(cpu), a = kernel_mask(), b;
  CHECK(CPU_EQUAL(&want, &a));
  OK(pthread_getaffinity_np(pthread_self(), sizeof b, &b));
  CHECK(CPU_EQUAL(&want, &b));
  SYS(sched_getaffinity(0, sizeof b, &b));
  CHECK(CPU_EQUAL(&want, &b));
  EQ(sched_getcpu(), cpu);
}
static void is_everywhere(void) {
  cpu_set_t a = kernel_mask();
  CHECK(CPU_EQUAL(&everywhere, &a));
}

static void* pinned(void* cpu) {
  cpu_set_t s = only((int)(intptr_t)cpu);
  OK(pthread_setaffinity_np(pthread_self(), sizeof s, &s));
  for (int i = 0; i < 30; i++) {
    is_only((int)(intptr_t)cpu);
    i % 3 ? (void)sched_yield() : pause_ms(1);
  }
  return NULL;
}
static void* unpinned(void* unused) {
  (void)unused;
  for (int i = 0; i < 30; i++) {
    is_everywhere();
    i % 3 ? (void)sched_yield() : pause_ms(1);
  }
  return NULL;
}
CASE(affinity_is_real) {
  find_cpus();
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(i % 2 ? unpinned : pinned, (void*)(intptr_t)cpus[(i / 2) % ncpus]);
  is_everywhere();
  for (int i = 0; i < 8; i++) finish(t[i]);
  for (int i = 0; i < 8; i++) t[i] = start(unpinned, NULL);
  for (int i = 0; i < 8; i++) finish(t[i]);
}

static void* back(void* unused) {
  (void)unused;
  for (int i = 0; i < 10; i++) {
    cpu_set_t s = only(cpus[0]);
    SYS(sched_setaffinity(0, sizeof s, &s));
    is_only(cpus[0]);
    sched_yield();
    SYS(sched_setaffinity(0, sizeof everywhere, &everywhere));
    sched_yield();
    is_everywhere();
  }
  return NULL;
}
CASE(affinity_there_and_back) {
  find_cpus();
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(back, NULL);
  for (int i = 0; i < 4; i++) finish(t[i]);
}

static sem_t go_on, arrived;
static pid_t target_tid;
static void* waits(void* cpu) {
  target_tid = gettid();
  sem_post(&arrived);
  while (sem_wait(&go_on) != 0) {
  }
  is_only((int)(intptr_t)cpu);
  sched_yield();
  is_only((int)(intptr_t)cpu);
  return NULL;
}
// Of a thread that waits, by its handle and by its id; what it asks for is there when it goes on.
CASE(affinity_of_another) {
  find_cpus();
  sem_init(&go_on, 0, 0);
  sem_init(&arrived, 0, 0);
  for (int i = 0; i < 6; i++) {
    int cpu = cpus[i % ncpus];
    cpu_set_t s = only(cpu), got;
    pthread_t t = start(waits, (void*)(intptr_t)cpu);
    while (sem_wait(&arrived) != 0) {
    }
    if (i % 2)
      OK(pthread_setaffinity_np(t, sizeof s, &s));
    else
      SYS(sched_setaffinity(target_tid, sizeof s, &s));
    OK(pthread_getaffinity_np(t, sizeof got, &got));
    CHECK(CPU_EQUAL(&s, &got));
    is_everywhere();
    sem_post(&go_on);
    finish(t);
  }
  ERRNO(sched_setaffinity(target_tid, sizeof everywhere, &everywhere), ESRCH);
}

static atomic_bool stop_spinning;
static void* spins(void* unused) {
  (void)unused;
  int on_it = 0;
  while (!atomic_load(&stop_spinning) || on_it == 0) {
    cpu_set_t want = only(cpus[0]), a = kernel_mask();
    on_it += CPU_EQUAL(&want, &a);
    sched_getcpu();
  }
  is_only(cpus[0]);
  return NULL;
}
CASE(affinity_of_a_running_one) {
  find_cpus();
  atomic_store(&stop_spinning, false);
  pthread_t t = start(spins, NULL);
  pause_ms(2);
  cpu_set_t s = only(cpus[0]);
  OK(pthread_setaffinity_np(t, sizeof s, &s));
  atomic_store(&stop_spinning, true);
  finish(t);
}

static void* born_there(void* cpu) {
  is_only((int)(intptr_t)cpu);
  return NULL;
}
static void* makes_children(void* cpu) {
  pinned(cpu);
  for (int i = 0; i < 3; i++) finish(start(born_there, cpu)); // inherited
  return NULL;
}
CASE(affinity_by_attribute_and_inherited) {
  find_cpus();
  for (int i = 0; i < 4; i++) {
    int cpu = cpus[i % ncpus];
    cpu_set_t s = only(cpu);
    pthread_attr_t a;
    OK(pthread_attr_init(&a));
    OK(pthread_attr_setaffinity_np(&a, sizeof s, &s));
    pthread_t t;
    OK(pthread_create(&t, &a, born_there, (void*)(intptr_t)cpu));
    finish(t);
    OK(pthread_attr_destroy(&a));
    finish(start(makes_children, (void*)(intptr_t)cpu));
  }
  is_everywhere();
  cpu_set_t none;
  CPU_ZERO(&none);
  pthread_attr_t a;
  pthread_t t;
  OK(pthread_attr_init(&a));
  OK(pthread_attr_setaffinity_np(&a, sizeof none, &none));
  EQ(pthread_create(&t, &a, born_there, NULL), EINVAL);
  EQ(pthread_setaffinity_np(pthread_self(), sizeof none, &none), EINVAL);
  OK(pthread_attr_destroy(&a));
}

static void in_kernel(int policy, int priority) {
  struct sched_param p;
  EQ(syscall(SYS_sched_getscheduler, 0), policy);
  SYS(syscall(SYS_sched_getparam, 0, &p));
  EQ(p.sched_priority, priority);
}
static void kernel_policy(int policy, int priority) {
  struct sched_param p;
  in_kernel(policy, priority);
  int got;
  OK(pthread_getschedparam(pthread_self(), &got, &p));
  EQ(got, policy);
  EQ(p.sched_priority, priority);
}
static void* is_plain(void* unused) {
  (void)unused;
  for (int i = 0; i < 10; i++) {
    kernel_policy(SCHED_OTHER, 0);
    sched_yield();
  }
  return NULL;
}
static void* is_fifo(void* priority) {
  struct timespec slice;
  SYS(sched_rr_get_interval(0, &slice));
  EQ(slice.tv_sec * 1000000000 + slice.tv_nsec, 0); // FIFO has none
  kernel_policy(SCHED_FIFO, (int)(intptr_t)priority);
  return NULL;
}
static void* real_time(void* unused) {
  (void)unused;
  struct sched_param p = {.sched_priority = 3};
  OK(pthread_setschedparam(pthread_self(), SCHED_FIFO, &p));
  for (int i = 0; i < 10; i++) {
    kernel_policy(SCHED_FIFO, 3);
    i % 2 ? (void)sched_yield() : pause_ms(1);
  }
  finish(start(is_fifo, (void*)3)); // inherited
  OK(pthread_setschedprio(pthread_self(), 5));
  kernel_policy(SCHED_FIFO, 5);
  p.sched_priority = 2;
  SYS(sched_setscheduler(0, SCHED_RR, &p));
  in_kernel(SCHED_RR, 2); // of which pthread_getschedparam need not know
  p.sched_priority = 200;
  EQ(pthread_setschedparam(pthread_self(), SCHED_RR, &p), EINVAL);
  p.sched_priority = 0;
  OK(pthread_setschedparam(pthread_self(), SCHED_OTHER, &p));
  pause_ms(1);
  kernel_policy(SCHED_OTHER, 0);
  return NULL;
}
CASE(real_time_is_real) {
  if (!root()) return;
  pthread_t t[6];
  for (int i = 0; i < 6; i++) t[i] = start(i % 2 ? is_plain : real_time, NULL);
  for (int i = 0; i < 6; i++) finish(t[i]);
  kernel_policy(SCHED_OTHER, 0);
  pthread_attr_t a;
  struct sched_param p = {.sched_priority = 7};
  OK(pthread_attr_init(&a));
  OK(pthread_attr_setschedpolicy(&a, SCHED_FIFO));
  OK(pthread_attr_setschedparam(&a, &p));
  OK(pthread_create(&t[0], &a, is_plain, NULL)); // attributes that don't count
  finish(t[0]);
  OK(pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED));
  OK(pthread_create(&t[0], &a, is_fifo, (void*)7));
  finish(t[0]);
  OK(pthread_attr_destroy(&a));
}

struct attributes { // sched_setattr's first version
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
};
static void* by_deadline(void* unused) {
  struct attributes a = {.size = sizeof a, .policy = 6, .runtime = 2000000, .deadline = 20000000, .period = 20000000}, b;
  if (syscall(SYS_sched_setattr, 0, &a, 0) != 0) return unused; // not granted everywhere
  for (int i = 0; i < 6; i++) {
    EQ(syscall(SYS_sched_getscheduler, 0), 6);
    SYS(syscall(SYS_sched_getattr, gettid(), &b, sizeof b, 0));
    EQ(b.deadline, a.deadline);
    i % 2 ? (void)sched_yield() : pause_ms(1);
  }
  return NULL;
}
CASE(deadline_of_one) {
  if (!root()) return;
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(i % 2 ? is_plain : by_deadline, NULL);
  for (int i = 0; i < 4; i++) finish(t[i]);
  finish(start(is_plain, NULL));
}

static void* fifo_wanted(void* unused) {
  (void)unused;
  sem_post(&arrived);
  while (sem_wait(&go_on) != 0) {
  }
  kernel_policy(SCHED_FIFO, 4);
  return NULL;
}
CASE(real_time_of_another) {
  if (!root()) return;
  sem_init(&go_on, 0, 0);
  sem_init(&arrived, 0, 0);
  for (int i = 0; i < 4; i++) {
    pthread_t t = start(fifo_wanted, NULL);
    while (sem_wait(&arrived) != 0) {
    }
    struct sched_param p = {.sched_priority = 4};
    int policy;
    OK(pthread_setschedparam(t, SCHED_FIFO, &p));
    p.sched_priority = 0;
    OK(pthread_getschedparam(t, &policy, &p));
    EQ(policy, SCHED_FIFO);
    EQ(p.sched_priority, 4);
    kernel_policy(SCHED_OTHER, 0);
    sem_post(&go_on);
    finish(t);
  }
}

// Counted from what the process was started with, which may be up to 13.
static int niceness(void) { return 20 - (int)syscall(SYS_getpriority, PRIO_PROCESS, 0); }
static int start_nice;
static void* nicer(void* unused) {
  (void)unused;
  EQ(getpriority(PRIO_PROCESS, 0), start_nice);
  EQ(nice(4), start_nice + 4);
  for (int i = 0; i < 10; i++) {
    EQ(niceness(), start_nice + 4);
    sched_yield();
  }
  SYS(setpriority(PRIO_PROCESS, (id_t)gettid(), start_nice + 6));
  pause_ms(1);
  EQ(getpriority(PRIO_PROCESS, 0), start_nice + 6);
  return NULL;
}
static void* not_nicer(void* unused) {
  (void)unused;
  for (int i = 0; i < 20; i++) {
    EQ(niceness(), start_nice);
    sched_yield();
  }
  return NULL;
}
CASE(nice_of_each) {
  start_nice = niceness();
  pthread_t t[6];
  for (int i = 0; i < 6; i++) t[i] = start(i % 2 ? nicer : not_nicer, NULL);
  for (int i = 0; i < 6; i++) finish(t[i]);
  EQ(getpriority(PRIO_PROCESS, 0), start_nice);
}

// The child of a fork has what the forking thread had.
static void* forks(void* unused) {
  (void)unused;
  cpu_set_t s = only(cpus[0]);
  OK(pthread_setaffinity_np(pthread_self(), sizeof s, &s));
  start_nice = niceness();
  EQ(nice(2), start_nice + 2);
  pid_t pid = fork();
  if (pid == 0) {
    is_only(cpus[0]);
    EQ(getpriority(PRIO_PROCESS, 0), start_nice + 2);
    finish(start(born_there, (void*)(intptr_t)cpus[0]));
    _exit(9);
  }
  int status;
  EQ(waitpid(pid, &status, 0), pid);
  EQ(WEXITSTATUS(status), 9);
  is_only(cpus[0]);
  return NULL;
}
CASE(fork_inherits) {
  find_cpus();
  for (int i = 0; i < 3; i++) finish(start(forks, NULL));
}

static void* pinned_exit(void* unused) {
  (void)unused;
  cpu_set_t s = only(cpus[0]);
  OK(pthread_setaffinity_np(pthread_self(), sizeof s, &s));
  pause_ms(1);
  is_only(cpus[0]);
  printf("alive\n");
  exit(3);
}
// Main may have a state of its own, and end before the others do.
CASE_ALONE(main_pinned_and_gone) {
  find_cpus();
  finish(start(unpinned, NULL));
  cpu_set_t s = only(cpus[ncpus - 1]);
  OK(pthread_setaffinity_np(pthread_self(), sizeof s, &s));
  is_only(cpus[ncpus - 1]);
  pthread_attr_t a;
  OK(pthread_attr_init(&a));
  pthread_t t = start(pinned_exit, NULL);
  pthread_detach(t);
  pthread_exit(NULL);
}
