// Signals for a thread. A G has no kernel thread of its own: the signal is marked in its record and the G disturbed (signal.hpp). What it does
// not block and has no handler for is the process's affair: it ends, stops or goes on as a whole.
#include "hooks/signal.hpp"

namespace gmp {

static long send(int tid, int sig) {
  kick_sent(sig);
  return sys(SYS_tgkill, sys(SYS_getpid), tid, sig);
}

static long to_self(int sig) {
  G* g = getg();
  if (g && sig > 0 && sig <= kSignals) {
    // Blocked: nothing may stay behind in the kernel thread, which goes on to other Gs.
    const bool blocked = get_sigmask(g) & sigbit(sig) & ~kUnblockable;
    const bool handled = kernel_handler(sig) == reinterpret_cast<void*>(&trampoline);
    if (blocked || handled) mark_pending(self(), sig);
    if (blocked) return 0;
    if (handled) return send(int(sys(SYS_gettid)), sig);
  }
  return sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), sig);
}

static long to_g(G* g, int sig) {
  if (sig < 0 || sig > kSignals) return -EINVAL;
  if (sig == 0) return 0;
  if (g == getg()) return to_self(sig);
  const bool blocked = get_sigmask(g) & sigbit(sig); // as natively, a mask that changes now counts as before or after
  void* handler = kernel_handler(sig);
  if (!blocked && handler == reinterpret_cast<void*>(SIG_IGN)) return 0;
  if (!blocked && handler != reinterpret_cast<void*>(&trampoline)) return sys(SYS_kill, sys(SYS_getpid), sig);
  mark_pending(thread_at(thread_pointer_of(g)), sig);
  if (blocked) { // it may be in sigwait; no other wait is disturbed
    interrupt_call(g);
    return 0;
  }
  request_signals(g);
  if (interrupt(g)) return 0;
  int tid = kernel_tid_of(g);
  return tid ? send(tid, sig) : 0;
}

} // namespace gmp

using namespace gmp;

GMP_REAL(pthread_kill);
GMP_REAL(raise);
GMP_REAL(tgkill);

GMP_HOOK int pthread_kill(pthread_t t, int sig) noexcept {
  if (native()) return REAL(pthread_kill)(t, sig);
  G* g = g_of_handle(t);
  if (!g) return t == pthread_self() ? int(-to_self(sig)) : ESRCH;
  if (libc_signal(sig)) return EINVAL;
  if (thread_at(t)->life.load(std::memory_order_relaxed) == Thread::Dead) return sig < 0 || sig > kSignals ? EINVAL : 0;
  return int(-to_g(g, sig));
}

GMP_HOOK int raise(int sig) noexcept {
  if (native() || !getg()) return REAL(raise)(sig);
  if (libc_signal(sig)) return int(ret(-EINVAL));
  return int(ret(to_self(sig)));
}
GMP_ALIAS(gsignal, raise);

GMP_HOOK int tgkill(pid_t pid, pid_t tid, int sig) {
  if (native() || !getg() || tid < 0x20000000) return REAL(tgkill)(pid, tid, sig);
  if (pid != sys(SYS_getpid)) return int(ret(-ESRCH));
  if (tid == self_tid()) return int(ret(to_self(sig)));
  G* g = g_of_gtid(tid);
  return int(ret(g ? to_g(g, sig) : -ESRCH));
}
