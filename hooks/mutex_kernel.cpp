// Mutexes that need the kernel to know their owner: robust and priority-inheriting ones that other processes share, and those with a priority
// ceiling. libc's own functions serve, on a kernel thread that the G does not leave while it holds one: its real id stands in the lock
// word, its robust list is the one in the G's TCB, its priority is raised. So the kernel hands them on when the process is killed.
#include "hooks/mutex.hpp"

namespace gmp {

GMP_REAL(pthread_mutex_lock);
GMP_REAL(pthread_mutex_trylock);
GMP_REAL(pthread_mutex_timedlock);
GMP_REAL(pthread_mutex_clocklock);
GMP_REAL(pthread_mutex_unlock);

static int real_lock(pthread_mutex_t* m, const Until* u) {
  if (!u) return REAL(pthread_mutex_lock)(m);
  if (u->clock == CLOCK_REALTIME) return REAL(pthread_mutex_timedlock)(m, u->abs);
  return REAL(pthread_mutex_clocklock)(m, u->clock, u->abs);
}

int kernel_mutex_tid() {
  G* g = getg();
  const int tid = g ? own_m_tid(g) : 0;
  return tid ? tid : mutex_self();
}

// One for each time that it is locked.
static void stay() {
  if (getg()) lock_to_m();
  else if (mode() == Mode::Unstarted) self()->kernel_mutexes++;
}
static void unstay() {
  if (getg()) unlock_from_m();
  else if (self()->kernel_mutexes > 0) self()->kernel_mutexes--;
}

int kernel_mutex_lock(pthread_mutex_t* m, int kind, bool wait, const Until* u) {
  stay();
  if (kind & kMutexRobust) own_robust_list();
  int r = with_kernel_tid([&] {
    int e = REAL(pthread_mutex_trylock)(m);
    if (e != EBUSY || !wait) return e;
    enter_syscall_waits();
    e = real_lock(m, u);
    exit_syscall();
    return e;
  });
  if (r != 0 && r != EOWNERDEAD) unstay();
  return r;
}

int kernel_mutex_unlock(pthread_mutex_t* m) {
  const int r = with_kernel_tid([&] { return REAL(pthread_mutex_unlock)(m); });
  if (r == 0 || r == ENOTRECOVERABLE) unstay(); // the latter: once less, of a recursive one that is inconsistent
  return r;
}

} // namespace gmp
