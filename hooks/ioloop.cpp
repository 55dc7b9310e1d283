#include "hooks/ioloop.hpp"
#include <sys/socket.h>

namespace gmp {

long FdWait::block(bool progress) {
  const bool receive = dir == Dir::Read;
  settle();
  uint32_t cfg = fd_cfg(fd, rec);
  if ((cfg & FdRec::kNonBlock) && !latched) return -EAGAIN;
  if (rec->kind() == Kind::Unknown) fd_classify(fd); // known_empty and the send side want it
  const Kind k = rec->kind();
  // The kernel looks at the flag when a call begins; pipes, FIFOs and inotify look again each time round.
  latched = is_socket(k) || k == Kind::Anon;
  switch (k) {
  case Kind::OtherSock: return kHandOff;
  case Kind::DgramIn: // EAGAIN may speak of the receiver's queue, for which no edge comes here
    if (!receive) return kHandOff;
    break;
  default: break;
  }
  if (!timed) { // one deadline for the whole call, as in the kernel
    timed = true;
    if (cfg & (receive ? FdRec::kRcvTimeo : FdRec::kSndTimeo)) deadline = fd_deadline(fd, receive);
  }
  if (!armed) return again();
  // A full unix socket whose peer gives up reading, or which is shut down for writing, can never be written again, and poll does not say so:
  // the writer asks now and then.
  int64_t until = deadline;
  if (!receive && (k == Kind::Stream || k == Kind::SeqPacket)) {
    const int64_t again = nanotime() + (int64_t(20000000) << retries);
    if (again < until) until = again;
  }
  const long wait = undisturbed([&]() -> long {
    const bool counted = fd_holds(held);
    if (!counted && !fd_wait_enter(rec, wgen)) return -1; // the number is another's now: that one, then
    const Wait how = poll_wait(fd, dir, seq, until);
    // It may have registered anew, after a forget; the mark comes after (poll.hpp).
    if (GMP_UNLIKELY(!(rec->state.load(std::memory_order_relaxed) & FdRec::kPolled))) fd_mark_polled(fd, rec);
    if (counted) settle();
    else if (GMP_UNLIKELY(!fd_wait_leave(rec, wgen))) take_over();
    return long(how);
  });
  if (wait < 0) return again();
  const Wait x = Wait(wait);
  if (x == Wait::Timeout) {
    if (until == deadline) return -EAGAIN;
    if (retries < 6) retries++;
    return again();
  }
  if (x == Wait::Interrupted) {
    // With a time-out, or with part done, no handler makes the kernel restart (sock_intr_errno).
    release();
    if (kept >= 0 && cancel_pending()) let_go(); // after_interrupt() does not come back then
    bool restartable = !progress && deadline == kNoDeadline;
    if (after_interrupt(restartable) == After::Eintr) return -EINTR; // a cancellation acts with part done too, as in libc
    if (progress) hold();
  } else {
    woken = true;
  }
  return again();
}

int take_error(int fd) {
  int e = 0;
  socklen_t len = sizeof e;
  return sys(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0 ? 0 : e;
}

bool FdWait::first() const {
  return undisturbed([&]() -> long {
    if (!poll_open(fd)) return false;
    fd_mark_polled(fd, rec);
    return true;
  });
}

long FdWait::again() {
  if (arm()) return kAgain;
  const int was = fd; // closed just now, perhaps, and held
  settle();
  return fd != was && arm() ? kAgain : kHandOff;
}

void FdWait::settle() {
  if (GMP_LIKELY(!held) || !fd_holds(held)) return;
  auto& h = self()->hold;
  if (GMP_LIKELY(fd_wait_generation(rec) == h.wgen)) return;
  undisturbed([&]() -> long { // from the count to the slot, with no handler's jump in between
    if (!fd_holds(held)) return 0;
    h.serial.store(0, std::memory_order_relaxed);
    wgen = h.wgen;
    armed = false;
    take_over();
    return 0;
  });
  held = 0;
}

void FdWait::take_over() {
  if (kept >= 0) let_go();
  int hidden;
  kept = int16_t(fd_keep_find(fd, wgen, &hidden));
  if (kept < 0) return;
  fd = hidden;
  rec = fd_rec(hidden);
}

void FdWait::let_go() {
  int slot = kept;
  kept = -1;
  fd_keep_drop(slot);
}

} // namespace gmp
