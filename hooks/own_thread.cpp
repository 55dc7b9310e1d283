// Namespaces, credentials of one thread, capabilities, nice values, and the same by syscall() and prctl(). All of it is per thread in Linux, and
// a G that does it needs a kernel thread of its own. (What glibc makes of setuid and its family concerns the whole process: runtime/setxid.cpp.)
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include "hooks/own_thread.hpp"
#include "hooks/thread.hpp"

namespace gmp {

namespace {

// Of prctl's options those that set something of the calling thread. Newer ones than Debian 12's headers know by number.
bool own_option(long option, long a) {
  switch (option) {
  case PR_SET_PDEATHSIG: case PR_SET_UNALIGN: case PR_SET_FPEMU: case PR_SET_FPEXC: case PR_SET_KEEPCAPS: case PR_SET_TIMING: case PR_SET_ENDIAN:
  case PR_SET_SECCOMP: case PR_CAPBSET_DROP: case PR_SET_TSC: case PR_SET_SECUREBITS: case PR_SET_TIMERSLACK: case PR_MCE_KILL:
  case PR_SET_NO_NEW_PRIVS: case PR_SET_SPECULATION_CTRL: case PR_SET_IO_FLUSHER: case PR_SET_SYSCALL_USER_DISPATCH: return true;
  case PR_CAP_AMBIENT: return a != PR_CAP_AMBIENT_IS_SET;
  case PR_SCHED_CORE: return a != 0 /*PR_SCHED_CORE_GET*/;
  default: return false;
  }
}

constexpr long kSeccompSetStrict = 0, kSeccompSetFilter = 1, kSeccompAllThreads = 1; // SECCOMP_FILTER_FLAG_TSYNC
constexpr long kSetGs = 0x1001, kSetCpuid = 0x1012;

long nice_of(int tid) { return 20 - sys(SYS_getpriority, PRIO_PROCESS, tid); } // the kernel's answer is 20 to 1

// No change needs no kernel thread of its own.
long set_nice(G* g, int value) {
  const int wanted = value < -20 ? -20 : value > 19 ? 19 : value;
  if (nice_of(state_tid(g)) == wanted) return 0;
  thread_at(thread_pointer_of(g))->own_sched_only = false;
  return own_m(g, [&](int tid) { return sys(SYS_setpriority, PRIO_PROCESS, tid, value); });
}

} // namespace

bool own_thread_call(long n, long a, long b) {
  switch (n) {
  case SYS_prctl: return own_option(a, b);
  case SYS_setuid: case SYS_setgid: case SYS_setreuid: case SYS_setregid: case SYS_setresuid: case SYS_setresgid: case SYS_setgroups:
  case SYS_setfsuid: case SYS_setfsgid: case SYS_capset: case SYS_setns: case SYS_set_mempolicy: case SYS_ioperm: case SYS_iopl:
  case SYS_pkey_alloc: case SYS_set_robust_list: return true;
  case SYS_keyctl: return a == 1 /*KEYCTL_JOIN_SESSION_KEYRING*/ || a == 14 /*KEYCTL_SET_REQKEY_KEYRING*/;
  case SYS_unshare: return a != 0;
  case SYS_personality: return a != 0xffffffff;
  case SYS_seccomp: return a == kSeccompSetStrict || (a == kSeccompSetFilter && !(b & kSeccompAllThreads));
  case SYS_arch_prctl: return a == kSetGs || a == kSetCpuid;
  case SYS_ptrace: return a == PTRACE_ATTACH || a == PTRACE_SEIZE;
  default: return false;
  }
}

// By number. False: none of these.
bool own_raw_call(long n, long a, long b, long c, long d, long e, long f, long* r) {
  if (n == SYS_rseq) return *r = -EINVAL, true; // as where libc has registered the thread: the area would go from G to G
  if (own_thread_call(n, a, b)) return *r = own_sys(n, a, b, c, d, e, f), true;
  if (n != SYS_setpriority && n != SYS_getpriority && n != SYS_ioprio_set && n != SYS_ioprio_get) return false;
  const long process = n == SYS_setpriority || n == SYS_getpriority ? PRIO_PROCESS : 1 /*IOPRIO_WHO_PROCESS*/;
  G* g;
  if (a != process) return false;
  if (thread_of_tid(int(b), &g) == Whose::Gone) return *r = -ESRCH, true;
  if (!g) return false;
  if (n == SYS_setpriority) *r = set_nice(g, int(c));
  else if (n == SYS_ioprio_set) *r = own_m(g, [&](int tid) { return sys(n, a, tid, c); });
  else *r = sys(n, a, state_tid(g));
  return true;
}

Whose thread_of_tid(int tid, G** g) {
  *g = nullptr;
  if (!getg()) return Whose::Kernel;
  if (tid == 0 || tid == self_tid()) return *g = getg(), Whose::G;
  if (tid == thread_at(thread_pointer_of(main_g()))->tid) return *g = main_g(), Whose::G;
  if (unsigned(tid) >> 29 != 1) return Whose::Kernel; // a G's is beyond any pid of the kernel's
  return (*g = g_of_gtid(tid)) ? Whose::G : Whose::Gone;
}

int state_tid(const G* g) {
  const int tid = own_m_tid(g);
  return tid ? tid : g == getg() ? 0 : plain_m_tid();
}

} // namespace gmp

