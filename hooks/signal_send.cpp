// Signals for a thread. A G has no kernel thread of its own: a signal for one that runs or sits in a system call goes to the kernel thread
// that serves it now; for a parked one with a handler it is noted and the wait ended, so that the handler runs there. What has
// no handler goes to the process. (Pending sets for each G: the issue on signals.)
#include "hooks/signal.hpp"

namespace gmp {

static long to_self(int sig) { return sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), sig); }

static long to_g(G* g, int sig) {
  if (sig < 0 || sig > kSignals) return -EINVAL;
  if (sig == 0) return 0;
  if (g == getg()) return to_self(sig);
  if (int tid = kernel_tid_of(g)) return sys(SYS_tgkill, sys(SYS_getpid), tid, sig);
  if (kernel_handler(sig) != reinterpret_cast<void*>(&trampoline)) return sys(SYS_kill, sys(SYS_getpid), sig);
  note_pending(sig);
  interrupt(g);
  return 0;
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
  return int(ret(tid == self_tid() ? to_self(sig) : sys(SYS_kill, pid, sig)));
}
