// What the program set by sigaction and its older relatives.
#include <cstring>
#include "hooks/signal.hpp"

namespace gmp {

constinit Disposition g_disposition[kSignals + 1];

namespace {

GMP_REAL(sigaction);

// Orders the table with the kernel's action among threads. Signals are blocked meanwhile: a handler may call sigaction too.
std::atomic<bool> g_lock;
uint64_t lock_actions() {
  uint64_t all = ~0ull, old;
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
  while (g_lock.exchange(true, std::memory_order_acquire)) relax();
  return old;
}
void unlock_actions(uint64_t old) {
  g_lock.store(false, std::memory_order_release);
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
}

bool is_function(const struct sigaction* a) { return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN; }

constexpr int kChanged = SA_SIGINFO;
constexpr int kRestorer = 0x04000000; // libc shows it in what was set once

// As the kernel does with what is pending when it becomes ignored.
void forget_everywhere(int sig) {
  drop_pending(of_process(), sigbit(sig));
  with_g([sig](G* g) { return drop_pending(of_thread(g), sigbit(sig)), false; }, [](G*) {});
}

int exchange_action(int sig, const struct sigaction* act, struct sigaction* old) {
  Disposition& d = g_disposition[sig];
  Handler handler = d.handler.load(std::memory_order_relaxed);
  int flags = d.flags.load(std::memory_order_relaxed);
  struct sigaction ours, was;
  bool function = act && is_function(act);
  if (act) {
    ours = *act;
    if (function) {
      ours.sa_sigaction = trampoline;
      ours.sa_flags |= SA_SIGINFO;
      // Before the kernel knows it: the first signal may come at once.
      ours.sa_mask.__val[0] &= ~kLibcSignals;
      d.mask.store(bits(&ours.sa_mask), std::memory_order_relaxed);
      d.flags.store(act->sa_flags, std::memory_order_relaxed);
      d.handler.store(act->sa_sigaction, std::memory_order_release);
    } else if (act->sa_handler == SIG_DFL && fault_is_watched(sig)) {
      ours.sa_sigaction = fault_watch;
      ours.sa_flags |= SA_SIGINFO | SA_ONSTACK;
    }
  }
  if (REAL(sigaction)(sig, act ? &ours : nullptr, &was) != 0) return -1;
  if (GMP_UNLIKELY(is_crash_handler(reinterpret_cast<void*>(was.sa_sigaction)))) was = {};
  if (act && !function) d.flags.store(act->sa_flags, std::memory_order_relaxed);
  if (act && any_entries() && ignored(sig)) forget_everywhere(sig);
  if (!old) return 0;
  if (was.sa_sigaction == fault_watch) {
    was.sa_handler = SIG_DFL;
    was.sa_flags &= ~((fault_was_untouched(sig) ? kRestorer : 0) | (~flags & SA_ONSTACK));
  }
  *old = was;
  bool trampolined = was.sa_sigaction == trampoline;
  if (trampolined) old->sa_sigaction = handler;
  // Also when the kernel made it SIG_DFL by SA_RESETHAND: it leaves the flags. Not for an action that went past us.
  if (trampolined || !is_function(&was)) old->sa_flags = (was.sa_flags & ~kChanged) | (flags & kChanged);
  return 0;
}

} // namespace

// The child of a vfork has actions of its own, in the kernel, and this table is its parent's.
static int action_of_vfork_child(int sig, const struct sigaction* act, struct sigaction* old) {
  if (REAL(sigaction)(sig, act, old) != 0) return -1;
  if (old && old->sa_sigaction == fault_watch) old->sa_handler = SIG_DFL, old->sa_flags &= ~(kChanged | SA_ONSTACK);
  if (!old || old->sa_sigaction != trampoline) return 0;
  old->sa_sigaction = g_disposition[sig].handler.load(std::memory_order_relaxed);
  old->sa_flags = (old->sa_flags & ~kChanged) | (g_disposition[sig].flags.load(std::memory_order_relaxed) & kChanged);
  return 0;
}

int set_action(int sig, const struct sigaction* act, struct sigaction* old) {
  if (native()) return REAL(sigaction)(sig, act, old);
  if (GMP_UNLIKELY(self()->vfork_child)) return action_of_vfork_child(sig, act, old);
  if (sig <= 0 || sig > kSignals || libc_signal(sig)) return int(ret(-EINVAL));
  if (act && (sig == SIGKILL || sig == SIGSTOP)) return REAL(sigaction)(sig, act, old); // refuses
  if (GMP_UNLIKELY(sig == g_config.dumpsig) && dump_signal_is(sig)) {
    if (act) dump_signal_give_up(sig);
    else return old ? memset(old, 0, sizeof *old), 0 : 0;
  }
  if (mode() != Mode::Running || !act) return exchange_action(sig, act, old);
  uint64_t mask = lock_actions();
  int r = exchange_action(sig, act, old);
  unlock_actions(mask);
  return r;
}

void* kernel_handler(int sig) {
  struct { void* handler; unsigned long flags; void* restorer; uint64_t mask; } k = {};
  sys(SYS_rt_sigaction, sig, 0, &k, 8);
  if (k.handler == reinterpret_cast<void*>(fault_watch) || is_crash_handler(k.handler)) return nullptr; // SIG_DFL
  return k.handler;
}

bool ignored(int sig) {
  void* h = kernel_handler(sig);
  return h == reinterpret_cast<void*>(SIG_IGN) || (h == reinterpret_cast<void*>(SIG_DFL) && (sigbit(sig) & kDefaultIgnored));
}

void reset_action(int sig) {
  struct { void* handler; unsigned long flags; void* restorer; uint64_t mask; } k = {};
  sys(SYS_rt_sigaction, sig, 0, &k, 8);
  if (k.handler != reinterpret_cast<void*>(&trampoline)) return;
  k.handler = nullptr;
  sys(SYS_rt_sigaction, sig, &k, 0, 8);
}

void actions_in_child() { g_lock.store(false, std::memory_order_relaxed); }

// signal() with siginterrupt(): which signals' handlers shall interrupt calls.
static std::atomic<uint64_t> g_interrupting;

static sighandler_t simple(int sig, sighandler_t handler, int flags, bool block_itself) {
  if (handler == SIG_ERR || sig <= 0 || sig > kSignals || libc_signal(sig)) {
    errno = EINVAL;
    return SIG_ERR;
  }
  struct sigaction act = {}, old;
  act.sa_handler = handler;
  act.sa_flags = flags;
  if (block_itself) sigaddset(&act.sa_mask, sig);
  return set_action(sig, &act, &old) < 0 ? SIG_ERR : old.sa_handler;
}

} // namespace gmp

