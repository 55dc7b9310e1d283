// Waiting for signals: announced, in the kernel.
#include <unistd.h>
#include "hooks/signal.hpp"

namespace gmp {

static long wait_info(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  test_cancel();
  uint64_t want = bits(set) & ~kLibcSignals;
  siginfo_t scratch;
  int64_t deadline = kNoDeadline; // of all tries together
  const bool timed = timeout && deadline_in(timeout, &deadline);
  timespec left;
  for (;; timeout = timed ? &left : timeout) {
    if (timed) {
      int64_t ns = deadline - nanotime();
      if (ns < 0) ns = 0;
      left = {ns / 1000000000, ns % 1000000000};
    }
    if (int sig = take_pending(want, info ? info : &scratch)) return sig;
    long r = interruptible_sys(true, SYS_rt_sigtimedwait, &want, info ? info : &scratch, timeout, 8);
    if (r < 0) test_cancel();
    if (r > 0 && stray_kick(int(r), info ? info : &scratch)) continue;
    if (r != kStopped) return r;
    if (!(pending_set() & want) && after_interrupt(false) == After::Eintr) return -EINTR;
  }
}

static long suspend(uint64_t mask) {
  mask &= ~kUnblockable;
  return masked_wait(mask, [] { return 0l; }, [&] { return interruptible_sys(true, SYS_rt_sigsuspend, &mask, 8); });
}

} // namespace gmp

using namespace gmp;

GMP_REAL(sigwait);
GMP_REAL(sigwaitinfo);
GMP_REAL(sigtimedwait);
GMP_REAL(sigsuspend);
GMP_REAL(pause);

GMP_HOOK int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  if (native()) return REAL(sigtimedwait)(set, info, timeout);
  return int(ret(wait_info(set, info, timeout)));
}

GMP_HOOK int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  if (native()) return REAL(sigwaitinfo)(set, info);
  return int(ret(wait_info(set, info, nullptr)));
}

GMP_HOOK int sigwait(const sigset_t* set, int* sig) {
  if (native()) return REAL(sigwait)(set, sig);
  long r;
  do r = wait_info(set, nullptr, nullptr);
  while (r == -EINTR);
  if (r < 0) return int(-r);
  *sig = int(r);
  return 0;
}

GMP_HOOK int sigsuspend(const sigset_t* mask) {
  if (native()) return REAL(sigsuspend)(mask);
  return int(ret(suspend(bits(mask))));
}

GMP_HOOK int pause() {
  if (native()) return REAL(pause)();
  uint64_t mask = 0;
  if (G* g = getg()) mask = get_sigmask(g);
  else sys(SYS_rt_sigprocmask, 0, 0, &mask, 8);
  return int(ret(suspend(mask)));
}
