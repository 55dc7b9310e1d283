// What stdio closes. Only the books: libc's own functions do the work. They are not announced, for they may call free(), which a
// program's allocator may make a hook of ours; if they block, sysmon sees it.
#include <cstdio>
#include "hooks/ioloop.hpp"

using namespace gmp;

GMP_REAL(fclose);
GMP_REAL(pclose);
GMP_REAL(freopen);
GMP_REAL(freopen64);

// -1: no descriptor (a memory stream); errno kept.
static int number_of(FILE* f) {
  int keep = errno;
  int fd = f ? fileno_unlocked(f) : -1;
  errno = keep;
  return fd;
}

GMP_HOOK int fclose(FILE* f) {
  if (native()) return REAL(fclose)(f);
  int fd = number_of(f);
  uint32_t token = fd_closing(fd);
  int r = REAL(fclose)(f);
  fd_closed(fd, token);
  return r;
}
GMP_ALIAS(_IO_fclose, fclose);

GMP_HOOK int pclose(FILE* f) {
  if (native()) return REAL(pclose)(f);
  int fd = number_of(f);
  uint32_t token = fd_closing(fd);
  int r = REAL(pclose)(f);
  fd_closed(fd, token);
  return r;
}

template <class R> static FILE* reopen(R& real, const char* path, const char* how, FILE* f) {
  if (native()) return real.get()(path, how, f);
  int fd = number_of(f);
  uint32_t token = fd_closing(fd);
  FILE* r = real.get()(path, how, f);
  fd_closed(fd, token); // the new file may have the number: then its record starts anew
  return r;
}

GMP_HOOK FILE* freopen(const char* path, const char* how, FILE* f) { return reopen(real_freopen, path, how, f); }
GMP_HOOK FILE* freopen64(const char* path, const char* how, FILE* f) { return reopen(real_freopen64, path, how, f); }
