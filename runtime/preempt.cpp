// Preemption: a G that computes for 4 ms while others wait makes room: it waits in a queue of its own kind (sched.hogs).
//
// Two ways, asked for together by sysmon:
//  * a flag in g->sigpend, which each verb looks at on its way out: every hook is a point where a G can be made to wait (make_room() where there
//    would be no verb);
//  * for code that calls nothing, a signal. Not one that sysmon sends, which could find its kernel thread in a system call that has just begun, and
//    futex, poll, epoll_wait or nanosleep would end with EINTR; the kernel's timer on the thread's own processor time (timer_create, SIGEV_THREAD_ID).
//    It expires only while the thread computes, and the kernel (5.9 or later) sends its signal on the way back to user space (but poll and select with a
//    time-out of 0 look for signals too: hooks repeat those; and io_uring_enter does the kernel's deferred work, of which the expiry is a part, before
//    it sleeps: enter_syscall_quiet()): a sleeping call is never touched, and one that happens to be under way ends with its result first. There is no
//    window to be closed.
// The signal is the one that ends interruptible calls (syscall.cpp), 32, told apart by si_code and a cookie: no program can block it, handle it or
// wait for it, so whatever a program does with SIGURG stays its own; debuggers pass it silently; exec discards what a timer sent.
//
// In the handler, on the G's stack, the G goes to g0 as from any verb, and comes back there, perhaps on another M. All registers are in the frame
// that the kernel made; what it puts back besides is the kernel thread's and is set right before the return (arch::frame_moved).
// It goes only if it stands in program code and on its own stack, and the kernel has the G's mask: in libc, ld.so and here locks may be held
// or the kernel thread's state be half changed; a program's own stacks (coroutines, sigaltstack) may be tiny. What can't be preempted is robbed (syscall.cpp):
// it goes on beside the others on a kernel thread too many, until it uses a verb or a later signal finds it in better circumstances.
#include <csignal>
#include <link.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

namespace {

constexpr int kTimerSignal = 32;
constinit char g_cookie = 0; // its address

struct Range {
  uintptr_t lo, hi;
  bool has(uintptr_t a) const { return a - lo < hi - lo; }
};
// Not to be asked for in a handler (dl_iterate_phdr takes locks), and never to change: nobody unloads these.
constinit Range g_system[3]{};
constinit Range g_main_stack{};

uintptr_t in_libc() { return reinterpret_cast<uintptr_t>(&getauxval); }

int take_range(dl_phdr_info* info, size_t, void*) {
  Range r{~0ul, 0};
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& p = info->dlpi_phdr[i];
    if (p.p_type != PT_LOAD || !(p.p_flags & PF_X)) continue;
    const uintptr_t lo = info->dlpi_addr + p.p_vaddr, hi = lo + p.p_memsz;
    if (lo < r.lo) r.lo = lo;
    if (hi > r.hi) r.hi = hi;
  }
  if (r.hi == 0) return 0;
  if (r.has(in_libc())) g_system[0] = r;
  else if (info->dlpi_addr == getauxval(AT_BASE) && info->dlpi_addr) g_system[1] = r;
  else if (r.has(reinterpret_cast<uintptr_t>(&preempt_learn))) g_system[2] = r;
  return 0;
}

bool system_code(uintptr_t pc) {
  for (const Range& r : g_system)
    if (r.has(pc)) return true;
  return false;
}

bool own_stack(const G* g, uintptr_t sp) {
  if (!g->map) return g_main_stack.has(sp);
  return sp - uintptr_t(g->stack_lo) < g->stack_size;
}

constexpr uint64_t kNever = 1ull << (SIGKILL - 1) | 1ull << (SIGSTOP - 1); // the kernel never blocks them

bool arm(M* m, const G* g) {
  Locked l(sched.watch_lock);
  if (g->quiet.load(std::memory_order_relaxed)) return false; // set before it took the lock to disarm
  const int tid = m->tid;
  if (!tid || m->preempt_timer == -2) return false;
  if (m->preempt_timer == -1) {
    sigevent e{};
    e.sigev_notify = SIGEV_THREAD_ID;
    e.sigev_signo = kTimerSignal;
    e.sigev_value.sival_ptr = &g_cookie;
    e._sigev_un._tid = tid;
    int id = -2;
    if (sys(SYS_timer_create, cpu_clock_of(tid), &e, &id) < 0) id = -2; // RLIMIT_SIGPENDING, a filter: robbing does
    m->preempt_timer = id;
    if (id == -2) return false;
  }
  if (m->preempt_armed.exchange(true, std::memory_order_relaxed)) return true;
  const itimerspec soon{{0, 0}, {0, 1}};
  if (sys(SYS_timer_settime, m->preempt_timer, 0, &soon, 0) == 0) return true;
  m->preempt_armed.store(false, std::memory_order_relaxed);
  return false;
}

// On g0, g's registers saved. Not into this P's queue: it has had its share.
bool after_preempt(M*, G* g) {
  g->status.store(GStatus::Runnable, std::memory_order_relaxed);
  {
    Locked l(sched.lock);
    hogput(g);
  }
  sched.preempts.fetch_add(1, std::memory_order_relaxed);
  wakep();
  return false;
}

