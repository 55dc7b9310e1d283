// sleep and its kin. The clocks that a program sleeps on become deadlines of the runtime; the odd ones (CPU time, alarms
// that wake a suspended machine, clocks of other processes) are the kernel's business, with the P handed off.
#include <threads.h>
#include <unistd.h>
#include "hooks/cputime.hpp"
#include "hooks/thread.hpp"

namespace gmp {
namespace {

GMP_REAL(clock_nanosleep);

constexpr int64_t kSecond = 1000000000;

bool served(clockid_t c) {
  return c == CLOCK_REALTIME || c == CLOCK_MONOTONIC || c == CLOCK_BOOTTIME || c == CLOCK_TAI;
}

// Returns 0 or the error number, as clock_nanosleep does. flags other than TIMER_ABSTIME mean nothing to the kernel.
// On another thread's processor time, which grows no faster than the real one.
int sleep_on_cpu(clockid_t clock, int flags, const timespec* time, timespec* left) {
  G* g;
  const CpuClock c = g_of_clock(clock, &g);
  if (c == CpuClock::Gone || g == getg()) return EINVAL; // the kernel's rule too: nobody could wake up from the own one
  if (!time) return EFAULT;
  if (time->tv_nsec < 0 || time->tv_nsec >= kSecond || time->tv_sec < 0) return EINVAL;
  const bool absolute = flags & TIMER_ABSTIME;
  const int64_t end = time->tv_sec * kSecond + time->tv_nsec + (absolute ? 0 : g_cpu_time(g));
  while (g_of_clock(clock, &g) == CpuClock::Yes) {
    int64_t rest = end - g_cpu_time(g);
    if (rest <= 0) return 0;
    if (sleep_until(nanotime() + (rest < 1000000 ? 1000000 : rest)) != Wait::Interrupted || after_interrupt(false) == After::Retry) continue;
    if (!absolute && left) *left = {rest / kSecond, rest % kSecond};
    return EINTR;
  }
  for (;;) // a clock that has stopped: natively, too, only a signal ends this
    if (sleep_until(kNoDeadline) == Wait::Interrupted && after_interrupt(false) == After::Eintr) return EINTR;
}

int sleep_on(clockid_t clock, int flags, const timespec* time, timespec* left) {
  if (native()) return REAL(clock_nanosleep)(clock, flags, time, left);
  test_cancel();
  if (!getg() || !served(clock)) {
    if (clock == CLOCK_THREAD_CPUTIME_ID) return EINVAL; // libc's rule: nobody could wake up from it
    if (G* g; g_of_clock(clock, &g) != CpuClock::No) return sleep_on_cpu(clock, flags, time, left);
    timespec rest;
    return int(-point_call(false, [&] {
      const long r = interruptible_sys(false, SYS_clock_nanosleep, clock, flags, time, left ? left : &rest);
      if (r == -EINTR && !(flags & TIMER_ABSTIME)) time = left ? left : &rest;
      return r;
    }));
  }
  if (!time) return EFAULT;
  if (time->tv_sec < 0) return EINVAL; // also where deadline_from would take it for long ago
  bool absolute = flags & TIMER_ABSTIME;
  for (;;) {
    int64_t deadline;
    if (!(absolute ? deadline_from(clock, time, &deadline) : deadline_in(time, &deadline))) return EINVAL;
    if (deadline <= nanotime()) {
      yield(); // the kernel gives the processor away too
      return 0;
    }
    for (;;) {
      if (sleep_until(deadline) != Wait::Interrupted) break;
      if (after_interrupt(false) == After::Retry) continue; // deadline unchanged: nothing is slept twice
      if (!absolute && left) {
        int64_t rest = deadline - nanotime();
        if (rest < 0) rest = 0;
        left->tv_sec = rest / kSecond;
        left->tv_nsec = rest % kSecond;
      }
      return EINTR;
    }
    // The wall clock may have been set back meanwhile: an absolute sleep is over only when its clock says so.
    if (!absolute || clock == CLOCK_MONOTONIC) return 0;
  }
}

int errno_form(int error) { return int(ret(-error)); }

} // namespace
} // namespace gmp

using namespace gmp;

GMP_HOOK int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  return sleep_on(clock, flags, time, left);
}

GMP_HOOK int nanosleep(const timespec* time, timespec* left) {
  return errno_form(sleep_on(CLOCK_REALTIME, 0, time, left));
}
GMP_ALIAS(__nanosleep, nanosleep);

GMP_HOOK int usleep(useconds_t us) {
  timespec t{time_t(us / 1000000), long(us % 1000000) * 1000};
  return errno_form(sleep_on(CLOCK_REALTIME, 0, &t, nullptr));
}

// What is left is cut to whole seconds, as libc does, and errno tells of the signal.
GMP_HOOK unsigned sleep(unsigned seconds) {
  timespec t{time_t(seconds), 0};
  return errno_form(sleep_on(CLOCK_REALTIME, 0, &t, &t)) < 0 ? unsigned(t.tv_sec) : 0;
}

GMP_HOOK int thrd_sleep(const timespec* time, timespec* left) {
  int error = sleep_on(CLOCK_REALTIME, 0, time, left);
  return error == 0 ? 0 : error == EINTR ? -1 : -2;
}
