// Scheduling policy and affinity of threads. A G runs on whatever kernel thread comes, so these are kept in its record and read back; the
// kernel is asked whether it would allow them. With a real-time policy or a mask of its own a G will have to be locked to a kernel thread.
// A tid of another G than the caller's can't be looked up by number: it stands for the process there.
#include <cstring>
#include <sched.h>
#include "hooks/thread.hpp"
#include "hooks/thread_libc.hpp"

namespace gmp {

GMP_REAL(pthread_getaffinity_np);
GMP_REAL(pthread_setaffinity_np);
GMP_REAL(pthread_getschedparam);
GMP_REAL(pthread_setschedparam);
GMP_REAL(pthread_setschedprio);

// Sets it on the calling kernel thread and puts back what was: only a real-time policy needs it, and back from one is always allowed.
int try_sched(int policy, int priority) {
  switch (policy & ~SCHED_RESET_ON_FORK) {
  case SCHED_OTHER:
  case SCHED_BATCH:
  case SCHED_IDLE: return priority == 0 ? 0 : EINVAL;
  case SCHED_FIFO:
  case SCHED_RR: break;
  default: return EINVAL;
  }
  sched_param was{}, wanted{};
  wanted.sched_priority = priority;
  long old = sys(SYS_sched_getscheduler, 0);
  sys(SYS_sched_getparam, 0, &was);
  long r = sys(SYS_sched_setscheduler, 0, policy, &wanted);
  if (r < 0) return int(-r);
  sys(SYS_sched_setscheduler, 0, old, &was);
  return 0;
}

int try_affinity(size_t size, const void* mask) {
  unsigned char was[1024];
  long n = sys(SYS_sched_getaffinity, 0, sizeof was, was);
  if (n < 0) return int(-n);
  long r = sys(SYS_sched_setaffinity, 0, size, mask);
  if (r < 0) return int(-r);
  sys(SYS_sched_setaffinity, 0, n, was);
  return 0;
}

// The raw call's result: bytes, or -errno. Both keep to what the kernel would say of the size.
static long get_affinity(const Thread* t, size_t size, void* mask) {
  long n = sys(SYS_sched_getaffinity, 0, size < 0x7fffffff ? size : 0x7fffffff, mask);
  if (n < 0 || !t || !t->affinity_set) return n;
  size_t kept = size_t(n) < sizeof t->affinity ? size_t(n) : sizeof t->affinity;
  memcpy(mask, t->affinity, kept);
  return n;
}

static int set_affinity(Thread* t, size_t size, const void* mask) {
  if (int error = try_affinity(size, mask)) return error;
  if (!t) return 0;
  // What the kernel would keep: without processors that the process can't have.
  unsigned char allowed[sizeof t->affinity] = {};
  memcpy(allowed, mask, size < sizeof allowed ? size : sizeof allowed);
  memcpy(t->affinity, allowed, sizeof allowed);
  t->affinity_set = true;
  return 0;
}

static int set_sched(Thread* t, int policy, int priority) {
  if (int error = try_sched(policy, priority)) return error;
  t->sched_policy = policy;
  t->sched_priority = priority;
  t->sched_set = true;
  return 0;
}

static void get_sched(const Thread* t, int* policy, int* priority) {
  *policy = t->sched_policy;
  *priority = t->sched_priority;
  if (t->sched_set) return;
  sched_param param{};
  *policy = int(sys(SYS_sched_getscheduler, 0));
  sys(SYS_sched_getparam, 0, &param);
  *priority = param.sched_priority;
}

// Whose record a pid argument means: the caller's, main's, none but "ours" (another G), or the kernel's business.
enum class Whose { Record, Process, Kernel };
static Whose whose(pid_t pid, Thread** t) {
  *t = nullptr;
  if (!getg()) return Whose::Kernel;
  if (pid == 0 || pid == self_tid()) return *t = self(), Whose::Record;
  if (Thread* m = thread_at(thread_pointer_of(main_g())); pid == m->tid) return *t = m, Whose::Record;
  return unsigned(pid) >> 29 == 1 ? Whose::Process : Whose::Kernel; // 0x20000000: beyond any pid of the kernel's
}

static Thread* record_of(pthread_t t) { return !native() && g_of_handle(t) ? thread_at(t) : nullptr; }
static bool to_libc(pthread_t t) { return native() || t == pthread_self(); }

} // namespace gmp

using namespace gmp;

GMP_HOOK int pthread_getaffinity_np(pthread_t t, size_t size, cpu_set_t* set) {
  Thread* r = record_of(t);
  if (!r) return to_libc(t) ? REAL(pthread_getaffinity_np)(t, size, set) : ESRCH;
  long n = get_affinity(r, size, set);
  if (n < 0) return int(-n);
  memset(reinterpret_cast<char*>(set) + n, 0, size - size_t(n));
  return 0;
}

