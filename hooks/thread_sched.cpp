// Scheduling policy and affinity. The kernel keeps both for each of its threads and is what answers here: a G that asks for more than all others have
// gets a kernel thread of its own (runtime: own_m), and gives it up when it is as the others again.
#include <cstring>
#include <sched.h>
#include <sys/resource.h>
#include "hooks/own_thread.hpp"
#include "hooks/thread.hpp"
#include "hooks/thread_libc.hpp"

namespace gmp {

namespace {

GMP_REAL(pthread_getaffinity_np);
GMP_REAL(pthread_setaffinity_np);
GMP_REAL(pthread_getschedparam);
GMP_REAL(pthread_setschedparam);
GMP_REAL(pthread_setschedprio);

struct Sched {
  long policy;
  int priority;
  bool operator==(const Sched& o) const { return policy == o.policy && priority == o.priority; }
};
Sched sched_of(int tid) {
  sched_param p{};
  const long policy = sys(SYS_sched_getscheduler, tid);
  sys(SYS_sched_getparam, tid, &p);
  return {policy, p.sched_priority};
}

constexpr size_t kMask = 1024; // bytes: 8,192 processors
struct Mask {
  unsigned char bits[kMask] = {};
  long size; // that the kernel has
  explicit Mask(int tid) { size = sys(SYS_sched_getaffinity, tid, sizeof bits, bits); }
};

// A kernel thread as all the others are is nobody's own any more. (A nice value of its own, or anything else, and it stays so: own_m's callers that
// set those leave no trace here, so only one that has set nothing but these may be given up.)
bool like_others() {
  const int plain = plain_m_tid();
  Mask mine(0), theirs(plain);
  return sched_of(0) == sched_of(plain) && mine.size == theirs.size && memcmp(mine.bits, theirs.bits, kMask) == 0;
}

// What own_m() was called for by this file only.
long own_sched(G* g, FnRef<long(int tid)> apply) {
  Thread* t = thread_at(thread_pointer_of(g));
  const bool had = own_m_tid(g) != 0;
  const long r = own_m(g, apply);
  if (r < 0) return r;
  if (!had) t->own_sched_only = true;
  if (g == getg() && t->own_sched_only && like_others()) disown_m();
  return r;
}

long set_sched(G* g, int policy, int priority) {
  if (sched_of(state_tid(g)) == Sched{policy, priority}) return 0;
  sched_param p{};
  p.sched_priority = priority;
  return own_sched(g, [&](int tid) { return sys(SYS_sched_setscheduler, tid, policy, &p); });
}

// libc keeps a copy of its own, which PTHREAD_PRIO_PROTECT goes by, in the struct pthread of the thread: it shall do it by itself for that.
long set_sched_by_libc(pthread_t t, G* g, int policy, int priority) {
  if (g != getg()) return set_sched(g, policy, priority);
  if (!own_m_tid(g) && sched_of(0) == Sched{policy, priority}) return 0;
  sched_param p{};
  p.sched_priority = priority;
  return own_sched(g, [&](int tid) {
    const int was = swap_libc_tid(tid);
    const int e = REAL(pthread_setschedparam)(t, policy, &p);
    swap_libc_tid(was);
    return -e;
  });
}

// What is no narrower than what all have changes nothing.
long set_affinity(G* g, size_t size, const void* mask) {
  Mask now(state_tid(g));
  if (now.size > 0 && size > 0) {
    bool same = true;
    for (size_t i = 0; i < size_t(now.size); i++) same = same && (i < size ? static_cast<const unsigned char*>(mask)[i] : 0) == now.bits[i];
    if (same) return 0;
  }
  return own_sched(g, [&](int tid) { return sys(SYS_sched_setaffinity, tid, size, mask); });
}

long get_affinity(int tid, size_t size, cpu_set_t* set) {
  const long n = sys(SYS_sched_getaffinity, tid, size < 0x7fffffff ? size : 0x7fffffff, set);
  if (n >= 0) memset(reinterpret_cast<char*>(set) + n, 0, size - size_t(n));
  return n < 0 ? n : 0;
}

// Does that differ from what every other thread has?
bool beyond_others(bool sched_set, const Sched& s, const void* mask, size_t size) {
  const int plain = plain_m_tid();
  if (sched_set && !(s == sched_of(plain))) return true;
  if (!mask) return false;
  Mask theirs(plain);
  return size_t(theirs.size) > size || memcmp(theirs.bits, mask, size_t(theirs.size)) != 0;
}

G* of(pthread_t t) { return native() ? nullptr : g_of_handle(t); }
bool to_libc(pthread_t t) { return native() || t == pthread_self(); }

} // namespace

void read_sched(const G* g, int* policy, int* priority) {
  const Sched s = sched_of(state_tid(g));
  *policy = int(s.policy);
  *priority = s.priority;
}

// The first thread may have what its kernel thread alone has (SCHED_RESET_ON_FORK): it stays there.
void own_from_start() {
  const int plain = plain_m_tid();
  if (like_others() && sys(SYS_getpriority, PRIO_PROCESS, 0) == sys(SYS_getpriority, PRIO_PROCESS, plain)) return;
  own_m(main_g(), [](int) { return 0l; });
}

// As natively the creator's kernel state is inherited where it is the creator's own, and attributes count beyond it.
int give_kernel_thread(G* g, const ThreadSpec& spec) {
  G* creator = getg();
  const bool inherits = creator && has_own_m(creator);
  const Sched s{spec.sched_policy, spec.sched_priority};
  const void* mask = spec.affinity_set ? spec.affinity : nullptr;
  if (!inherits && !beyond_others(spec.sched_set, s, mask, sizeof spec.affinity)) return 0;
  on_own_m();
  return spawn_own_m(g, {spec.sched_set, spec.sched_policy, spec.sched_priority, mask, sizeof spec.affinity});
}

} // namespace gmp

