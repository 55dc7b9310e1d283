// What poll, select and epoll_wait share.
#pragma once
#include "hooks/ioloop.hpp"

namespace gmp {
// More descriptors than this are handed off to the kernel's own call: the runtime links a waiter for each on the G's stack.
inline constexpr size_t kPollMax = 64;
// A wait without descriptors: 0 at the deadline, -EINTR.
long g_sleep(int64_t deadline);
inline void poll_mark(int fd) {
  FdRec* r = fd_rec(fd);
  if (r && !(r->state.load(std::memory_order_relaxed) & FdRec::kPolled)) fd_mark_polled(fd, r);
}
inline int64_t deadline_ms(int ms) { return ms < 0 ? kNoDeadline : nanotime() + ms * 1000000ll; }
// Relative timespec: null waits for ever. False: EINVAL.
inline bool deadline_ts(const timespec* ts, int64_t* out) {
  if (!ts) {
    *out = kNoDeadline;
    return true;
  }
  if (ts->tv_sec < 0 || uint64_t(ts->tv_nsec) > 999999999) return false;
  return deadline_in(ts, out);
}

// scan(): the kernel's call with a time-out of 0. prepare(): fills the items, returns how many, or -1 when there are too many.
// handoff(deadline): the kernel's call, waiting. None of these calls restarts after a handler.
template <class Scan, class Prepare, class Full>
inline long poll_loop(PollItem* items, int64_t deadline, Scan scan, Prepare prepare, Full handoff) {
  // The first look is without any preparation: often something is ready, and then nothing need be registered.
  long r = scan();
  if (r != 0 || deadline == 0) return r;
  long n = prepare();
  if (n < 0) return handoff();
  if (n == 0) return g_sleep(deadline);
  for (;;) {
    // The numbers are taken before the look, so that no edge falls between the look and the wait.
    if (!poll_prepare(items, size_t(n))) return handoff();
    r = scan();
    if (r != 0) return r;
    Wait x = poll_wait_many(items, size_t(n), deadline);
    if (x == Wait::Timeout) return scan(); // what came with the deadline still counts
    if (x == Wait::Interrupted) {
      if ((r = scan()) != 0) return r; // as the kernel: an event goes before a signal
      if (after_interrupt(false) == After::Eintr) return -EINTR;
    }
  }
}
} // namespace gmp
