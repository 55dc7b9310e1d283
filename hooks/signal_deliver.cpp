// The trampoline, what could not be delivered at once, and what a wait that was interrupted does next.
//
// A signal that hits program code on a G runs its handler there and then. One that hits g0 or the runtime is noted here (per signal, the last
// siginfo wins) and runs on a G: this one when it leaves the runtime, else main, whose wait is ended (runtime/syscall.cpp).
#include <cstring>
#include <sys/ucontext.h>
#include "hooks/signal.hpp"

namespace gmp {

namespace {

struct Pending {
  std::atomic<uint64_t> set;
  siginfo_t info[kSignals + 1];
};
constinit Pending g_pending{};

void call(int sig, siginfo_t* info, void* context) {
  Disposition& d = g_disposition[sig];
  Handler h = d.handler.load(std::memory_order_acquire);
  int keep = errno;
  if (d.flags.load(std::memory_order_relaxed) & SA_SIGINFO) h(sig, info, context);
  else reinterpret_cast<void (*)(int)>(reinterpret_cast<void*>(h))(sig);
  errno = keep;
}

stack_t kernel_altstack() {
  stack_t s{};
  sys(SYS_sigaltstack, 0, &s);
  return s;
}

} // namespace

bool is_kick(const siginfo_t* info) { return info->si_code == SI_TKILL && info->si_pid == int(sys(SYS_getpid)); }

void kick(int tid, int sig) { sys(SYS_tgkill, sys(SYS_getpid), tid, sig); }

siginfo_t tkill_info(int sig) {
  siginfo_t i;
  memset(&i, 0, sizeof i);
  i.si_signo = sig;
  i.si_code = SI_TKILL;
  i.si_pid = int(sys(SYS_getpid));
  i.si_uid = uid_t(sys(SYS_getuid));
  return i;
}

static std::atomic<int> g_kicks[kSignals + 1];

void mark_pending(Thread* t, int sig) { t->sig_pending.fetch_or(sigbit(sig), std::memory_order_seq_cst); }
void kick_sent(int sig) { g_kicks[sig].fetch_add(1, std::memory_order_seq_cst); }

// One of the kicks under way has arrived. False: there was none.
static bool kick_arrived(int sig) {
  int n = g_kicks[sig].load(std::memory_order_seq_cst);
  while (n > 0 && !g_kicks[sig].compare_exchange_weak(n, n - 1)) {}
  return n > 0;
}

bool stray_kick(int sig, const siginfo_t* info) {
  if (!is_kick(info) || !getg()) return false;
  bool marked = self()->sig_pending.fetch_and(~sigbit(sig), std::memory_order_seq_cst) & sigbit(sig);
  return kick_arrived(sig) && !marked;
}

uint64_t pending_set() {
  return g_pending.set.load(std::memory_order_acquire) | (getg() ? self()->sig_pending.load(std::memory_order_acquire) : 0);
}

int take_pending(uint64_t wanted, siginfo_t* info, uint64_t of_process) {
  uint64_t have;
  if (getg()) {
    auto& own = self()->sig_pending;
    while ((have = own.load(std::memory_order_acquire) & wanted)) {
      int sig = __builtin_ctzll(have) + 1;
      if (!(own.fetch_and(~sigbit(sig), std::memory_order_acq_rel) & sigbit(sig))) continue;
      *info = tkill_info(sig);
      return sig;
    }
  }
  while ((have = g_pending.set.load(std::memory_order_acquire) & wanted & of_process)) {
    int sig = __builtin_ctzll(have) + 1;
    *info = g_pending.info[sig];
    if (g_pending.set.fetch_and(~sigbit(sig), std::memory_order_acq_rel) & sigbit(sig)) return sig;
  }
  return 0;
}

// The kernel has found some kernel thread for a signal to the process. As natively, main has it as long as it does not block it: it
// may sit in a wait that the signal is to end. What counts CPU time belongs to whoever used it.
static bool belongs_to_main(int sig, const siginfo_t* info) {
  G *g = getg(), *m = main_g();
  if (!g || g == m || info->si_code == SI_TKILL || info->si_code == SI_TIMER) return false;
  if (sigbit(sig) & (sigbit(SIGPROF) | sigbit(SIGVTALRM) | sigbit(SIGXCPU))) return false;
  return alive(m) && !(get_sigmask(m) & sigbit(sig));
}

// In a G, inside a hook or not: nobody can tell. A hook that is in the middle of a call ends its next wait, as the kernel would have ended
// the call; the next hook begins by forgetting it (test_cancel).
static void handler_has_run(int flags) {
  if (!getg()) return;
  Thread* t = self();
  t->handler_ran = true;
  if (!(flags & SA_RESTART)) t->handler_no_restart = true;
  end_next_wait();
}

extern "C" __attribute__((visibility("hidden"), used)) void gmp_signal_deliver(int sig, siginfo_t* info, void* context) {
  bool fault = (sigbit(sig) & kFaults) && info->si_code > 0;
  if (!fault && !signal_context_ok()) {
    if (is_kick(info) && getg()) { // meant for this thread: its own, and it looks on its way out. A stray marks nothing.
      if (!stray_kick(sig, info)) mark_pending(self(), sig);
      signal_defer();
      return;
    }
    if (is_kick(info) && kick_arrived(sig)) return; // on g0: the thread has left this M, and has its mark
    g_pending.info[sig] = *info;
    g_pending.set.fetch_or(sigbit(sig), std::memory_order_release);
    signal_defer();
    return;
  }
  if (!fault && is_kick(info)) {
    if (g_pending.set.load(std::memory_order_acquire) & sigbit(sig)) { // kick_pending's
      run_pending_signals();
      return;
    }
    if (stray_kick(sig, info)) return;
  }
  if (!fault && belongs_to_main(sig, info)) {
    g_pending.info[sig] = *info;
    g_pending.set.fetch_or(sigbit(sig), std::memory_order_release);
    signal_pass_on();
    return;
  }
  stack_t before = kernel_altstack();
  call(sig, info, context);
  handler_has_run(g_disposition[sig].flags.load(std::memory_order_relaxed));
  // The handler may have waited and come back on another M: sigreturn must leave that one's alternate stack alone.
  stack_t now = kernel_altstack();
  if (now.ss_sp != before.ss_sp) static_cast<ucontext_t*>(context)->uc_stack = now;
}

void run_pending_signals() {
  G* g = getg();
  uint64_t blocked = g ? get_sigmask(g) : 0;
  siginfo_t info;
  uint64_t mains = 0;
  if (G* m = main_g(); g && g != m && alive(m)) mains = ~get_sigmask(m);
  if (GMP_UNLIKELY(g_pending.set.load(std::memory_order_acquire) & mains)) signal_pass_on();
  for (;;) {
    const bool own = g && (self()->sig_pending.load(std::memory_order_acquire) & ~blocked);
    const int sig = take_pending(~blocked, &info, ~mains);
    if (!sig) break;
    Disposition& d = g_disposition[sig];
    // Marked while it was blocked, and nobody handles it: what the kernel would do now. (A one-shot handler is gone from the kernel
    // when its signal is noted here, and still to be run.)
    if (own && !(d.flags.load(std::memory_order_relaxed) & SA_RESETHAND)) {
      void* action = kernel_handler(sig);
      if (action == reinterpret_cast<void*>(SIG_DFL)) sys(SYS_kill, sys(SYS_getpid), sig);
      if (action != reinterpret_cast<void*>(&trampoline)) continue;
    }
    if (!d.handler.load(std::memory_order_acquire)) continue;
    int flags = d.flags.load(std::memory_order_relaxed);
    uint64_t during = blocked | d.mask.load(std::memory_order_relaxed) | (flags & SA_NODEFER ? 0 : sigbit(sig));
    if (g) set_sigmask(during & ~kUnblockable);
    ucontext_t context;
    memset(&context, 0, sizeof context);
    call(sig, &info, &context);
    if (g) set_sigmask(blocked);
    handler_has_run(flags);
  }
  if (GMP_UNLIKELY(cancel_async_pending())) test_cancel();
}

MoreBlocked::MoreBlocked(uint64_t mask) {
  if (g) was = get_sigmask(g);
  if (g && (mask & ~was)) set_sigmask(was | mask);
  else g = nullptr; // nothing to undo
}

long MoreBlocked::end(long result) {
  if (GMP_LIKELY(!g)) return result;
  set_sigmask(was);
  if (pending_set() & ~was) run_pending_signals();
  self()->handler_ran = self()->handler_no_restart = false; // not in a wait
  return result;
}

bool run_pending_under(uint64_t mask) {
  G* g = getg();
  const uint64_t was = g ? get_sigmask(g) : 0;
  if (g) set_sigmask(mask);
  run_pending_signals();
  if (g) set_sigmask(was);
  Thread* t = self();
  const bool ran = t->handler_ran;
  t->handler_ran = t->handler_no_restart = false;
  return ran;
}

After after_interrupt(bool restartable, bool cancellation_point) {
  if (pending_set()) run_pending_signals();
  Thread* t = self();
  bool ran = t->handler_ran, hard = t->handler_no_restart;
  t->handler_ran = t->handler_no_restart = false;
  if (cancellation_point || cancel_async_pending()) test_cancel();
  // The kernel interrupts a thread that is no G only where the handler's flags say so.
  if (!getg()) return After::Eintr;
  return ran && (!restartable || hard) ? After::Eintr : After::Retry;
}

// A pending signal waits for a G that sits in a call or in program code: interrupt its kernel thread.
static void kick_pending(int tid) {
  if (uint64_t s = pending_set()) kick(tid, __builtin_ctzll(s) + 1);
}

void signal_start() {
  g_run_pending_signals = run_pending_signals;
  g_signals_pending = [] { return g_pending.set.load(std::memory_order_acquire); };
  g_kick_signal = kick_pending;
}

void signal_in_child() { g_pending.set.store(0, std::memory_order_relaxed); }

} // namespace gmp
