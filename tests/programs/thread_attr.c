// Thread attributes: sizes, a stack of the program's own, guard, detached, masks, defaults, refusals.
#include "check.h"
#include <alloca.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static pthread_t start_with(const pthread_attr_t* attr, void* (*body)(void*), void* argument) {
  pthread_t t;
  OK(pthread_create(&t, attr, body, argument));
  return t;
}

__attribute__((noinline)) static unsigned char use_stack(size_t bytes) {
  volatile unsigned char* area = alloca(bytes);
  for (size_t i = bytes; i > 0; i -= i >= 1024 ? 1024 : i) area[i - 1] = (unsigned char)i;
  return area[bytes - 1];
}

static void* use(void* bytes) { return (void*)(intptr_t)use_stack((size_t)bytes); }

CASE(stack_size) {
  pthread_attr_t attr;
  size_t size;
  OK(pthread_attr_init(&attr));
  EQ(pthread_attr_setstacksize(&attr, 100), EINVAL);
  for (size_t kib = 64; kib <= 64 * 1024; kib *= 4) {
    OK(pthread_attr_setstacksize(&attr, kib * 1024));
    OK(pthread_attr_getstacksize(&attr, &size));
    EQ(size, kib * 1024);
    OK(pthread_join(start_with(&attr, use, (void*)(kib * 1024 - 24 * 1024)), NULL));
  }
  OK(pthread_attr_destroy(&attr));
}

// Programs protect pages at the low end of a stack (the JVM does), so it begins at a page.
static void* close_low_page(void* wanted) {
  pthread_attr_t attr;
  char *low, *page;
  size_t size;
  OK(pthread_getattr_np(pthread_self(), &attr));
  OK(pthread_attr_getstack(&attr, (void**)&low, &size));
  OK(pthread_attr_destroy(&attr));
  CHECK(((uintptr_t)low & 4095) == 0);
  CHECK(size >= (size_t)wanted / 4096 * 4096); // more where a bigger stack is used again
  page = mmap(low, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(page == low);
  CHECK(mprotect(page, 4096, PROT_NONE) == 0);
  use_stack(size - 32 * 1024);
  sched_yield();
  return NULL;
}

CASE(low_end_is_a_page) {
  pthread_attr_t attr;
  size_t sizes[] = {64 * 1024, 1 << 20, 256 * 1024 + 4096, 64 * 1024 + 16, 8 << 20};
  OK(pthread_attr_init(&attr));
  for (int round = 0; round < 3; round++) // the memory of the round before, its low pages still closed
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
      OK(pthread_attr_setstacksize(&attr, sizes[i]));
      OK(pthread_join(start_with(&attr, close_low_page, (void*)sizes[i]), NULL));
    }
  OK(pthread_attr_destroy(&attr));
}

static void* nothing(void* argument) { return argument; }

CASE(stack_beyond_all_addresses) {
  size_t sizes[] = {SIZE_MAX - 8191, SIZE_MAX - 16383, SIZE_MAX - 65535, SIZE_MAX / 2, (size_t)1 << 47};
  pthread_attr_t attr;
  pthread_t t;
  OK(pthread_attr_init(&attr));
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    OK(pthread_attr_setstacksize(&attr, sizes[i]));
    EQ(pthread_create(&t, &attr, nothing, NULL), EAGAIN);
  }
  OK(pthread_attr_destroy(&attr));
}

static void* report_bounds(void* argument) {
  char local;
  pthread_attr_t attr;
  void* low;
  size_t size;
  void** area = argument;
  CHECK(&local >= (char*)area[0] && &local < (char*)area[0] + (size_t)area[1]);
  OK(pthread_getattr_np(pthread_self(), &attr));
  OK(pthread_attr_getstack(&attr, &low, &size));
  CHECK(low == area[0]);
  EQ(size, (size_t)area[1]);
  OK(pthread_attr_destroy(&attr));
  use_stack((size_t)area[1] - 32 * 1024);
  sched_yield();
  CHECK(&local >= (char*)area[0] && &local < (char*)area[0] + (size_t)area[1]);
  return NULL;
}