GMP_HOOK int pthread_setaffinity_np(pthread_t t, size_t size, const cpu_set_t* set) {
  Thread* r = record_of(t);
  if (!r) return to_libc(t) ? REAL(pthread_setaffinity_np)(t, size, set) : ESRCH;
  return set_affinity(r, size, set);
}

GMP_HOOK int sched_getaffinity(pid_t pid, size_t size, cpu_set_t* set) {
  Thread* r;
  long n = whose(pid, &r) == Whose::Kernel ? sys(SYS_sched_getaffinity, pid, size < 0x7fffffff ? size : 0x7fffffff, set)
                                           : get_affinity(r, size, set);
  if (n < 0) return int(ret(n));
  memset(reinterpret_cast<char*>(set) + n, 0, size - size_t(n));
  return 0;
}

GMP_HOOK int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t* set) {
  Thread* r;
  if (whose(pid, &r) == Whose::Kernel) return int(ret(sys(SYS_sched_setaffinity, pid, size, set)));
  return int(ret(-set_affinity(r, size, set)));
}

// In step with the mask that the thread was given: the first of its processors where it runs on another.
GMP_HOOK int sched_getcpu() {
  unsigned cpu = 0;
  long r = sys(SYS_getcpu, &cpu, nullptr, nullptr);
  if (r < 0) return int(ret(r));
  const Thread* t = self();
  if (GMP_LIKELY(!t->affinity_set || !getg()) || cpu >= sizeof t->affinity * 8 || (t->affinity[cpu / 8] >> cpu % 8 & 1)) return int(cpu);
  for (unsigned i = 0; i < sizeof t->affinity * 8; i++)
    if (t->affinity[i / 8] >> i % 8 & 1) return int(i);
  return int(cpu);
}

GMP_HOOK int pthread_setschedparam(pthread_t t, int policy, const sched_param* param) {
  Thread* r = record_of(t);
  if (!r) return to_libc(t) ? REAL(pthread_setschedparam)(t, policy, param) : ESRCH;
  return set_sched(r, policy, param->sched_priority);
}

GMP_HOOK int pthread_getschedparam(pthread_t t, int* policy, sched_param* param) {
  Thread* r = record_of(t);
  if (!r) return to_libc(t) ? REAL(pthread_getschedparam)(t, policy, param) : ESRCH;
  get_sched(r, policy, &param->sched_priority);
  return 0;
}

GMP_HOOK int pthread_setschedprio(pthread_t t, int priority) {
  Thread* r = record_of(t);
  if (!r) return to_libc(t) ? REAL(pthread_setschedprio)(t, priority) : ESRCH;
  int policy, old;
  get_sched(r, &policy, &old);
  return set_sched(r, policy, priority);
}

GMP_HOOK int sched_setscheduler(pid_t pid, int policy, const sched_param* param) {
  Thread* r;
  Whose w = whose(pid, &r);
  if (w == Whose::Kernel || !param) return int(ret(sys(SYS_sched_setscheduler, w == Whose::Kernel ? pid : 0, policy, param)));
  int error = r ? set_sched(r, policy, param->sched_priority) : try_sched(policy, param->sched_priority);
  return int(ret(-error));
}
GMP_ALIAS(__sched_setscheduler, sched_setscheduler);

GMP_HOOK int sched_getscheduler(pid_t pid) {
  Thread* r;
  Whose w = whose(pid, &r);
  if (!r) return int(ret(sys(SYS_sched_getscheduler, w == Whose::Kernel ? pid : 0)));
  int policy, priority;
  get_sched(r, &policy, &priority);
  return policy;
}
GMP_ALIAS(__sched_getscheduler, sched_getscheduler);

GMP_HOOK int sched_setparam(pid_t pid, const sched_param* param) {
  Thread* r;
  Whose w = whose(pid, &r);
  if (!r || !param) return int(ret(sys(SYS_sched_setparam, w == Whose::Kernel ? pid : 0, param)));
  int policy, old;
  get_sched(r, &policy, &old);
  return int(ret(-set_sched(r, policy, param->sched_priority)));
}

GMP_HOOK int sched_getparam(pid_t pid, sched_param* param) {
  Thread* r;
  Whose w = whose(pid, &r);
  if (!r || !param) return int(ret(sys(SYS_sched_getparam, w == Whose::Kernel ? pid : 0, param)));
  int policy;
  get_sched(r, &policy, &param->sched_priority);
  return 0;
}
GMP_ALIAS(__sched_getparam, sched_getparam);
