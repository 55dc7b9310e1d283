// Descriptors come and go: open, close, dup, fcntl, ioctl, close_range. Opens are announced (FIFOs and slow file systems block
// in them). Everything that closes or replaces a number keeps the books (fdtable.hpp).
#include <cstdarg>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "hooks/ioloop.hpp"

namespace gmp {
namespace {

// The runtime's own descriptors are not the program's: to it the number is not open.
bool hidden(int fd) { return mode() == Mode::Running && fd_books() && poll_owns(fd); }

// Only these wait for somebody else in open(2).
bool fifo_or_terminal(int dir, const char* path) {
  struct stat st;
  return sys(SYS_newfstatat, dir, path, &st, 0) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode));
}

int do_open(int dir, const char* path, int flags, mode_t mode) {
  test_cancel();
  long fd = ret(io_g() ? point_sys_if([&] { return fifo_or_terminal(dir, path); }, SYS_openat, dir, path, flags, mode)
                       : sys(SYS_openat, dir, path, flags, mode));
  // Only the kinds that park ask for the flag, so it is kept for all.
  if (fd >= 0) fd_created(int(fd), Kind::Unknown, flags & O_NONBLOCK ? FdRec::kNonBlock : 0);
  return int(fd);
}

bool needs_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }

long do_dup2(long n, int from, int to, int flags) {
  if (from == to) return sys(n, from, to, flags); // nothing is replaced
  if (hidden(to)) return -EBADF;
  uint32_t token = fd_closing(to);
  long r = io_g() ? blocking_sys(n, from, to, flags) : sys(n, from, to, flags); // closes `to`: see hook_close
  if (r >= 0) fd_duplicated(from, to);
  else fd_closed(to, token);
  return r;
}

// A command of fcntl or a request of ioctl that succeeded.
void flags_changed(int fd, long flags) {
  if (!fd_books()) return;
  fd_cfg_changed(fd);
  Kind k;
  if ((flags & O_DIRECT) && ((k = fd_kind(fd)) == Kind::PipeOwn || k == Kind::Pipe))
    g_short_read_lies.store(true, std::memory_order_relaxed); // packet mode
}

long do_close_range(unsigned first, unsigned last, int flags) {
  if (first > last || flags & ~CLOSE_RANGE_UNSHARE || !fd_books()) return sys(SYS_close_range, first, last, flags);
  fds_closed_range(first, last, true);
  long r = 0;
  if (mode() == Mode::Running && !(flags & CLOSE_RANGE_UNSHARE)) { // around the runtime's own
    for (unsigned fd = first; fd <= last && int(fd) <= poll_owned_high() && r == 0; fd++) {
      if (!poll_owns(int(fd))) continue;
      if (fd > first) r = blocking_sys(SYS_close_range, first, fd - 1, flags);
      first = fd + 1;
    }
  }
  if (r == 0 && first <= last) r = io_g() ? blocking_sys(SYS_close_range, first, last, flags) : sys(SYS_close_range, first, last, flags);
  fds_closed_range(first, last, false);
  return r;
}

} // namespace

int close_uncancelled(int fd) { return int(ret(hook_close(fd))); }

bool fd_raw_call(long n, long a, long b, long c, long d, long e, long* result) {
  const int fd = int(a);
  switch (n) {
  case SYS_close: *result = hook_close(fd); return true;
  case SYS_dup2: *result = do_dup2(n, fd, int(b), 0); return true;
  case SYS_dup3: *result = do_dup2(n, fd, int(b), int(c)); return true;
  case SYS_close_range: *result = do_close_range(unsigned(a), unsigned(b), int(c)); return true;
  case SYS_dup: break;
  case SYS_fcntl:
    if (b != F_SETFL && b != F_DUPFD && b != F_DUPFD_CLOEXEC) return false;
    break;
  case SYS_ioctl:
    if (unsigned(b) != FIONBIO) return false;
    break;
  case SYS_setsockopt: break;
  default: return false;
  }
  const long r = *result = sys(n, a, b, c, d, e);
  if (r < 0) return true;
  if (n == SYS_dup || (n == SYS_fcntl && b != F_SETFL)) fd_duplicated(fd, int(r));
  else if (n == SYS_setsockopt) fd_option_set(fd, int(b), int(c));
  else flags_changed(fd, n == SYS_fcntl ? c : 0);
  return true;
}

} // namespace gmp

using namespace gmp;

GMP_REAL(open);
GMP_REAL(openat);
GMP_REAL(close);
GMP_REAL(dup);
GMP_REAL(dup2);
GMP_REAL(dup3);
GMP_REAL(fcntl);
GMP_REAL(ioctl);
GMP_REAL(close_range);
GMP_REAL(closefrom);
extern "C" {
int __open_2(const char*, int);
int __openat_2(int, const char*, int);
}
GMP_REAL(__open_2);
GMP_REAL(__openat_2);

