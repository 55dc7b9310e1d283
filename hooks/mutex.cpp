// The mutex's paths: one atomic operation when nobody contends, the parking lot otherwise.
#include "hooks/mutex.hpp"

namespace gmp {

namespace {

// Is it worth looking at the word again before queueing? Only when another P can be running the owner meanwhile. The number of
// Ps is asked for now and then, not each time.
bool several_ps() {
  static constinit std::atomic<unsigned> asked{0};
  static constinit std::atomic<bool> several{false};
  if (asked.fetch_add(1, std::memory_order_relaxed) % 1024 == 0) several.store(stats().ps > 1, std::memory_order_relaxed);
  return several.load(std::memory_order_relaxed);
}

// Rounds of 1, 2, 4 ... pauses: about the length of a short critical section, far less than a park and a wake-up on another core.
struct Spin {
  static constexpr int kRounds = 4;
  int round = -1;
  bool once() {
    if (round < 0) round = getg() && several_ps() ? 0 : kRounds;
    if (round >= kRounds) return false;
    for (int i = 0; i < 1 << round; i++) relax();
    round++;
    return true;
  }
};

} // namespace

GMP_NOINLINE int mutex_acquire_slow(pthread_mutex_t* m, const Until* u) {
  auto word = mutex_word(m);
  int64_t deadline = kNoDeadline;
  bool timed = u != nullptr;
  Spin spin;
  for (;;) {
    int w = word.load(std::memory_order_relaxed);
    if (!(w & kMutexLocked)) {
      if (word.compare_exchange_weak(w, w | kMutexLocked, std::memory_order_acquire, std::memory_order_relaxed)) return 0;
      continue;
    }
    if (!(w & kMutexParked) && spin.once()) continue;
    if (timed) {
      if (deadline == kNoDeadline && !deadline_from(u->clock, u->abs, &deadline)) return EINVAL;
      if (deadline <= nanotime()) return ETIMEDOUT;
    }
    if (!(w & kMutexParked) &&
        !word.compare_exchange_weak(w, w | kMutexParked, std::memory_order_relaxed, std::memory_order_relaxed))
      continue;
    uintptr_t token = 0;
    // Valid only while both bits stand: then the unlocker has to come to the bucket, and finds us there.
    auto validate = [&] { return word.load(std::memory_order_relaxed) == (kMutexLocked | kMutexParked); };
    auto gone = [&](const void*, bool last) {
      if (last) mutex_clear_parked(m);
    };
    WaitOpts o;
    o.deadline = deadline;
    o.token = &token;
    o.why = WaitReason::Mutex;
    switch (wait_on(mutex_key(m), validate, {}, gone, o)) {
    case Wait::Woken:
      if (token == kMutexHandedOver) return 0;
      break;
    case Wait::Timeout: return ETIMEDOUT;
    case Wait::Interrupted: after_interrupt(true, false); break; // no cancellation point; a handler may leave by longjmp
    case Wait::Invalid: break;
    }
  }
}

GMP_NOINLINE void mutex_release_slow(pthread_mutex_t* m) {
  auto word = mutex_word(m);
  if (!(word.load(std::memory_order_relaxed) & kMutexLocked)) return; // not locked at all: nothing happens, as natively
  // LOCKED and PARKED: nobody else changes the word now, so a store will do. It is the last touch of the mutex: the next owner
  // may destroy it.
  wake_one(mutex_key(m), [word, m](Unpark u) -> uintptr_t {
    int parked = u.more ? kMutexParked : 0;
    if (u.woke && u.fair) {
      // The next owner may wait long for its turn to run, and say so only then; we may wait for it meanwhile, which must not look like a circle.
      if (!(mutex_kind(m) & kMutexRobust)) mutex_note_owner(m, 0);
      word.store(kMutexLocked | parked, std::memory_order_relaxed);
      return kMutexHandedOver;
    }
    word.store(parked, std::memory_order_release);
    return 0;
  });
}

GMP_NOINLINE static int lock_slow(pthread_mutex_t* m) {
  mutex_acquire_slow(m, nullptr);
  mutex_note_owner(m, self()->tid);
  return 0;
}

} // namespace gmp

using namespace gmp;

// The common kind in the common mode first; then the one thread that needs no locked instruction (mutex_alone); all else is typed.
GMP_HOOK int pthread_mutex_lock(pthread_mutex_t* m) {
  if (GMP_LIKELY(mutex_kind(m) == 0)) {
    if (GMP_LIKELY(mode() == Mode::Running)) {
      const int tid = self()->tid; // now: after the locked instruction it would be waited for
      int w = 0;
      if (GMP_UNLIKELY(!mutex_word(m).compare_exchange_strong(w, kMutexLocked, std::memory_order_acquire, std::memory_order_relaxed)))
        return lock_slow(m);
      mutex_note_owner(m, tid);
      return 0;
    }
    if (mutex_alone() && m->__data.__lock == 0) {
      m->__data.__lock = kMutexLocked;
      return 0;
    }
  }
  return mutex_lock_any(m, nullptr);
}

GMP_HOOK int pthread_mutex_unlock(pthread_mutex_t* m) {
  if (GMP_LIKELY(mutex_kind(m) == 0)) {
    if (GMP_LIKELY(mode() == Mode::Running)) {
      mutex_release(m);
      return 0;
    }
    if (mutex_alone() && m->__data.__lock == kMutexLocked) {
      m->__data.__lock = 0;
      return 0;
    }
  }
  return mutex_unlock_any(m);
}

GMP_HOOK int pthread_mutex_trylock(pthread_mutex_t* m) {
  if (GMP_LIKELY(mutex_kind(m) == 0 && mode() == Mode::Running)) {
    if (!mutex_try_word(m)) return EBUSY;
    mutex_note_owner(m, self()->tid);
    return 0;
  }
  return mutex_trylock_any(m);
}

GMP_HOOK int pthread_mutex_timedlock(pthread_mutex_t* m, const timespec* abs) {
  Until u{CLOCK_REALTIME, abs};
  return mutex_lock_any(m, &u);
}

GMP_HOOK int pthread_mutex_clocklock(pthread_mutex_t* m, clockid_t clock, const timespec* abs) {
  if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) return EINVAL;
  Until u{clock, abs};
  return mutex_lock_any(m, &u);
}

GMP_ALIAS(__pthread_mutex_lock, pthread_mutex_lock);
GMP_ALIAS(__pthread_mutex_unlock, pthread_mutex_unlock);
GMP_ALIAS(__pthread_mutex_trylock, pthread_mutex_trylock);
