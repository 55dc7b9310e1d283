// Memory that is read in or given back before the call returns, this process's and another's, and random bytes. Announced.
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>
#include "hooks/announce.hpp"

using namespace gmp;

GMP_ANNOUNCED(int, mlock, (const void* p, size_t n), (p, n), noexcept)
GMP_ANNOUNCED(int, mlock2, (const void* p, size_t n, unsigned flags), (p, n, flags), noexcept)
GMP_ANNOUNCED(int, mlockall, (int flags), (flags), noexcept)
extern "C" int process_mrelease(int, unsigned) noexcept;
GMP_ANNOUNCED(ssize_t, process_madvise, (int pid, const iovec* v, size_t n, int advice, unsigned flags), (pid, v, n, advice, flags), noexcept)
GMP_ANNOUNCED(int, process_mrelease, (int pid, unsigned flags), (pid, flags), noexcept)

// They wait until the kernel's pool is filled, soon after the machine has started, and once it is they never do again. GRND_RANDOM has a
// rule of its own in old kernels, so it counts for nothing here.
static constinit std::atomic<bool> g_filled{false};

GMP_REAL(getrandom);
GMP_REAL(getentropy);

GMP_HOOK ssize_t getrandom(void* b, size_t n, unsigned flags) {
  const bool waits = !(flags & GRND_NONBLOCK) && ((flags & GRND_RANDOM) || !g_filled.load(std::memory_order_relaxed));
  if (GMP_LIKELY(!waits || !getg())) return REAL(getrandom)(b, n, flags);
  enter_syscall();
  ssize_t r = REAL(getrandom)(b, n, flags);
  exit_syscall();
  if (r > 0 && !(flags & GRND_RANDOM)) g_filled.store(true, std::memory_order_relaxed);
  return r;
}

GMP_HOOK int getentropy(void* b, size_t n) {
  if (GMP_LIKELY(g_filled.load(std::memory_order_relaxed) || !getg())) return REAL(getentropy)(b, n);
  enter_syscall();
  int r = REAL(getentropy)(b, n);
  exit_syscall();
  if (r == 0 && n) g_filled.store(true, std::memory_order_relaxed);
  return r;
}
