// Calls on files and between descriptors: announced, the P is lent out while they block. Positioned calls say ESPIPE to streams by themselves.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>
#include "hooks/ioloop.hpp"

using namespace gmp;

// POINT: a cancellation point in glibc; DISK: one whose wait no signal ends; PLAIN: not one. The 64-bit names are the same functions here.
#define POINT(type, name, params, nr, ...)                                                                             \
  GMP_REAL(name);                                                                                                      \
  GMP_HOOK type name params {                                                                                          \
    if (native()) return REAL(name)(__VA_ARGS__);                                                                      \
    return type(cp_sys(nr, __VA_ARGS__));                                                                              \
  }
#define DISK(type, name, params, nr, ...)                                                                              \
  GMP_REAL(name);                                                                                                      \
  GMP_HOOK type name params {                                                                                          \
    if (native()) return REAL(name)(__VA_ARGS__);                                                                      \
    return type(cp_disk(nr, __VA_ARGS__));                                                                             \
  }
#define PLAIN(type, name, params, nr, ...)                                                                             \
  GMP_REAL(name);                                                                                                      \
  GMP_HOOK type name params noexcept {                                                                                 \
    if (native()) return REAL(name)(__VA_ARGS__);                                                                      \
    return type(announced(nr, __VA_ARGS__));                                                                           \
  }

DISK(ssize_t, pread, (int fd, void* buf, size_t n, off_t at), SYS_pread64, fd, buf, n, at)
GMP_ALIAS(pread64, pread);
GMP_ALIAS(__pread64, pread);
DISK(ssize_t, pwrite, (int fd, const void* buf, size_t n, off_t at), SYS_pwrite64, fd, buf, n, at)
GMP_ALIAS(pwrite64, pwrite);
GMP_ALIAS(__pwrite64, pwrite);
// The kernel takes the offset in two halves and ignores the second where a long holds all.
DISK(ssize_t, preadv, (int fd, const iovec* v, int n, off_t at), SYS_preadv, fd, v, n, at)
GMP_ALIAS(preadv64, preadv);
DISK(ssize_t, pwritev, (int fd, const iovec* v, int n, off_t at), SYS_pwritev, fd, v, n, at)
GMP_ALIAS(pwritev64, pwritev);

extern "C" ssize_t __pread_chk(int, void*, size_t, off_t, size_t);
GMP_REAL(__pread_chk);
GMP_HOOK ssize_t __pread_chk(int fd, void* buf, size_t n, off_t at, size_t size) {
  if (native() || n > size) return REAL(__pread_chk)(fd, buf, n, at, size); // which aborts
  return pread(fd, buf, n, at);
}
GMP_ALIAS(__pread64_chk, __pread_chk);

GMP_REAL(preadv2);
GMP_HOOK ssize_t preadv2(int fd, const iovec* v, int n, off_t at, int flags) {
  if (native()) return REAL(preadv2)(fd, v, n, at, flags);
  if (at == -1 && flags == 0) return readv(fd, v, n); // at the current position: may be a stream
  return cp_sys(SYS_preadv2, fd, v, n, at, 0, flags);
}
GMP_ALIAS(preadv64v2, preadv2);
GMP_REAL(pwritev2);
GMP_HOOK ssize_t pwritev2(int fd, const iovec* v, int n, off_t at, int flags) {
  if (native()) return REAL(pwritev2)(fd, v, n, at, flags);
  if (at == -1 && flags == 0) return writev(fd, v, n);
  return cp_sys(SYS_pwritev2, fd, v, n, at, 0, flags);
}
GMP_ALIAS(pwritev64v2, pwritev2);

