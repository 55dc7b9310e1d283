// The shared header of all hooks. Rules (they are what keeps other people's programs alive):
//
//  1. A hook translates: check arguments as POSIX says, decide the call's class, call a runtime verb. No queues, no policy.
//  2. Nothing on a hook's path may call malloc, a libc wrapper that is itself hooked, or another hook by its public name. System
//     calls are made with sys() / blocking_sys() (raw: -errno); libc functions only where they neither block nor allocate
//     (memcpy, clock_gettime), or through REAL(name) where the real one is what is wanted.
//  3. errno is set only on failure, and kept on success. Raw results go through ret().
//  4. After anything that waits, the G may be on another M. Never keep M- or P-state over it (hooks can't see any: good).
//  5. Three situations, in this order: getg() non-null: a G. Else mode() == Mode::Native: call the real function and nothing else.
//     Else a plain thread (before the first pthread_create, a foreign thread): plain blocking system calls, the same
//     lock words, waits by wait_on (which sleeps on a futex there).
//  6. Hooks may run before our constructor and before relocation of others is complete: no static constructors
//     anywhere in libgmp.so, everything constant-initialised (constinit).
//  7. Cancellation points call test_cancel() where POSIX has them act, and after every Wait::Interrupted after_interrupt().
#pragma once
#include <cerrno>
#include <sys/syscall.h>
#include "runtime/gmp.hpp"

// Exported hook. The names must also stand in hooks/table, the single list of what libgmp.so exports.
#define GMP_HOOK extern "C" __attribute__((visibility("default")))
// Another exported name of a hook with the same type: GMP_ALIAS(__read, read);
#define GMP_ALIAS(alias_name, target) \
  extern "C" __attribute__((visibility("default"), alias(#target))) decltype(target) alias_name

namespace gmp {

// Once for each function (find_real.cpp). Ends the process when there is none.
void* find_real(const char* name, const char* version);

// A real libc function, found on first use by dlvsym/dlsym(RTLD_NEXT). `version` where dlsym may hand back an old one
// (pthread_cond_*: "GLIBC_2.3.2"). Constant-initialised; races resolve to the same value.
template <class F> struct Real {
  const char* name;
  const char* version = nullptr;
  std::atomic<F*> fn{nullptr};
  F* get() {
    F* f = fn.load(std::memory_order_relaxed);
    if (GMP_LIKELY(f != nullptr)) return f;
    f = reinterpret_cast<F*>(find_real(name, version));
    fn.store(f, std::memory_order_relaxed);
    return f;
  }
};
// At namespace scope in the .cpp that needs it:  GMP_REAL(pthread_join);  then  REAL(pthread_join)(t, r).
#define GMP_REAL(name) static constinit ::gmp::Real<decltype(::name)> real_##name{#name}
#define GMP_REAL_V(name, ver) static constinit ::gmp::Real<decltype(::name)> real_##name{#name, ver}
#define REAL(name) (real_##name.get())

// Kernel result to libc convention.
inline long ret(long r) {
  if (GMP_UNLIKELY(r < 0 && r > -4096)) {
    errno = int(-r);
    return -1;
  }
  return r;
}

inline bool native() { return GMP_UNLIKELY(mode() == Mode::Native); }

// Absolute timespec of a clock to a runtime deadline. CLOCK_REALTIME is converted when called: a later step of the wall
// clock is not followed (natively futex follows it). False: tv_nsec out of range (EINVAL).
bool deadline_from(clockid_t clock, const timespec* abs, int64_t* out);
// Relative timespec to deadline; saturates.
bool deadline_in(const timespec* rel, int64_t* out);

// Acts on a pending, enabled cancellation: does not return then. Cheap when nothing is pending. Forgets which handlers have run before: a
// hook that may end with EINTR begins with it.
void test_cancel();
// After Wait::Interrupted: runs pending signal handlers, acts on cancellation if `cancellation_point`, and says what the hook does next.
enum class After { Retry, Eintr };
// restartable: does the call restart after a handler installed with SA_RESTART (signal(7): read, write, recv, accept, connect, futex-based
// waits; not: poll, select, epoll_wait, nanosleep, timeouts by SO_RCVTIMEO)?
After after_interrupt(bool restartable, bool cancellation_point = true);

// A call of the kernel's has ended with EINTR, but no handler has run here: the signal was another thread's.
bool for_another();

// A system call that blocks, as a cancellation point, the P lent out meanwhile; the raw result. May unwind. call() makes it by interruptible_sys(), and
// again after what was another's: a time that it is given must be what is left.
template <class Call> inline long point_call(bool restartable, Call call) {
  for (;;) {
    long r = call();
    if (GMP_LIKELY(r >= 0)) return r;
    if (r == -EINTR) {
      const bool again = for_another();
      test_cancel();
      if (again) continue;
    }
    if (r != kStopped) return r;
    if (after_interrupt(restartable) == After::Eintr) return -EINTR;
  }
}
// One without a time. certain: it will block.
template <class... A> inline long point_sys(bool restartable, bool certain, long n, A... a) {
  return point_call(restartable, [&] { return interruptible_sys(certain, n, a...); });
}
// The same where only some waits end for a signal: an access to a disk does not, whatever the handler's flags. ends(): this one would.
template <class Ends, class... A> inline long point_sys_if(Ends ends, long n, A... a) {
  for (;;) {
    long r = interruptible_sys(false, n, a...);
    if (GMP_LIKELY(r >= 0)) return r;
    if (r == -EINTR) test_cancel();
    if (r != kStopped) return r;
    if (after_interrupt(true) == After::Eintr && ends()) return -EINTR;
  }
}
// The same for a call that is no cancellation point.
template <class... A> inline long waiting_sys(bool restartable, long n, A... a) {
  for (;;) {
    long r = interruptible_sys(false, n, a...);
    if (GMP_LIKELY(r != kStopped)) return r;
    if (after_interrupt(restartable, false) == After::Eintr) return -EINTR;
  }
}
template <class... A> inline long blocking_point(long n, A... a) { return point_sys(true, false, n, a...); }
template <class... A> inline long blocking_point_once(long n, A... a) { return point_sys(false, false, n, a...); } // no SA_RESTART

} // namespace gmp
