// Join in its forms, and detach. The word Thread::join says who gives the G back (thread.hpp).
#include <threads.h>
#include "hooks/thread.hpp"
#include "hooks/thread_libc.hpp"

namespace gmp {

GMP_REAL(pthread_join);
GMP_REAL(pthread_tryjoin_np);
GMP_REAL(pthread_timedjoin_np);
GMP_REAL(pthread_clockjoin_np);
GMP_REAL(pthread_detach);

// Joinable (perhaps Exited) -> Joining. 0, or EINVAL where another has it already.
static int claim_join(Thread* t) {
  uint32_t j = t->join.load(std::memory_order_acquire);
  do {
    if (j & Thread::Gone) return ESRCH;
    if (j & (Thread::Detached | Thread::Joining)) return EINVAL;
  } while (!t->join.compare_exchange_weak(j, j | Thread::Joining, std::memory_order_acq_rel, std::memory_order_acquire));
  t->joiner.store(pthread_self(), std::memory_order_relaxed);
  return 0;
}

static void unclaim_join(Thread* t) {
  t->joiner.store(0, std::memory_order_relaxed);
  t->join.fetch_and(~uint32_t(Thread::Joining), std::memory_order_release);
}

// Claimed. 0 when the thread has ended; else the claim is gone. The claim is given up while a cancellation or a signal handler may
// leave this frame for good: the thread stays joinable then.
static int await_end(Thread* t, int64_t deadline) {
  auto running = [t] { return !(t->join.load(std::memory_order_acquire) & Thread::Exited); };
  if (!running()) return 0;
  if (GMP_UNLIKELY(cancel_pending())) {
    unclaim_join(t);
    test_cancel();
    if (int error = claim_join(t)) return error;
  }
  WaitOpts opts;
  opts.deadline = deadline;
  opts.why = WaitReason::Join;
  while (running()) {
    switch (wait_on(&t->join, running, {}, {}, opts)) {
    case Wait::Timeout:
      unclaim_join(t);
      return ETIMEDOUT;
    case Wait::Interrupted:
      unclaim_join(t);
      after_interrupt(true);
      if (int error = claim_join(t)) return error;
      break;
    default: break;
    }
  }
  return 0;
}

// The order of the checks is libc's. A handle that names no G is stale, or a thread that libc made for itself and detached.
static int join(pthread_t target, void** result, int64_t deadline, bool block) {
  G* g = g_of_handle(target);
  if (!g) {
    if (target != pthread_self()) return ESRCH;
    return block ? REAL(pthread_join)(target, result) : EBUSY;
  }
  Thread *t = thread_at(target), *me = self();
  uint32_t j = t->join.load(std::memory_order_acquire);
  if (j & Thread::Gone) return ESRCH;
  if (!block && !(j & Thread::Exited)) return EBUSY;
  if (j & Thread::Detached) return EINVAL;
  bool mutual = me->joiner.load(std::memory_order_relaxed) == target && !(j & Thread::Exited) && !cancel_requested(target);
  if ((t == me || mutual) && !cancel_pending()) return EDEADLK;
  if (int error = claim_join(t)) return error;
  if (int error = await_end(t, deadline)) return error;
  void* value = t->result;
  if (g == main_g()) t->join.store(Thread::Exited | Thread::Gone, std::memory_order_relaxed);
  else free_g(g);
  if (result) *result = value;
  return 0;
}

static int detach(pthread_t target) {
  G* g = g_of_handle(target);
  if (!g) return target == pthread_self() ? REAL(pthread_detach)(target) : ESRCH;
  Thread* t = thread_at(target);
  uint32_t j = t->join.load(std::memory_order_acquire);
  do {
    if (j & Thread::Gone) return ESRCH;
    if (j & Thread::Detached) return EINVAL;
    if (j & Thread::Joining) return 0; // libc: somebody waits for it, and nothing changes
  } while (!t->join.compare_exchange_weak(j, j | Thread::Detached, std::memory_order_acq_rel, std::memory_order_acquire));
  if (!(j & Thread::Exited)) return 0; // on_dead frees it
  if (g == main_g()) t->join.fetch_or(Thread::Gone, std::memory_order_relaxed);
  else free_g(g);
  return 0;
}

} // namespace gmp

using namespace gmp;

GMP_HOOK int pthread_join(pthread_t t, void** result) {
  if (native()) return REAL(pthread_join)(t, result);
  return join(t, result, kNoDeadline, true);
}

GMP_HOOK int pthread_tryjoin_np(pthread_t t, void** result) {
  if (native()) return REAL(pthread_tryjoin_np)(t, result);
  return join(t, result, kNoDeadline, false);
}

GMP_HOOK int pthread_clockjoin_np(pthread_t t, void** result, clockid_t clock, const timespec* until) {
  if (native()) return REAL(pthread_clockjoin_np)(t, result, clock, until);
  if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) return EINVAL;
  int64_t deadline;
  if (!deadline_from(clock, until, &deadline)) return EINVAL;
  return join(t, result, deadline, true);
}

GMP_HOOK int pthread_timedjoin_np(pthread_t t, void** result, const timespec* until) {
  if (native()) return REAL(pthread_timedjoin_np)(t, result, until);
  return pthread_clockjoin_np(t, result, CLOCK_REALTIME, until);
}

GMP_HOOK int pthread_detach(pthread_t t) {
  if (native()) return REAL(pthread_detach)(t);
  return detach(t);
}

// C11's errors as libc maps them: thrd_error but for a few that can't come here.
GMP_HOOK int thrd_join(thrd_t t, int* result) {
  void* value = nullptr;
  int error = native() ? REAL(pthread_join)(t, &value) : join(t, &value, kNoDeadline, true);
  if (result) *result = int(reinterpret_cast<intptr_t>(value));
  return error == 0 ? thrd_success : error == EBUSY ? thrd_busy : thrd_error;
}

GMP_HOOK int thrd_detach(thrd_t t) {
  int error = native() ? REAL(pthread_detach)(t) : detach(t);
  return error == 0 ? thrd_success : thrd_error;
}
