// sysmon opens files of /proc and of the cgroup while the program runs. In the process's table each would have the lowest free number for a moment, and a
// program that counts on that number (close and then open, F_DUPFD) would get the next one. So sysmon has a table of its own, with netpoll's two
// descriptors and nothing else.
//
// The table is made while start() waits, with the only thread that the program has: a table that is unshared is copied first, and a descriptor that the
// program closes meanwhile would stay open until the copy is closed, too. Nothing is held open afterwards, and closing a copy has no effect on the
// original (locks of fcntl belong to a table).
#include "runtime/own_fds.hpp"
#include <fcntl.h>
#include <sys/syscall.h>
#include <utility>
#include "runtime/sched.hpp"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace gmp {

bool own_fds_begin() {
  constexpr unsigned kUnshare = 2; // CLOSE_RANGE_UNSHARE, Linux 5.9
  unsigned lo = unsigned(netpoll_fds().epoll), hi = unsigned(netpoll_fds().eventfd);
  if (lo > hi) std::swap(lo, hi);
  if (sys(SYS_close_range, hi + 1, ~0u, kUnshare) != 0) return false; // what is above need not be copied
  t_own_fds = true;
  if (lo > 0) sys(SYS_close_range, 0u, lo - 1, 0u);
  if (hi > lo + 1) sys(SYS_close_range, lo + 1, hi - 1, 0u);
  return true;
}

long read_file(const char* path, char* b, size_t size) {
  const long fd = sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  const long n = sys(SYS_read, fd, b, size - 1);
  sys(SYS_close, fd);
  if (n < 0) return -1;
  b[n] = 0;
  return n;
}

} // namespace gmp