using namespace gmp;

GMP_HOOK int pthread_getaffinity_np(pthread_t t, size_t size, cpu_set_t* set) {
  G* g = of(t);
  if (!g) return to_libc(t) ? REAL(pthread_getaffinity_np)(t, size, set) : ESRCH;
  return int(-get_affinity(state_tid(g), size, set));
}

GMP_HOOK int pthread_setaffinity_np(pthread_t t, size_t size, const cpu_set_t* set) {
  G* g = of(t);
  if (!g) return to_libc(t) ? REAL(pthread_setaffinity_np)(t, size, set) : ESRCH;
  return int(-set_affinity(g, size, set));
}

GMP_HOOK int sched_getaffinity(pid_t pid, size_t size, cpu_set_t* set) {
  G* g;
  if (thread_of_tid(pid, &g) == Whose::Gone) return int(ret(-ESRCH));
  return int(ret(get_affinity(g ? state_tid(g) : pid, size, set)));
}

GMP_HOOK int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t* set) {
  G* g;
  if (thread_of_tid(pid, &g) == Whose::Gone) return int(ret(-ESRCH));
  return int(ret(g ? set_affinity(g, size, set) : sys(SYS_sched_setaffinity, pid, size, set)));
}

// A mask set by another thread counts from this call on.
GMP_HOOK int sched_getcpu() {
  on_own_m();
  unsigned cpu = 0;
  const long r = sys(SYS_getcpu, &cpu, nullptr, nullptr);
  return int(r < 0 ? ret(r) : cpu);
}

GMP_HOOK int pthread_setschedparam(pthread_t t, int policy, const sched_param* param) {
  G* g = of(t);
  if (!g) return to_libc(t) ? REAL(pthread_setschedparam)(t, policy, param) : ESRCH;
  return int(-set_sched_by_libc(t, g, policy, param->sched_priority));
}

