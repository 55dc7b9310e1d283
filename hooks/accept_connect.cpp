// accept, accept4, connect. accept has no flag that makes one call non-blocking (SOCK_NONBLOCK is for the new descriptor), so poll says
// whether a connection waits, and the accept that follows is announced: another process or thread may take it first, and
// then that M waits in the kernel like a native thread, until the next connection.
#include <sys/socket.h>
#include "hooks/ioloop.hpp"

namespace gmp {
namespace {

// Accepted sockets inherit O_NONBLOCK from the flags alone, but time-outs from the listener.
void accepted(int fd, int listener, uint32_t seen, int flags) {
  uint32_t cfg = kCfgUnknown, bits;
  Kind k = Kind::Unknown;
  FdRec* l = fd_rec(listener);
  if (l && ((l->state.load(std::memory_order_acquire) ^ seen) & FdRec::kGenMask) == 0) { // the number is the listener's still
    k = l->kind();
    if (fd_cfg_cached(l, &bits) && !(bits & (FdRec::kRcvTimeo | FdRec::kSndTimeo)) && !(bits & FdRec::kNonBlock))
      cfg = flags & SOCK_NONBLOCK ? FdRec::kNonBlock : 0;
    else if (flags & SOCK_NONBLOCK)
      cfg = FdRec::kNonBlock;
  }
  fd_created(fd, is_socket(k) ? k : Kind::Unknown, cfg);
}

bool is_listening(int fd, FdRec* rec) {
  if (GMP_LIKELY(rec->state.load(std::memory_order_relaxed) & FdRec::kListen)) return true;
  int v = 0;
  socklen_t len = sizeof v;
  if (sys(SYS_getsockopt, fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &len) < 0 || !v) return false;
  rec->state.fetch_or(FdRec::kListen, std::memory_order_acq_rel);
  return true;
}

// with4: the program called accept4 (a seccomp filter may know only one of the two).
long raw_accept(bool with4, int fd, sockaddr* addr, socklen_t* len, int flags) {
  return with4 ? sys(SYS_accept4, fd, addr, len, flags) : sys(SYS_accept, fd, addr, len);
}

long g_accept(bool with4, int fd, sockaddr* addr, socklen_t* len, int flags) {
  auto announced_accept = [&](int fd) -> long {
    return with4 ? blocking_point(SYS_accept4, fd, addr, len, flags) : blocking_point(SYS_accept, fd, addr, len);
  };
  FdRec* rec = fd_rec(fd);
  if (!rec) return announced_accept(fd);
  // Only a listener may be waited for, and flags are looked at first: else accept says EINVAL or EOPNOTSUPP at once.
  if ((fd_cfg(fd, rec) & FdRec::kNonBlock) || !is_listening(fd, rec) || flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
    return announced_accept(fd);
  FdWait w(fd, Dir::Read, rec);
  for (;;) {
    long r = -EAGAIN;
    // Errors pass the baton too: with ECONNABORTED one arrival is used up, there may be another behind it.
    if (fd_ready(w.fd, POLLIN)) return w.end(announced_accept(w.fd));
    r = w.block(false);
    if (r == kAgain) continue;
    return w.end(r == kHandOff ? announced_accept(w.fd) : r);
  }
}

} // namespace
} // namespace gmp

using namespace gmp;

GMP_REAL(accept);
GMP_REAL(accept4);
GMP_REAL(connect);

static int do_accept(bool with4, int fd, sockaddr* addr, socklen_t* len, int flags) {
  test_cancel();
  FdRec* rec = fd_rec(fd);
  const uint32_t seen = rec ? rec->state.load(std::memory_order_acquire) : 0;
  long r = io_g() ? g_accept(with4, fd, addr, len, flags) : raw_accept(with4, fd, addr, len, flags);
  if (r == -EINTR) test_cancel();
  if (r >= 0) accepted(int(r), fd, seen, flags);
  return int(ret(r));
}

GMP_HOOK int accept(int fd, sockaddr* addr, socklen_t* len) {
  if (native()) return REAL(accept)(fd, addr, len);
  return do_accept(false, fd, addr, len, 0);
}

GMP_HOOK int accept4(int fd, sockaddr* addr, socklen_t* len, int flags) {
  if (native()) return REAL(accept4)(fd, addr, len, flags);
  return do_accept(true, fd, addr, len, flags);
}

// A non-blocking connect and one to a local address come back at once; another takes a round trip: announced, the P is lent out. With a
// time limit no handler makes it start again.
GMP_HOOK int connect(int fd, const sockaddr* addr, socklen_t len) {
  if (native()) return REAL(connect)(fd, addr, len);
  test_cancel();
  if (!io_g()) return int(ret(sys(SYS_connect, fd, addr, len)));
  FdRec* rec = fd_rec(fd);
  const bool limited = rec && fd_cfg(fd, rec) & FdRec::kSndTimeo;
  return int(ret(point_sys(!limited, false, SYS_connect, fd, addr, len)));
}
GMP_ALIAS(__connect, connect);
