// The family's system calls by number, through syscall(). What they would change in the kernel is a G's here.
#include <unistd.h>
#include "hooks/signal_send.hpp"

namespace gmp {

// The kernel's sigaction.
struct RawAction {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};

static long raw_action(int sig, const RawAction* act, RawAction* old) {
  struct sigaction a = {}, o = {};
  if (act) {
    a.sa_handler = reinterpret_cast<sighandler_t>(act->handler);
    a.sa_flags = int(act->flags & ~0x04000000ul); // SA_RESTORER: libc has its own
    a.sa_mask = set_of(act->mask);
  }
  const int keep = errno;
  if (set_action(sig, act ? &a : nullptr, old ? &o : nullptr) < 0) {
    const int e = errno;
    errno = keep;
    return -e;
  }
  if (old) *old = {reinterpret_cast<void*>(o.sa_handler), (unsigned long)(unsigned(o.sa_flags)), nullptr, bits(&o.sa_mask)};
  return 0;
}

static long of_libc(int r, int keep) {
  if (r >= 0) return r;
  const int e = errno;
  errno = keep;
  return -e;
}

bool signal_raw_call(long n, long a, long b, long c, long d, long* r) {
  if (!getg() || self()->vfork_child) return false;
  const int keep = errno;
  const auto* set = reinterpret_cast<const sigset_t*>(a); // of 8 bytes: only those are looked at
  switch (n) {
  case SYS_kill: case SYS_tkill: case SYS_tgkill: case SYS_rt_sigqueueinfo: case SYS_rt_tgsigqueueinfo:
    *r = send_call(n, a, b, c, d);
    return true;
  case SYS_rt_sigprocmask: {
    if (d != 8) return false;
    sigset_t old;
    *r = -change_mask(int(a), reinterpret_cast<const sigset_t*>(b), &old);
    if (*r == 0 && c) *reinterpret_cast<uint64_t*>(c) = bits(&old);
    return true;
  }
  case SYS_rt_sigpending: {
    sigset_t now;
    if (b != 8) return false;
    *r = of_libc(sigpending(&now), keep);
    if (*r == 0) *reinterpret_cast<uint64_t*>(a) = bits(&now);
    return true;
  }
  case SYS_rt_sigaction:
    if (d != 8 || libc_signal(int(a))) return false;
    *r = raw_action(int(a), reinterpret_cast<const RawAction*>(b), reinterpret_cast<RawAction*>(c));
    return true;
  case SYS_sigaltstack:
    *r = of_libc(sigaltstack(reinterpret_cast<const stack_t*>(a), reinterpret_cast<stack_t*>(b)), keep);
    return true;
  case SYS_rt_sigtimedwait:
    if (d != 8) return false;
    *r = of_libc(sigtimedwait(set, reinterpret_cast<siginfo_t*>(b), reinterpret_cast<const timespec*>(c)), keep);
    return true;
  case SYS_rt_sigsuspend: *r = of_libc(sigsuspend(set), keep); return true;
  case SYS_pause: *r = of_libc(pause(), keep); return true;
  case SYS_timer_create: {
    *r = make_timer(clockid_t(a), reinterpret_cast<const sigevent*>(b), reinterpret_cast<int*>(c));
    return true;
  }
  }
  return false;
}

} // namespace gmp
