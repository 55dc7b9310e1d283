// Mutexes of every type: owner, recursion and error checks as glibc 2.36 has them, and where a mutex is not ours to lock
// (process-shared, with a priority ceiling, or the library stands aside) libc's own functions.
#include "hooks/mutex.hpp"

namespace gmp {

namespace {

GMP_REAL(pthread_mutex_lock);
GMP_REAL(pthread_mutex_trylock);
GMP_REAL(pthread_mutex_timedlock);
GMP_REAL(pthread_mutex_clocklock);
GMP_REAL(pthread_mutex_unlock);

int real_lock(pthread_mutex_t* m, const Until* u) {
  if (!u) return REAL(pthread_mutex_lock)(m);
  if (u->clock == CLOCK_REALTIME) return REAL(pthread_mutex_timedlock)(m, u->abs);
  return REAL(pthread_mutex_clocklock)(m, u->clock, u->abs);
}

// Another process may hold it: only the kernel can wait for that. Uncontended there is nothing to announce.
int shared_lock(pthread_mutex_t* m, const Until* u) {
  int r = REAL(pthread_mutex_trylock)(m);
  if (r != EBUSY) return r;
  enter_syscall_waits();
  r = real_lock(m, u);
  exit_syscall();
  return r;
}

bool plain(int kind) { return kind == PTHREAD_MUTEX_NORMAL || kind == PTHREAD_MUTEX_ADAPTIVE_NP; }

// Who holds a mutex with an owner: a robust one keeps it in __nusers, because __owner tells its state there.
int holder(const pthread_mutex_t* m, int kind) {
  if (kind & kMutexRobust) return int(__atomic_load_n(&m->__data.__nusers, __ATOMIC_RELAXED));
  return __atomic_load_n(&m->__data.__owner, __ATOMIC_RELAXED);
}

enum class Take { Wait, Try };

GMP_NOINLINE int lock_owned(pthread_mutex_t* m, int kind, Take take, const Until* u) {
  if (kind & ~(kMutexType | kMutexRobust | kMutexInherit)) return EINVAL;
  if (holder(m, kind) == mutex_self()) { // only we ourselves can have written that, so a plain look is enough
    int type = kind & kMutexType;
    if (type == PTHREAD_MUTEX_RECURSIVE) {
      if (m->__data.__count + 1 == 0) return EAGAIN;
      m->__data.__count++;
      return 0;
    }
    // trylock of a plain error-checking mutex says EBUSY, of a robust or inheriting one EDEADLK.
    if (type == PTHREAD_MUTEX_ERRORCHECK && (take == Take::Wait || kind != PTHREAD_MUTEX_ERRORCHECK)) return EDEADLK;
  }
  if (take == Take::Try) {
    if (!mutex_try_word(m)) return EBUSY;
  } else if (int e = mutex_acquire(m, u)) {
    return e;
  }
  return mutex_acquired(m, kind);
}

} // namespace

int mutex_acquired(pthread_mutex_t* m, int kind) {
  if (plain(kind)) {
    mutex_note_owner(m, self()->tid);
    return 0;
  }
  if (kind & kMutexRobust) return robust_acquired(m);
  __atomic_store_n(&m->__data.__owner, mutex_self(), __ATOMIC_RELAXED);
  m->__data.__count = 1;
  return 0;
}

int mutex_check_unlock(pthread_mutex_t* m, int kind) {
  if (plain(kind)) return 0;
  if (mutex_libcs(kind)) { // libc's layout: robust and inheriting ones have the owner in the lock word
    if (kind & (kMutexRobust | kMutexInherit)) return (m->__data.__lock & 0x3fffffff) == kernel_mutex_tid() ? 0 : EPERM;
    int type = kind & kMutexType;
    if (type == PTHREAD_MUTEX_NORMAL || type == PTHREAD_MUTEX_ADAPTIVE_NP) return 0;
    if (kind & kMutexProtect) return m->__data.__owner == kernel_mutex_tid() ? 0 : EPERM;
    return m->__data.__owner == mutex_self() ? 0 : EPERM;
  }
  return holder(m, kind) == mutex_self() ? 0 : EPERM;
}

GMP_NOINLINE int mutex_lock_any(pthread_mutex_t* m, const Until* u) {
  if (native()) return real_lock(m, u);
  int kind = mutex_kind(m);
  if (kind == PTHREAD_MUTEX_RECURSIVE) { // common enough not to go the long way
    const int me = mutex_self();
    if (__atomic_load_n(&m->__data.__owner, __ATOMIC_RELAXED) == me) {
      if (m->__data.__count + 1 == 0) return EAGAIN;
      m->__data.__count++;
      return 0;
    }
    if (int e = mutex_acquire(m, u)) return e;
    __atomic_store_n(&m->__data.__owner, me, __ATOMIC_RELAXED);
    m->__data.__count = 1;
    return 0;
  }
  if (plain(kind)) {
    int e = mutex_acquire(m, u);
    if (!e) mutex_note_owner(m, self()->tid);
    return e;
  }
  if (mutex_kernels(kind)) return kernel_mutex_lock(m, kind, true, u);
  if (kind & kMutexShared) return shared_lock(m, u);
  return lock_owned(m, kind, Take::Wait, u);
}

int mutex_trylock_any(pthread_mutex_t* m) {
  if (native()) return REAL(pthread_mutex_trylock)(m);
  int kind = mutex_kind(m);
  if (plain(kind)) {
    if (!mutex_try_word(m)) return EBUSY;
    mutex_note_owner(m, self()->tid);
    return 0;
  }
  if (mutex_kernels(kind)) return kernel_mutex_lock(m, kind, false, nullptr);
  if (kind & kMutexShared) return REAL(pthread_mutex_trylock)(m);
  return lock_owned(m, kind, Take::Try, nullptr);
}

// Locked by us before the first pthread_create, which then failed to start the library: libc counts users, we don't.
GMP_NOINLINE static int native_unlock(pthread_mutex_t* m, int kind) {
  if (!(kind & ~kMutexType) && m->__data.__lock && !m->__data.__nusers) m->__data.__nusers = 1;
  return REAL(pthread_mutex_unlock)(m);
}

int mutex_unlock_any(pthread_mutex_t* m) {
  int kind = mutex_kind(m);
  if (native()) return native_unlock(m, kind);
  if (kind == PTHREAD_MUTEX_RECURSIVE) {
    if (__atomic_load_n(&m->__data.__owner, __ATOMIC_RELAXED) != mutex_self()) return EPERM;
    if (--m->__data.__count != 0) return 0;
    __atomic_store_n(&m->__data.__owner, 0, __ATOMIC_RELAXED);
    mutex_release(m);
    return 0;
  }
  if (plain(kind)) {
    mutex_release(m);
    return 0;
  }
  if (mutex_kernels(kind)) return kernel_mutex_unlock(m);
  if (kind & kMutexShared) return REAL(pthread_mutex_unlock)(m);
  if (kind & ~(kMutexType | kMutexRobust | kMutexInherit)) return EINVAL;
  if (mutex_check_unlock(m, kind)) return EPERM;
  if ((kind & kMutexType) == PTHREAD_MUTEX_RECURSIVE && --m->__data.__count != 0) // held on
    return (kind & kMutexRobust) && m->__data.__owner == kOwnerInconsistent ? ENOTRECOVERABLE : 0;
  if (kind & kMutexRobust) {
    robust_unlink(m);
    // Unlocked without having been made consistent: lost for good; every waiter comes by and is told.
    m->__data.__owner = m->__data.__owner == kOwnerInconsistent ? kOwnerNotRecoverable : 0;
  } else {
    __atomic_store_n(&m->__data.__owner, 0, __ATOMIC_RELAXED);
  }
  mutex_release(m);
  return 0;
}

} // namespace gmp