using namespace gmp;

extern "C" {
int hook_sigaction(int, const struct sigaction*, struct sigaction*) __asm__("sigaction");
int hook_sigaction2(int, const struct sigaction*, struct sigaction*) __asm__("__sigaction");
}
GMP_HOOK int hook_sigaction(int sig, const struct sigaction* act, struct sigaction* old) {
  return set_action(sig, act, old);
}
GMP_HOOK int hook_sigaction2(int sig, const struct sigaction* act, struct sigaction* old) {
  return set_action(sig, act, old);
}

GMP_HOOK sighandler_t signal(int sig, sighandler_t handler) noexcept {
  bool interrupts = sig > 0 && sig <= kSignals && (g_interrupting.load(std::memory_order_relaxed) & sigbit(sig));
  return simple(sig, handler, interrupts ? 0 : SA_RESTART, true);
}
GMP_ALIAS(bsd_signal, signal);
GMP_ALIAS(ssignal, signal);

GMP_HOOK sighandler_t __sysv_signal(int sig, sighandler_t handler) noexcept {
  return simple(sig, handler, int(SA_ONESHOT | SA_NOMASK | SA_INTERRUPT), false);
}
GMP_ALIAS(sysv_signal, __sysv_signal);

GMP_HOOK int siginterrupt(int sig, int interrupt) noexcept {
  struct sigaction act;
  if (set_action(sig, nullptr, &act) < 0) return -1;
  if (interrupt) {
    g_interrupting.fetch_or(sigbit(sig), std::memory_order_relaxed);
    act.sa_flags &= ~SA_RESTART;
  } else {
    g_interrupting.fetch_and(~sigbit(sig), std::memory_order_relaxed);
    act.sa_flags |= SA_RESTART;
  }
  return set_action(sig, &act, nullptr);
}

GMP_HOOK int sigignore(int sig) noexcept {
  struct sigaction act = {};
  act.sa_handler = SIG_IGN;
  return set_action(sig, &act, nullptr);
}

// X/Open: SIG_HOLD blocks, anything else sets and unblocks; the answer is SIG_HOLD when it was blocked.
GMP_HOOK sighandler_t sigset(int sig, sighandler_t disposition) noexcept {
  if (disposition == SIG_ERR || sig <= 0 || sig > kSignals || libc_signal(sig)) {
    errno = EINVAL;
    return SIG_ERR;
  }
  sigset_t one = {}, old;
  sigaddset(&one, sig);
  struct sigaction act = {}, was;
  if (disposition == SIG_HOLD) {
    if (sigprocmask(SIG_BLOCK, &one, &old) < 0) return SIG_ERR;
    if (sigismember(&old, sig)) return SIG_HOLD;
    return set_action(sig, nullptr, &was) < 0 ? SIG_ERR : was.sa_handler;
  }
  act.sa_handler = disposition;
  if (set_action(sig, &act, &was) < 0 || sigprocmask(SIG_UNBLOCK, &one, &old) < 0) return SIG_ERR;
  return sigismember(&old, sig) ? SIG_HOLD : was.sa_handler;
}
