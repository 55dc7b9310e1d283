// read, write, readv, writev: by kind of descriptor. Sockets take MSG_DONTWAIT; pipes, eventfds and their like RWF_NOWAIT at
// offset -1 (the current position, which streams do not have); named FIFOs and inotify are polled first; files are announced.
#include <algorithm>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "hooks/signal.hpp"
#include "hooks/socket.hpp"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

namespace gmp {
namespace {

template <class... A> long file_point(long n, int fd, A... a) { return point_sys_if([&] { return !fd_on_disk(fd); }, n, fd, a...); }

long nowait_readv(int fd, const iovec* v, int n) { return sys(SYS_preadv2, fd, v, n, -1l, 0, RWF_NOWAIT); }
// Of what may be a signalfd: before any other attempt.
template <class Read> long own_signals(int fd, Read read) { return GMP_LIKELY(!signalfd_may_be_own()) ? -EAGAIN : signalfd_read_own(fd, read); }
long nowait_writev(int fd, const iovec* v, int n) { return sys(SYS_pwritev2, fd, v, n, -1l, 0, RWF_NOWAIT); }

// chaos_short() for descriptors that block and whose writes may end anywhere. A pipe is given whole pages: it keeps each part's last one to that part, and would
// hold less than natively.
size_t piece(int fd, Kind k, size_t n) {
  if (GMP_LIKELY(g_config.chaos == 0) || (k != Kind::Tcp && k != Kind::Stream && k != Kind::PipeOwn)) return n;
  FdRec* r = fd_rec(fd);
  if (!r || (fd_cfg(fd, r) & FdRec::kNonBlock)) return n;
  const size_t part = chaos_short(n);
  return k == Kind::PipeOwn && part < n ? std::min(n, align_up(part, kPage)) : part;
}

size_t iov_total(const iovec* v, int n) {
  size_t t = 0;
  for (int i = 0; i < n; i++) t += v[i].iov_len;
  return t < kMaxRw ? t : kMaxRw;
}

// For Kind::PollFirst: announced once poll says that it won't block (another reader may still be faster: it is announced).
template <class Full> long polled_first(int fd, short events, Full full) {
  FdRec* r = fd_rec(fd);
  if (fd_cfg(fd, r) & FdRec::kNonBlock) return full(fd);
  return fd_ready(fd, events) ? full(fd) : -EAGAIN;
}

// A FIFO that nobody has opened for writing since we did is at its end, but poll says nothing of it: only an attempt tells. vmsplice is the one
// non-blocking read that a FIFO has (it would write to one that is open both ways: that one has a writer, itself).
long read_polled_first(int fd, const iovec* v, int n, FnRef<long(int)> full) {
  long r = polled_first(fd, POLLIN, full);
  if (r != -EAGAIN || (sys(SYS_fcntl, fd, F_GETFL) & O_ACCMODE) != O_RDONLY) return r;
  r = sys(SYS_vmsplice, fd, v, n, SPLICE_F_NONBLOCK);
  return r >= 0 ? r : -EAGAIN;
}

long g_read(int fd, void* buf, size_t n) {
  auto full = [&](int fd) -> long { return file_point(SYS_read, fd, buf, n); };
  auto read = [&](int fd) -> long { return sys(SYS_read, fd, buf, n); };
  auto want = [&] { return n <= kMaxRw ? n : 0; };
  if (GMP_UNLIKELY(ssize_t(n) <= 0)) return full(fd); // refused, or means something different to each kind, and waits in none but inotify
  for (;;) {
    Kind k = fd_kind(fd);
    long r;
    if (GMP_LIKELY(is_socket(k))) {
      if (has_mark(fd)) return full(fd);
      r = recv_loop(fd, true, want, [&](int fd) { return sys(SYS_recvfrom, fd, buf, n, MSG_DONTWAIT, 0, 0); }, full);
      if (r != -ENOTSOCK) return r;
      fd_reclassify(fd, Kind::Unknown); // closed and made anew where we did not see it
    } else if (k == Kind::Pipe || k == Kind::PipeOwn || k == Kind::Anon) {
      iovec v{buf, n};
      r = recv_loop(fd, true, want, [&](int fd) {
        const long own = k == Kind::Anon ? own_signals(fd, read) : -EAGAIN;
        return own != -EAGAIN ? own : nowait_readv(fd, &v, 1);
      }, full);
      if (r != -EOPNOTSUPP) return r;
      fd_reclassify(fd, Kind::PollFirst);
    } else if (k == Kind::PollFirst) {
      iovec v{buf, n};
      return recv_loop(fd, false, want, [&](int fd) {
        const long own = own_signals(fd, read); // signalfds are of this kind before Linux 6.10
        return own != -EAGAIN ? own : read_polled_first(fd, &v, 1, full);
      }, full);
    } else {
      return full(fd);
    }
  }
}

long g_readv(int fd, const iovec* iov, int cnt) {
  auto full = [&](int fd) -> long { return file_point(SYS_readv, fd, iov, cnt); };
  auto read = [&](int fd) -> long { return sys(SYS_readv, fd, iov, cnt); };
  // Read by us only after the kernel has: a bad pointer is its EFAULT.
  auto want = [&] { return iov_total(iov, cnt) < kMaxRw ? iov_total(iov, cnt) : 0; };
  for (;;) {
    Kind k = fd_kind(fd);
    long r;
    if (is_socket(k) || k == Kind::Pipe || k == Kind::PipeOwn || k == Kind::Anon) {
      if (is_socket(k) && has_mark(fd)) return full(fd);
      // As readv does, it answers 0 to an empty vector without waiting, which recvmsg does not.
      r = recv_loop(fd, true, want, [&](int fd) {
        const long own = k == Kind::Anon ? own_signals(fd, read) : -EAGAIN;
        return own != -EAGAIN ? own : nowait_readv(fd, iov, cnt);
      }, full);
      if (r != -EOPNOTSUPP) return r;
      if (is_socket(k)) { // before Linux 6.5
        if (unsigned(cnt) > 1024 || iov_total(iov, cnt) == 0) return full(fd);
        msghdr m{};
        m.msg_iov = const_cast<iovec*>(iov);
        m.msg_iovlen = size_t(cnt);
        r = recv_loop(fd, true, want, [&](int fd) { return sys(SYS_recvmsg, fd, &m, MSG_DONTWAIT); }, full);
        if (r != -ENOTSOCK) return r;
        fd_reclassify(fd, Kind::Unknown);
      } else {
        fd_reclassify(fd, Kind::PollFirst);
      }
    } else if (k == Kind::PollFirst) {
      return recv_loop(fd, false, want, [&](int fd) {
        const long own = own_signals(fd, read);
        return own != -EAGAIN ? own : read_polled_first(fd, iov, cnt, full);
      }, full);
    } else {
      return full(fd);
    }
  }
}

long g_write(int fd, const void* buf, size_t n) {
  const char* p = static_cast<const char*>(buf);
  const size_t most = n < kMaxRw ? n : kMaxRw;
  auto total = [&] { return most; };
  auto rest = [&](size_t done) { return done ? most - done : n; };
  auto full = [&](int fd, size_t done) -> long { return file_point(SYS_write, fd, p + done, rest(done)); };
  if (GMP_UNLIKELY(ssize_t(n) < 0)) return full(fd, 0);
  for (;;) {
    Kind k = fd_kind(fd);
    long r;
    if (GMP_LIKELY(is_socket(k))) {
      const int flags = MSG_DONTWAIT | (k == Kind::SeqPacket ? MSG_EOR : 0); // as sock_write_iter
      r = send_loop(fd, true, most, total, [&](int fd, size_t done) {
        return sys(SYS_sendto, fd, p + done, piece(fd, k, rest(done)), flags | (done ? MSG_NOSIGNAL : 0), 0, 0);
      }, full);
      if (r != -ENOTSOCK) return r;
      fd_reclassify(fd, Kind::Unknown);
    } else if (k == Kind::Pipe || k == Kind::PipeOwn) {
      // What is at most PIPE_BUF fits one page of the pipe: the kernel takes all of it or says EAGAIN.
      r = send_loop(fd, false, most, total, [&](int fd, size_t done) {
        iovec v{const_cast<char*>(p) + done, piece(fd, k, rest(done))};
        return nowait_writev(fd, &v, 1);
      }, full);
      if (r != -EOPNOTSUPP) return r;
      fd_reclassify(fd, Kind::PollFirst);
    } else if (k == Kind::PollFirst && most <= 4096) {
      return recv_loop(fd, false, total, [&](int fd) { return polled_first(fd, POLLOUT, [&](int f) { return full(f, 0); }); },
                       [&](int fd) { return full(fd, 0); }, Dir::Write);
    } else {
      return full(fd, 0);
    }
  }
}

// What is left of a vector of which `done` bytes are through. No copy of it: a half-done element goes alone, then whole ones from there; one
// by one if the vector holds more than the kernel moves in a call.
struct IovAt {
  const iovec* v;
  int n;
  iovec part;
  IovAt(const iovec* iov, int cnt, size_t done) : v(iov), n(cnt) {
    const size_t room = kMaxRw - done;
    const bool huge = iov_total(iov, cnt) == kMaxRw;
    while (n > 0 && done >= v->iov_len) done -= v->iov_len, v++, n--;
    if (n == 0 || (done == 0 && !huge)) return;
    part = {static_cast<char*>(v->iov_base) + done, v->iov_len - done};
    if (part.iov_len > room) part.iov_len = room;
    v = &part;
    n = 1;
  }
  IovAt(const IovAt&) = delete;
};

long g_writev(int fd, const iovec* iov, int cnt) {
  auto total = [&] { return iov_total(iov, cnt); };
  auto full = [&](int fd, size_t done) -> long {
    if (!done) return file_point(SYS_writev, fd, iov, cnt);
    IovAt at(iov, cnt, done);
    return file_point(SYS_writev, fd, at.v, at.n);
  };
  bool no_nowait = false;
  for (;;) {
    Kind k = fd_kind(fd);
    const bool sock = is_socket(k);
    if (!sock && k != Kind::Pipe && k != Kind::PipeOwn) return full(fd, 0);
    auto attempt = [&](int fd, size_t done) -> long {
      if (!done && !no_nowait) return nowait_writev(fd, iov, cnt);
      IovAt at(iov, cnt, done);
      if (!sock) return nowait_writev(fd, at.v, at.n);
      msghdr m{};
      m.msg_iov = const_cast<iovec*>(at.v);
      m.msg_iovlen = size_t(at.n);
      return sys(SYS_sendmsg, fd, &m, MSG_DONTWAIT | (done ? MSG_NOSIGNAL : 0) | (k == Kind::SeqPacket ? MSG_EOR : 0));
    };
    long r = send_loop(fd, sock, kMaxRw, total, attempt, full);
    if (r == -EOPNOTSUPP && !sock) {
      fd_reclassify(fd, Kind::PollFirst);
    } else if (r == -EOPNOTSUPP && !no_nowait) { // before Linux 6.5
      if (unsigned(cnt) > 1024 || total() == 0) return full(fd, 0);
      no_nowait = true;
    } else if (r == -ENOTSOCK && sock) {
      fd_reclassify(fd, Kind::Unknown);
    } else {
      return r;
    }
  }
}

} // namespace
} // namespace gmp

