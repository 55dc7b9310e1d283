// Spin locks: 1 is free, as natively. A holder may have lost its P, and with one P it surely has, so after a few pauses the waiter
// steps aside instead of burning the processor that the holder needs.
#include <pthread.h>
#include "hooks/hook.hpp"

using namespace gmp;

namespace {

constexpr int kFree = 1, kHeld = 0, kPauses = 64;

GMP_NOINLINE void wait_free(pthread_spinlock_t* l) {
  // Foreign threads yield to the kernel's scheduler.
  for (int n = 0; __atomic_load_n(l, __ATOMIC_RELAXED) != kFree; n++) {
    if (n < kPauses)
      relax();
    else
      yield();
  }
}

} // namespace

GMP_HOOK int pthread_spin_lock(pthread_spinlock_t* l) {
  while (GMP_UNLIKELY(__atomic_exchange_n(l, kHeld, __ATOMIC_ACQUIRE) != kFree)) wait_free(l);
  return 0;
}

GMP_HOOK int pthread_spin_trylock(pthread_spinlock_t* l) { return __atomic_exchange_n(l, kHeld, __ATOMIC_ACQUIRE) == kFree ? 0 : EBUSY; }

GMP_HOOK int pthread_spin_unlock(pthread_spinlock_t* l) {
  __atomic_store_n(l, kFree, __ATOMIC_RELEASE);
  return 0;
}

GMP_HOOK int pthread_spin_init(pthread_spinlock_t* l, int) {
  __atomic_store_n(l, kFree, __ATOMIC_RELAXED);
  return 0;
}

GMP_HOOK int pthread_spin_destroy(pthread_spinlock_t*) { return 0; }
