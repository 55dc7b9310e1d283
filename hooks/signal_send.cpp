// Sending from within the process. For a thread: into its set, and the thread is disturbed. For the process: the thread that takes it is chosen
// here; if none does, or there is no handler, it is the kernel's affair.
#include <unistd.h>
#include "hooks/signal_send.hpp"

namespace gmp {

siginfo_t sent_info(int sig, int code, sigval value) {
  siginfo_t i;
  __builtin_memset(&i, 0, sizeof i);
  i.si_signo = sig;
  i.si_code = code;
  i.si_pid = int(sys(SYS_getpid));
  i.si_uid = uid_t(sys(SYS_getuid));
  i.si_value = value;
  return i;
}

// On this kernel thread, with the signal open for the moment: end, stop and core are the whole process's.
void default_action(int sig) {
  uint64_t open = sigbit(sig), old = 0;
  sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &open, &old, 8);
  sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), sig);
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
}

long to_g(G* g, int sig, const siginfo_t& info) {
  if (sig < 0 || sig > kSignals) return -EINVAL;
  if (sig == 0) return 0;
  if (sig == SIGKILL || sig == SIGSTOP) return sys(SYS_kill, sys(SYS_getpid), sig);
  const bool blocked = get_sigmask(g) & sigbit(sig); // as natively, a mask that changes now counts as before or after
  if (!blocked && !handled(sig)) {
    if (!ignored(sig)) default_action(sig);
    return 0;
  }
  if (long r = add_pending(of_thread(g), sig, Arrival{info, false})) return r;
  if (thread_at(thread_pointer_of(g))->life.load(std::memory_order_seq_cst) == Thread::Dead) drop_pending(of_thread(g), ~0ull);
  else if (blocked && (get_sigmask(g) & sigbit(sig))) // it may be in sigwait, or wait for a signalfd
    (g_signalfd_mask.load(std::memory_order_seq_cst) & sigbit(sig)) ? void(interrupt(g)) : interrupt_call(g);
  else if (g == getg()) run_pending_signals();
  else signal_g(g);
  return 0;
}

// A thread-directed signal for the caller, or one to a kernel thread that is none of ours.
long to_self(int sig, const siginfo_t& info) {
  if (G* g = getg(); g && !self()->vfork_child) return to_g(g, sig, info);
  return sys(SYS_rt_tgsigqueueinfo, sys(SYS_getpid), sys(SYS_gettid), sig, &info);
}

// 1: the kernel shall do it.
long to_process(int sig, const siginfo_t& info) {
  if (!getg() || self()->vfork_child || sig <= 0 || sig > kSignals || libc_signal(sig) || !handled(sig)) return 1;
  auto takes = [sig](G* g) { return alive(g) && !(get_sigmask(g) & sigbit(sig)); };
  if (!takes(main_g()) && !takes(getg()) && !with_g(takes, [](G*) {})) {
    nobody_takes(sigbit(sig), true);
    if (!with_g(takes, [](G*) {})) return 1;
    // somebody has opened it meanwhile: a kernel thread may refuse it for a moment, so this one chooses
  }
  if (long r = add_pending(of_process(), sig, Arrival{info, false})) return r;
  pass_on_signals();
  if (pending_set() & ~get_sigmask(getg())) run_pending_signals(); // before we return, if it is ours
  return 0;
}

G* g_of_tid(int tid) {
  if (tid == int(sys(SYS_getpid))) return main_g();
  return tid < 0x20000000 ? nullptr : g_of_gtid(tid);
}

// 1: the kernel shall do it, for a thread that is no G.
long to_tid(int tid, int sig, const siginfo_t& info) {
  if (tid <= 0) return -EINVAL;
  if (getg() && !self()->vfork_child && tid == self_tid()) return to_g(getg(), sig, info);
  if (mode() != Mode::Running) return 1;
  if (tid == int(sys(SYS_getpid))) return alive(main_g()) ? to_g(main_g(), sig, info) : -ESRCH;
  if (tid < 0x20000000) return 1;
  long r = -ESRCH;
  with_g([tid](G* g) { return gtid(g) == tid; }, [&](G* g) { r = to_g(g, sig, info); });
  return r;
}

} // namespace gmp

