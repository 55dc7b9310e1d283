// A mutex's beginning and end, consistency and priority ceilings.
#include <cstring>
#include <sched.h>
#include "hooks/mutex.hpp"

using namespace gmp;

GMP_REAL(pthread_mutex_init);
GMP_REAL(pthread_mutex_destroy);
GMP_REAL(pthread_mutex_consistent);
GMP_REAL(pthread_mutex_getprioceiling);
GMP_REAL(pthread_mutex_setprioceiling);

// libc's own judges the attributes and writes __kind; then what our protocol keeps elsewhere is moved.
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
  if (m->__data.__kind & kMutexProtect) { // the ceiling: above bit 19 of libc's lock word
    m->__data.__spins = short(unsigned(m->__data.__lock) >> 19);
    m->__data.__lock = 0;
  }
  return 0;
}

int gmp::mutex_destroy(pthread_mutex_t* m) {
  int kind = mutex_kind(m);
  if (native() || (kind & kMutexShared)) return REAL(pthread_mutex_destroy)(m);
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
  if (native() || (kind & kMutexShared)) return REAL(pthread_mutex_consistent)(m);
  if (!(kind & kMutexRobust) || m->__data.__owner != kOwnerInconsistent) return EINVAL;
  m->__data.__owner = mutex_self();
  return 0;
}

GMP_HOOK int pthread_mutex_getprioceiling(const pthread_mutex_t* m, int* ceiling) {
  int kind = mutex_kind(m);
  if (native() || (kind & kMutexShared)) return REAL(pthread_mutex_getprioceiling)(m, ceiling);
  if (!(kind & kMutexProtect)) return EINVAL;
  *ceiling = m->__data.__spins;
  return 0;
}

GMP_HOOK int pthread_mutex_setprioceiling(pthread_mutex_t* m, int ceiling, int* old) {
  int kind = mutex_kind(m);
  if (native()) return REAL(pthread_mutex_setprioceiling)(m, ceiling, old);
  if (kind & kMutexShared) { // locks it
    enter_syscall();
    int r = REAL(pthread_mutex_setprioceiling)(m, ceiling, old);
    exit_syscall();
    return r;
  }
  if (!(kind & kMutexProtect)) return EINVAL;
  if (ceiling < sched_get_priority_min(SCHED_FIFO) || ceiling > sched_get_priority_max(SCHED_FIFO)) return EINVAL;
  bool held = m->__data.__owner == mutex_self() && (kind & kMutexType) == PTHREAD_MUTEX_RECURSIVE;
  if (m->__data.__owner == mutex_self() && (kind & kMutexType) == PTHREAD_MUTEX_ERRORCHECK) return EDEADLK;
  if (!held) mutex_acquire(m, nullptr);
  int* was = old;
  asm("" : "+r"(was)); // the header says nonnull; libc takes null
  if (was) *was = m->__data.__spins;
  m->__data.__spins = short(ceiling);
  if (!held) mutex_release(m);
  return 0;
}

// The name before glibc 2.12, for old binaries; the header makes it another spelling of the new one, hence the label.
GMP_HOOK int mutex_consistent_np(pthread_mutex_t*) __asm__("pthread_mutex_consistent_np");
int mutex_consistent_np(pthread_mutex_t* m) { return pthread_mutex_consistent(m); }
GMP_ALIAS(__pthread_mutex_init, pthread_mutex_init);
GMP_ALIAS(__pthread_mutex_destroy, pthread_mutex_destroy);