CASE(own_stack) {
  size_t size = 256 * 1024;
  char* block = mmap(NULL, size + 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(block != MAP_FAILED);
  memset(block, 0x5a, 4096);
  memset(block + 4096 + size, 0x5a, 4096);
  void* area[2] = {block + 4096, (void*)size};
  pthread_attr_t attr;
  OK(pthread_attr_init(&attr));
  EQ(pthread_attr_setstack(&attr, area[0], 100), EINVAL);
  OK(pthread_attr_setstack(&attr, area[0], size));
  for (int i = 0; i < 50; i++) { // the same memory again and again: nothing may be left in it by the one before
    OK(pthread_join(start_with(&attr, report_bounds, area), NULL));
    memset(area[0], i, size);
  }
  for (size_t i = 0; i < 4096; i++) CHECK(block[i] == 0x5a && block[4096 + size + i] == 0x5a);
  OK(pthread_attr_destroy(&attr));
  SYS(munmap(block, size + 8192));
}

static volatile bool for_ever = true;
static void* overflow(void* depth) {
  if (!for_ever) return NULL;
  volatile char block[1024];
  block[0] = (char)(intptr_t)depth;
  void* below = overflow((char*)depth + 1);
  return block[0] ? below : NULL; // keeps the frame: no tail call
}

CASE(guard_stops_overflow) {
  // Made before any thread exists, so that the child is an ordinary program too.
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    pthread_attr_t attr;
    OK(pthread_attr_init(&attr));
    OK(pthread_attr_setstacksize(&attr, 256 * 1024));
    finish(start_with(&attr, overflow, NULL));
    _exit(3);
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  CHECK(WIFSIGNALED(status));
  EQ(WTERMSIG(status), SIGSEGV);
}

static void* wait_sem(void* sem) {
  while (sem_wait((sem_t*)sem) != 0) {
  }
  return NULL;
}

CASE(guard_size) {
  pthread_attr_t attr;
  size_t guard;
  OK(pthread_attr_init(&attr));
  OK(pthread_attr_getguardsize(&attr, &guard));
  EQ(guard, 4096);
  OK(pthread_attr_setguardsize(&attr, 0));
  OK(pthread_join(start_with(&attr, use, (void*)100000), NULL));
  OK(pthread_attr_setguardsize(&attr, 1 << 20));
  OK(pthread_attr_setstacksize(&attr, 128 * 1024));
  OK(pthread_join(start_with(&attr, use, (void*)90000), NULL));
  OK(pthread_attr_destroy(&attr));
}

CASE(detached) {
  static sem_t go;
  OK(sem_init(&go, 0, 0));
  pthread_attr_t attr;
  int state;
  OK(pthread_attr_init(&attr));
  OK(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
  OK(pthread_attr_getdetachstate(&attr, &state));
  EQ(state, PTHREAD_CREATE_DETACHED);
  pthread_t t = start_with(&attr, wait_sem, &go);
  EQ(pthread_join(t, NULL), EINVAL);
  EQ(pthread_detach(t), EINVAL);
  OK(sem_post(&go));
  OK(pthread_attr_destroy(&attr));
}

CASE(refusals) {
  pthread_attr_t attr;
  OK(pthread_attr_init(&attr));
  EQ(pthread_attr_setdetachstate(&attr, 99), EINVAL);
  EQ(pthread_attr_setinheritsched(&attr, 99), EINVAL);
  EQ(pthread_attr_setschedpolicy(&attr, 99), EINVAL);
  EQ(pthread_attr_setscope(&attr, PTHREAD_SCOPE_PROCESS), ENOTSUP);
  EQ(pthread_attr_setscope(&attr, 99), EINVAL);
  // More guard than there are addresses, more stack than there is memory: refused at creation, nothing half made.
  pthread_t t = 0;
  OK(pthread_attr_setguardsize(&attr, (size_t)-8192));
  EQ(pthread_create(&t, &attr, wait_sem, NULL), EINVAL);
  OK(pthread_attr_setguardsize(&attr, 4096));
  OK(pthread_attr_setstacksize(&attr, (size_t)1 << 48));
  EQ(pthread_create(&t, &attr, wait_sem, NULL), EAGAIN);
  OK(pthread_attr_setstacksize(&attr, 1 << 20));
  OK(pthread_join(start_with(&attr, use, (void*)1000), NULL));
  OK(pthread_attr_destroy(&attr));
}

static void* my_mask(void* set) {
  OK(pthread_sigmask(SIG_SETMASK, NULL, set));
  return NULL;
}

CASE(mask_inherited) {
  sigset_t block, old, seen;
  sigemptyset(&block);
  sigaddset(&block, SIGUSR2);
  sigaddset(&block, SIGWINCH);
  OK(pthread_sigmask(SIG_BLOCK, &block, &old));
  finish(start(my_mask, &seen));
  CHECK(sigismember(&seen, SIGUSR2) == 1 && sigismember(&seen, SIGWINCH) == 1 && sigismember(&seen, SIGUSR1) == 0);
  OK(pthread_sigmask(SIG_SETMASK, &old, NULL));
  finish(start(my_mask, &seen));
  CHECK(sigismember(&seen, SIGUSR2) == 0 && sigismember(&seen, SIGWINCH) == 0);
}

static void* change_mask(void* argument) {
  sigset_t all;
  sigfillset(&all);
  OK(pthread_sigmask(SIG_SETMASK, &all, NULL));
  sched_yield();
  OK(pthread_sigmask(SIG_SETMASK, NULL, &all));
  CHECK(sigismember(&all, SIGUSR1) == 1);
  return argument;
}

CASE(mask_of_each_thread) {
  pthread_t t[20];
  for (int i = 0; i < 20; i++) t[i] = start(change_mask, NULL);
  for (int i = 0; i < 20; i++) finish(t[i]);
  sigset_t mine;
  OK(pthread_sigmask(SIG_SETMASK, NULL, &mine));
  CHECK(sigismember(&mine, SIGUSR1) == 0);
}

CASE(mask_by_attribute) {
  sigset_t set, seen;
  sigemptyset(&set);
  sigaddset(&set, SIGHUP);
  pthread_attr_t attr;
  OK(pthread_attr_init(&attr));
  EQ(pthread_attr_getsigmask_np(&attr, &seen), PTHREAD_ATTR_NO_SIGMASK_NP);
  OK(pthread_attr_setsigmask_np(&attr, &set));
  OK(pthread_attr_getsigmask_np(&attr, &seen));
  CHECK(sigismember(&seen, SIGHUP) == 1);
  sigset_t block, old;
  sigemptyset(&block);
  sigaddset(&block, SIGUSR2);
  OK(pthread_sigmask(SIG_BLOCK, &block, &old));
  OK(pthread_join(start_with(&attr, my_mask, &seen), NULL));
  OK(pthread_sigmask(SIG_SETMASK, &old, NULL));
  CHECK(sigismember(&seen, SIGHUP) == 1 && sigismember(&seen, SIGUSR2) == 0);
  OK(pthread_attr_destroy(&attr));
}

static void* my_size(void* argument) {
  pthread_attr_t attr;
  size_t size;
  OK(pthread_getattr_np(pthread_self(), &attr));
  OK(pthread_attr_getstacksize(&attr, &size));
  OK(pthread_attr_destroy(&attr));
  (void)argument;
  return (void*)size;
}

CASE(default_attributes) {
  pthread_attr_t attr;
  size_t size;
  OK(pthread_getattr_default_np(&attr));
  OK(pthread_attr_getstacksize(&attr, &size));
  CHECK(size >= 65536);
  OK(pthread_attr_setstacksize(&attr, 3 << 20));
  OK(pthread_setattr_default_np(&attr));
  size_t got = (size_t)finish(start(my_size, NULL));
  CHECK(got > (3 << 20) - 32768); // more where a bigger stack is used again
  OK(pthread_attr_setstacksize(&attr, size));
  OK(pthread_setattr_default_np(&attr));
  OK(pthread_attr_destroy(&attr));
}

static void* my_affinity(void* set) {
  sched_yield();
  OK(pthread_getaffinity_np(pthread_self(), sizeof(cpu_set_t), set));
  return (void*)(intptr_t)sched_getcpu();
}

CASE(affinity) {
  cpu_set_t mine, one, seen;
  OK(pthread_getaffinity_np(pthread_self(), sizeof mine, &mine));
  int cpu = 0;
  while (!CPU_ISSET(cpu, &mine)) cpu++;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  pthread_attr_t attr;
  OK(pthread_attr_init(&attr));
  OK(pthread_attr_setaffinity_np(&attr, sizeof one, &one));
  void* on = NULL;
  OK(pthread_join(start_with(&attr, my_affinity, &seen), &on));
  CHECK(CPU_EQUAL(&one, &seen));
  EQ((intptr_t)on, cpu);
  OK(pthread_attr_destroy(&attr));
  finish(start(my_affinity, &seen)); // a plain thread afterwards has its creator's mask, not the last one's
  CHECK(CPU_EQUAL(&mine, &seen));
}

static void* my_policy(void* param) {
  int policy;
  OK(pthread_getschedparam(pthread_self(), &policy, param));
  return (void*)(intptr_t)policy;
}

CASE(scheduling) {
  struct sched_param param = {.sched_priority = 7}, seen;
  EQ((intptr_t)finish(start(my_policy, &seen)), SCHED_OTHER);
  EQ(seen.sched_priority, 0);
  pthread_attr_t attr;
  OK(pthread_attr_init(&attr));
  OK(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED));
  OK(pthread_attr_setschedpolicy(&attr, SCHED_OTHER));
  param.sched_priority = 0;
  OK(pthread_attr_setschedparam(&attr, &param));
  void* policy;
  OK(pthread_join(start_with(&attr, my_policy, &seen), &policy));
  EQ((intptr_t)policy, SCHED_OTHER);
  OK(pthread_attr_destroy(&attr));
}