// The optional argument is passed on whether or not it is there, as a register: the kernel looks at it only with O_CREAT.
#define MODE_FROM(last)                                                                                                \
  va_list ap;                                                                                                          \
  va_start(ap, last);                                                                                                  \
  const mode_t m = needs_mode(last) ? va_arg(ap, mode_t) : 0;                                                          \
  va_end(ap)

GMP_HOOK int open(const char* path, int flags, ...) {
  MODE_FROM(flags);
  if (native()) return REAL(open)(path, flags, m);
  return do_open(AT_FDCWD, path, flags, m);
}
GMP_ALIAS(open64, open); // O_LARGEFILE is 0 here
GMP_ALIAS(__open, open);
GMP_ALIAS(__open64, open);

GMP_HOOK int openat(int dir, const char* path, int flags, ...) {
  MODE_FROM(flags);
  if (native()) return REAL(openat)(dir, path, flags, m);
  return do_open(dir, path, flags, m);
}
GMP_ALIAS(openat64, openat);

GMP_HOOK int creat(const char* path, mode_t m) { return open(path, O_WRONLY | O_CREAT | O_TRUNC, m); }
GMP_ALIAS(creat64, creat);

GMP_HOOK int __open_2(const char* path, int flags) {
  if (native() || needs_mode(flags)) return REAL(__open_2)(path, flags); // which aborts without a mode
  return do_open(AT_FDCWD, path, flags, 0);
}
GMP_ALIAS(__open64_2, __open_2);

GMP_HOOK int __openat_2(int dir, const char* path, int flags) {
  if (native() || needs_mode(flags)) return REAL(__openat_2)(dir, path, flags);
  return do_open(dir, path, flags, 0);
}
GMP_ALIAS(__openat64_2, __openat_2);

GMP_HOOK int close(int fd) {
  if (native()) return REAL(close)(fd);
  test_cancel();
  return int(ret(hook_close(fd)));
}
GMP_ALIAS(__close, close);

GMP_HOOK int dup(int fd) noexcept {
  if (native()) return REAL(dup)(fd);
  long r = sys(SYS_dup, fd);
  if (r >= 0) fd_duplicated(fd, int(r));
  return int(ret(r));
}

GMP_HOOK int dup2(int from, int to) noexcept {
  if (native()) return REAL(dup2)(from, to);
  return int(ret(do_dup2(SYS_dup2, from, to, 0)));
}
GMP_ALIAS(__dup2, dup2);

GMP_HOOK int dup3(int from, int to, int flags) noexcept {
  if (native()) return REAL(dup3)(from, to, flags);
  return int(ret(do_dup2(SYS_dup3, from, to, flags)));
}

GMP_HOOK int fcntl(int fd, int cmd, ...) {
  va_list ap;
  va_start(ap, cmd);
  void* arg = va_arg(ap, void*);
  va_end(ap);
  if (native()) return REAL(fcntl)(fd, cmd, arg);
  switch (cmd) {
  case F_SETLKW:
  case F_OFD_SETLKW: return int(cp_sys(SYS_fcntl, fd, cmd, arg));
  case F_SETLK:
  case F_OFD_SETLK: return int(announced(SYS_fcntl, fd, cmd, arg)); // a network file system asks its server
  case F_DUPFD:
  case F_DUPFD_CLOEXEC: {
    long r = sys(SYS_fcntl, fd, cmd, arg);
    if (r >= 0) fd_duplicated(fd, int(r));
    return int(ret(r));
  }
  case F_SETFL: {
    long r = sys(SYS_fcntl, fd, cmd, arg);
    if (r >= 0) flags_changed(fd, long(arg));
    return int(ret(r));
  }
  case F_GETOWN: { // F_GETOWN itself can't tell a process group from an error
    f_owner_ex ex;
    long r = sys(SYS_fcntl, fd, F_GETOWN_EX, &ex);
    return r < 0 ? int(ret(r)) : ex.type == F_OWNER_PGRP ? -ex.pid : ex.pid;
  }
  default: return int(ret(sys(SYS_fcntl, fd, cmd, arg)));
  }
}
GMP_ALIAS(fcntl64, fcntl);
GMP_ALIAS(__fcntl, fcntl);

GMP_HOOK int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list ap;
  va_start(ap, request);
  void* arg = va_arg(ap, void*);
  va_end(ap);
  if (native()) return REAL(ioctl)(fd, request, arg);
  long r = io_g() ? blocking_sys(SYS_ioctl, fd, request, arg) : sys(SYS_ioctl, fd, request, arg);
  if (r >= 0 && unsigned(request) == FIONBIO) fd_cfg_changed(fd);
  return int(ret(r));
}

GMP_HOOK int close_range(unsigned first, unsigned last, int flags) noexcept {
  if (native()) return REAL(close_range)(first, last, flags);
  return int(ret(do_close_range(first, last, flags)));
}

GMP_HOOK void closefrom(int low) noexcept {
  if (native()) return REAL(closefrom)(low);
  int keep = errno;
  if (do_close_range(low > 0 ? unsigned(low) : 0, ~0u, 0) < 0) REAL(closefrom)(low);
  else errno = keep;
}
