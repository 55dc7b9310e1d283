// recv* and send* on sockets. MSG_DONTWAIT asks without waiting; MSG_OOB and MSG_ERRQUEUE never wait; MSG_WAITALL is a loop here,
// because the kernel's does not go together with MSG_DONTWAIT. The batched calls are in socket_many.cpp.
#include "hooks/socket.hpp"
#include <algorithm>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <utility>

namespace gmp {

bool has_mark_slow(int fd) {
  int mark = 0;
  socklen_t len = sizeof mark;
  return sys(SYS_getsockopt, fd, SOL_SOCKET, SO_RCVLOWAT, &mark, &len) == 0 && mark > 1;
}

// Is a try certain to yield nothing but an error that belongs to the program's next call?
static bool only_error_left(int fd) {
  if (!poll_hup(fd) || !(fd_ready(fd, POLLIN) & POLLERR)) return false;
  int left = 0;
  return sys(SYS_ioctl, fd, FIONREAD, &left) == 0 && left == 0;
}

// Until `total` bytes are there, on a stream. attempt(done) receives behind what is done; a peek sees all of it again each time.
template <class Try, class Full>
static long recv_all(int fd, bool peek, size_t total, Try attempt, Full handoff) {
  FdRec* rec = fd_rec(fd);
  if (!rec) return handoff(fd, 0);
  FdWait w(fd, Dir::Read, rec);
  w.latch();
  w.hold();
  size_t done = 0;
  for (;;) {
    bool used_up = peek && w.armed && poll_hup(w.fd) && (fd_ready(w.fd, POLLRDHUP) & (POLLRDHUP | POLLHUP | POLLERR)); // the edge of the end is behind us: no other will come
    long r = w.attempt([&](int fd) { return attempt(fd, peek ? 0 : done); }, done > 0);
    if (r >= 0) {
      done = peek ? size_t(r) : done + size_t(r);
      if (r == 0 || done >= total || used_up || w.nonblocking()) return w.end(long(done));
      if (!peek) continue;
    } else if (r != -EAGAIN) {
      return w.end(done ? long(done) : r);
    }
    r = w.block(done > 0);
    if (r == kAgain) {
      if (done && !peek && only_error_left(w.fd)) return w.end(long(done));
      continue;
    }
    if (r == kHandOff) {
      w.settle();
      w.release(); // may unwind
      r = handoff(w.fd, peek ? 0 : done);
      return w.end(r >= 0 && !peek ? long(done) + r : r >= 0 ? r : done ? long(done) : r);
    }
    return w.end(done ? long(done) : r);
  }
}

static bool waits_for_all(int fd, int flags) {
  if (GMP_LIKELY(!(flags & MSG_WAITALL))) return false;
  Kind k = fd_kind(fd);
  // A peek on a unix socket takes what there is: the first try does.
  return k == Kind::Tcp || ((k == Kind::Stream || k == Kind::OtherSock) && !(flags & MSG_PEEK));
}

long g_recvfrom(int fd, void* buf, size_t n, int flags, sockaddr* addr, socklen_t* len) {
  auto full = [&](int fd) -> long { return blocking_point(SYS_recvfrom, fd, buf, n, flags, addr, len); };
  if (GMP_UNLIKELY(flags & (MSG_OOB | MSG_ERRQUEUE | MSG_DONTWAIT))) return sys(SYS_recvfrom, fd, buf, n, flags, addr, len);
  if (GMP_UNLIKELY(has_mark(fd))) return full(fd);
  if (GMP_UNLIKELY(waits_for_all(fd, flags)) && n > 1) {
    const int f = (flags & ~MSG_WAITALL) | MSG_DONTWAIT;
    const size_t most = std::min(n, kMaxRw);
    char* p = static_cast<char*>(buf);
    return recv_all(fd, flags & MSG_PEEK, most,
                    [&](int fd, size_t done) { return sys(SYS_recvfrom, fd, p + done, most - done, f, addr, len); },
                    [&](int fd, size_t done) { return blocking_point(SYS_recvfrom, fd, p + done, most - done, flags, addr, len); });
  }
  const int f = (flags & ~MSG_WAITALL) | MSG_DONTWAIT;
  return recv_loop(fd, (flags & ~(MSG_NOSIGNAL | MSG_CMSG_CLOEXEC)) == 0, [&] { return n <= kMaxRw ? n : 0; },
                   [&](int fd) { return sys(SYS_recvfrom, fd, buf, n, f, addr, len); }, full);
}

// The rest of a vector into a window on the stack: as much as fits, which a loop may ask for piecewise, and no more than the kernel moves
// in a call, `done` included.
static int iov_rest(const iovec* v, size_t n, size_t done, iovec* out, int room) {
  int k = 0;
  size_t left = kMaxRw - done;
  for (size_t i = 0; i < n && k < room && left; i++) {
    if (done >= v[i].iov_len) {
      done -= v[i].iov_len;
      continue;
    }
    out[k] = {static_cast<char*>(v[i].iov_base) + done, std::min(v[i].iov_len - done, left)};
    left -= out[k++].iov_len;
    done = 0;
  }
  return k;
}

static size_t msg_total(const msghdr* m) {
  size_t t = 0;
  for (size_t i = 0; i < m->msg_iovlen; i++) t += m->msg_iov[i].iov_len;
  return std::min(t, kMaxRw);
}

static constexpr int kWindow = 32;

long g_recvmsg(int fd, msghdr* m, int flags) {
  auto full = [&](int fd) -> long { return blocking_point(SYS_recvmsg, fd, m, flags); };
  if (GMP_UNLIKELY(flags & (MSG_OOB | MSG_ERRQUEUE | MSG_DONTWAIT))) return sys(SYS_recvmsg, fd, m, flags);
  if (GMP_UNLIKELY(has_mark(fd))) return full(fd);
  const int f = (flags & ~MSG_WAITALL) | MSG_DONTWAIT;
  if (GMP_UNLIKELY(waits_for_all(fd, flags))) {
    // The first read fills in name, control and flags and ends the call when it brought control data, as a unix socket does
    // natively (it never reads on behind passed descriptors).
    const size_t control_room = m ? m->msg_controllen : 0;
    bool first = true;
    return recv_all(fd, flags & MSG_PEEK, m ? msg_total(m) : 0, [&](int fd, size_t done) -> long {
      if (done && m->msg_controllen > 0 && control_room > 0 && !first) return 0;
      if (!done) {
        m->msg_controllen = control_room;
        long r = sys(SYS_recvmsg, fd, m, f);
        if (r > 0) first = false;
        return r;
      }
      iovec part[kWindow];
      msghdr rest = *m;
      rest.msg_iov = part;
      rest.msg_iovlen = size_t(iov_rest(m->msg_iov, m->msg_iovlen, done, part, kWindow));
      rest.msg_controllen = control_room;
      rest.msg_name = nullptr;
      rest.msg_namelen = 0;
      long r = sys(SYS_recvmsg, fd, &rest, f);
      if (r >= 0) {
        m->msg_controllen = rest.msg_controllen;
        m->msg_flags |= rest.msg_flags;
      }
      return r;
    }, [&](int fd, size_t done) -> long { return done ? -EAGAIN : blocking_point(SYS_recvmsg, fd, m, flags); });
  }
  return recv_loop(fd, (flags & ~(MSG_NOSIGNAL | MSG_CMSG_CLOEXEC)) == 0, [&] { size_t t = msg_total(m); return t < kMaxRw ? t : 0; },
                   [&](int fd) { return sys(SYS_recvmsg, fd, m, f); }, full);
}

// Zero-copy completions are counted by call and TCP fast open connects: the kernel's own blocking call for those.
static constexpr int kSendHandOff = MSG_ZEROCOPY | MSG_FASTOPEN;

long g_sendto(int fd, const void* buf, size_t n, int flags, const sockaddr* addr, socklen_t len) {
  if (GMP_UNLIKELY(flags & (MSG_DONTWAIT | kSendHandOff))) {
    if (flags & MSG_DONTWAIT) return with_sync_signal(sys(SYS_sendto, fd, buf, n, flags, addr, len));
    return blocking_point(SYS_sendto, fd, buf, n, flags, addr, len);
  }
  const char* p = static_cast<const char*>(buf);
  const size_t most = std::min(n, kMaxRw);
  auto call = [&](size_t done) {
    return done ? std::pair{p + done, most - done} : std::pair{p, n};
  };
  return send_loop(fd, true, most, [&] { return most; }, [&](int fd, size_t done) {
    auto [at, left] = call(done);
    return sys(SYS_sendto, fd, at, left, flags | MSG_DONTWAIT | (done ? MSG_NOSIGNAL : 0), addr, len);
  }, [&](int fd, size_t done) -> long {
    auto [at, left] = call(done);
    return blocking_point(SYS_sendto, fd, at, left, flags | (done ? MSG_NOSIGNAL : 0), addr, len);
  });
}

// What of the control data belongs to every part of a message: all but SCM_RIGHTS, which go with the first.
static size_t control_rest(const msghdr* m, char* out, size_t room) {
  size_t n = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(const_cast<msghdr*>(m), c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) continue;
    size_t len = CMSG_ALIGN(c->cmsg_len);
    if (n + len > room) break;
    __builtin_memcpy(out + n, c, c->cmsg_len);
    n += len;
  }
  return n;
}