// A handler of the program's may run with more blocked than g's mask says; the next G would inherit that.
bool kernel_has_mask(G* g) {
  uint64_t now = 0;
  sys(SYS_rt_sigprocmask, 0, 0, &now, 8);
  return ((now ^ g->sigmask) & ~kNever) == 0;
}

// Is the slice that sysmon has seen still running, or is the flag an old one? In the runtime.
bool same_slice(G* g) {
  P* p = g->m->p;
  return p->seen_sched.load(std::memory_order_relaxed) == p->schedtick || sched.stopping.load(std::memory_order_relaxed);
}

} // namespace

void preempt_learn() {
  dl_iterate_phdr(take_range, nullptr);
  // The main stack ends above the kernel's random bytes; far below it lie the mappings. In the child of a G's fork main is on that G's stack: no bounds, no signals.
  const uintptr_t hi = getauxval(AT_RANDOM), here = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  g_main_stack = Range{hi - (8u << 20), hi};
  const bool known = g_system[0].hi && g_system[2].hi && g_main_stack.has(here);
  g_main.no_signal.store(!known, std::memory_order_relaxed);
}

bool preempt_ask(M* m) {
  Locked l(sched.reap_lock); // the record stays mapped
  G* g = m->curg;
  if (!g) return false;
  g->sigpend.fetch_or(attention::Preempt, std::memory_order_relaxed); // may hit the next G: it makes room once too often
  if (!g_config.preempt || !g_system[0].hi || g->no_signal.load(std::memory_order_relaxed)) return false;
  return arm(m, g);
}

void preempt_robbed() {
  if (!g_config.preempt || !g_system[0].hi) return;
  for (M* m = sched.allm; m; m = m->all_next) {
    if (m->p || m->preempt_armed.load(std::memory_order_relaxed)) continue;
    Locked l(sched.reap_lock);
    G* g = m->curg;
    if (g && g->steal.load(std::memory_order_relaxed) == stealflag::Taken && !g->no_signal.load(std::memory_order_relaxed)) arm(m, g);
  }
}

void preempt_disarm(M* m) {
  Locked l(sched.watch_lock);
  if (!m->preempt_armed.exchange(false, std::memory_order_relaxed)) return;
  const itimerspec never{};
  sys(SYS_timer_settime, m->preempt_timer, 0, &never, 0);
}

void preempt_forget(M* m) {
  Locked l(sched.watch_lock);
  if (m->preempt_timer >= 0) sys(SYS_timer_delete, m->preempt_timer);
  m->preempt_timer = -2; // until the record is another's
  m->preempt_armed.store(false, std::memory_order_relaxed);
}

bool is_preempt_signal(const void* info) {
  auto i = static_cast<const siginfo_t*>(info);
  return i->si_code == SI_TIMER && i->si_value.sival_ptr == &g_cookie;
}

void preempt_signalled(void* context) {
  G* g = getg();
  if (!g) {
    if (M* m = t_m) m->preempt_armed.store(false, std::memory_order_relaxed);
    return;
  }
  M* m = g->m; // it stays: G's move in the runtime only, and this handler is not there
  if (m) m->preempt_armed.store(false, std::memory_order_relaxed);
  if (g->in_rt.load(std::memory_order_relaxed) | g->insys.load(std::memory_order_relaxed)) return; // it looks at the flag on its way out
  // Without a P: to queue for one is the whole preemption.
  if (!(g->sigpend.load(std::memory_order_relaxed) & attention::Preempt) && g->steal.load(std::memory_order_relaxed) == stealflag::None) return;
  const arch::Interrupted at = arch::interrupted(context);
  if (!own_stack(g, at.sp)) {
    g->no_signal.store(1, std::memory_order_relaxed);
    return;
  }
  if (system_code(at.pc) || ((at.sigmask ^ g->sigmask) & ~kNever)) return;
  const bool robbed = g->steal.load(std::memory_order_relaxed) != stealflag::None;
  sys(SYS_rt_sigprocmask, 2 /*SIG_SETMASK*/, &g->sigmask, 0, 8); // on_stop() begins with all blocked
  const uint8_t prev = enter_rt(g);
  const bool asked = g->sigpend.fetch_and(uint8_t(~attention::Preempt), std::memory_order_relaxed) & attention::Preempt;
  if (asked && !robbed && same_slice(g)) mcall(g, after_preempt);
  leave_rt(g, prev);
  // Leaving the runtime a handler may have run, moved the G again, and left another mask behind.
  if (g->m != m || ((at.sigmask ^ g->sigmask) & ~kNever)) arch::frame_moved(context, g->sigmask);
}

void keep_running(bool on) {
  if (G* g = getg()) g->keeps_running = on;
}

// Outside the runtime, nothing held: hooks' own locks are not held over a verb.
void preempt_point(G* g, uint8_t why) {
  if (g->insys.load(std::memory_order_relaxed)) return; // the P is gone already
  if (GMP_UNLIKELY(g->keeps_running)) {
    g->sigpend.fetch_or(why & attention::Preempt, std::memory_order_relaxed); // the next verb's
    return;
  }
  if (!(why & attention::Preempt) && fastrand() % 16 != 0) return;
  if (!kernel_has_mask(g)) return;
  const uint8_t prev = enter_rt(g);
  if (!(why & attention::Preempt) || same_slice(g)) mcall(g, after_preempt);
  leave_rt(g, prev);
}

} // namespace gmp
