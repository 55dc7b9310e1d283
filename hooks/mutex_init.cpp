// A mutex's beginning and end, consistency and priority ceilings.
#include <cstring>
#include "hooks/mutex.hpp"

using namespace gmp;

GMP_REAL(pthread_mutex_init);
GMP_REAL(pthread_mutex_destroy);
GMP_REAL(pthread_mutex_consistent);
GMP_REAL(pthread_mutex_setprioceiling);

// libc's own judges the attributes and writes __kind; then what our protocol keeps elsewhere is put right.
GMP_HOOK int pthread_mutex_init(pthread_mutex_t* m, const pthread_mutexattr_t* attr) {
  if (!attr && !native()) {
    memset(m, 0, sizeof *m);
    return 0;
  }
  int e = REAL(pthread_mutex_init)(m, attr);
  if (e || native()) return e;
  int shared = PTHREAD_PROCESS_PRIVATE;
  pthread_mutexattr_getpshared(attr, &shared);
  if (shared != PTHREAD_PROCESS_PRIVATE) return 0;
  m->__data.__kind &= ~kMutexShared; // set on all robust ones
  return 0;
}

int gmp::mutex_destroy(pthread_mutex_t* m) {
  int kind = mutex_kind(m);
  if (native() || mutex_libcs(kind)) return REAL(pthread_mutex_destroy)(m);
  if (kind & kMutexRobust) {
    // Allowed while locked; our own list must not keep a pointer to it.
    if (int(m->__data.__nusers) == mutex_self()) robust_unlink(m);
  } else if ((mutex_word(m).load(std::memory_order_relaxed) & kMutexLocked) || m->__data.__nusers) {
    return EBUSY; // __nusers: waiters of condition variables that will want it back
  }
  __atomic_store_n(&m->__data.__kind, -1, __ATOMIC_RELAXED); // no kind of mutex: EINVAL from libc's functions
  return 0;
}

GMP_HOOK int pthread_mutex_destroy(pthread_mutex_t* m) { return mutex_destroy(m); }

GMP_HOOK int pthread_mutex_consistent(pthread_mutex_t* m) {
  int kind = mutex_kind(m);
  if (native() || mutex_libcs(kind)) return with_kernel_tid([m] { return REAL(pthread_mutex_consistent)(m); });
  if (!(kind & kMutexRobust) || m->__data.__owner != kOwnerInconsistent) return EINVAL;
  m->__data.__owner = mutex_self();
  return 0;
}

GMP_HOOK int pthread_mutex_setprioceiling(pthread_mutex_t* m, int ceiling, int* old) {
  if (native() || !mutex_libcs(mutex_kind(m))) return REAL(pthread_mutex_setprioceiling)(m, ceiling, old);
  lock_to_m(); // it locks it
  const int r = with_kernel_tid([&] {
    enter_syscall_waits();
    const int e = REAL(pthread_mutex_setprioceiling)(m, ceiling, old);
    exit_syscall();
    return e;
  });
  unlock_from_m();
  return r;
}

// The name before glibc 2.12, for old binaries; the header makes it another spelling of the new one, hence the label.
GMP_HOOK int mutex_consistent_np(pthread_mutex_t*) __asm__("pthread_mutex_consistent_np");
int mutex_consistent_np(pthread_mutex_t* m) { return pthread_mutex_consistent(m); }
GMP_ALIAS(__pthread_mutex_init, pthread_mutex_init);
GMP_ALIAS(__pthread_mutex_destroy, pthread_mutex_destroy);
