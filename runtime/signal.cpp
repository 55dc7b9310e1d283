// Signals, as far as the scheduler is concerned: where one has hit, who is to be disturbed, which kernel thread takes what.
//
// Masks. While a G runs the kernel has its mask. An idle M keeps the mask of the G it ran last, so that idling costs nothing. That mask may be
// too large: so the template thread, which is always there, takes whatever some G takes, also when all Ms are busy with Gs that
// block it. And it may be too small: the last G to block a signal sees to it, before it goes on, that all those kernel threads block it
// (g_nobody, mask_has_grown), for the default action of a signal that everybody blocks must not be taken. When somebody opens one
// of these again the template thread follows 10 ms later: a mask that is opened and closed all the time costs nothing then.
#include <ctime>
#include <sys/syscall.h>
#include <ucontext.h>
#include "runtime/sched.hpp"

namespace gmp {

void (*g_run_pending_signals)(void* context);
void (*g_pass_on_signals)();
void (*g_stopped_in_program)(int sig, void* info, void* context, void* libc_handler);

// Not a thread-local mark: the template thread's are what every new G's are copied from.
static constinit std::atomic<uintptr_t> g_template{0};
bool in_template() { return arch::thread_pointer() == g_template.load(std::memory_order_relaxed); }

static constinit std::atomic<bool> g_sigwork{false};
static constinit std::atomic<uint64_t> g_nobody{0}, g_wanted{0}, g_template_has{~0ull};

// ---------------------------------------------------------------- arrivals

bool signal_context_ok() {
  if (G* g = getg()) return g->in_rt.load(std::memory_order_relaxed) == 0;
  return !t_m && !in_template(); // a foreign thread
}

void signal_defer() {
  G* g = getg();
  if (g) { // inside the runtime: on the way out
    g->sigpend.fetch_or(attention::Signals, std::memory_order_seq_cst);
    // It may have looked for interrupts already and be about to park, which is no way out. The wait is ended here: it is not parked yet,
    // for we stand on its stack, so nobody else need make it runnable.
    g->intr.store(1, std::memory_order_seq_cst);
    bool must_ready;
    claim(g, Wait::Interrupted, &must_ready);
    GMP_ASSERT(!must_ready);
  }
  // A loop on g0 calls signal_forward() at once, unless it is just about to sleep. (For a G that is on its way to its end, too.)
  g_sigwork.store(true, std::memory_order_seq_cst);
  if (g) return;
  if (t_m) t_m->note.poke();
  else template_poke();
  if (sched.lastpoll.load(std::memory_order_seq_cst) == 0) netpoll_break();
}

// By a G that has ended before it ran them: somebody else's, if they are the process's.
void signals_left_behind() { g_sigwork.store(true, std::memory_order_seq_cst); }

bool signal_waiting() { return g_sigwork.load(std::memory_order_relaxed); }

void signal_forward() {
  if (GMP_LIKELY(!g_sigwork.load(std::memory_order_relaxed)) || !g_sigwork.exchange(false)) return;
  if (g_pass_on_signals) g_pass_on_signals();
}

void attend(G* g) {
  const uint8_t what = g->sigpend.exchange(0, std::memory_order_seq_cst);
  on_own_m(); // a verb: with a bit that stands it would come here again
  if (GMP_UNLIKELY(g_config.chaos != 0)) g->sigpend.fetch_or(attention::Chaos, std::memory_order_relaxed);
  if ((what & attention::Signals) && g_run_pending_signals) g_run_pending_signals(nullptr);
  if (what & (attention::Preempt | attention::Chaos)) preempt_point(g, what);
}

uint8_t rt_enter(G* g) { return enter_rt(g); }
void rt_leave(G* g, uint8_t was) { leave_rt(g, was); }

// ---------------------------------------------------------------- disturbing a G

void request_signals(G* g) { g->sigpend.fetch_or(attention::Signals, std::memory_order_seq_cst); }

// Parked: the wait ends. In an interruptible call: that ends. In program code: the stop signal's handler runs what is pending. In the runtime
// it sees sigpend when it leaves, or the stop signal ends the wait that it is about to begin.
void signal_g(G* g) {
  g->sigpend.fetch_or(attention::Signals, std::memory_order_seq_cst);
  if (g != getg() && !interrupt(g)) stop_running(g);
}

bool with_g(FnRef<bool(G*)> want, FnRef<void(G*)> then) {
  RtScope rt;
  Locked l(sched.allg_lock); // keeps the reaper off
  for (G* g = sched.allg; g; g = g->all_next)
    if (alive(g) && want(g)) {
      then(g);
      return true;
    }
  return false;
}

void end_next_wait() {
  if (G* g = getg()) g->intr.store(1, std::memory_order_seq_cst);
}

// ---------------------------------------------------------------- masks

bool alive(const G* g) {
  GStatus s = g->status.load(std::memory_order_relaxed);
  return s != GStatus::Dead && s != GStatus::Idle;
}

uint64_t get_sigmask(const G* g) { return __atomic_load_n(&g->sigmask, __ATOMIC_SEQ_CST); }

// Pairing: a mask is stored, then g_nobody looked at; whoever changes g_nobody looks at the masks afterwards.
static void somebody_takes(uint64_t signals) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const uint64_t s = g_nobody.load(std::memory_order_relaxed) & signals;
  if (GMP_UNLIKELY(s) && (g_wanted.fetch_or(s) & s) != s) template_poke();
}

