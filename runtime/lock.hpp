// The runtime's own lock and note. They block the M: use them for critical sections of tens of nanoseconds only, and take
// them in this order (outer first):
//   sched.lock  >  none other inside, except the note of a parked M
//   a lot bucket > a second bucket (higher address last) > (run queues are lock-free; sched.lock through ready())
//   FdRec.lock  >  (same as bucket)
//   P.timers.lock > (same as bucket)
//   sched.allg_lock > (same as bucket; hooks' queues of pending signals: with_g(), signal_g())
//   sched.reap_lock > sched.watch_lock (sysmon);  sched.template_lock > none;  sched.lockedm_lock > none;  sched.cpu_lock > none
// A bucket, an FdRec and a timer heap are never held together. A G takes any of them inside the runtime only (RtScope): no handler runs
// on top of a held one.
#pragma once
#include "runtime/base.hpp"

namespace gmp {

long futex_wait(std::atomic<uint32_t>* addr, uint32_t val, int64_t timeout_ns = -1); // 0, -EAGAIN, -EINTR, -ETIMEDOUT
void futex_wake(std::atomic<uint32_t>* addr, int n);

// 0 free, 1 held, 2 held and somebody sleeps.
class RtMutex {
  std::atomic<uint32_t> v_{0};
  void lock_slow();

public:
  void lock() {
    uint32_t z = 0;
    if (GMP_UNLIKELY(!v_.compare_exchange_strong(z, 1, std::memory_order_acquire))) lock_slow();
  }
  void unlock() {
    if (GMP_UNLIKELY(v_.exchange(0, std::memory_order_release) == 2)) futex_wake(&v_, 1);
  }
};

class Locked {
  RtMutex& m_;

public:
  explicit Locked(RtMutex& m) : m_(m) { m_.lock(); }
  ~Locked() { m_.unlock(); }
  Locked(const Locked&) = delete;
};

// One-shot wake-up of one sleeper (Go's note): wake() may come before sleep().
class Note {
  std::atomic<uint32_t> v_{0};

public:
  void clear() { v_.store(0, std::memory_order_relaxed); }
  void wake() {
    if (v_.exchange(1, std::memory_order_release) == 0) futex_wake(&v_, 1);
  }
  void sleep() {
    while (v_.load(std::memory_order_acquire) == 0) futex_wait(&v_, 0);
  }
  enum class Sleep { Woken, Signal, Timeout };
  Sleep sleep_until_signal(int64_t ns = -1) { // Signal: a handler has run; call again
    for (;;) {
      uint32_t v = v_.load(std::memory_order_acquire);
      if (v == 1) return Sleep::Woken;
      if (v == 2 && v_.compare_exchange_strong(v, 0)) return Sleep::Signal;
      if (v != 0) continue;
      long r = futex_wait(&v_, 0, ns);
      if (v_.load(std::memory_order_acquire) == 1) return Sleep::Woken;
      if (r == -EINTR) return Sleep::Signal;
      if (r == -ETIMEDOUT) return Sleep::Timeout;
    }
  }
  // From a signal handler on the sleeper's own thread: sleep_until_signal() returns false, also when it had not yet slept.
  void poke() {
    uint32_t z = 0;
    v_.compare_exchange_strong(z, 2);
  }
  bool sleep_for(int64_t ns) { // false: the time is over
    if (v_.load(std::memory_order_acquire) == 0) futex_wait(&v_, 0, ns);
    return v_.load(std::memory_order_acquire) != 0;
  }
};

} // namespace gmp
