// pthread_rwlock_*: arguments checked, then our lock, or libc's when it is shared between processes or the library stands aside.
#include <cstring>
#include "hooks/mutex.hpp"
#include "hooks/rwlock.hpp"

namespace gmp {

namespace {

GMP_REAL(pthread_rwlock_init);
GMP_REAL(pthread_rwlock_destroy);
GMP_REAL(pthread_rwlock_rdlock);
GMP_REAL(pthread_rwlock_wrlock);
GMP_REAL(pthread_rwlock_tryrdlock);
GMP_REAL(pthread_rwlock_trywrlock);
GMP_REAL(pthread_rwlock_timedrdlock);
GMP_REAL(pthread_rwlock_timedwrlock);
GMP_REAL(pthread_rwlock_clockrdlock);
GMP_REAL(pthread_rwlock_clockwrlock);
GMP_REAL(pthread_rwlock_unlock);

enum class Side { Read, Write };

bool libcs(const pthread_rwlock_t* l) { return native() || GMP_UNLIKELY(l->__data.__shared); }

int real_lock(pthread_rwlock_t* l, Side side, const Until* u) {
  const bool rd = side == Side::Read;
  if (!u) return rd ? REAL(pthread_rwlock_rdlock)(l) : REAL(pthread_rwlock_wrlock)(l);
  if (u->clock == CLOCK_REALTIME) return rd ? REAL(pthread_rwlock_timedrdlock)(l, u->abs) : REAL(pthread_rwlock_timedwrlock)(l, u->abs);
  return rd ? REAL(pthread_rwlock_clockrdlock)(l, u->clock, u->abs) : REAL(pthread_rwlock_clockwrlock)(l, u->clock, u->abs);
}

GMP_NOINLINE int libc_lock(pthread_rwlock_t* l, Side side, const Until* u) {
  if (native()) return real_lock(l, side, u);
  int r = side == Side::Read ? REAL(pthread_rwlock_tryrdlock)(l) : REAL(pthread_rwlock_trywrlock)(l);
  if (r != EBUSY) return r;
  enter_syscall_waits();
  r = real_lock(l, side, u);
  exit_syscall();
  return r;
}

// Time and clock are checked even when nobody blocks, as glibc does.
int timed(pthread_rwlock_t* l, Side side, clockid_t clock, const timespec* abs) {
  if ((clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC) || uint64_t(abs->tv_nsec) >= 1'000'000'000) return EINVAL;
  Until u{clock, abs};
  if (libcs(l)) return libc_lock(l, side, &u);
  int r = side == Side::Read ? rwlock_try_read(l) : rwlock_try_write(l);
  if (r != EBUSY) return r;
  int64_t deadline;
  if (!deadline_from(clock, abs, &deadline)) return EINVAL;
  return side == Side::Read ? rwlock_read(l, deadline) : rwlock_write(l, deadline);
}

} // namespace

} // namespace gmp

using namespace gmp;

GMP_HOOK int pthread_rwlock_init(pthread_rwlock_t* l, const pthread_rwlockattr_t* attr) {
  if (attr || native()) return REAL(pthread_rwlock_init)(l, attr);
  memset(l, 0, sizeof *l);
  return 0;
}

GMP_HOOK int pthread_rwlock_destroy(pthread_rwlock_t* l) { return libcs(l) ? REAL(pthread_rwlock_destroy)(l) : 0; }

GMP_HOOK int pthread_rwlock_rdlock(pthread_rwlock_t* l) {
  return libcs(l) ? libc_lock(l, Side::Read, nullptr) : rwlock_read(l, kNoDeadline);
}
GMP_HOOK int pthread_rwlock_wrlock(pthread_rwlock_t* l) {
  return libcs(l) ? libc_lock(l, Side::Write, nullptr) : rwlock_write(l, kNoDeadline);
}
GMP_HOOK int pthread_rwlock_tryrdlock(pthread_rwlock_t* l) {
  return libcs(l) ? REAL(pthread_rwlock_tryrdlock)(l) : rwlock_try_read(l);
}
GMP_HOOK int pthread_rwlock_trywrlock(pthread_rwlock_t* l) {
  return libcs(l) ? REAL(pthread_rwlock_trywrlock)(l) : rwlock_try_write(l);
}
GMP_HOOK int pthread_rwlock_timedrdlock(pthread_rwlock_t* l, const timespec* abs) { return timed(l, Side::Read, CLOCK_REALTIME, abs); }
GMP_HOOK int pthread_rwlock_timedwrlock(pthread_rwlock_t* l, const timespec* abs) { return timed(l, Side::Write, CLOCK_REALTIME, abs); }
GMP_HOOK int pthread_rwlock_clockrdlock(pthread_rwlock_t* l, clockid_t clock, const timespec* abs) {
  return timed(l, Side::Read, clock, abs);
}
GMP_HOOK int pthread_rwlock_clockwrlock(pthread_rwlock_t* l, clockid_t clock, const timespec* abs) {
  return timed(l, Side::Write, clock, abs);
}
GMP_HOOK int pthread_rwlock_unlock(pthread_rwlock_t* l) {
  if (libcs(l)) return REAL(pthread_rwlock_unlock)(l);
  rwlock_unlock(l);
  return 0;
}

GMP_ALIAS(__pthread_rwlock_init, pthread_rwlock_init);
GMP_ALIAS(__pthread_rwlock_destroy, pthread_rwlock_destroy);
GMP_ALIAS(__pthread_rwlock_rdlock, pthread_rwlock_rdlock);
GMP_ALIAS(__pthread_rwlock_wrlock, pthread_rwlock_wrlock);
GMP_ALIAS(__pthread_rwlock_tryrdlock, pthread_rwlock_tryrdlock);
GMP_ALIAS(__pthread_rwlock_trywrlock, pthread_rwlock_trywrlock);
GMP_ALIAS(__pthread_rwlock_unlock, pthread_rwlock_unlock);