using namespace gmp;

GMP_REAL(read);
GMP_REAL(write);
GMP_REAL(readv);
GMP_REAL(writev);
GMP_REAL(eventfd_read);
GMP_REAL(eventfd_write);
extern "C" ssize_t __read_chk(int, void*, size_t, size_t);
GMP_REAL(__read_chk);

GMP_HOOK ssize_t read(int fd, void* buf, size_t n) {
  if (GMP_LIKELY(io_g() != nullptr)) {
    test_cancel();
    return ret(g_read(fd, buf, n));
  }
  if (native()) return REAL(read)(fd, buf, n);
  return cp_sys(SYS_read, fd, buf, n);
}
GMP_ALIAS(__read, read);

GMP_HOOK ssize_t __read_chk(int fd, void* buf, size_t n, size_t size) {
  if (native() || n > size) return REAL(__read_chk)(fd, buf, n, size); // which aborts
  return read(fd, buf, n);
}

GMP_HOOK ssize_t write(int fd, const void* buf, size_t n) {
  if (GMP_LIKELY(io_g() != nullptr)) {
    test_cancel();
    return ret(g_write(fd, buf, n));
  }
  if (native()) return REAL(write)(fd, buf, n);
  return cp_sys(SYS_write, fd, buf, n);
}
GMP_ALIAS(__write, write);

GMP_HOOK ssize_t readv(int fd, const iovec* iov, int cnt) {
  if (io_g()) {
    test_cancel();
    return ret(g_readv(fd, iov, cnt));
  }
  if (native()) return REAL(readv)(fd, iov, cnt);
  return cp_sys(SYS_readv, fd, iov, cnt);
}

GMP_HOOK ssize_t writev(int fd, const iovec* iov, int cnt) {
  if (io_g()) {
    test_cancel();
    return ret(g_writev(fd, iov, cnt));
  }
  if (native()) return REAL(writev)(fd, iov, cnt);
  return cp_sys(SYS_writev, fd, iov, cnt);
}

GMP_HOOK int eventfd_read(int fd, eventfd_t* value) {
  if (native()) return REAL(eventfd_read)(fd, value);
  return read(fd, value, sizeof *value) != sizeof *value ? -1 : 0;
}

GMP_HOOK int eventfd_write(int fd, eventfd_t value) {
  if (native()) return REAL(eventfd_write)(fd, value);
  return write(fd, &value, sizeof value) != sizeof value ? -1 : 0;
}
