// Masks are the G's (the kernel has the running G's), alternate stacks are virtual for Gs: the kernel thread keeps its own.
#include "hooks/signal.hpp"

namespace gmp {

static int change_mask(int how, const sigset_t* set, sigset_t* old) {
  G* g = getg();
  uint64_t was = 0;
  if (!g) {
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
      set_sigmask(now & ~kUnblockable);
      if (pending_set() & ~now) run_pending_signals();
    }
  }
  if (old) {
    *old = sigset_t{};
    old->__val[0] = was;
  }
  return 0;
}

bool on_stack(const stack_t& s, const void* sp) {
  return s.ss_size && uintptr_t(sp) - uintptr_t(s.ss_sp) < s.ss_size;
}

} // namespace gmp

using namespace gmp;

GMP_REAL(pthread_sigmask);
GMP_REAL(sigprocmask);
GMP_REAL(sigaltstack);

GMP_HOOK int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  if (native()) return REAL(pthread_sigmask)(how, set, old);
  return change_mask(how, set, old);
}

GMP_HOOK int sigprocmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  if (native()) return REAL(sigprocmask)(how, set, old);
  return int(ret(-change_mask(how, set, old)));
}

GMP_HOOK int sigaltstack(const stack_t* set, stack_t* old) noexcept {
  if (native() || !getg()) return REAL(sigaltstack)(set, old);
  stack_t& mine = self()->altstack;
  if (!mine.ss_size) mine.ss_flags = SS_DISABLE;
  stack_t was = mine;
  if (set) {
    if (set->ss_flags & ~(SS_DISABLE | SS_ONSTACK | int(1u << 31))) return int(ret(-EINVAL));
    if (set->ss_flags & SS_DISABLE) mine = stack_t{nullptr, SS_DISABLE, 0};
    else if (set->ss_size < 2048) return int(ret(-ENOMEM));
    else mine = stack_t{set->ss_sp, 0, set->ss_size};
  }
  if (old) *old = was;
  return 0;
}
