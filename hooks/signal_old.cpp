// The older ways to block and wait for signals. libc's own would change the kernel thread's mask, and the next G would find it.
#include "hooks/signal.hpp"

using namespace gmp;

static int block_one(int how, int sig) {
  if (sig <= 0 || sig > kSignals || libc_signal(sig)) return int(ret(-EINVAL));
  sigset_t one = set_of(sigbit(sig));
  return sigprocmask(how, &one, nullptr);
}

// BSD's masks are ints: the first 32 signals.
static int bsd_mask(int how, int mask) {
  sigset_t s = set_of(uint32_t(mask)), old = {};
  if (sigprocmask(how, &s, &old) < 0) return -1;
  return int(bits(&old));
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

GMP_HOOK int sighold(int sig) noexcept { return block_one(SIG_BLOCK, sig); }
GMP_HOOK int sigrelse(int sig) noexcept { return block_one(SIG_UNBLOCK, sig); }
GMP_HOOK int sigblock(int mask) noexcept { return bsd_mask(SIG_BLOCK, mask); }
GMP_HOOK int sigsetmask(int mask) noexcept { return bsd_mask(SIG_SETMASK, mask); }
GMP_HOOK int siggetmask() noexcept { return sigblock(0); }

// Two functions of one name: BSD's takes a mask, X/Open's a signal to unblock. Headers of today choose X/Open's under the name
// __xpg_sigpause; `__sigpause(x, is_sig)` is both.
static int pause_with(int x, bool is_sig) {
  sigset_t s;
  if (is_sig) {
    if (x <= 0 || x > kSignals) return int(ret(-EINVAL));
    if (sigprocmask(SIG_BLOCK, nullptr, &s) < 0) return -1;
    s.__val[0] &= ~sigbit(x);
  } else {
    s = set_of(uint32_t(x));
  }
  return sigsuspend(&s);
}
extern "C" {
int hook_sigpause(int) __asm__("sigpause");
int hook_xpg_sigpause(int) __asm__("__xpg_sigpause");
int __sigpause(int, int);
int __sigsuspend(const sigset_t*);
}
GMP_HOOK int hook_sigpause(int mask) { return pause_with(mask, false); }
GMP_HOOK int hook_xpg_sigpause(int sig) { return pause_with(sig, true); }
GMP_HOOK int __sigpause(int x, int is_sig) { return pause_with(x, is_sig); }
GMP_HOOK int __sigsuspend(const sigset_t* mask) { return sigsuspend(mask); }

// What is pending for the thread in the kernel, and in user space.
GMP_REAL(sigpending);
GMP_HOOK int sigpending(sigset_t* set) noexcept {
  if (native() || !getg()) return REAL(sigpending)(set);
  uint64_t kernel = 0;
  if (long r = sys(SYS_rt_sigpending, &kernel, 8); r < 0) return int(ret(r));
  *set = set_of((kernel | pending_set()) & get_sigmask(getg()));
  return 0;
}

// BSD's own structures, of which today's headers have none or only a warning.
struct OldAction {
  sighandler_t handler;
  int mask, flags;
};
constexpr int kOnStack = 1, kInterrupt = 2, kResetHand = 4;

extern "C" int hook_sigvec(int, const OldAction*, OldAction*) __asm__("sigvec");
GMP_HOOK int hook_sigvec(int sig, const OldAction* want, OldAction* was) {
  struct sigaction act = {}, old = {};
  if (want) {
    act.sa_handler = want->handler;
    act.sa_mask = set_of(uint32_t(want->mask));
    act.sa_flags = (want->flags & kOnStack ? SA_ONSTACK : 0) | (want->flags & kInterrupt ? 0 : SA_RESTART) |
                   (want->flags & kResetHand ? int(SA_RESETHAND) : 0);
  }
  if (set_action(sig, want ? &act : nullptr, &old) < 0) return -1;
  if (was) {
    was->handler = old.sa_handler;
    was->mask = int(bits(&old.sa_mask));
    was->flags = (old.sa_flags & SA_ONSTACK ? kOnStack : 0) | (old.sa_flags & SA_RESTART ? 0 : kInterrupt) |
                 (old.sa_flags & int(SA_RESETHAND) ? kResetHand : 0);
  }
  return 0;
}

// sigstack knows no size. What glibc makes of it (the address, for both) is of no use to a handler, but reads back.
struct OldStack {
  void* sp;
  int on_it;
};
extern "C" int hook_sigstack(OldStack*, OldStack*) __asm__("sigstack");
GMP_HOOK int hook_sigstack(OldStack* want, OldStack* was) {
  stack_t set = {}, old = {};
  if (want) {
    set.ss_sp = want->sp;
    set.ss_size = size_t(want->sp);
    set.ss_flags = want->on_it ? SS_ONSTACK : 0;
  }
  if (sigaltstack(want ? &set : nullptr, &old) < 0) return -1;
  if (was) *was = {old.ss_sp, (old.ss_flags & SS_ONSTACK) != 0};
  return 0;
}