// The caller may stand at a priority ceiling above its own: libc's copy has the latter.
GMP_HOOK int pthread_getschedparam(pthread_t t, int* policy, sched_param* param) {
  G* g = of(t);
  if (!g) return to_libc(t) ? REAL(pthread_getschedparam)(t, policy, param) : ESRCH;
  if (g == getg() && own_m_tid(g)) {
    const int was = swap_libc_tid(own_m_tid(g)), e = REAL(pthread_getschedparam)(t, policy, param);
    swap_libc_tid(was);
    return e;
  }
  const Sched s = sched_of(state_tid(g));
  *policy = int(s.policy);
  param->sched_priority = s.priority;
  return 0;
}

GMP_HOOK int pthread_setschedprio(pthread_t t, int priority) {
  G* g = of(t);
  if (!g) return to_libc(t) ? REAL(pthread_setschedprio)(t, priority) : ESRCH;
  return int(-set_sched_by_libc(t, g, int(sched_of(state_tid(g)).policy), priority));
}

GMP_HOOK int sched_setscheduler(pid_t pid, int policy, const sched_param* param) {
  G* g;
  if (thread_of_tid(pid, &g) == Whose::Gone) return int(ret(-ESRCH));
  return int(ret(g && param ? set_sched(g, policy, param->sched_priority) : sys(SYS_sched_setscheduler, pid, policy, param)));
}
GMP_ALIAS(__sched_setscheduler, sched_setscheduler);

GMP_HOOK int sched_getscheduler(pid_t pid) {
  G* g;
  if (thread_of_tid(pid, &g) == Whose::Gone) return int(ret(-ESRCH));
  return int(ret(sys(SYS_sched_getscheduler, g ? state_tid(g) : pid)));
}
GMP_ALIAS(__sched_getscheduler, sched_getscheduler);

GMP_HOOK int sched_setparam(pid_t pid, const sched_param* param) {
  G* g;
  if (thread_of_tid(pid, &g) == Whose::Gone) return int(ret(-ESRCH));
  if (!g || !param) return int(ret(sys(SYS_sched_setparam, pid, param)));
  return int(ret(set_sched(g, int(sched_of(state_tid(g)).policy), param->sched_priority)));
}

GMP_HOOK int sched_getparam(pid_t pid, sched_param* param) {
  G* g;
  if (thread_of_tid(pid, &g) == Whose::Gone) return int(ret(-ESRCH));
  return int(ret(sys(SYS_sched_getparam, g ? state_tid(g) : pid, param)));
}
GMP_ALIAS(__sched_getparam, sched_getparam);

GMP_HOOK int sched_rr_get_interval(pid_t pid, timespec* interval) noexcept {
  G* g;
  if (thread_of_tid(pid, &g) == Whose::Gone) return int(ret(-ESRCH));
  return int(ret(sys(SYS_sched_rr_get_interval, g ? state_tid(g) : pid, interval)));
}

// By number, from syscall(): the id in the first argument may be a G's. False: not one of these.
bool gmp::sched_raw_call(long n, long a, long b, long c, long d, long* r) {
  switch (n) {
  case SYS_sched_setaffinity: case SYS_sched_getaffinity: case SYS_sched_setscheduler: case SYS_sched_getscheduler: case SYS_sched_setparam:
  case SYS_sched_getparam: case SYS_sched_rr_get_interval: case SYS_sched_setattr: case SYS_sched_getattr: break;
  default: return false;
  }
  G* g;
  if (thread_of_tid(int(a), &g) == Whose::Gone) return *r = -ESRCH, true;
  if (!g) return false;
  switch (n) {
  case SYS_sched_setaffinity: *r = b >= 0 && c ? set_affinity(g, size_t(b), reinterpret_cast<void*>(c)) : -EFAULT; break;
  case SYS_sched_setscheduler:
  case SYS_sched_setparam: *r = own_sched(g, [&](int tid) { return sys(n, tid, b, c, d); }); break;
  case SYS_sched_setattr: // has more than like_others() sees
    thread_at(thread_pointer_of(g))->own_sched_only = false;
    *r = own_m(g, [&](int tid) { return sys(n, tid, b, c, d); });
    break;
  default: *r = sys(n, state_tid(g), b, c, d);
  }
  return true;
}
