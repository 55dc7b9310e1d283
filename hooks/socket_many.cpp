// recvmmsg, sendmmsg. The kernel's batches are used as they are, without waiting; the waits in between are ours.
#include "hooks/socket.hpp"

namespace gmp {
namespace {

// The kernel looks at the time-out after each message only (recvmmsg(2), BUGS): it never ends a wait. After each batch, here.
bool out_of_time(timespec* t, int64_t end) {
  if (!t) return false;
  int64_t left = end == kNoDeadline ? 1 : end - nanotime();
  if (end == kNoDeadline) return false;
  if (left < 0) left = 0;
  t->tv_sec = left / 1000000000;
  t->tv_nsec = left % 1000000000;
  return left == 0;
}

long g_recvmmsg(int fd, mmsghdr* vec, unsigned n, int flags, timespec* timeout) {
  if (flags & (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE)) return sys(SYS_recvmmsg, fd, vec, n, flags, timeout);
  FdRec* rec = fd_rec(fd);
  // Streams that wait for all, and low-water marks: message by message in the kernel, announced.
  if (!rec || (flags & MSG_WAITALL) || g_rcvlowat_used.load(std::memory_order_relaxed))
    return blocking_point(SYS_recvmmsg, fd, vec, n, flags, timeout);
  int64_t end = kNoDeadline;
  if (timeout) {
    if (timeout->tv_sec < 0 || uint64_t(timeout->tv_nsec) > 999999999) return -EINVAL;
    if (!deadline_in(timeout, &end)) return -EINVAL;
  }
  FdWait w(fd, Dir::Read, rec);
  unsigned done = 0;
  for (;;) {
    long r = sys(SYS_recvmmsg, w.fd, vec + done, n - done, flags | MSG_DONTWAIT, nullptr);
    if (r >= 0) {
      done += unsigned(r);
      bool ended = r == 0 || done >= n || (flags & MSG_WAITFORONE);
      if (ended || out_of_time(timeout, end) || w.nonblocking()) return w.end(done);
      w.timed = false; // SO_RCVTIMEO counts for each message
      w.deadline = kNoDeadline;
      continue;
    }
    if (r == -EAGAIN) {
      r = w.block(done > 0);
      if (r == kAgain) continue;
      if (r == kHandOff) {
        r = blocking_point(SYS_recvmmsg, w.fd, vec + done, n - done, flags, nullptr);
        if (r >= 0) return w.end(done + r);
      }
    }
    return w.end(done ? long(done) : r);
  }
}

size_t total_of(const msghdr* m) {
  size_t t = 0;
  for (size_t i = 0; i < m->msg_iovlen; i++) t += m->msg_iov[i].iov_len;
  return t;
}

// Ends with the first message that could not be sent whole; its error shows only when it is the first.
long g_sendmmsg(int fd, mmsghdr* vec, unsigned n, int flags) {
  if (flags & MSG_DONTWAIT) return with_sync_signal(sys(SYS_sendmmsg, fd, vec, n, flags));
  if (n > 1024) n = 1024; // UIO_MAXIOV
  if (n == 0) return sys(SYS_sendmmsg, fd, vec, 0, flags);
  unsigned done = 0;
  while (done < n) {
    long r = with_sync_signal(sys(SYS_sendmmsg, fd, vec + done, n - done, flags | MSG_DONTWAIT));
    if (r > 0) {
      done += unsigned(r);
      // The last of a batch may be a stream's part: the rest of it, waiting.
      mmsghdr* last = &vec[done - 1];
      size_t total = total_of(&last->msg_hdr);
      if (last->msg_len >= total || (fd_rec(fd) && (fd_cfg(fd, fd_rec(fd)) & FdRec::kNonBlock))) {
        if (last->msg_len < total) return done;
        continue;
      }
      r = g_sendmsg(fd, &last->msg_hdr, flags, last->msg_len);
      if (r > 0) last->msg_len += unsigned(r);
      if (last->msg_len < total) return done;
      continue;
    }
    if (r != -EAGAIN) return done ? long(done) : r;
    r = g_sendmsg(fd, &vec[done].msg_hdr, flags); // waits as one message does
    if (r < 0) return done ? long(done) : r;
    vec[done].msg_len = unsigned(r);
    if (size_t(r) < total_of(&vec[done++].msg_hdr)) return done;
  }
  return done;
}

} // namespace
} // namespace gmp

using namespace gmp;

GMP_REAL(recvmmsg);
GMP_REAL(sendmmsg);

GMP_HOOK int recvmmsg(int fd, mmsghdr* vec, unsigned n, int flags, timespec* timeout) {
  if (io_g()) {
    test_cancel();
    return int(ret(g_recvmmsg(fd, vec, n, flags, timeout)));
  }
  if (native()) return REAL(recvmmsg)(fd, vec, n, flags, timeout);
  return int(cp_sys(SYS_recvmmsg, fd, vec, n, flags, timeout));
}

GMP_HOOK int sendmmsg(int fd, mmsghdr* vec, unsigned n, int flags) {
  if (native()) return REAL(sendmmsg)(fd, vec, n, flags);
  int r;
  if (io_g()) {
    test_cancel();
    r = int(ret(g_sendmmsg(fd, vec, n, flags)));
  } else {
    r = int(cp_sys(SYS_sendmmsg, fd, vec, n, flags));
  }
  for (int i = 0; i < r; i++) fds_passed(&vec[i].msg_hdr);
  return r;
}
