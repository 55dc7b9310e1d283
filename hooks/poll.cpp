// poll and ppoll.
#include <poll.h>
#include <sys/epoll.h>
#include "hooks/poll.hpp"
#include "hooks/signal.hpp"

namespace gmp {

long g_sleep(int64_t deadline) {
  for (;;) {
    if (sleep_until(deadline) != Wait::Interrupted) return 0;
    if (after_interrupt(false) == After::Eintr) return -EINTR;
  }
}

void PollHold::begin(size_t count) {
  n = count;
  for (size_t i = 0; i < n; i++) slot[i] = -1;
}

void PollHold::look_up() {
  for (size_t i = 0; i < n; i++)
    if (FdRec* r = slot[i] < 0 ? fd_rec(items[i].fd) : nullptr) wgen[i] = fd_wait_generation(r);
}

bool PollHold::enter() {
  for (size_t i = 0; i < n; i++) {
    if (slot[i] >= 0 || GMP_LIKELY(fd_wait_enter(fd_rec(items[i].fd), wgen[i]))) continue;
    leave(i);
    return false;
  }
  return true;
}

void PollHold::leave(size_t up_to) {
  for (size_t i = 0; i < up_to; i++) {
    if (slot[i] >= 0 || GMP_LIKELY(fd_wait_leave(fd_rec(items[i].fd), wgen[i]))) continue;
    int hidden;
    slot[i] = int16_t(fd_keep_find(items[i].fd, wgen[i], &hidden));
    items[i].fd = hidden;
    poll_mark(hidden);
    any = true;
  }
}

bool PollHold::stirred() const {
  pollfd p[kPollMax];
  for (size_t i = 0; i < n; i++) p[i] = {items[i].fd, short(items[i].events), 0}; // the bits are the same
  return sys(SYS_poll, p, n, 0) != 0;
}

void PollHold::let_go() {
  for (size_t i = 0; any && i < n; i++) {
    if (slot[i] >= 0) fd_keep_drop(slot[i]);
    slot[i] = -1;
  }
  any = false;
}

static long rest_ms(int64_t deadline) {
  if (deadline == kNoDeadline) return -1;
  int64_t left = deadline - nanotime();
  return left <= 0 ? 0 : (left + 999999) / 1000000;
}

// Few of them, where this thread may read: on its stack, or where the kernel has found them before.
static bool worth_reading(const pollfd* fds, nfds_t n) {
  if (n == 0 || n > 8) return false;
  const char* here = static_cast<const char*>(__builtin_frame_address(0));
  const auto* at = reinterpret_cast<const char*>(fds);
  return fds == self()->polled || (at > here && at - here < 8192);
}

static long look(pollfd* fds, nfds_t n) {
  return with_own_signals([&] { return sys(SYS_poll, fds, n, 0); });
}

static long g_poll(pollfd* fds, nfds_t n, int64_t deadline) {
  PollItem items[kPollMax];
  const bool safe = worth_reading(fds, n);
  const long r = poll_loop(items, deadline, [&]() -> long { return look(fds, n); }, [&]() -> long {
    if (n > kPollMax) return -1;
    long k = 0;
    for (nfds_t i = 0; i < n; i++) {
      fds[i].revents = 0; // should the look be left out
      if (fds[i].fd < 0) continue;
      uint32_t ev = fds[i].events & (POLLIN | POLLRDNORM | POLLRDBAND | POLLRDHUP) ? uint32_t(EPOLLIN) : 0;
      if (fds[i].events & (POLLOUT | POLLWRNORM | POLLWRBAND)) ev |= uint32_t(EPOLLOUT);
      if (fds[i].events & (POLLPRI | POLLRDBAND)) ev |= uint32_t(EPOLLPRI);
      items[k++] = {fds[i].fd, ev, 0, 0};
    }
    return k;
  }, [&] { return point_call(false, [&] { return interruptible_sys(false, SYS_poll, fds, n, rest_ms(deadline)); }); }, safe);
  if (r > 0 && n <= 8) self()->polled = fds;
  long left = r;
  for (nfds_t i = 0; left > 0 && i < n; i++)
    if (fds[i].revents) {
      left--;
      poll_found(fds[i].fd);
    }
  return r;
}

} // namespace gmp

using namespace gmp;

GMP_REAL(poll);
GMP_REAL(ppoll);
extern "C" int __poll_chk(pollfd*, nfds_t, int, size_t);
extern "C" int __ppoll_chk(pollfd*, nfds_t, const timespec*, const sigset_t*, size_t);
GMP_REAL(__poll_chk);
GMP_REAL(__ppoll_chk);

GMP_HOOK int poll(pollfd* fds, nfds_t n, int timeout) {
  if (io_g()) {
    test_cancel();
    long r = g_poll(fds, n, timeout == 0 ? 0 : deadline_ms(timeout));
    if (r == -EINTR) test_cancel();
    return int(ret(r));
  }
  if (native()) return REAL(poll)(fds, n, timeout);
  return int(cp_sys_once(SYS_poll, fds, n, timeout));
}
GMP_ALIAS(__poll, poll);

GMP_HOOK int __poll_chk(pollfd* fds, nfds_t n, int timeout, size_t size) {
  if (native() || size / sizeof *fds < n) return REAL(__poll_chk)(fds, n, timeout, size);
  return poll(fds, n, timeout);
}

GMP_HOOK int ppoll(pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask) {
  if (native()) return REAL(ppoll)(fds, n, timeout, mask);
  if (io_g() && !mask) {
    test_cancel();
    int64_t deadline;
    if (!deadline_ts(timeout, &deadline)) {
      errno = EINVAL;
      return -1;
    }
    if (timeout && (timeout->tv_sec | timeout->tv_nsec) == 0) deadline = 0;
    long r = g_poll(fds, n, deadline);
    if (r == -EINTR) test_cancel();
    return int(ret(r));
  }
  if (!io_g()) {
    timespec left, *t = nullptr; // the kernel writes the rest of the time; glibc does not let the program see it
    if (timeout) left = *timeout, t = &left;
    return int(cp_sys_once(SYS_ppoll, fds, n, t, mask, 8));
  }
  int64_t deadline;
  if (!deadline_ts(timeout, &deadline)) return int(ret(-EINVAL));
  if (timeout && (timeout->tv_sec | timeout->tv_nsec) == 0) deadline = 0;
  return int(ret(masked_wait(bits(mask), [&] { return look(fds, n); }, [&] { return g_poll(fds, n, deadline); })));
}

GMP_HOOK int __ppoll_chk(pollfd* fds, nfds_t n, const timespec* timeout, const sigset_t* mask, size_t size) {
  if (native() || size / sizeof *fds < n) return REAL(__ppoll_chk)(fds, n, timeout, mask, size);
  return ppoll(fds, n, timeout, mask);
}
