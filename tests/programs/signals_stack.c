// Alternate stacks of threads, contexts given to handlers, jumps out of handlers, and what handlers may do.
#include "net.h"
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

enum { Size = 65536 };
static void install(int number, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = flags | SA_SIGINFO};
  SYS(sigaction(number, &action, NULL));
}
static bool within(const void* base, const void* p) { return (size_t)((const char*)p - (const char*)base) < Size; }

static __thread char* own;
static __thread volatile int calls;
static __thread sigjmp_buf back;
static volatile uintptr_t nowhere = 8;
static sem_t never, step;
static _Atomic int ready;

static char* give_stack(void) {
  own = malloc(Size);
  stack_t s = {.ss_sp = own, .ss_size = Size}, now;
  SYS(sigaltstack(&s, NULL));
  SYS(sigaltstack(NULL, &now));
  CHECK(now.ss_sp == own && now.ss_size == Size && now.ss_flags == 0);
  return own;
}
static void take_stack(void) {
  stack_t off = {.ss_flags = SS_DISABLE}, now;
  SYS(sigaltstack(&off, &now));
  EQ(now.ss_flags, 0);
  SYS(sigaltstack(NULL, &now));
  EQ(now.ss_flags, SS_DISABLE);
  free(own);
}

// On the alternate stack, which can't be changed meanwhile; the context tells of it and of where the thread was.
static void on_own_stack(int number, siginfo_t* info, void* c) {
  ucontext_t* context = c;
  char here;
  stack_t now, other = {.ss_sp = own, .ss_size = Size};
  CHECK(own && within(own, &here) && within(own, info) == within(own, c));
  SYS(sigaltstack(NULL, &now));
  CHECK(now.ss_sp == own && now.ss_flags == SS_ONSTACK);
  ERRNO(sigaltstack(&other, NULL), EPERM);
  CHECK(context->uc_stack.ss_sp == own && context->uc_stack.ss_size == Size);
  CHECK(!within(own, (void*)context->uc_mcontext.gregs[REG_RSP]));
  CHECK(context->uc_mcontext.gregs[REG_RIP] != 0);
  CHECK(context->uc_mcontext.fpregs != NULL);
  EQ(number, info->si_signo);
  calls++;
}
static void on_own_stack_and_waits(int number, siginfo_t* info, void* context) {
  on_own_stack(number, info, context);
  struct timespec t = {0, 2000000};
  nanosleep(&t, NULL);
  sched_yield();
}
static _Atomic int counted[6];
static void* has_a_stack(void* which) {
  long k = (long)which;
  give_stack();
  ready++;
  while (calls < 3) {
    if (k % 2 == 0) pause_ms(20);
    counted[k] = calls;
  }
  counted[k] = 3;
  OK(raise(SIGUSR1));
  EQ(calls, 4);
  take_stack();
  return NULL;
}
static void six_on_stacks(void (*handler)(int, siginfo_t*, void*)) {
  install(SIGUSR1, handler, SA_ONSTACK);
  pthread_t t[6];
  ready = 0;
  for (long i = 0; i < 6; i++) {
    counted[i] = 0;
    t[i] = start(has_a_stack, (void*)i);
  }
  while (ready < 6) sched_yield();
  for (int k = 0; k < 3; k++) {
    for (int i = 0; i < 6; i++) OK(pthread_kill(t[i], SIGUSR1));
    for (int i = 0; i < 6; i++)
      while (counted[i] < k + 1) sched_yield();
  }
  for (int i = 0; i < 6; i++) finish(t[i]);
}
CASE(handlers_on_their_stacks) { six_on_stacks(on_own_stack); }
CASE(handlers_that_wait_on_their_stacks) { six_on_stacks(on_own_stack_and_waits); }

// Main's, set before there were threads, by a signal from the kernel; and a thread without one.
static void* without_a_stack(void* argument) {
  stack_t now;
  SYS(sigaltstack(NULL, &now));
  EQ(now.ss_flags, SS_DISABLE);
  return argument;
}
CASE(main_keeps_its_stack) {
  give_stack();
  install(SIGALRM, on_own_stack, SA_ONSTACK);
  finish(start(without_a_stack, NULL));
  calls = 0;
  alarm(1);
  while (calls == 0) {
  }
  install(SIGALRM, on_own_stack_and_waits, SA_ONSTACK);
  SYS(kill(getpid(), SIGALRM));
  EQ(calls, 2);
  take_stack();
}

