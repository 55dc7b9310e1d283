// What poll, select and epoll_wait share.
#pragma once
#include <sys/epoll.h>
#include "hooks/ioloop.hpp"

namespace gmp {
// More descriptors than this are handed off to the kernel's own call: the runtime links a waiter for each on the G's stack.
inline constexpr size_t kPollMax = 64;
// A wait without descriptors: 0 at the deadline, -EINTR.
long g_sleep(int64_t deadline);
// fd has been registered: whoever closes it must take it out again. Always after the registration: he who clears the mark takes out what
// is registered then, so that one made before the mark is not forgotten, nor one made after it had been cleared. (A number's last closer may come to clear
// it when libc's insides, which do not keep our books, have made it anew.)
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

// The kernel says that there is something, before its edge has been counted: the read that follows need not wait for that.
inline void poll_found(int fd) {
  FdRec* r = fd_rec(fd);
  if (r && r->empty.load(std::memory_order_relaxed)) r->empty.store(0, std::memory_order_relaxed);
}

// The files that a poll or select waits for are held as a blocked read holds its own (fdkeep.hpp): a number closed or replaced meanwhile does
// not end the wait. Only when a file stirs, or the time is up, does the kernel look at the numbers again.
struct PollHold {
  PollItem* items;
  size_t n = 0;
  bool any = false; // an item waits on a hidden number
  uint32_t wgen[kPollMax];
  int16_t slot[kPollMax];

  explicit PollHold(PollItem* it) : items(it) {}
  void begin(size_t count);
  void look_up();      // before the look that precedes a wait
  bool enter();        // false: a number has changed hands since
  void leave(size_t up_to);
  bool stirred() const; // is a file that is waited for ready now?
  void let_go();
};

// Numbers for descriptors that have all been waited for before, without a system call: then one look serves for both. Afterwards `empty` says
// whether even that one can be left out, for all are known to have nothing (ioloop.hpp) and only that is asked.
inline bool poll_ahead(PollHold& hold, PollItem* items, long n, bool* empty) {
  hold.begin(size_t(n));
  hold.look_up();
  if (!poll_numbers(items, size_t(n))) return false;
  *empty = true;
  for (long i = 0; i < n; i++) {
    const FdRec* rec = fd_rec(items[i].fd);
    const uint32_t state = rec->state.load(std::memory_order_acquire);
    if (!(state & FdRec::kPolled)) return false;
    *empty = *empty && items[i].events == EPOLLIN && rec->empty.load(std::memory_order_relaxed) == FdWait::key_of(state & FdRec::kGenMask, items[i].seq_r);
  }
  return true;
}

// scan(): the kernel's call with a time-out of 0. prepare(): fills the items, returns how many, or -1 when there are too many.
// handoff(): the kernel's call, waiting. None of these calls restarts after a handler. safe: prepare() may read before the kernel has.
template <class Scan, class Prepare, class Full>
inline long poll_loop(PollItem* items, int64_t deadline, Scan scan, Prepare prepare, Full handoff, bool safe = false) {
  make_room();
  PollHold hold(items);
  long n = safe && deadline != 0 ? prepare() : -1;
  bool empty = false;
  const bool ahead = n > 0 && poll_ahead(hold, items, n, &empty);
  // Else the first look is without any preparation: often something is ready, and then nothing need be registered.
  long r = ahead && empty ? 0 : scan();
  if (r != 0 || deadline == 0) return r;
  if (!ahead) {
    n = prepare();
    if (n < 0) return handoff();
    if (n == 0) return g_sleep(deadline);
    hold.begin(size_t(n));
  }
  for (bool taken = ahead;; taken = false) {
    if (!taken) {
      hold.look_up();
      // The numbers are taken before the look, so that no edge falls between the look and the wait.
      const bool all = undisturbed([&]() -> long {
        const bool watched = poll_prepare(items, size_t(n));
        for (long i = 0; i < n; i++)
          if (items[i].fd >= 0) poll_mark(items[i].fd);
        return watched;
      });
      if (!all) {
        hold.let_go();
        return handoff();
      }
      if (GMP_LIKELY(!hold.any) || hold.stirred()) {
        r = scan();
        if (r != 0) break;
      }
    }
    const long wait = undisturbed([&]() -> long {
      if (!hold.enter()) return -1;
      const Wait how = poll_wait_many(items, size_t(n), deadline);
      hold.leave(size_t(n));
      return long(how);
    });
    if (wait < 0) continue;
    const Wait x = Wait(wait);
    if (x == Wait::Timeout) {
      r = scan(); // what came with the deadline still counts
      break;
    }
    if (x == Wait::Interrupted) {
      if ((!hold.any || hold.stirred()) && (r = scan()) != 0) break; // as the kernel: an event goes before a signal
      if (hold.any && cancel_pending()) hold.let_go(); // after_interrupt() does not come back then
      if (after_interrupt(false) == After::Eintr) {
        r = -EINTR;
        break;
      }
    }
  }
  hold.let_go();
  return r;
}
} // namespace gmp
