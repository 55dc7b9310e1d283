// Paths and directories whose change or reading waits for a disc, file systems that come and go. Announced. Attributes and look-ups are
// not: see files.tsv.
#include <dirent.h>
#include <fcntl.h>
#include <cstdio>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/swap.h>
#include <unistd.h>
#include "hooks/announce.hpp"
#include "hooks/fdtable.hpp"

using namespace gmp;

GMP_ANNOUNCED(int, unlink, (const char* path), (path), noexcept)
GMP_ANNOUNCED(int, unlinkat, (int dir, const char* path, int flags), (dir, path, flags), noexcept)
GMP_ANNOUNCED(int, rmdir, (const char* path), (path), noexcept)
GMP_ANNOUNCED(int, remove, (const char* path), (path), noexcept)
GMP_ANNOUNCED(int, rename, (const char* from, const char* to), (from, to), noexcept)
GMP_ANNOUNCED(int, renameat, (int fd, const char* from, int tod, const char* to), (fd, from, tod, to), noexcept)
GMP_ANNOUNCED(int, renameat2, (int fd, const char* from, int tod, const char* to, unsigned flags), (fd, from, tod, to, flags), noexcept)

GMP_ANNOUNCED(int, posix_fallocate, (int fd, off_t at, off_t n), (fd, at, n))
GMP_ANNOUNCED(int, posix_fallocate64, (int fd, off64_t at, off64_t n), (fd, at, n))

GMP_ANNOUNCED(DIR*, opendir, (const char* path), (path))
GMP_ANNOUNCED(dirent*, readdir, (DIR* d), (d))
GMP_ANNOUNCED(dirent64*, readdir64, (DIR* d), (d))
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
GMP_ANNOUNCED(int, readdir_r, (DIR* d, dirent* e, dirent** r), (d, e, r))
GMP_ANNOUNCED(int, readdir64_r, (DIR* d, dirent64* e, dirent64** r), (d, e, r))
GMP_ANNOUNCED(ssize_t, getdents64, (int fd, void* b, size_t n), (fd, b, n), noexcept)
GMP_ANNOUNCED(ssize_t, getdirentries, (int fd, char* b, size_t n, off_t* at), (fd, b, n, at), noexcept)
GMP_ANNOUNCED(ssize_t, getdirentries64, (int fd, char* b, size_t n, off64_t* at), (fd, b, n, at), noexcept)

// The number may be one that the program made (fdopendir). Not announced: it calls free(), see fdstdio.cpp.
GMP_REAL(closedir);
GMP_HOOK int closedir(DIR* d) {
  if (native() || !d) return REAL(closedir)(d);
  int fd = dirfd(d);
  uint32_t token = fd_closing(fd);
  int r = REAL(closedir)(d);
  fd_closed(fd, token);
  return r;
}

GMP_REAL(open_by_handle_at);
GMP_HOOK int open_by_handle_at(int mount, file_handle* handle, int flags) {
  if (native()) return REAL(open_by_handle_at)(mount, handle, flags);
  enter_syscall();
  int fd = REAL(open_by_handle_at)(mount, handle, flags); // a cancellation point: libc's own
  exit_syscall();
  if (fd >= 0) fd_created(fd, Kind::Unknown, flags & O_NONBLOCK ? FdRec::kNonBlock : 0);
  return fd;
}

extern "C" {
int init_module(void*, unsigned long, const char*) noexcept;
int delete_module(const char*, unsigned) noexcept;
}
GMP_ANNOUNCED(int, mount, (const char* what, const char* where, const char* type, unsigned long flags, const void* data), (what, where, type, flags, data), noexcept)
GMP_ANNOUNCED(int, umount, (const char* where), (where), noexcept)
GMP_ANNOUNCED(int, umount2, (const char* where, int flags), (where, flags), noexcept)
GMP_ANNOUNCED(int, fsconfig, (int fd, unsigned command, const char* key, const void* value, int aux), (fd, command, key, value, aux), noexcept)
GMP_ANNOUNCED(int, swapon, (const char* path, int flags), (path, flags), noexcept)
GMP_ANNOUNCED(int, swapoff, (const char* path), (path), noexcept)
GMP_ANNOUNCED(int, quotactl, (int command, const char* special, int id, caddr_t address), (command, special, id, address), noexcept)
GMP_ANNOUNCED(int, init_module, (void* image, unsigned long n, const char* parameters), (image, n, parameters), noexcept)
GMP_ANNOUNCED(int, delete_module, (const char* name, unsigned flags), (name, flags), noexcept)
