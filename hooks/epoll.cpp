// epoll_wait and its variants: the program's epoll descriptor is itself pollable, so the G looks with a time-out of 0 and parks on it.
#include <sys/epoll.h>
#include "hooks/poll.hpp"
#include "hooks/signal.hpp"

namespace gmp {

// Each event that arrives in the inner instance, and each epoll_ctl that adds a ready descriptor, is an edge of the outer one: it is asked
// for (poll_once) while a G waits, for an event loop is busy most of the time and each of its events would wake an idle kernel thread. Several
// may wait on one instance: an edge wakes one, and after a harvest the baton goes on, for there may be more than maxevents. The instance is held
// as a blocked read holds its file (fdkeep.hpp). scan(fd): a look; handoff(fd): the kernel's call, waiting.
template <class Scan, class Full> static long g_epoll(int epfd, int64_t deadline, Scan scan, Full handoff) {
  FdRec* rec = fd_rec(epfd);
  if (!rec) return handoff(epfd);
  poll_once(epfd);
  FdWait w(epfd, Dir::Read, rec);
  for (;;) {
    long r = scan(w.fd);
    if (r != 0 || deadline == 0) return w.end(r);
    if (!w.armed && !w.arm()) return w.end(handoff(w.fd)); // the wait looks itself: no number taken before the scan is needed
    const long wait = undisturbed([&]() -> long {
      if (!fd_wait_enter(w.rec, w.wgen)) return -1; // the number is another's now: that one, then
      const Wait how = poll_wait(w.fd, Dir::Read, w.seq, deadline);
      if (GMP_UNLIKELY(!(w.rec->state.load(std::memory_order_relaxed) & FdRec::kPolled))) fd_mark_polled(w.fd, w.rec);
      if (GMP_UNLIKELY(!fd_wait_leave(w.rec, w.wgen))) w.take_over();
      return long(how);
    });
    if (wait < 0) {
      w.armed = false;
      continue;
    }
    const Wait x = Wait(wait);
    if (x == Wait::Timeout) return w.end(scan(w.fd));
    if (x == Wait::Interrupted) {
      if ((r = scan(w.fd)) != 0) return w.end(r);
      if (w.kept >= 0 && cancel_pending()) w.let_go(); // after_interrupt() does not come back then
      if (after_interrupt(false) == After::Eintr) return w.end(-EINTR);
    } else {
      w.woken = true;
    }
    if (!w.arm()) return w.end(handoff(w.fd));
  }
}

static long rest_ms(int64_t deadline) {
  if (deadline == kNoDeadline) return -1;
  int64_t left = deadline - nanotime();
  return left <= 0 ? 0 : left / 1000000 >= INT32_MAX ? INT32_MAX : (left + 999999) / 1000000;
}

} // namespace gmp

using namespace gmp;

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif

GMP_REAL(epoll_wait);
GMP_REAL(epoll_pwait);
GMP_REAL(epoll_pwait2);

static long in_kernel(int fd, epoll_event* ev, int max, int64_t deadline) {
  return point_call(false, [&] { return interruptible_sys(false, SYS_epoll_wait, fd, ev, max, rest_ms(deadline)); });
}

static long look(int fd, epoll_event* ev, int max) {
  auto wait = [&] { return sys(SYS_epoll_wait, fd, ev, max, 0); };
  if (GMP_LIKELY(!signalfd_may_be_own())) return wait();
  return poll_unseen(fd, [&] {
    LentSignals lent;
    return wait();
  });
}

static int wait_ms(int epfd, epoll_event* ev, int max, int timeout) {
  test_cancel();
  int64_t deadline = timeout == 0 ? 0 : deadline_ms(timeout);
  long r = g_epoll(epfd, deadline, [&](int fd) { return look(fd, ev, max); },
                   [&](int fd) { return in_kernel(fd, ev, max, deadline); });
  if (r == -EINTR) test_cancel();
  return int(ret(r));
}

GMP_HOOK int epoll_wait(int epfd, epoll_event* ev, int max, int timeout) {
  if (io_g()) return wait_ms(epfd, ev, max, timeout);
  if (native()) return REAL(epoll_wait)(epfd, ev, max, timeout);
  return int(cp_sys(SYS_epoll_wait, epfd, ev, max, timeout));
}

GMP_HOOK int epoll_pwait(int epfd, epoll_event* ev, int max, int timeout, const sigset_t* mask) {
  if (native()) return REAL(epoll_pwait)(epfd, ev, max, timeout, mask);
  if (io_g() && !mask) return wait_ms(epfd, ev, max, timeout);
  if (!io_g()) return int(cp_sys(SYS_epoll_pwait, epfd, ev, max, timeout, mask, 8));
  const int64_t deadline = timeout == 0 ? 0 : deadline_ms(timeout);
  auto look_at = [&](int fd) { return look(fd, ev, max); };
  return int(ret(masked_wait(bits(mask), [&] { return look_at(epfd); }, [&] {
    return g_epoll(epfd, deadline, look_at, [&](int fd) { return in_kernel(fd, ev, max, deadline); });
  })));
}

GMP_HOOK int epoll_pwait2(int epfd, epoll_event* ev, int max, const timespec* timeout, const sigset_t* mask) {
  if (native()) return REAL(epoll_pwait2)(epfd, ev, max, timeout, mask);
  int64_t deadline = 0;
  if (!io_g() || !deadline_ts(timeout, &deadline)) return int(cp_sys(SYS_epoll_pwait2, epfd, ev, max, timeout, mask, 8));
  if (timeout && (timeout->tv_sec | timeout->tv_nsec) == 0) deadline = 0;
  auto look_at = [&](int fd) { return look(fd, ev, max); };
  auto wait = [&] {
    return g_epoll(epfd, deadline, look_at, [&](int fd) { return in_kernel(fd, ev, max, deadline); });
  };
  if (mask) return int(ret(masked_wait(bits(mask), [&] { return look_at(epfd); }, wait)));
  test_cancel();
  long r = wait();
  if (r == -EINTR) test_cancel();
  return int(ret(r));
}
