// The older ways to handle, block and wait for signals, and all other names.
#include "beside.h"
#include <signal.h>
#include <sys/syscall.h>

static _Atomic int caught;
static void handler(int number) { caught = number; }

static bool is_blocked(int number) {
  sigset_t s;
  OK(pthread_sigmask(SIG_SETMASK, NULL, &s));
  return sigismember(&s, number);
}
static void clear(void) {
  sigset_t none;
  sigemptyset(&none);
  OK(sigprocmask(SIG_SETMASK, &none, NULL));
  caught = 0;
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
// By their version the linker gives them without a warning.
__asm__(".symver old_siggetmask, siggetmask@GLIBC_2.2.5");
__asm__(".symver old_sigstack, sigstack@GLIBC_2.2.5");
extern int old_siggetmask(void), bsd_sigpause(int) __asm__("sigpause"), xpg_sigpause(int) __asm__("__xpg_sigpause");
extern int __sigpause(int, int), __sigsuspend(const sigset_t*);
extern __sighandler_t bsd_signal(int, __sighandler_t), __sysv_signal(int, __sighandler_t);
extern int __sigaction(int, const struct sigaction*, struct sigaction*);

CASE_ANYWHERE(blocking_one) {
  clear();
  signal(SIGUSR1, handler);
  OK(sighold(SIGUSR1));
  CHECK(is_blocked(SIGUSR1));
  OK(raise(SIGUSR1));
  EQ(caught, 0);
  sigset_t s;
  OK(sigpending(&s));
  CHECK(sigismember(&s, SIGUSR1));
  CHECK(!sigismember(&s, SIGUSR2));
  OK(sigrelse(SIGUSR1));
  EQ(caught, SIGUSR1);
  CHECK(!is_blocked(SIGUSR1));
  ERRNO(sighold(0), EINVAL);
  ERRNO(sigrelse(1000), EINVAL);
}

CASE_ANYWHERE(blocking_many) {
  clear();
  const int one = (1 << (SIGUSR1 - 1)), two = (1 << (SIGUSR2 - 1));
  EQ(sigblock(one), 0);
  EQ(sigblock(two), one);
  EQ(old_siggetmask(), one | two);
  CHECK(is_blocked(SIGUSR1) && is_blocked(SIGUSR2));
  EQ(sigsetmask(two), one | two);
  CHECK(!is_blocked(SIGUSR1) && is_blocked(SIGUSR2));
  EQ(sigsetmask(0), two);
}

// Each thread's mask is its own, whichever call sets it: another thread of the same processor has none of it.
static void* has_nothing_blocked(void* argument) {
  EQ(old_siggetmask(), 0);
  CHECK(!is_blocked(SIGUSR1));
  return argument;
}
static pthread_t other;
static void* blocks_and_lets_others_run(void* argument) {
  OK(sighold(SIGUSR1));
  for (int i = 0; i < 100; i++) sched_yield();
  CHECK(is_blocked(SIGUSR1));
  return argument;
}
static void* looks_again_and_again(void* argument) {
  for (int i = 0; i < 100; i++) {
    has_nothing_blocked(NULL);
    sched_yield();
  }
  return argument;
}
CASE(mask_of_the_thread) {
  clear();
  for (int i = 0; i < 20; i++) {
    other = start(looks_again_and_again, NULL);
    pthread_t b = start(blocks_and_lets_others_run, NULL);
    finish(b);
    finish(other);
  }
}

CASE_ANYWHERE(waiting) {
  sigset_t one, none, s;
  siginfo_t info;
  sigemptyset(&none);
  sigemptyset(&one);
  sigaddset(&one, SIGUSR1);
  struct sigaction act = {.sa_handler = handler}, old;
  OK(__sigaction(SIGUSR1, &act, NULL));
  OK(__sigaction(SIGUSR1, NULL, &old));
  CHECK(old.sa_handler == handler);
  for (int how = 0; how < 6; how++) {
    clear();
    OK(sighold(SIGUSR1));
    OK(raise(SIGUSR1));
    EQ(caught, 0);
    switch (how) {
    case 0: ERRNO(bsd_sigpause(0), EINTR); break;
    case 1: ERRNO(xpg_sigpause(SIGUSR1), EINTR); break;
    case 2: ERRNO(__sigpause(0, 0), EINTR); break;
    case 3: ERRNO(__sigpause(SIGUSR1, 1), EINTR); break;
    case 4: ERRNO(__sigsuspend(&none), EINTR); break;
    case 5: ERRNO(sigsuspend(&none), EINTR); break;
    }
    EQ(caught, SIGUSR1);
    CHECK(is_blocked(SIGUSR1)); // as before the wait
    OK(sigpending(&s));
    CHECK(!sigismember(&s, SIGUSR1));
  }
  clear();
  OK(sighold(SIGUSR1));
  OK(raise(SIGUSR1));
  EQ(sigwaitinfo(&one, &info), SIGUSR1);
  EQ(info.si_signo, SIGUSR1);
  struct timespec at_once = {0, 0};
  ERRNO(sigtimedwait(&one, &info, &at_once), EAGAIN);
  OK(raise(SIGUSR1));
  EQ(sigtimedwait(&one, NULL, &at_once), SIGUSR1);
  EQ(caught, 0);
  clear();
}

CASE_ANYWHERE(setting) {
  clear();
  CHECK(bsd_signal(SIGUSR1, handler) != SIG_ERR);
  OK(gsignal(SIGUSR1));
  EQ(caught, SIGUSR1);
  OK(raise(SIGUSR1)); // BSD's stays
  CHECK(ssignal(SIGUSR1, SIG_IGN) == handler);
  CHECK(sysv_signal(SIGUSR1, handler) == SIG_IGN);
  caught = 0;
  OK(raise(SIGUSR1));
  EQ(caught, SIGUSR1);
  CHECK(__sysv_signal(SIGUSR1, handler) == SIG_DFL); // System V's is gone after one
  OK(raise(SIGUSR1));
  CHECK(sigset(SIGUSR1, handler) == SIG_DFL);
  CHECK(sigset(SIGUSR1, SIG_HOLD) == handler);
  CHECK(is_blocked(SIGUSR1));
  CHECK(sigset(SIGUSR1, handler) == SIG_HOLD);
  CHECK(!is_blocked(SIGUSR1));
  OK(sigignore(SIGUSR1));
  caught = 0;
  OK(raise(SIGUSR1));
  EQ(caught, 0);
  OK(siginterrupt(SIGUSR1, 1));
  struct sigaction act;
  OK(sigaction(SIGUSR1, NULL, &act));
  CHECK(act.sa_handler == SIG_IGN && !(act.sa_flags & SA_RESTART));
  OK(siginterrupt(SIGUSR1, 0));
  signal(SIGUSR1, SIG_DFL);
}

struct old_action {
  __sighandler_t handler;
  int mask, flags;
};
__asm__(".symver old_sigvec, sigvec@GLIBC_2.2.5");
extern int old_sigvec(int, const struct old_action*, struct old_action*);
CASE_ANYWHERE(sigvec) {
  clear();
  struct old_action want = {handler, (1 << (SIGUSR2 - 1)), 2 /* interrupts */}, was;
  OK(old_sigvec(SIGUSR1, &want, NULL));
  OK(old_sigvec(SIGUSR1, NULL, &was));
  CHECK(was.handler == handler);
  EQ(was.mask, (1 << (SIGUSR2 - 1)));
  EQ(was.flags, 2);
  OK(raise(SIGUSR1));
  EQ(caught, SIGUSR1);
  struct sigaction act;
  OK(sigaction(SIGUSR1, NULL, &act));
  CHECK(!(act.sa_flags & SA_RESTART) && sigismember(&act.sa_mask, SIGUSR2));
  signal(SIGUSR1, SIG_DFL);
}

// sigstack tells an address and no size; it reads back.
static char alternate[64 * 1024];
struct old_stack {
  void* end;
  int on_it;
};
extern int old_sigstack(struct old_stack*, struct old_stack*);
CASE_ANYWHERE(stacks) {
  stack_t s = {.ss_sp = alternate, .ss_size = sizeof alternate}, old;
  OK(sigaltstack(&s, NULL));
  OK(sigaltstack(NULL, &old));
  CHECK(old.ss_sp == alternate && old.ss_size == sizeof alternate && old.ss_flags == 0);
  s.ss_flags = SS_DISABLE;
  OK(sigaltstack(&s, NULL));
  struct old_stack want = {alternate + sizeof alternate, 0}, was;
  OK(old_sigstack(&want, NULL));
  OK(old_sigstack(NULL, &was));
  CHECK(was.end == want.end); // (the kernel now takes the thread for one on that stack, and lets nobody change it)
}

CASE_ANYWHERE(to_this_thread) {
  clear();
  signal(SIGUSR1, handler);
  OK(tgkill(getpid(), gettid(), SIGUSR1));
  EQ(caught, SIGUSR1);
  ERRNO(tgkill(getpid(), -1, SIGUSR1), EINVAL);
  signal(SIGUSR1, SIG_DFL);
}
