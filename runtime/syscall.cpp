// Leaving the P behind while an M is in the kernel, announced or not.
//
// Announced (enter_syscall .. exit_syscall): the P's status says Syscall and the M keeps only a hint (oldp). Whoever moves the status away by
// a CAS owns the P: the M itself when it comes back in time, else sysmon (Idle, then handoffp).
//
// Unannounced: a G runs long in program code or sits in a call that nobody hooked. sysmon takes the P although the M may
// enter the runtime at any moment. The two meet as in Dekker's protocol:
//     G:       in_rt = 1;      [fence]  read steal
//     sysmon:  steal = Tentative; [fence]  read in_rt, insys
// sysmon's fence is membarrier(PRIVATE_EXPEDITED), which makes every running thread of the process execute one, so that the G's side
// needs only a compiler barrier. If in_rt is set, sysmon backs off (steal = None). Else it owns the P, says Taken, and the G,
// at its next verb, finds out and asks for a P like one that returns from a system call. Until then it goes on running
// program code on its M without a P: that is harmless, the kernel shares the processor, and a spinning G can't starve
// the one it waits for.
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include "runtime/blocktrace.hpp"
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

// On g0 without a P: get one, or queue the G and sleep.
static bool after_no_p(M* m, G* g) {
  g->status.store(GStatus::Runnable, std::memory_order_relaxed);
  P* p;
  {
    Locked l(sched.lock);
    p = pidleget();
    if (!p) globrunqput(g);
  }
  if (!p) return false; // the loop sees m->p == null and sleeps; g belongs to the global queue
  acquirep(m, p);
  return true;
}

static void get_p(G* g) {
  M* m = g->m;
  P* p = nullptr;
  if (sched.npidle.load(std::memory_order_relaxed) > 0) {
    Locked l(sched.lock);
    p = pidleget();
  }
  if (p) {
    acquirep(m, p);
    g->status.store(GStatus::Running, std::memory_order_relaxed);
    return;
  }
  mcall(g, after_no_p);
}

// In the runtime (in_rt set).
static void leave_syscall(G* g) {
  M* m = g->m;
  g->insys.store(0, std::memory_order_relaxed);
  g->quiet.store(0, std::memory_order_relaxed);
  P* p = m->oldp;
  m->oldp = nullptr;
  if (p) {
    PStatus s = PStatus::Syscall;
    if (p->status.compare_exchange_strong(s, PStatus::Running, std::memory_order_acq_rel)) {
      p->m = m;
      m->p = p;
      p->syscalltick++;
      g->status.store(GStatus::Running, std::memory_order_relaxed);
      return;
    }
  }
  get_p(g);
}

void enter_rt_slow(G* g) {
  for (;;) {
    uint8_t s = g->steal.load(std::memory_order_acquire);
    if (s == stealflag::None) break;
    if (s == stealflag::Taken) {
      block_ends(g);
      g->steal.store(stealflag::None, std::memory_order_relaxed);
      sched.robbed.fetch_sub(1, std::memory_order_relaxed);
      if (!g->insys.load(std::memory_order_relaxed)) get_p(g);
      break;
    }
    relax(); // sysmon decides within microseconds
  }
  // A signal handler that interrupted an announced call uses a verb: the call's end, early.
  if (g->insys.load(std::memory_order_relaxed)) leave_syscall(g);
}

// In the runtime.
static void leave_p(G* g) {
  M* m = g->m;
  P* p = m->p;
  m->oldp = p;
  m->p = nullptr;
  p->m = nullptr;
  g->status.store(GStatus::Syscall, std::memory_order_relaxed);
  g->insys.store(1, std::memory_order_relaxed);
  p->status.store(PStatus::Syscall, std::memory_order_release); // from here on sysmon may take it
}

// In the runtime, in an announced call: the P goes at once.
static void hand_off(G* g) {
  P* p = g->m->oldp; // null when a handler's verb has ended the call already
  PStatus s = PStatus::Syscall;
  if (p && p->status.compare_exchange_strong(s, PStatus::Idle, std::memory_order_acq_rel)) handoffp(p);
}

