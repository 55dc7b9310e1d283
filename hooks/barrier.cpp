// Barriers. One word holds the round and its arrivals; the last arrival opens the gate by starting the next round. Another counts those
// who have left: destroying waits until everybody has, because POSIX lets the first thread that comes back destroy it.
#include <cstring>
#include <pthread.h>
#include "hooks/hook.hpp"
#include "hooks/shared_layout.hpp"

namespace gmp {

namespace {

GMP_REAL(pthread_barrier_init);
GMP_REAL(pthread_barrier_destroy);
GMP_REAL(pthread_barrier_wait);

// In libc's bytes, but for the word that tells the sharing, which stays libc's (and never is one of the first two).
struct Fields {
  std::atomic_ref<uint64_t> state; // round << 32 | arrivals
  std::atomic_ref<uint32_t> left;
  uint32_t& count;
};

constinit SharedWord g_layout;

GMP_NOINLINE void learn(SharedWord& l) {
  pthread_barrier_t plain, shared;
  memset(&plain, 0, sizeof plain);
  memset(&shared, 0, sizeof shared);
  pthread_barrierattr_t attr;
  pthread_barrierattr_init(&attr);
  REAL(pthread_barrier_init)(&plain, &attr, 3);
  pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  REAL(pthread_barrier_init)(&shared, &attr, 3);
  pthread_barrierattr_destroy(&attr);
  uint32_t where;
  if (!l.find(reinterpret_cast<const uint32_t*>(&plain), reinterpret_cast<const uint32_t*>(&shared), sizeof plain / 4, &where))
    die("this libc's barriers are unknown: unset LD_PRELOAD or use GMP_DISABLE=1");
  l.offset.store(where * 4, std::memory_order_release);
}

const SharedWord& layout() { return g_layout.get(learn); }

Fields fields(pthread_barrier_t* b) {
  auto* w = reinterpret_cast<uint32_t*>(b);
  const uint32_t skip = layout().offset.load(std::memory_order_relaxed) / 4;
  const int left = skip == 2 ? 3 : 2, count = skip <= 3 ? 4 : 3;
  return {std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(w)), std::atomic_ref<uint32_t>(w[left]), w[count]};
}

} // namespace

} // namespace gmp

using namespace gmp;

GMP_HOOK int pthread_barrier_init(pthread_barrier_t* b, const pthread_barrierattr_t* attr, unsigned count) {
  int e = REAL(pthread_barrier_init)(b, attr, count); // judges the arguments
  if (e || native() || layout().is_shared(b)) return e;
  memset(b, 0, sizeof *b); // the shared word of a private one is 0 (SharedWord::find)
  fields(b).count = count;
  return 0;
}

GMP_HOOK int pthread_barrier_destroy(pthread_barrier_t* b) {
  if (native()) return REAL(pthread_barrier_destroy)(b);
  if (layout().is_shared(b)) {
    enter_syscall_waits();
    int r = REAL(pthread_barrier_destroy)(b);
    exit_syscall();
    return r;
  }
  Fields f = fields(b);
  // Every opened round's threads leave without waiting for anything, so a few yields do.
  const uint32_t inside = uint32_t(f.state.load(std::memory_order_acquire) >> 32) * f.count;
  while (f.left.load(std::memory_order_acquire) != inside) yield();
  return 0;
}

GMP_HOOK int pthread_barrier_wait(pthread_barrier_t* b) {
  if (native()) return REAL(pthread_barrier_wait)(b);
  if (layout().is_shared(b)) {
    enter_syscall_waits();
    int r = REAL(pthread_barrier_wait)(b);
    exit_syscall();
    return r;
  }
  Fields f = fields(b);
  uint64_t s = f.state.load(std::memory_order_relaxed);
  bool opens;
  do opens = uint32_t(s) + 1 == f.count;
  while (!f.state.compare_exchange_weak(s, opens ? ((s >> 32) + 1) << 32 : s + 1, std::memory_order_acq_rel, std::memory_order_relaxed));
  const uint64_t round = s >> 32;
  if (opens) {
    wake(b, SIZE_MAX); // may hit early birds of the next round, who look and wait on
  } else {
    auto closed = [&] { return f.state.load(std::memory_order_acquire) >> 32 == round; };
    while (closed())
      if (wait_on(b, closed, {}, {}, {.why = WaitReason::Barrier}) == Wait::Interrupted) after_interrupt(true, false);
  }
  f.left.fetch_add(1, std::memory_order_release); // the last touch
  return opens ? PTHREAD_BARRIER_SERIAL_THREAD : 0;
}
