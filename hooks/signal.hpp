// Signals, shared by this family's rooms. The program's action is kept in g_disposition and read back exactly; the kernel has our
// trampoline. SIG_DFL and SIG_IGN are the kernel's own. Per-thread state is in struct Thread (sig_*).
//
//   signal_action.cpp  sigaction, signal ... : what the program set
//   signal_deliver.cpp the trampoline, what could not be delivered at once, handlers on a G's stack
//   signal_stack.cpp   on which stack; stacks that are used up
//   signal_mask.cpp    masks, alternate stacks, longjmp
//   signal_send.cpp    raise, pthread_kill ...
//   signal_wait.cpp    sigwait, sigsuspend, pause ...
#pragma once
#include <csignal>
#include <ucontext.h>
#include "hooks/thread.hpp"

namespace gmp {

using Handler = void (*)(int, siginfo_t*, void*);

constexpr int kSignals = 64;
constexpr uint64_t sigbit(int sig) { return 1ull << (sig - 1); }
constexpr uint64_t kLibcSignals = sigbit(32) | sigbit(33); // cancellation and setuid broadcasts: never blocked, never set
constexpr uint64_t kUnblockable = sigbit(SIGKILL) | sigbit(SIGSTOP) | kLibcSignals;
constexpr uint64_t kDefaultIgnored = sigbit(SIGCHLD) | sigbit(SIGURG) | sigbit(SIGWINCH) | sigbit(SIGCONT);
// Raised by the instruction under the program counter when si_code > 0: can't wait.
constexpr uint64_t kFaults =
  sigbit(SIGSEGV) | sigbit(SIGBUS) | sigbit(SIGFPE) | sigbit(SIGILL) | sigbit(SIGTRAP) | sigbit(SIGSYS);

inline uint64_t bits(const sigset_t* s) { return s->__val[0]; }
inline bool libc_signal(int sig) { return sig == 32 || sig == 33; }

// The program's handler. It stays when the action becomes SIG_DFL or SIG_IGN: a trampoline that has been entered by then still runs it,
// as the kernel would. `flags` as set (SA_SIGINFO, SA_ONSTACK: what we change in the kernel's copy).
struct Disposition {
  std::atomic<Handler> handler;
  std::atomic<int> flags;
  std::atomic<uint64_t> mask;
};
extern Disposition g_disposition[kSignals + 1];

void trampoline(int sig, siginfo_t* info, void* context) __asm__("gmp_signal_entry"); // chooses the stack (signal_stack.cpp), then
extern "C" void gmp_signal_deliver(int sig, siginfo_t* info, void* context);
int set_action(int sig, const struct sigaction* act, struct sigaction* old);
// Stands in the kernel for SIG_DFL of a fault (signal_stack.cpp), when fault_is_watched().
void fault_watch(int sig, siginfo_t* info, void* context);
bool fault_is_watched(int sig);
bool fault_was_untouched(int sig); // nobody has ever set it
void signal_stack_begins();
void signal_stack_in_child();
// The kernel's view: SIG_DFL, SIG_IGN or our trampoline.
void* kernel_handler(int sig);
bool dump_signal_is(int sig);      // taken for dumps: to the program it is SIG_DFL
void dump_signal_give_up(int sig); // and now it is

// Runs what is pending for the calling G and not blocked by its mask. Outside the runtime, no locks held; may unwind.
void run_pending_signals();

// Signals for one thread. The sender marks the thread first, whatever it does, and then disturbs it: a parked one is woken, one in an
// interruptible call is stopped, one that runs is sent the signal by way of its kernel thread. What arrives there may find another G,
// or the mark taken already (the thread has been through the runtime meanwhile): it is a stray then, and dropped. Signals that
// libc sends to itself (abort) bear no mark and are no strays, so the ones under way are counted.
void mark_pending(Thread*, int sig);
void kick_sent(int sig);
bool stray_kick(int sig, const siginfo_t* info); // on the receiving thread; takes the mark when it is no stray
siginfo_t tkill_info(int sig);                   // as pthread_kill sends it
// Takes one pending signal of `wanted`, the thread's own first, lowest number first. 0: none.
int take_pending(uint64_t wanted, siginfo_t* info, uint64_t of_process = ~0ull);
uint64_t pending_set(); // of the calling thread and the process, in user space

// The same with another mask for the moment. Has a handler run?
bool run_pending_under(uint64_t mask);

struct MoreBlocked {
  G* g = getg();
  uint64_t was = 0;
  explicit MoreBlocked(uint64_t mask);
  long end(long result); // what came meanwhile runs now
};

// A wait for the time of which `mask` is the thread's. The kernel makes the change (wait: its call, interruptible), so that nothing falls between mask and
// wait; what is pending in user space, it can't know. look: the same call without waiting, for an event goes before a signal. What only `mask`
// blocks is blocked in the G too, from before the wait till after it.
template <class Look, class Wait> long masked_wait(uint64_t mask, Look look, Wait wait) {
  mask &= ~kUnblockable;
  test_cancel();
  MoreBlocked more(mask);
  for (;;) {
    if (GMP_UNLIKELY(pending_set() & ~mask)) {
      if (long r = look()) return more.end(r);
      if (run_pending_under(mask)) return more.end(-EINTR);
    }
    const long r = wait();
    if (r == -EINTR) {
      test_cancel();
      if (pending_set() & ~mask) continue; // the kernel's signal was put off: its handler runs before the call ends
    }
    if (r != kStopped) return more.end(r);
    if (!(pending_set() & ~mask) && after_interrupt(false) == After::Eintr) return more.end(-EINTR); // it ran on the way out already
  }
}

// Sends what has a kernel thread run the handler of `sig`: a siginfo that says "look what is pending".
void kick(int kernel_tid, int sig);
bool is_kick(const siginfo_t* info);

// sigaltstack's answer for sp.
bool on_stack(const stack_t& s, const void* sp);

void signal_start();
void signal_in_child();

} // namespace gmp