// Of these: what no living G takes.
static uint64_t unwanted(uint64_t signals) {
  if (alive(&g_main)) signals &= get_sigmask(&g_main);
  if (!signals) return 0;
  with_g([&](G* g) { return (signals &= get_sigmask(g)) == 0; }, [](G*) {});
  return signals;
}

void mask_has_grown(uint64_t by) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  by &= ~g_nobody.load(std::memory_order_relaxed);
  if (GMP_LIKELY(!by) || !(by = unwanted(by))) return;
  nobody_takes(by, true);
  if (uint64_t again = by & ~unwanted(by)) somebody_takes(again);
}

void note_sigmask(uint64_t mask) {
  G* g = getg();
  __atomic_store_n(&g->sigmask, mask, __ATOMIC_RELAXED);
  g->m->sigmask = mask;
  somebody_takes(~mask);
}

void set_sigmask_of(G* g, uint64_t mask) {
  g->sigmask = mask;
  somebody_takes(~mask);
}

void set_sigmask(uint64_t mask) {
  G* g = getg();
  uint8_t prev = enter_rt(g);
  note_sigmask(mask);
  sys(SYS_rt_sigprocmask, 2 /*SIG_SETMASK*/, &g->sigmask, 0, 8);
  leave_rt(g, prev);
}

// For who looks at what is pending next thing: leaving the runtime, he would run it from here, one handler inside the other for as long as signals come.
void set_sigmask_only(uint64_t mask) {
  G* g = getg();
  const uint8_t prev = enter_rt(g);
  note_sigmask(mask);
  sys(SYS_rt_sigprocmask, 2 /*SIG_SETMASK*/, &g->sigmask, 0, 8);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  g->in_rt.store(prev, std::memory_order_relaxed);
}

// Ms on g0 and the template thread: from now on these signals are not for the calling kernel thread.
void refuse_signals(uint64_t signals) {
  uint64_t mask = g_nobody.load();
  if (t_m) mask = t_m->sigmask = t_m->sigmask | signals;
  else if (!in_template()) return;
  sys(SYS_rt_sigprocmask, 2, &mask, 0, 8);
}