using namespace gmp;

GMP_HOOK int unshare(int flags) noexcept { return int(ret(flags ? own_sys(SYS_unshare, flags) : sys(SYS_unshare, flags))); }
GMP_HOOK int setns(int fd, int type) noexcept { return int(ret(own_sys(SYS_setns, fd, type))); }
GMP_HOOK int setfsuid(uid_t id) noexcept { return int(ret(own_sys(SYS_setfsuid, id))); }
GMP_HOOK int setfsgid(gid_t id) noexcept { return int(ret(own_sys(SYS_setfsgid, id))); }
GMP_HOOK int ioperm(unsigned long from, unsigned long n, int on) noexcept { return int(ret(own_sys(SYS_ioperm, from, n, on))); }
GMP_HOOK int iopl(int level) noexcept { return int(ret(own_sys(SYS_iopl, level))); }
GMP_HOOK int capset(void* header, const void* data) { return int(ret(own_sys(SYS_capset, header, data))); }
GMP_HOOK int personality(unsigned long persona) noexcept {
  return int(ret(persona == 0xffffffff ? sys(SYS_personality, persona) : own_sys(SYS_personality, persona)));
}
GMP_HOOK int hook_arch_prctl(int code, unsigned long address) __asm__("arch_prctl");
GMP_HOOK int hook_arch_prctl(int code, unsigned long address) {
  const bool own = code == kSetGs || code == kSetCpuid;
  return int(ret(own ? own_sys(SYS_arch_prctl, code, address) : sys(SYS_arch_prctl, code, address)));
}

// Rights of protection keys are a register of the thread's.
GMP_REAL(pkey_set);
GMP_HOOK int pkey_alloc(unsigned flags, unsigned rights) noexcept { return int(ret(own_sys(SYS_pkey_alloc, flags, rights))); }
GMP_HOOK int pkey_set(int key, unsigned rights) noexcept {
  G* g = getg();
  if (!g) return REAL(pkey_set)(key, rights);
  const long r = own_m(g, [&](int) -> long { return REAL(pkey_set)(key, rights) == 0 ? 0 : -EINVAL; });
  return int(ret(r));
}

// The kernel knows the tracer as a thread. A child that asked to be traced is that of the kernel thread which forked it.
GMP_REAL(ptrace);
GMP_HOOK long hook_ptrace(int request, long pid, long address, long data) __asm__("ptrace");
GMP_HOOK long hook_ptrace(int request, long pid, long address, long data) {
  if (getg() && own_thread_call(SYS_ptrace, request, pid)) return ret(own_sys(SYS_ptrace, request, pid, address, data));
  on_own_m();
  return REAL(ptrace)(static_cast<__ptrace_request>(request), pid, address, data);
}

GMP_HOOK int setpriority(__priority_which_t which, id_t who, int value) noexcept {
  G* g = nullptr;
  const Whose w = which == PRIO_PROCESS ? thread_of_tid(int(who), &g) : Whose::Kernel;
  if (w == Whose::Gone) return int(ret(-ESRCH));
  return int(ret(g ? set_nice(g, value) : sys(SYS_setpriority, which, who, value)));
}

// Values below 0 are no errors: errno alone tells.
GMP_HOOK int getpriority(__priority_which_t which, id_t who) noexcept {
  G* g = nullptr;
  const Whose w = which == PRIO_PROCESS ? thread_of_tid(int(who), &g) : Whose::Kernel;
  if (w == Whose::Gone) return int(ret(-ESRCH));
  const long r = sys(SYS_getpriority, which, g ? state_tid(g) : int(who));
  return int(r < 0 ? ret(r) : 20 - r);
}

GMP_HOOK int nice(int step) noexcept {
  G* g = getg();
  const long now = nice_of(g ? state_tid(g) : 0);
  const long r = g ? set_nice(g, int(now) + step) : sys(SYS_setpriority, PRIO_PROCESS, 0, now + step);
  if (r < 0) return int(ret(r == -EACCES ? -EPERM : r));
  return int(nice_of(g ? state_tid(g) : 0));
}
