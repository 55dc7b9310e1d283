// Semaphores. The value lies where glibc has it (the low half of the first 8 bytes), so sem_getvalue of anybody agrees; the high half,
// glibc's count of waiters, is our flag: somebody may be queued. Named and process-shared ones are libc's, with the P handed off.
//
// A post that finds the flag goes to the lot and gives its token straight to the first waiter, under the bucket's lock; so the value
// is not seen above 0 while anybody waits, waiters are served in order, and nothing is touched after the hand-over (the waiter
// may destroy the semaphore). Async-signal-safe: no lock of ours is held outside the runtime, and handlers are kept out of that.
#include <climits>
#include <cstring>
#include <semaphore.h>
#include "hooks/mutex.hpp"
#include "hooks/shared_layout.hpp"

namespace gmp {

namespace {

GMP_REAL(sem_init);
GMP_REAL(sem_wait);
GMP_REAL(sem_trywait);
GMP_REAL(sem_timedwait);
GMP_REAL(sem_clockwait);
GMP_REAL(sem_post);

constexpr uint64_t kQueued = uint64_t(1) << 32;
constexpr uintptr_t kGranted = 1;
std::atomic_ref<uint64_t> data_of(sem_t* s) { return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(s)); }
uint32_t value_of(uint64_t d) { return uint32_t(d); }

constinit SharedWord g_layout;

GMP_NOINLINE void learn(SharedWord& l) {
  sem_t plain, shared;
  memset(&plain, 0, sizeof plain);
  memset(&shared, 0, sizeof shared);
  REAL(sem_init)(&plain, 0, 5);
  REAL(sem_init)(&shared, 1, 5);
  uint32_t where;
  auto* p = reinterpret_cast<const uint32_t*>(&plain);
  if (p[0] != 5 || p[1] != 0 || !l.find(p, reinterpret_cast<const uint32_t*>(&shared), sizeof plain / 4, &where))
    die("this libc's semaphores are unknown: unset LD_PRELOAD or use GMP_DISABLE=1");
  l.offset.store(where * 4, std::memory_order_release);
}

inline bool libcs(sem_t* s) { return native() || GMP_UNLIKELY(g_layout.get(learn).is_shared(s)); }

int fail(int e) {
  errno = e;
  return -1;
}

bool take(sem_t* s) {
  auto data = data_of(s);
  uint64_t d = data.load(std::memory_order_relaxed);
  while (value_of(d))
    if (data.compare_exchange_weak(d, d - 1, std::memory_order_acquire, std::memory_order_relaxed)) return true;
  return false;
}

GMP_NOINLINE int wait_slow(sem_t* s, int64_t deadline) {
  auto data = data_of(s);
  for (;;) {
    if (take(s)) return 0;
    if (deadline != kNoDeadline && deadline <= nanotime()) return fail(ETIMEDOUT);
    uint64_t d = data.load(std::memory_order_relaxed);
    if (value_of(d) || !data.compare_exchange_weak(d, d | kQueued, std::memory_order_relaxed)) continue;
    uintptr_t token = 0;
    auto validate = [&] { return data.load(std::memory_order_relaxed) == kQueued; };
    auto gone = [&](const void*, bool last) {
      if (last) data.fetch_and(~kQueued, std::memory_order_relaxed);
    };
    Wait w = wait_on(s, validate, {}, gone, WaitOpts{deadline, &token, nullptr, WaitReason::Semaphore});
    if (w == Wait::Woken && token == kGranted) return 0;
    if (w == Wait::Timeout) return fail(ETIMEDOUT);
    // The kernel restarts an untimed wait after an SA_RESTART handler; a timed one says EINTR after any.
    if (w == Wait::Interrupted && after_interrupt(deadline == kNoDeadline, true) == After::Eintr) return fail(EINTR);
  }
}

GMP_NOINLINE int post_slow(sem_t* s) {
  auto data = data_of(s);
  bool full = false;
  wake_one(s, [&](Unpark u) -> uintptr_t {
    uint64_t d = data.load(std::memory_order_relaxed), n;
    do {
      n = u.more ? d : d & ~kQueued;
      full = !u.woke && value_of(d) == SEM_VALUE_MAX;
      if (!u.woke && !full) n++;
    } while (!data.compare_exchange_weak(d, n, std::memory_order_acq_rel, std::memory_order_relaxed));
    return kGranted;
  });
  return full ? fail(EOVERFLOW) : 0;
}

// libc's wait in slices: a cancellation must be noticed, and libc must not unwind from a place where the P is given away.
int shared_wait(sem_t* s, const Until* u) {
  int r = 0, e = errno;
  while (REAL(sem_trywait)(s) != 0) {
    if (errno != EAGAIN) return -1;
    timespec slice;
    clockid_t clock = u ? u->clock : CLOCK_MONOTONIC;
    clock_gettime(clock, &slice);
    if ((slice.tv_nsec += 100'000'000) >= 1'000'000'000) slice.tv_sec++, slice.tv_nsec -= 1'000'000'000;
    bool last = u && (u->abs->tv_sec < slice.tv_sec || (u->abs->tv_sec == slice.tv_sec && u->abs->tv_nsec < slice.tv_nsec));
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    enter_syscall_waits();
    r = REAL(sem_clockwait)(s, clock, last ? u->abs : &slice);
    exit_syscall();
    int why = errno;
    pthread_setcancelstate(state, nullptr);
    if (r == 0) break;
    test_cancel();
    if (why == ETIMEDOUT && !last) continue;
    return fail(why);
  }
  errno = e;
  return 0;
}

int wait_common(sem_t* s, const Until* u) {
  test_cancel();
  if (libcs(s)) return shared_wait(s, u);
  if (GMP_LIKELY(take(s))) return 0;
  int64_t deadline = kNoDeadline;
  if (u && !deadline_from(u->clock, u->abs, &deadline)) return fail(EINVAL);
  return wait_slow(s, deadline);
}

bool bad_nsec(const timespec* t) { return uint64_t(t->tv_nsec) >= 1'000'000'000; }

} // namespace

} // namespace gmp

using namespace gmp;

// sem_destroy and sem_getvalue need no hook. This one only for the layout: a handler's sem_post should not be the first to ask.
GMP_HOOK int sem_init(sem_t* s, int shared, unsigned value) {
  if (!native()) g_layout.get(learn);
  return REAL(sem_init)(s, shared, value);
}

GMP_HOOK int sem_wait(sem_t* s) {
  if (native()) return REAL(sem_wait)(s);
  test_cancel();
  if (GMP_LIKELY(!libcs(s) && take(s))) return 0;
  return wait_common(s, nullptr);
}

GMP_HOOK int sem_trywait(sem_t* s) {
  if (libcs(s)) return REAL(sem_trywait)(s);
  return take(s) ? 0 : fail(EAGAIN);
}

GMP_HOOK int sem_timedwait(sem_t* s, const timespec* abs) {
  if (native()) return REAL(sem_timedwait)(s, abs);
  if (bad_nsec(abs)) return fail(EINVAL);
  Until u{CLOCK_REALTIME, abs};
  return wait_common(s, &u);
}

GMP_HOOK int sem_clockwait(sem_t* s, clockid_t clock, const timespec* abs) {
  if (native()) return REAL(sem_clockwait)(s, clock, abs);
  if ((clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) || bad_nsec(abs)) return fail(EINVAL);
  Until u{clock, abs};
  return wait_common(s, &u);
}

GMP_HOOK int sem_post(sem_t* s) {
  if (libcs(s)) return REAL(sem_post)(s);
  auto data = data_of(s);
  uint64_t d = data.load(std::memory_order_relaxed);
  while (!(d & kQueued)) {
    if (value_of(d) == SEM_VALUE_MAX) return fail(EOVERFLOW);
    if (data.compare_exchange_weak(d, d + 1, std::memory_order_release, std::memory_order_relaxed)) return 0;
  }
  return post_slow(s);
}