void enter_syscall() {
  G* g = getg();
  if (!g || g->insys.load(std::memory_order_relaxed)) return;
  enter_rt(g);
  P* p = g->m->p;
  // Work for which nobody was woken: this M may be away for long.
  if (GMP_UNLIKELY(p->lazy.load(std::memory_order_relaxed))) {
    p->lazy.store(false, std::memory_order_relaxed);
    if (!runq::empty(p)) wakep();
  }
  leave_p(g);
  if (GMP_UNLIKELY(chaos(8))) hand_off(g);
  leave_rt(g, 0);
}

// Calls whose end is another thread's doing, besides those that are known to block. A disk ends what it has begun; so does an open, but of a FIFO.
static bool waits_for_others(long n) {
  switch (n) {
  case SYS_flock: case SYS_fcntl: case SYS_futex: case SYS_wait4: case SYS_waitid: case SYS_connect:
  case SYS_msgsnd: case SYS_msgrcv: case SYS_semop: case SYS_semtimedop: case SYS_mq_timedsend: case SYS_mq_timedreceive:
  case SYS_poll: case SYS_ppoll: case SYS_select: case SYS_pselect6: case SYS_epoll_wait: case SYS_epoll_pwait:
  case SYS_rt_sigtimedwait: case SYS_rt_sigsuspend: case SYS_pause: return true;
  default: return false;
  }
}

void exit_syscall() {
  G* g = getg();
  if (!g) return;
  uint8_t prev = g->in_rt.load(std::memory_order_relaxed);
  g->in_rt.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (g->insys.load(std::memory_order_relaxed)) { // else a handler's verb has ended it already
    leave_syscall(g);
    if (GMP_LIKELY(prev == 0)) share_p(g);
  }
  leave_rt(g, prev);
}

void enter_syscall_block() {
  G* g = getg();
  if (!g) return;
  enter_syscall();
  // Not enter_rt(): that would end the call. A handler must not find program code here, handoffp takes locks.
  g->in_rt.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  hand_off(g);
  leave_rt(g, 0);
}

long undisturbed(FnRef<long()> call) {
  G* g = getg();
  if (!g) return call();
  const uint8_t was = enter_rt(g);
  const long r = call();
  leave_rt(g, was); // may unwind
  return r;
}

void enter_syscall_quiet() {
  G* g = getg();
  if (!g) return;
  g->quiet.store(1, std::memory_order_relaxed);
  enter_syscall();
  g->in_rt.store(1, std::memory_order_relaxed); // as above: a handler must not find the lock held
  std::atomic_signal_fence(std::memory_order_seq_cst);
  preempt_disarm(g->m);
  leave_rt(g, 0);
}

void enter_syscall_waits() {
  G* g = getg();
  if (!g) return;
  if (GMP_UNLIKELY(sched.nmidle.load(std::memory_order_relaxed) == 0) && !g->insys.load(std::memory_order_relaxed)) room_to_block(g, leave_p, false);
  enter_syscall();
}

void (*g_keep_sync_signal)(int sig);
void keep_sync_signal(int sig) {
  G* g = getg();
  if (g && (g->sigmask >> (sig - 1) & 1) && g_keep_sync_signal) g_keep_sync_signal(sig);
}

// ---------------------------------------------------------------- calls that interrupt() ends

static arch::KernelAction g_libc_stop; // what libc does with it: cancellation of threads that are no Gs

bool set_delivering(bool on) {
  G* g = getg();
  return g && g->delivering.exchange(on, std::memory_order_seq_cst);
}