void fds_passed(const msghdr* m) {
  if (GMP_LIKELY(m->msg_controllen == 0)) return;
  for (cmsghdr* c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(const_cast<msghdr*>(m), c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
      int fd;
      __builtin_memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      fd_shared(fd);
    }
  }
}

long g_sendmsg(int fd, const msghdr* m, int flags, size_t from) {
  if (GMP_UNLIKELY(flags & (MSG_DONTWAIT | kSendHandOff))) {
    if (flags & MSG_DONTWAIT) return with_sync_signal(sys(SYS_sendmsg, fd, m, flags));
    return blocking_point(SYS_sendmsg, fd, m, flags);
  }
  auto part = [&](int fd, size_t done, int f, bool wait) -> long {
    if (!done) return wait ? blocking_point(SYS_sendmsg, fd, m, f) : sys(SYS_sendmsg, fd, m, f);
    alignas(cmsghdr) char control[256];
    iovec v[kWindow];
    msghdr rest = *m;
    rest.msg_iov = v;
    rest.msg_iovlen = size_t(iov_rest(m->msg_iov, m->msg_iovlen, done, v, kWindow));
    rest.msg_control = control;
    rest.msg_controllen = m->msg_controllen ? control_rest(m, control, sizeof control) : 0;
    f |= MSG_NOSIGNAL;
    return wait ? blocking_point(SYS_sendmsg, fd, &rest, f) : sys(SYS_sendmsg, fd, &rest, f);
  };
  return send_loop(fd, true, kMaxRw, [&] { return msg_total(m) - from; },
                   [&](int fd, size_t done) { return part(fd, from + done, flags | MSG_DONTWAIT, false); },
                   [&](int fd, size_t done) { return part(fd, from + done, flags, true); });
}

} // namespace gmp