using namespace gmp;

GMP_REAL(pthread_kill);
GMP_REAL(pthread_sigqueue);
GMP_REAL(raise);

static int to_handle(pthread_t t, int sig, const siginfo_t& info) {
  G* g = g_of_handle(t);
  if (!g) return t == pthread_self() ? int(-to_self(sig, info)) : ESRCH;
  if (libc_signal(sig)) return EINVAL;
  if (thread_at(t)->life.load(std::memory_order_relaxed) == Thread::Dead) return sig < 0 || sig > kSignals ? EINVAL : 0;
  return int(-to_g(g, sig, info));
}

GMP_HOOK int pthread_kill(pthread_t t, int sig) noexcept {
  if (native() || (!getg() && t == pthread_self())) return REAL(pthread_kill)(t, sig);
  if (t != pthread_self() && !g_of_handle(t) && (mode() != Mode::Running || libc_thread(t))) return REAL(pthread_kill)(t, sig);
  return to_handle(t, sig, sent_info(sig, SI_TKILL));
}

GMP_HOOK int pthread_sigqueue(pthread_t t, int sig, const sigval value) noexcept {
  if (native() || (!getg() && t == pthread_self())) return REAL(pthread_sigqueue)(t, sig, value);
  return to_handle(t, sig, sent_info(sig, SI_QUEUE, value));
}

GMP_HOOK int raise(int sig) noexcept {
  if (native() || !getg() || self()->vfork_child) return REAL(raise)(sig);
  if (libc_signal(sig)) return int(ret(-EINVAL));
  return int(ret(to_g(getg(), sig, sent_info(sig, SI_TKILL))));
}
GMP_ALIAS(gsignal, raise);

GMP_HOOK int tgkill(pid_t pid, pid_t tid, int sig) { return int(ret(send_call(SYS_tgkill, pid, tid, sig, 0))); }
GMP_HOOK int kill(pid_t pid, int sig) noexcept { return int(ret(send_call(SYS_kill, pid, sig, 0, 0))); }

GMP_HOOK int sigqueue(pid_t pid, int sig, const sigval value) noexcept {
  siginfo_t info = sent_info(sig, SI_QUEUE, value);
  return int(ret(send_call(SYS_rt_sigqueueinfo, pid, sig, long(&info), 0)));
}

// The system calls by their numbers (syscall()), too.
namespace gmp {
long send_call(long n, long a, long b, long c, long d) {
  const long pid = sys(SYS_getpid);
  long r = 1;
  // As the kernel has it, a thread's number stands for its process.
  if ((n == SYS_kill || n == SYS_rt_sigqueueinfo) && a >= 0x20000000 && mode() == Mode::Running && g_of_tid(int(a))) a = pid;
  switch (native() ? 0 : n) {
  case SYS_kill:
    if (a == pid) r = to_process(int(b), sent_info(int(b), SI_USER));
    break;
  case SYS_rt_sigqueueinfo:
    if (a == pid && c) {
      siginfo_t i = *reinterpret_cast<const siginfo_t*>(c);
      i.si_signo = int(b);
      r = to_process(int(b), i);
    }
    break;
  case SYS_tkill: r = to_tid(int(a), int(b), sent_info(int(b), SI_TKILL)); break;
  case SYS_tgkill:
    if (a == pid) r = to_tid(int(b), int(c), sent_info(int(c), SI_TKILL));
    else if (b >= 0x20000000) r = a > 0 ? -ESRCH : -EINVAL;
    break;
  case SYS_rt_tgsigqueueinfo:
    if (a == pid && d) {
      siginfo_t i = *reinterpret_cast<const siginfo_t*>(d);
      i.si_signo = int(c);
      r = to_tid(int(b), int(c), i);
    }
    break;
  }
  return r == 1 ? sys(n, a, b, c, d) : r;
}
} // namespace gmp