// A fault, repaired by a jump or by the handler; from the stack's end, too.
static void jumps(int number, siginfo_t* info, void* context) {
  on_own_stack(number, info, context);
  siglongjmp(back, number);
}
#pragma GCC diagnostic ignored "-Winfinite-recursion"
#pragma GCC diagnostic ignored "-Wclobbered"
__attribute__((noinline)) static int deeper(int n) {
  volatile char room[4096];
  room[0] = (char)n;
  return deeper(n + 1) + room[0];
}
static void* overflows(void* argument) {
  give_stack();
  for (volatile int i = 0; i < 3; i++) {
    int r = sigsetjmp(back, 1);
    if (r == 0) deeper(0);
    EQ(r, SIGSEGV);
    EQ(calls, i + 1);
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(!sigismember(&now, SIGSEGV));
  }
  for (volatile int i = 0; i < 3; i++) {
    if (sigsetjmp(back, 1) == 0) *(volatile int*)nowhere = 1;
    EQ(calls, i + 4);
    sched_yield();
  }
  take_stack();
  return argument;
}
CASE(stack_overflow_is_survived) {
  install(SIGSEGV, jumps, SA_ONSTACK);
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(overflows, NULL);
  for (int i = 0; i < 4; i++) finish(t[i]);
  signal(SIGSEGV, SIG_DFL);
}
static __thread char* page;
static void unprotects(int number, siginfo_t* info, void* context) {
  on_own_stack(number, info, context);
  CHECK(info->si_addr == page);
  sched_yield();
  SYS(mprotect(page, 4096, PROT_READ | PROT_WRITE));
}
static void* repairs(void* argument) {
  give_stack();
  page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 20; i++) {
    double before = i * 1.5;
    *(volatile char*)page = 1; // goes on after the handler
    EQ((int)(before * 2), i * 3);
    SYS(mprotect(page, 4096, PROT_NONE));
  }
  EQ(calls, 20);
  take_stack();
  return argument;
}
CASE(repaired_on_their_stacks) {
  install(SIGSEGV, unprotects, SA_ONSTACK);
  pthread_t t[8];
  for (int i = 0; i < 8; i++) t[i] = start(repairs, NULL);
  for (int i = 0; i < 8; i++) finish(t[i]);
  signal(SIGSEGV, SIG_DFL);
}
// No stack to run it on: the process ends by SIGSEGV.
static void* overflows_without(void* argument) {
  deeper(0);
  return argument;
}
CASE_ALONE(overflow_without_a_stack) {
  install(SIGSEGV, jumps, SA_ONSTACK);
  finish(start(overflows_without, NULL));
}

// A jump out of a handler that came in the middle of a wait; the mask is what it was when the place was noted.
static void jumps_off(int number, siginfo_t* info, void* context) {
  (void)info, (void)context;
  siglongjmp(back, number);
}
static void* is_jumped_out(void* argument) {
  for (volatile int i = 0; i < 20; i++) {
    if (sigsetjmp(back, 1) == 0) {
      ready++;
      for (;;) sem_wait(&never);
    }
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    CHECK(!sigismember(&now, SIGUSR1));
  }
  return argument;
}
CASE(jumps_out_of_waits) {
  OK(sem_init(&never, 0, 0));
  install(SIGUSR1, jumps_off, 0);
  ready = 0;
  pthread_t t = start(is_jumped_out, NULL);
  for (int i = 0; i < 20; i++) {
    while (ready < i + 1) sched_yield();
    OK(pthread_kill(t, SIGUSR1));
  }
  finish(t);
}

// The handler's changes to the mask in its context hold after it; its own to the mask don't.
static void blocks_usr2(int number, siginfo_t* info, void* c) {
  (void)number, (void)info;
  ucontext_t* context = c;
  sigset_t more;
  sigemptyset(&more);
  sigaddset(&more, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &more, NULL);
  sigaddset(&context->uc_sigmask, SIGUSR2);
  calls++;
}
static void* mask_in_context(void* raised) {
  sigset_t now;
  calls = 0;
  if (raised) {
    OK(raise(SIGUSR1));
  } else {
    ready = 1;
    while (calls == 0) {
    }
  }
  EQ(calls, 1);
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  CHECK(sigismember(&now, SIGUSR2) && !sigismember(&now, SIGHUP) && !sigismember(&now, SIGUSR1));
  return NULL;
}
CASE(mask_left_in_the_context) {
  install(SIGUSR1, blocks_usr2, 0);
  finish(start(mask_in_context, (void*)1));
  ready = 0;
  pthread_t t = start(mask_in_context, NULL);
  while (!ready) sched_yield();
  OK(pthread_kill(t, SIGUSR1));
  finish(t);
}