using namespace gmp;

GMP_REAL(recv);
GMP_REAL(recvfrom);
GMP_REAL(recvmsg);
GMP_REAL(send);
GMP_REAL(sendto);
GMP_REAL(sendmsg);
extern "C" ssize_t __recv_chk(int, void*, size_t, size_t, int);
extern "C" ssize_t __recvfrom_chk(int, void*, size_t, size_t, int, sockaddr*, socklen_t*);
GMP_REAL(__recv_chk);
GMP_REAL(__recvfrom_chk);

GMP_HOOK ssize_t recv(int fd, void* buf, size_t n, int flags) {
  if (GMP_LIKELY(io_g() != nullptr)) {
    test_cancel();
    return ret(g_recvfrom(fd, buf, n, flags, nullptr, nullptr));
  }
  if (native()) return REAL(recv)(fd, buf, n, flags);
  return cp_sys(SYS_recvfrom, fd, buf, n, flags, nullptr, nullptr);
}
GMP_ALIAS(__recv, recv); // GLIBC_PRIVATE: for libc's own libraries

GMP_HOOK ssize_t __recv_chk(int fd, void* buf, size_t n, size_t size, int flags) {
  if (native() || n > size) return REAL(__recv_chk)(fd, buf, n, size, flags);
  return recv(fd, buf, n, flags);
}

GMP_HOOK ssize_t recvfrom(int fd, void* buf, size_t n, int flags, sockaddr* addr, socklen_t* len) {
  if (io_g()) {
    test_cancel();
    return ret(g_recvfrom(fd, buf, n, flags, addr, len));
  }
  if (native()) return REAL(recvfrom)(fd, buf, n, flags, addr, len);
  return cp_sys(SYS_recvfrom, fd, buf, n, flags, addr, len);
}

GMP_HOOK ssize_t __recvfrom_chk(int fd, void* buf, size_t n, size_t size, int flags, sockaddr* addr, socklen_t* len) {
  if (native() || n > size) return REAL(__recvfrom_chk)(fd, buf, n, size, flags, addr, len);
  return recvfrom(fd, buf, n, flags, addr, len);
}

GMP_HOOK ssize_t recvmsg(int fd, msghdr* m, int flags) {
  if (io_g()) {
    test_cancel();
    return ret(g_recvmsg(fd, m, flags));
  }
  if (native()) return REAL(recvmsg)(fd, m, flags);
  return cp_sys(SYS_recvmsg, fd, m, flags);
}

GMP_HOOK ssize_t send(int fd, const void* buf, size_t n, int flags) {
  if (GMP_LIKELY(io_g() != nullptr)) {
    test_cancel();
    return ret(g_sendto(fd, buf, n, flags, nullptr, 0));
  }
  if (native()) return REAL(send)(fd, buf, n, flags);
  return cp_sys(SYS_sendto, fd, buf, n, flags, nullptr, 0);
}
GMP_ALIAS(__send, send);

GMP_HOOK ssize_t sendto(int fd, const void* buf, size_t n, int flags, const sockaddr* addr, socklen_t len) {
  if (io_g()) {
    test_cancel();
    return ret(g_sendto(fd, buf, n, flags, addr, len));
  }
  if (native()) return REAL(sendto)(fd, buf, n, flags, addr, len);
  return cp_sys(SYS_sendto, fd, buf, n, flags, addr, len);
}

GMP_HOOK ssize_t sendmsg(int fd, const msghdr* m, int flags) {
  if (native()) return REAL(sendmsg)(fd, m, flags);
  ssize_t r;
  if (io_g()) {
    test_cancel();
    r = ret(g_sendmsg(fd, m, flags));
  } else {
    r = cp_sys(SYS_sendmsg, fd, m, flags);
  }
  if (r >= 0) fds_passed(m);
  return r;
}
