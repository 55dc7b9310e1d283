// Waiting for signals. What the kernel may have (sigwait) is waited for there, announced; a handler to run is waited for in user space.
#include <initializer_list>
#include <unistd.h>
#include "hooks/poll.hpp"
#include "hooks/signal.hpp"

namespace gmp {

// What is pending in user space, the thread's own first.
static int take_any(uint64_t want, siginfo_t* info) {
  G* g = getg();
  if (!g || GMP_LIKELY(!(pending_set() & want))) return 0;
  for (PendingSet p : {of_thread(g), of_process()})
    while (uint64_t have = p.set->load() & want) {
      const int sig = __builtin_ctzll(have) + 1;
      Arrival a;
      if (!take_pending(p, sig, &a)) continue;
      *info = a.info;
      return sig;
    }
  return 0;
}

// The kernel has given us what a timer sent to another thread: it is that one's.
static bool anothers(const siginfo_t* info) {
  if (!getg() || !timers_other(info)) return false;
  to_timers_thread(*info);
  return true;
}

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
    if (int sig = take_any(want, info ? info : &scratch)) return sig;
    long r = interruptible_sys(true, SYS_rt_sigtimedwait, &want, info ? info : &scratch, timeout, 8);
    const bool again = r == -EINTR && for_another(); // the kernel woke us for a signal that another thread took
    if (r < 0 && r != kStopped) test_cancel(); // else it would forget what has run
    if (again) continue;
    if (r > 0 && anothers(info ? info : &scratch)) continue;
    if (r != kStopped) return r;
    if (!(pending_set() & want) && after_interrupt(false) == After::Eintr) return -EINTR;
  }
}

static long suspend(uint64_t mask) {
  if (!getg()) return sys(SYS_rt_sigsuspend, &mask, 8);
  return masked_wait(mask, [] { return 0l; }, [] { return g_sleep(kNoDeadline); });
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
