// The trampoline, which is what the kernel calls; whose a signal is; running handlers.
//
// A signal that hits program code on the G it is for runs its handler there and then, with the kernel's frame. One that hits g0, the runtime
// or another G is noted (signal_queue.cpp) and run in user space: by the G when it leaves the runtime or its wait has been ended, or
// in the stop signal's handler when it sits in program code.
//
// A signal to the process is main's as long as main takes it, as the kernel would choose, and else any G's.
#include <cstring>
#include <sys/ucontext.h>
#include "hooks/signal.hpp"

namespace gmp {

void pending_in_child();

namespace {

bool takes(G* g, int sig) { return alive(g) && !(get_sigmask(g) & sigbit(sig)); }

// Not main's: what counts CPU time is for whoever used it, and a timer's is for the thread it has interrupted.
bool anybodys(int sig, const siginfo_t* info) {
  return info->si_code == SI_TIMER || (sigbit(sig) & (sigbit(SIGPROF) | sigbit(SIGVTALRM) | sigbit(SIGXCPU)));
}
// Sent to this very kernel thread by libc's insides: abort(). Or what the kernel sends for a call that the thread makes, as if by kill(); a kill() to oneself does not
// come here by way of the kernel.
bool from_itself(const siginfo_t* info) {
  const int sig = info->si_signo;
  const bool own_doing = info->si_code == SI_USER && (sig == SIGPIPE || sig == SIGXFSZ);
  return (own_doing || info->si_code == SI_TKILL) && info->si_pid == int(sys(SYS_getpid));
}
// From the kernel thread's pending ones, while the G is on it, into the G's. (A vfork child's are not its parent's.)
void keep_own(int sig) {
  if (self()->vfork_child) return;
  const uint64_t set = sigbit(sig);
  const timespec none{};
  Arrival a{{}, false};
  if (sys(SYS_rt_sigtimedwait, &set, &a.info, &none, 8) == sig) add_pending(from_itself(&a.info) ? of_thread(getg()) : of_process(), sig, a);
}

// What of the process's the calling G runs.
uint64_t own_share(G* g) {
  G* m = main_g();
  return g == m || !alive(m) ? ~0ull : get_sigmask(m);
}

// From a timer made for one thread, where that could not be looked up: on g0 or in the runtime.
constinit std::atomic<uint64_t> g_timer_set{0};
PendingSet of_timers() { return {&g_timer_set, kNobody}; }

uint64_t during_handler(int sig, uint64_t before) {
  Disposition& d = g_disposition[sig];
  before |= d.mask.load(std::memory_order_relaxed);
  if (!(d.flags.load(std::memory_order_relaxed) & SA_NODEFER)) before |= sigbit(sig);
  return before & ~kUnblockable;
}

// In a G, inside a hook or not: nobody can tell. A hook that is in the middle of a call ends its next wait, as the kernel would have ended
// the call; the next hook begins by forgetting it (test_cancel).
void note_handler(int sig) {
  Thread* t = self();
  t->handler_ran = true;
  if (!(g_disposition[sig].flags.load(std::memory_order_relaxed) & SA_RESTART)) t->handler_no_restart = true;
  end_next_wait();
}

uint64_t& mask_in(ucontext_t* c) { return reinterpret_cast<uint64_t&>(c->uc_sigmask); } // the kernel's frame has 8 bytes

// With the kernel's frame, on the stack that the handler shall have, in program code of a G.
void deliver(int sig, void* i, void* c) {
  auto* info = static_cast<siginfo_t*>(i);
  auto* context = static_cast<ucontext_t*>(c);
  note_sigmask(during_handler(sig, mask_in(context)));
  context->uc_stack = altstack_now();
  call_handler(sig, info, context);
  note_handler(sig);
  const uint64_t after = mask_in(context) & ~kUnblockable;
  if (GMP_UNLIKELY(pending_set() & ~after)) {
    set_sigmask_only(after);
    run_pending_signals(context);
  }
  note_sigmask(mask_in(context) & ~kUnblockable); // sigreturn tells the kernel
  leave_by_this_m(context);
}

void received(int sig, void* i, void* c) {
  auto* info = static_cast<siginfo_t*>(i);
  if ((sigbit(sig) & kFaults) && info->si_code > 0) return deliver(sig, i, c);
  G* g = getg();
  if (timers_other(info)) return to_timers_thread(*info), leave_by_this_m(c);
  if (!from_itself(info) && !(own_share(g) & sigbit(sig)) && !anybodys(sig, info)) {
    add_pending(of_process(), sig, Arrival{*info, true});
    pass_on_signals();
    if (g_process_set.load() & own_share(g) & ~get_sigmask(g)) run_pending_signals(c); // main has just begun to block it
    leave_by_this_m(c);
    return;
  }
  deliver(sig, i, c);
}

// Nobody takes it any more: the kernel keeps it, with the siginfo it came with. (Linux lets only the first kernel thread say that another process has sent
// it; else it stays here.)
void give_back(int sig) {
  nobody_takes(sigbit(sig), false);
  refuse_signals(sigbit(sig));
  if (with_g([&](G* g) { return takes(g, sig); }, [](G*) {})) return pass_on_signals(); // somebody has opened it meanwhile
  Arrival a;
  while (take_pending(of_process(), sig, &a))
    if (sys(SYS_rt_sigqueueinfo, sys(SYS_getpid), sig, &a.info) != 0) {
      add_pending(of_process(), sig, a); // whoever opens it finds it here, but who did meanwhile has not
      if (with_g([&](G* g) { return takes(g, sig); }, [](G*) {})) pass_on_signals();
      return;
    }
}

} // namespace

void trampoline(int sig, siginfo_t* info, void* context) {
  const bool fault = (sigbit(sig) & kFaults) && info->si_code > 0;
  if (fault && fault_mended(sig, info, context)) return;
  const bool ok = signal_context_ok();
  G* g = getg();
  if (!fault && !ok) {
    add_pending(timer_has_target(info) ? of_timers() : g && from_itself(info) ? of_thread(g) : of_process(), sig, Arrival{*info, true});
    signal_defer();
    return;
  }
  // Not a G, or a fault in the runtime (a bad pointer that the program gave): as natively.
  if (!g || !ok || self()->vfork_child) return call_handler(sig, info, static_cast<ucontext_t*>(context));
  if (!on_sigstack(__builtin_frame_address(0))) return received(sig, info, context);
  // On the M's stack, because of SA_ONSTACK. The handler gets a frame where the program wants it, and this one is done with.
  char* top = arch::context_sp(context);
  stack_t own = self()->altstack;
  arch::Frame f;
  bool moved;
  if (own.ss_size && !on_stack(own, top)) {
    moved = arch::move_frame(info, context, static_cast<char*>(own.ss_sp) + own.ss_size, own.ss_size, &f);
  } else {
    size_t room = 1 << 16;
    if (StackBounds b = stack_bounds(g); b.lo && top > b.lo && top < static_cast<char*>(b.lo) + b.size) room = size_t(top - static_cast<char*>(b.lo));
    moved = arch::move_frame(info, context, top, room, &f);
  }
  if (!moved) { // the kernel's way with a handler that has no stack
    say_used_up(g, uintptr_t(info->si_addr), uintptr_t(top));
    const uint64_t action[4] = {};
    sys(SYS_rt_sigaction, SIGSEGV, action, 0, 8);
    default_action(SIGSEGV);
  }
  arch::enter_frame(f, sig, received);
}

void pass_on_signals() {
  while (uint64_t have = g_timer_set.load(std::memory_order_seq_cst)) {
    const int sig = __builtin_ctzll(have) + 1;
    Arrival a;
    if (take_pending(of_timers(), sig, &a)) to_timers_thread(a.info);
  }
  uint64_t done = 0;
  while (uint64_t have = g_process_set.load(std::memory_order_seq_cst) & ~done) {
    const int sig = __builtin_ctzll(have) + 1;
    done |= sigbit(sig);
    if (G* m = main_g(); m && takes(m, sig)) {
      signal_g(m);
      continue;
    }
    G* g = getg();
    if (g && takes(g, sig)) request_signals(g);
    else if (!with_g([&](G* x) { return takes(x, sig); }, [](G* x) { signal_g(x); })) give_back(sig);
  }
}

// In user space, with the G's mask set meanwhile; the mask that the handler leaves in its context is the G's then.
static void run_here(int sig, Arrival* a, void* frame) {
  G* g = getg();
  Disposition& d = g_disposition[sig];
  if (!a->from_kernel) {
    if (!handled(sig)) {
      if (!ignored(sig)) default_action(sig);
      return;
    }
    if (d.flags.load(std::memory_order_relaxed) & int(SA_RESETHAND)) reset_action(sig);
  }
  if (!d.handler.load(std::memory_order_acquire)) return;
  struct {
    arch::FpState fp;
    ucontext_t context;
  } made;
  auto* context = static_cast<ucontext_t*>(frame);
  if (!context) {
    context = &made.context;
    memset(context, 0, sizeof *context);
    arch::capture_context(context, &made.fp);
  }
  const uint64_t before = get_sigmask(g);
  mask_in(context) = before;
  context->uc_stack = altstack_now();
  set_sigmask(during_handler(sig, before));
  // What else is pending nests, as the kernel builds all frames before it returns to the program: the last one runs first.
  if (pending_set() & ~get_sigmask(g)) run_pending_signals();
  call_handler(sig, &a->info, context);
  note_handler(sig);
  set_sigmask_only(mask_in(context) & ~kUnblockable);
}

void run_pending_signals(void* context) {
  G* g = getg();
  if (!g) return;
  const PendingSet own = of_thread(g);
  if (GMP_UNLIKELY(g_timer_set.load(std::memory_order_relaxed))) pass_on_signals();
  for (;;) {
    const uint64_t open = ~get_sigmask(g);
    const uint64_t mine = own.set->load(std::memory_order_seq_cst) & open;
    const uint64_t process = g_process_set.load(std::memory_order_seq_cst);
    const uint64_t share = process & open & own_share(g);
    Arrival a;
    if (mine) {
      const int sig = __builtin_ctzll(mine) + 1;
      if (take_pending(own, sig, &a)) run_here(sig, &a, context);
    } else if (share) {
      const int sig = __builtin_ctzll(share) + 1;
      if (take_pending(of_process(), sig, &a)) run_here(sig, &a, context);
    } else {
      if (process) pass_on_signals();
      if (!(g_process_set.load() & ~get_sigmask(g) & own_share(g))) break;
    }
  }
  if (GMP_UNLIKELY(cancel_async_pending())) test_cancel();
}

// The kernel restarts the call that the stop signal has hit, whatever it may be. It is not to be if a handler has run that has no SA_RESTART.
void run_stopped(void* context) {
  Thread* t = self();
  const bool before = t->handler_no_restart;
  t->handler_no_restart = false;
  if (pending_set()) run_pending_signals(context);
  t = self();
  if (t->handler_no_restart) arch::end_restart(context);
  t->handler_no_restart |= before;
}

After after_interrupt(bool restartable, bool cancellation_point) {
  if (pending_set()) run_pending_signals();
  Thread* t = self();
  const bool ran = t->handler_ran, hard = t->handler_no_restart;
  if (cancellation_point || cancel_async_pending()) test_cancel();
  t->handler_ran = t->handler_no_restart = false;
  // The kernel interrupts a thread that is no G only where the handler's flags say so.
  if (!getg()) return After::Eintr;
  return ran && (!restartable || hard) ? After::Eintr : After::Retry;
}

bool for_another() { return getg() && !self()->handler_ran; }

void signal_start() {
  g_run_pending_signals = run_pending_signals;
  g_pass_on_signals = pass_on_signals;
  g_keep_sync_signal = keep_own;
}

void signal_in_child() {
  g_timer_set.store(0);
  pending_in_child();
}

} // namespace gmp
