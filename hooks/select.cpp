// select and pselect. The kernel changes the sets in place, so each look works on copies; what the program's sets show at the end is
// the kernel's answer to the last look. Only select shows the time left, as glibc does.
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include "hooks/poll.hpp"
#include "hooks/signal.hpp"

namespace gmp {
namespace {

struct Sets {
  fd_set r, w, e;
};

long look(int n, fd_set* r, fd_set* w, fd_set* e) {
  return with_own_signals([&] {
    timespec zero{};
    return sys(SYS_pselect6, n, r, w, e, &zero, nullptr);
  });
}

// A descriptor closed while select waited counts as ready for everything; only one that was never open is EBADF.
long look_again(int n, const fd_set* r, const fd_set* w, const fd_set* e, Sets* out) {
  long bits = 0;
  *out = {};
  for (int fd = 0; fd < n; fd++) {
    const bool in = r && FD_ISSET(fd, r), put = w && FD_ISSET(fd, w), except = e && FD_ISSET(fd, e);
    if (!in && !put && !except) continue;
    const int now = fd_ready(fd, short((in ? POLLIN | POLLRDNORM | POLLRDBAND : 0) | (put ? POLLOUT | POLLWRNORM | POLLWRBAND : 0) | (except ? POLLPRI : 0)));
    const int bad = now & (POLLERR | POLLNVAL);
    if (in && (bad || now & (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP))) FD_SET(fd, &out->r), bits++;
    if (put && (bad || now & (POLLOUT | POLLWRNORM | POLLWRBAND))) FD_SET(fd, &out->w), bits++;
    if (except && now & (POLLPRI | POLLNVAL)) FD_SET(fd, &out->e), bits++;
  }
  return bits;
}

// Sets beyond FD_SETSIZE (programs allocate them) and more than kPollMax descriptors: the kernel's own call.
long g_select(int n, fd_set* r, fd_set* w, fd_set* e, const timespec* left, int64_t deadline) {
  auto once = [&]() -> long {
    timespec t = left ? *left : timespec{};
    if (left && deadline != 0) {
      int64_t ns = deadline - nanotime();
      if (ns < 0) ns = 0;
      if (deadline != kNoDeadline) t = {ns / 1000000000, ns % 1000000000};
    }
    return interruptible_sys(false, SYS_pselect6, n, r, w, e, left ? &t : nullptr, nullptr);
  };
  auto full = [&] { return point_call(false, once); };
  if (n < 0 || n > FD_SETSIZE) return full();
  const size_t bytes = size_t(n + 63) / 64 * 8;
  Sets out;
  bool waits = false;
  auto scan = [&]() -> long {
    if (r) __builtin_memcpy(&out.r, r, bytes);
    if (w) __builtin_memcpy(&out.w, w, bytes);
    if (e) __builtin_memcpy(&out.e, e, bytes);
    long res = look(n, r ? &out.r : nullptr, w ? &out.w : nullptr, e ? &out.e : nullptr);
    return res == -EBADF && waits ? look_again(n, r, w, e, &out) : res;
  };
  PollItem items[kPollMax];
  bool direct = false;
  long res = poll_loop(items, deadline, scan, [&]() -> long {
    long k = 0;
    for (int fd = 0; fd < n; fd++) {
      bool in = r && FD_ISSET(fd, r), put = w && FD_ISSET(fd, w), except = e && FD_ISSET(fd, e);
      if (!in && !put && !except) continue;
      if (size_t(k) == kPollMax) return -1;
      items[k++] = {fd, (in ? uint32_t(EPOLLIN) : 0) | (put ? uint32_t(EPOLLOUT) : 0) | (except ? uint32_t(EPOLLPRI) : 0), 0, 0};
    }
    waits = true;
    return k;
  }, [&]() -> long {
    direct = true;
    return full();
  });
  if (res < 0 || direct) return res; // on failure the sets stay as they were
  if (r) __builtin_memcpy(r, &out.r, bytes);
  if (w) __builtin_memcpy(w, &out.w, bytes);
  if (e) __builtin_memcpy(e, &out.e, bytes);
  for (int fd = 0; r && res > 0 && fd < n; fd++)
    if (FD_ISSET(fd, r)) poll_found(fd);
  return res;
}

} // namespace
} // namespace gmp

using namespace gmp;

GMP_REAL(select);
GMP_REAL(pselect);

GMP_HOOK int select(int n, fd_set* r, fd_set* w, fd_set* e, timeval* timeout) {
  if (native()) return REAL(select)(n, r, w, e, timeout);
  timespec ts{};
  if (timeout) { // as glibc: negative is refused, large microseconds are carried
    int64_t s = timeout->tv_sec;
    int32_t us = int32_t(timeout->tv_usec);
    if (s < 0 || us < 0) {
      errno = EINVAL;
      return -1;
    }
    if (us / 1000000 > INT64_MAX - s) {
      ts = {INT64_MAX, 999999999};
    } else {
      ts = {s + us / 1000000, us % 1000000 * 1000};
    }
  }
  long res;
  test_cancel();
  if (!io_g()) {
    res = sys(SYS_pselect6, n, r, w, e, timeout ? &ts : nullptr, nullptr);
  } else {
    int64_t deadline;
    deadline_ts(timeout ? &ts : nullptr, &deadline);
    const bool now = timeout && (ts.tv_sec | ts.tv_nsec) == 0;
    res = g_select(n, r, w, e, timeout ? &ts : nullptr, now ? 0 : deadline);
    if (timeout && !now && deadline != kNoDeadline) {
      int64_t left = deadline - nanotime();
      if (left < 0) left = 0;
      ts = {left / 1000000000, left % 1000000000};
    }
  }
  if (timeout) {
    timeout->tv_sec = ts.tv_sec;
    timeout->tv_usec = ts.tv_nsec / 1000;
  }
  if (res == -EINTR) test_cancel();
  return int(ret(res));
}
GMP_ALIAS(__select, select);

GMP_HOOK int pselect(int n, fd_set* r, fd_set* w, fd_set* e, const timespec* timeout, const sigset_t* mask) {
  if (native()) return REAL(pselect)(n, r, w, e, timeout, mask);
  test_cancel();
  long res;
  int64_t deadline;
  if (io_g()) {
    if (!deadline_ts(timeout, &deadline)) {
      errno = EINVAL;
      return -1;
    }
    if (timeout && (timeout->tv_sec | timeout->tv_nsec) == 0) deadline = 0;
  }
  if (io_g() && !mask) {
    res = g_select(n, r, w, e, timeout, deadline);
  } else {
    struct { // the sixth argument of the system call
      const sigset_t* mask;
      size_t size;
    } six{mask, 8};
    timespec left, *t = nullptr;
    if (timeout) left = *timeout, t = &left;
    if (!io_g()) res = sys(SYS_pselect6, n, r, w, e, t, &six);
    else // a look that finds nothing would clear the sets: pending signals go first here
      res = masked_wait(bits(mask), [&]() -> long {
        if (n > FD_SETSIZE) return 0;
        Sets s;
        if (r) s.r = *r;
        if (w) s.w = *w;
        if (e) s.e = *e;
        return look(n, r ? &s.r : nullptr, w ? &s.w : nullptr, e ? &s.e : nullptr) > 0 ? look(n, r, w, e) : 0;
      }, [&] { return g_select(n, r, w, e, timeout, deadline); });
  }
  if (res == -EINTR) test_cancel();
  return int(ret(res));
}