// The kernel blocks everything on the way in: a handler on top of this one's first instruction could take the G, with both frames, to another kernel
// thread, and the mark of this one would never be taken back.
static void on_stop(int sig, void* info, void* context) {
  auto open = [context] {
    const uint64_t mask = arch::interrupted(context).sigmask;
    sys(SYS_rt_sigprocmask, 2 /*SIG_SETMASK*/, &mask, 0, 8);
  };
  if (is_preempt_signal(info)) return preempt_signalled(context);
  if (M* m = cur_m()) m->stop_sent.store(false, std::memory_order_seq_cst); // before the look at what is to be stopped
  if (t_m) return mend_idle_mask(context);
  if (G* g = getg()) {
    if (arch::stop_call(context)) return;
    if (g->in_rt.load(std::memory_order_relaxed)) signal_defer();
    else if (g_stopped_in_program && !g->delivering.load(std::memory_order_relaxed)) {
      open();
      // A signal that comes before the last one has been dealt with only says that there is more: under a flood the frames of nested ones
      // would use up the stack. Senders set sigpend before they send, and we look at it after delivering.
      do {
        g->sigpend.fetch_and(uint8_t(~attention::Signals), std::memory_order_seq_cst);
        set_delivering(true);
        g_stopped_in_program(sig, info, context, g_libc_stop.handler);
        set_delivering(false);
      } while (g->sigpend.load(std::memory_order_seq_cst) & attention::Signals);
      leave_by_this_m(context); // the handlers that have run may have waited
      // The bit may also have asked it to go to a kernel thread of its own (own_m): that is the next verb's.
      if (M* to = g->lockedm.load(std::memory_order_acquire); GMP_UNLIKELY(to != nullptr) && to != g->m) request_signals(g);
    }
    return;
  }
  open();
  auto h = reinterpret_cast<void (*)(int, void*, void*)>(g_libc_stop.handler);
  if (uintptr_t(h) > 1) h(sig, info, context);
}

void stop_signal_install() {
  arch::KernelAction was{}, ours = arch::kernel_action(on_stop, 4 /*SA_SIGINFO*/ | 0x10000000 /*SA_RESTART*/ | 0x40000000 /*SA_NODEFER: it may be left by unwinding*/);
  ours.mask = ~0ull;
  sys(SYS_rt_sigaction, kStopSignal, 0, &was, 8);
  if (was.handler == ours.handler) return;
  g_libc_stop = was;
  sys(SYS_rt_sigaction, kStopSignal, &ours, 0, 8);
}

// Pairing: stoppable = 1 [fence] look at intr (in gmp_syscall_unless) against interrupt()'s intr = 1 [fence] look at stoppable.
// Whatever the second one sees it signals the kernel thread, whose handler asks where it stands.
long interruptible_call(bool certain, long n, long a, long b, long c, long d, long e, long f) {
  G* g = getg();
  if (!g) return sys(n, a, b, c, d, e, f);
  g->stoppable.store(1, std::memory_order_relaxed); // also while it waits for room: the call ends before it begins then
  if (GMP_UNLIKELY(sched.nmidle.load(std::memory_order_relaxed) == 0) && !g->insys.load(std::memory_order_relaxed) && (certain || waits_for_others(n)))
    room_to_block(g, leave_p, true); // enter_syscall() finds it done
  certain ? enter_syscall_block() : enter_syscall();
  g->stoppable.store(1, std::memory_order_relaxed); // a handler's call may have cleared it
  std::atomic_thread_fence(std::memory_order_seq_cst);
  long r = with_sync_signal(arch::gmp_syscall_unless(&g->intr, n, a, b, c, d, e, f));
  g->stoppable.store(0, std::memory_order_relaxed);
  exit_syscall();
  // A full barrier before the caller looks at what the interrupt was for, as in park().
  if (r == kStopped) g->intr.exchange(0, std::memory_order_seq_cst);
  return r;
}

// A stray one (the call has ended meanwhile) is ignored by the handler, and restarts what it interrupts. One at a time for each kernel thread:
// this is a real-time signal, of which the kernel keeps as many as are sent, and they would all be delivered one inside the other.
// The mark and the signal must be for the same M (g may move meanwhile): a mark without a signal would keep all later ones away.
bool stop_running(G* g) {
  GStatus s = g->status.load(std::memory_order_acquire);
  M* m = g->m;
  if (!m || (s != GStatus::Running && s != GStatus::Syscall)) return false;
  const int tid = m->tid;
  if (!tid) return false;
  if (m->stop_sent.exchange(true, std::memory_order_seq_cst)) return true; // pairs with on_stop's store, which comes before its look
  if (sys(SYS_tgkill, sys(SYS_getpid), tid, kStopSignal) == 0) return true;
  m->stop_sent.store(false, std::memory_order_relaxed);
  return false;
}

} // namespace gmp
