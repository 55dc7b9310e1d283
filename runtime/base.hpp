// What every file of the runtime may use: raw system calls (never libc's wrappers: they are what we hook, and they
// touch errno), the clock, the assertion and the fatal line.
#pragma once
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include "runtime/arch/x86_64/arch.hpp"
#include "runtime/libc_versions.hpp"

#define GMP_LIKELY(x) __builtin_expect(!!(x), 1)
#define GMP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define GMP_NOINLINE __attribute__((noinline))

namespace gmp {

using arch::relax;

// Raw system call; the result is the kernel's: -errno on failure. errno is left alone.
template <class... A> inline long sys(long n, A... a) { return arch::syscall6(n, (long)(a)...); }

// One line on stderr, "gmp: " before it. Formats %s %d (int) %ld %lu %x (uint64) only; no malloc, async-signal-safe.
void say(const char* fmt, ...) __attribute__((format(printf, 1, 2)));
extern constinit thread_local bool t_own_fds; // the calling thread does not share the process's table of descriptors: say() goes by way of that
// Fatal but possible (out of memory in the runtime, the kernel refuses what it has promised): a line, then abort.
[[noreturn]] void die(const char* fmt, ...) __attribute__((format(printf, 1, 2)));
// Formats into buf, returns the length (always terminated).
size_t format(char* buf, size_t size, const char* fmt, ...) __attribute__((format(printf, 3, 4)));

#ifdef GMP_ASSERTS
#define GMP_ASSERT(c)                                                                                                  \
  do {                                                                                                                 \
    if (GMP_UNLIKELY(!(c))) ::gmp::die("assertion failed: %s (%s:%d)", #c, __FILE__, __LINE__);                        \
  } while (0)
#else
#define GMP_ASSERT(c) ((void)0)
#endif

inline constexpr int64_t kNoDeadline = INT64_MAX;

// The clock of a kernel thread's processor time, for clock_gettime and timers.
inline int cpu_clock_of(int tid) { return int(~unsigned(tid) << 3 | 6); } // CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED

// Monotonic nanoseconds, through the vDSO (libc's clock_gettime is not a hook and never blocks).
inline int64_t nanotime() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

// mmap'd zero pages for the runtime's own tables; null when the kernel has none. NORESERVE: large tables cost only what is touched.
void* map_pages(size_t bytes);

inline size_t align_up(size_t v, size_t a) { return (v + a - 1) & ~(a - 1); }
inline constexpr size_t kPage = 4096;

} // namespace gmp
