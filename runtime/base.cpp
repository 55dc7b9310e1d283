#include "runtime/base.hpp"
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <csignal>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include "runtime/gmp.hpp"
#include "runtime/lock.hpp"

namespace gmp {

Config g_config;

// A small formatter of our own: libc's vsnprintf may allocate and takes locale locks.
static size_t vformat(char* buf, size_t size, const char* fmt, va_list ap) {
  size_t n = 0;
  auto put = [&](char c) {
    if (n + 1 < size) buf[n++] = c;
  };
  auto number = [&](uint64_t v, unsigned base) {
    char d[24];
    int k = 0;
    do d[k++] = "0123456789abcdef"[v % base];
    while (v /= base);
    while (k) put(d[--k]);
  };
  for (; *fmt; fmt++) {
    if (*fmt != '%') {
      put(*fmt);
      continue;
    }
    bool lng = false;
    if (*++fmt == 'l') lng = true, fmt++;
    switch (*fmt) {
    case 's': {
      const char* s = va_arg(ap, const char*);
      for (s = s ? s : "(null)"; *s; s++) put(*s);
      break;
    }
    case 'd': {
      long v = lng ? va_arg(ap, long) : va_arg(ap, int);
      if (v < 0) put('-');
      number(v < 0 ? 0ul - (unsigned long)v : (unsigned long)v, 10);
      break;
    }
    case 'u': number(lng ? va_arg(ap, unsigned long) : va_arg(ap, unsigned), 10); break;
    case 'x': number(lng ? va_arg(ap, unsigned long) : va_arg(ap, unsigned), 16); break;
    case 'c': put(char(va_arg(ap, int))); break;
    case '%': put('%'); break;
    default: put('?');
    }
  }
  if (size) buf[n] = 0;
  return n;
}

size_t format(char* buf, size_t size, const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  size_t n = vformat(buf, size, fmt, ap);
  va_end(ap);
  return n;
}

constinit thread_local bool t_own_fds = false;

// The line of a thread that has left the program's descriptors (own_fds.cpp) goes by way of them. Linux 5.6; rare: what is
// fatal. A filter that refuses pidfd_getfd (a sandbox's) loses it.
static void write_from_apart(const char* b, size_t n) {
  const long self = sys(434 /*pidfd_open*/, sys(SYS_getpid), 0);
  const long fd = self < 0 ? self : sys(438 /*pidfd_getfd*/, self, 2, 0);
  sys(SYS_write, fd, b, n);
  sys(SYS_close, fd);
  sys(SYS_close, self);
}

static void vsay(const char* fmt, va_list ap) {
  char b[512];
  memcpy(b, "gmp: ", 5);
  size_t n = 5 + vformat(b + 5, sizeof b - 6, fmt, ap);
  b[n++] = '\n';
  if (t_own_fds) write_from_apart(b, n);
  else sys(SYS_write, 2, b, n); // one write: lines of several threads don't mix
}

void say(const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsay(fmt, ap);
  va_end(ap);
}

void die(const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vsay(fmt, ap);
  va_end(ap);
  if (g_config.chaos) say("chaos=%lu", (unsigned long)g_config.chaos);
  // Not abort(): the program may hook it, and its handler would run in the middle of the runtime.
  struct { void* handler; unsigned long flags; void* restorer; unsigned long mask; } dfl = {};
  sys(SYS_rt_sigaction, SIGABRT, &dfl, 0, 8);
  uint64_t none = 0;
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
  sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), SIGABRT);
  for (;;) sys(SYS_exit_group, 134);
}

void* map_pages(size_t bytes) {
  long r = sys(SYS_mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return r < 0 ? nullptr : reinterpret_cast<void*>(r);
}

long futex_wait(std::atomic<uint32_t>* addr, uint32_t val, int64_t timeout_ns) {
  timespec ts, *tp = nullptr;
  if (timeout_ns >= 0) {
    ts.tv_sec = timeout_ns / 1000000000;
    ts.tv_nsec = timeout_ns % 1000000000;
    tp = &ts;
  }
  return sys(SYS_futex, addr, FUTEX_WAIT_PRIVATE, val, tp);
}

void futex_wake(std::atomic<uint32_t>* addr, int n) { sys(SYS_futex, addr, FUTEX_WAKE_PRIVATE, n); }

void RtMutex::lock_slow() {
  // The critical sections are tens of nanoseconds long, so the holder is most likely running: spin first.
  for (int i = 0; i < 60; i++) {
    relax();
    uint32_t z = 0;
    if (v_.load(std::memory_order_relaxed) == 0 && v_.compare_exchange_weak(z, 1, std::memory_order_acquire)) return;
  }
  while (v_.exchange(2, std::memory_order_acquire) != 0) futex_wait(&v_, 2);
}

} // namespace gmp
