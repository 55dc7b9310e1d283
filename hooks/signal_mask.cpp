// Masks are the G's; the kernel has the running G's.
#include "hooks/signal.hpp"

namespace gmp {

void change_g_mask(uint64_t now) {
  G* g = getg();
  const uint64_t was = get_sigmask(g);
  now &= ~kUnblockable;
  set_sigmask(now);
  if (now & ~was) mask_has_grown(now & ~was);
  if (GMP_UNLIKELY(pending_set() & ~now)) run_pending_signals();
  // What was to be this thread's is another's now, as the kernel retargets it.
  if (GMP_UNLIKELY(g_process_set.load(std::memory_order_seq_cst) & now & ~was)) pass_on_signals();
}

int change_mask(int how, const sigset_t* set, sigset_t* old) {
  G* g = getg();
  uint64_t was = 0;
  if (!g || GMP_UNLIKELY(self()->vfork_child)) {
    uint64_t want = set ? bits(set) & ~kLibcSignals : 0;
    long r = sys(SYS_rt_sigprocmask, how, set ? &want : nullptr, &was, 8);
    if (r < 0) return int(-r);
  } else {
    was = get_sigmask(g);
    if (set) {
      uint64_t s = bits(set), now;
      if (how == SIG_BLOCK) now = was | s;
      else if (how == SIG_UNBLOCK) now = was & ~s;
      else if (how == SIG_SETMASK) now = s;
      else return EINVAL;
      change_g_mask(now);
    }
  }
  if (old) *old = set_of(was);
  return 0;
}

MaskFor::MaskFor(uint64_t mask) : was(get_sigmask(getg())) {
  if ((mask & ~kUnblockable) != was) change_g_mask(mask);
}

long MaskFor::end(long result) {
  if (get_sigmask(getg()) != was) change_g_mask(was);
  self()->handler_ran = self()->handler_no_restart = false; // not in a wait
  return result;
}

} // namespace gmp

using namespace gmp;

GMP_REAL(pthread_sigmask);
GMP_REAL(sigprocmask);

GMP_HOOK int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  if (native()) return REAL(pthread_sigmask)(how, set, old);
  return change_mask(how, set, old);
}

GMP_HOOK int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  if (native()) return REAL(sigprocmask)(how, set, old);
  return int(ret(-change_mask(how, set, old)));
}