// Flags: one shot; not deferred; what is blocked during the handler runs after it.
static volatile int depth, deepest, order[8], n_order; // raise() is declared as one that calls nothing here
static void nests(int number, siginfo_t* info, void* context) {
  (void)info, (void)context;
  if (++depth > deepest) deepest = depth;
  if (depth < 4) raise(number);
  depth--;
}
static void in_order(int number, siginfo_t* info, void* context) {
  (void)info, (void)context;
  order[n_order++] = number;
  if (number == SIGUSR1) raise(SIGUSR2);
  order[n_order++] = -number;
}
static void* tries_flags(void* argument) {
  struct sigaction now;
  depth = deepest = n_order = 0;
  install(SIGUSR1, nests, SA_NODEFER);
  OK(raise(SIGUSR1));
  EQ(deepest, 4);
  deepest = 0;
  install(SIGUSR1, nests, SA_RESETHAND | SA_NODEFER);
  SYS(sigaction(SIGUSR1, NULL, &now));
  CHECK(now.sa_sigaction == nests && (now.sa_flags & (int)SA_RESETHAND));
  depth = 3;
  OK(raise(SIGUSR1));
  SYS(sigaction(SIGUSR1, NULL, &now));
  CHECK(now.sa_handler == SIG_DFL);
  struct sigaction a = {.sa_sigaction = in_order, .sa_flags = SA_SIGINFO};
  SYS(sigaction(SIGUSR2, &a, NULL));
  sigaddset(&a.sa_mask, SIGUSR2);
  SYS(sigaction(SIGUSR1, &a, NULL));
  OK(raise(SIGUSR1));
  CHECK(n_order == 4 && order[0] == SIGUSR1 && order[1] == -SIGUSR1 && order[2] == SIGUSR2 && order[3] == -SIGUSR2);
  sigemptyset(&a.sa_mask);
  SYS(sigaction(SIGUSR1, &a, NULL));
  n_order = 0;
  OK(raise(SIGUSR1));
  CHECK(n_order == 4 && order[0] == SIGUSR1 && order[1] == SIGUSR2 && order[2] == -SIGUSR2 && order[3] == -SIGUSR1);
  return argument;
}
CASE(flags) {
  tries_flags(NULL);
  finish(start(tries_flags, NULL));
}

// Blocks, posts, forks and swaps contexts in a handler.
static ucontext_t fiber, home;
static _Atomic int fiber_ran;
static void fiber_main(void) {
  fiber_ran = 1;
  swapcontext(&fiber, &home);
}
static void does_much(int number, siginfo_t* info, void* context) {
  (void)number, (void)info, (void)context;
  while (sem_wait(&step) != 0) EQ(errno, EINTR);
  pid_t child = fork();
  if (child == 0) _exit(7);
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(WEXITSTATUS(status), 7);
  static char stack[65536];
  getcontext(&fiber);
  fiber.uc_stack.ss_sp = stack;
  fiber.uc_stack.ss_size = sizeof stack;
  fiber.uc_link = NULL;
  sigaddset(&fiber.uc_sigmask, SIGHUP);
  makecontext(&fiber, fiber_main, 0);
  SYS(swapcontext(&home, &fiber));
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  CHECK(!sigismember(&now, SIGHUP) && sigismember(&now, SIGUSR1));
  calls++;
}
static void* much_is_done(void* argument) {
  ready = 1;
  while (calls == 0) {
    EQ(sem_wait(&never), -1);
    EQ(errno, EINTR);
  }
  EQ(fiber_ran, 1);
  return argument;
}
CASE(handler_does_much) {
  OK(sem_init(&never, 0, 0));
  OK(sem_init(&step, 0, 0));
  install(SIGUSR1, does_much, 0);
  ready = 0;
  pthread_t t = start(much_is_done, NULL);
  while (!ready) sched_yield();
  pause_ms(2);
  OK(pthread_kill(t, SIGUSR1));
  pause_ms(2);
  OK(sem_post(&step));
  finish(t);
}

// Each way to jump out of a handler on an alternate stack, and to another context, takes the mask along.
extern void __longjmp_chk(struct __jmp_buf_tag*, int) __attribute__((noreturn));
static volatile int how;
static void jumps_somehow(int number, siginfo_t* info, void* context) {
  on_own_stack(number, info, context);
  switch (how) {
  case 0: siglongjmp(back, 1);
  case 1: longjmp(back, 1);
  case 2: _longjmp(back, 1);
  default: __longjmp_chk(back, 1);
  }
}
static bool has_open(int number) {
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, NULL, &now);
  return !sigismember(&now, number);
}
static void* jumps_each_way(void* argument) {
  give_stack();
  for (how = 0; how < 4; how++) {
    if (sigsetjmp(back, 1) == 0) raise(SIGUSR1);
    EQ(calls, how + 1);
    CHECK(has_open(SIGUSR1));
    sched_yield();
    CHECK(has_open(SIGUSR1));
  }
  take_stack();
  ucontext_t here;
  volatile int times = 0;
  SYS(getcontext(&here));
  if (times++ == 0) {
    sigaddset(&here.uc_sigmask, SIGHUP);
    setcontext(&here);
  }
  EQ(times, 2);
  CHECK(!has_open(SIGHUP));
  sched_yield();
  CHECK(!has_open(SIGHUP));
  return argument;
}
CASE(each_way_to_jump) {
  install(SIGUSR1, jumps_somehow, SA_ONSTACK);
  pthread_t t = start(jumps_each_way, NULL);
  finish(t);
}

// A child has the stack of the thread that made it, whether there were threads or not.
static void child_on_own_stack(void) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    calls = 0;
    raise(SIGUSR1);
    _exit(calls == 1 ? 0 : 1);
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  EQ(status, 0);
}
static void* forks_with_a_stack(void* argument) {
  give_stack();
  child_on_own_stack();
  take_stack();
  return argument;
}
CASE_ALONE(stack_in_a_child) {
  install(SIGUSR1, on_own_stack, SA_ONSTACK);
  give_stack();
  child_on_own_stack();
  finish(start(forks_with_a_stack, NULL));
  child_on_own_stack();
  take_stack();
}