DISK(int, fsync, (int fd), SYS_fsync, fd)
DISK(int, fdatasync, (int fd), SYS_fdatasync, fd)
DISK(int, sync_file_range, (int fd, off_t at, off_t n, unsigned flags), SYS_sync_file_range, fd, at, n, flags)
POINT(int, fallocate, (int fd, int how, off_t at, off_t n), SYS_fallocate, fd, how, at, n)
GMP_ALIAS(fallocate64, fallocate);
PLAIN(int, ftruncate, (int fd, off_t n), SYS_ftruncate, fd, n)
GMP_ALIAS(ftruncate64, ftruncate);
GMP_REAL(flock);
GMP_HOOK int flock(int fd, int how) noexcept {
  if (native()) return REAL(flock)(fd, how);
  if (how & (LOCK_UN | LOCK_NB)) return int(announced(SYS_flock, fd, how));
  return int(ret(waiting_sys(true, SYS_flock, fd, how)));
}
PLAIN(int, truncate, (const char* path, off_t n), SYS_truncate, path, n)
GMP_ALIAS(truncate64, truncate);
PLAIN(int, syncfs, (int fd), SYS_syncfs, fd)
PLAIN(ssize_t, readahead, (int fd, off_t at, size_t n), SYS_readahead, fd, at, n)
DISK(int, msync, (void* at, size_t n, int flags), SYS_msync, at, n, flags)
PLAIN(ssize_t, process_vm_readv, (pid_t pid, const iovec* to, unsigned long n_to, const iovec* from, unsigned long n_from, unsigned long flags),
      SYS_process_vm_readv, pid, to, n_to, from, n_from, flags)
PLAIN(ssize_t, process_vm_writev, (pid_t pid, const iovec* from, unsigned long n_from, const iovec* to, unsigned long n_to, unsigned long flags),
      SYS_process_vm_writev, pid, from, n_from, to, n_to, flags)

GMP_REAL(tcdrain);
GMP_HOOK int tcdrain(int fd) {
  if (native()) return REAL(tcdrain)(fd);
  return int(cp_sys(SYS_ioctl, fd, TCSBRK, 1)); // 1: waits, and sends no break
}

GMP_REAL(sync);
GMP_HOOK void sync() noexcept {
  if (native()) return REAL(sync)();
  announced(SYS_sync);
}

PLAIN(ssize_t, sendfile, (int out, int in, off_t* at, size_t n), SYS_sendfile, out, in, at, n)
GMP_ALIAS(sendfile64, sendfile);
DISK(ssize_t, copy_file_range, (int in, off_t* in_at, int out, off_t* out_at, size_t n, unsigned flags), SYS_copy_file_range, in,
      in_at, out, out_at, n, flags)
POINT(ssize_t, splice, (int in, off_t* in_at, int out, off_t* out_at, size_t n, unsigned flags), SYS_splice, in, in_at, out, out_at, n,
      flags)
POINT(ssize_t, tee, (int in, int out, size_t n, unsigned flags), SYS_tee, in, out, n, flags)
POINT(ssize_t, vmsplice, (int fd, const iovec* v, size_t n, unsigned flags), SYS_vmsplice, fd, v, n, flags)

GMP_REAL(lockf);
GMP_HOOK int lockf(int fd, int cmd, off_t len) {
  if (native()) return REAL(lockf)(fd, cmd, len);
  struct flock l {};
  l.l_whence = SEEK_CUR;
  l.l_len = len;
  l.l_type = cmd == F_ULOCK ? F_UNLCK : cmd == F_TEST ? F_RDLCK : F_WRLCK;
  switch (cmd) {
  case F_TEST:
    if (announced(SYS_fcntl, fd, F_GETLK, &l) < 0) return -1;
    if (l.l_type == F_UNLCK || l.l_pid == sys(SYS_getpid)) return 0;
    errno = EACCES;
    return -1;
  case F_ULOCK:
  case F_TLOCK: return int(announced(SYS_fcntl, fd, F_SETLK, &l));
  case F_LOCK: return int(cp_sys(SYS_fcntl, fd, F_SETLKW, &l));
  default: errno = EINVAL; return -1;
  }
}
GMP_ALIAS(lockf64, lockf);
