#include "hooks/ioloop.hpp"

namespace gmp {

long FdWait::block(bool progress) {
  const bool receive = dir == Dir::Read;
  uint32_t cfg = fd_cfg(fd, rec);
  if (cfg & FdRec::kNonBlock) return -EAGAIN;
  if (rec->kind() == Kind::Unknown) fd_classify(fd); // known_empty and the send side want it
  switch (rec->kind()) {
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
  if (!armed) return arm() ? kAgain : kHandOff;
  Wait x = poll_wait(fd, dir, seq, deadline);
  if (x == Wait::Timeout) return -EAGAIN;
  if (x == Wait::Interrupted) {
    // With a time-out, or with part done, no handler makes the kernel restart (sock_intr_errno).
    bool restartable = !progress && deadline == kNoDeadline;
    if (after_interrupt(restartable, !progress) == After::Eintr) return -EINTR;
  } else {
    woken = true;
  }
  return arm() ? kAgain : kHandOff;
}

} // namespace gmp