void nobody_takes(uint64_t signals, bool at_once) {
  if ((g_nobody.fetch_or(signals) & signals) != signals) template_poke();
  if (!at_once) return;
  // Idle Ms with masks out of date: the stop signal's handler mends them. Ms that run Gs block it already, by what the caller knows.
  const int64_t patience = nanotime() + 50000000;
  auto wait_for = [&](auto done) {
    while (!done() && nanotime() < patience) sys(SYS_sched_yield);
  };
  for (M* m = __atomic_load_n(&sched.allm, __ATOMIC_ACQUIRE); m; m = m->all_next) {
    auto takes = [&] { return (__atomic_load_n(&m->sigmask, __ATOMIC_RELAXED) & signals) != signals; };
    const int tid = m->tid;
    if (!tid || !takes()) continue;
    if (!m->stop_sent.exchange(true, std::memory_order_seq_cst) && sys(SYS_tgkill, sys(SYS_getpid), tid, kStopSignal) != 0)
      m->stop_sent.store(false, std::memory_order_relaxed);
    wait_for([&] { return m->tid != tid || !takes(); });
  }
  wait_for([&] { return (g_template_has.load() & signals) == signals; });
}

// In the stop signal's handler, on g0.
void mend_idle_mask(void* context) {
  const uint64_t more = g_nobody.load() & ~t_m->sigmask;
  if (!more) return;
  __atomic_store_n(&t_m->sigmask, t_m->sigmask | more, __ATOMIC_RELAXED);
  reinterpret_cast<uint64_t&>(static_cast<ucontext_t*>(context)->uc_sigmask) |= more;
}

// Some 10 ms after it has been asked to.
static int64_t open_wanted() {
  static constinit int64_t when = 0;
  if (!g_wanted.load()) return -1;
  const int64_t now = nanotime(), delay = 10000000;
  if (when == 0) when = now + delay;
  if (when - now > delay) when = now; // of the process that has forked this one
  if (when > now) return when - now;
  when = 0;
  const uint64_t want = g_wanted.exchange(0);
  g_nobody.fetch_and(~want);
  g_nobody.fetch_or(unwanted(want));
  return -1;
}

// The template thread opens its mask while it waits for work. While it makes kernel threads all is blocked: they inherit that, for what comes
// before they know who they are would be taken for a foreign thread's.
int64_t template_listens(bool on) {
  g_template.store(arch::thread_pointer(), std::memory_order_relaxed);
  const int64_t nap = on ? open_wanted() : -1;
  const uint64_t had = g_template_has.exchange(0), mask = on ? g_nobody.load() : ~0ull; // in this order: see nobody_takes()
  const uint64_t set = mask & ~(1ull << 31 | 1ull << 32);
  if (had != mask) sys(SYS_rt_sigprocmask, 2, &set, 0, 8);
  g_template_has.store(mask);
  return nap;
}

// ---------------------------------------------------------------- the kernel threads' own alternate stacks

// The kernel puts the frames of SA_ONSTACK handlers there; hooks move them to the G's own stack at once, for the G may go elsewhere.
void sigstack_install() {
  M* m = cur_m();
  stack_t s{m->sigstack, 0, kSigStack};
  sys(SYS_sigaltstack, &s, 0);
}

bool on_sigstack(const void* sp) {
  M* m = cur_m();
  return m && uintptr_t(sp) - uintptr_t(m->sigstack) < kSigStack;
}

void leave_by_this_m(void* context) {
  M* m = cur_m();
  if (m) static_cast<ucontext_t*>(context)->uc_stack = stack_t{m->sigstack, 0, kSigStack};
}

// Before the template thread is made: what this thread, the only one, blocks is not for it.
void signals_begin() {
  uint64_t mask = 0;
  sys(SYS_rt_sigprocmask, 0, 0, &mask, 8);
  g_nobody.store(mask);
}

void signals_forget() {
  g_sigwork.store(false);
  g_template.store(0);
  g_nobody.store(0);
  g_wanted.store(0);
  g_template_has.store(~0ull);
}

} // namespace gmp
