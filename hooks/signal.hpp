// Signals, shared by this family's rooms. The program's action is kept in g_disposition and read back exactly; the kernel has our
// trampoline. SIG_DFL and SIG_IGN are the kernel's own. Per-thread state is in struct Thread (sig_*).
//
//   signal_action.cpp  sigaction, signal ... : what the program set
//   signal_queue.cpp   what is pending: entries with their siginfo
//   signal_deliver.cpp the trampoline, whose a signal is, running handlers
//   signal_stack.cpp   alternate stacks
//   fault_watch.cpp    faults that nobody handles: stacks that are used up
//   signal_mask.cpp    masks
//   signal_jump.cpp    longjmp, swapcontext: masks that libc would restore behind our back
//   signal_send.cpp    raise, kill, pthread_kill ...
//   signal_wait.cpp    sigwait, sigsuspend, pause ...
//   signal_timer.cpp   timers that signal one thread
//   signal_fd.cpp      signalfd and what is sent to one thread
//
// Where a signal is pending. One for a thread, from within the process: in user space, in that thread's set. One for the process: with the
// kernel, as long as every thread blocks it, so that signalfd, sigtimedwait and sigpending see it there; once some kernel thread
// has taken it off the kernel, in the process's set in user space, until the thread it is for has run the handler. Should all
// block it by then it goes back to the kernel.
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
inline sigset_t set_of(uint64_t mask) {
  sigset_t s = {};
  s.__val[0] = mask;
  return s;
}
inline bool libc_signal(int sig) { return sig == 32 || sig == 33; }

// ---- signal_action.cpp
// The program's handler. It stays when the action becomes SIG_DFL or SIG_IGN: a trampoline that has been entered by then still runs it,
// as the kernel would. `flags` as set (SA_SIGINFO: what we change in the kernel's copy).
struct Disposition {
  std::atomic<Handler> handler;
  std::atomic<int> flags;
  std::atomic<uint64_t> mask;
};
extern Disposition g_disposition[kSignals + 1];

void trampoline(int sig, siginfo_t* info, void* context);
int set_action(int sig, const struct sigaction* act, struct sigaction* old);
// Stands in the kernel for SIG_DFL of a fault (fault_watch.cpp), when fault_is_watched().
void fault_watch(int sig, siginfo_t* info, void* context);
bool fault_is_watched(int sig);
bool fault_was_untouched(int sig); // nobody has ever set it
bool fault_mended(int sig, const siginfo_t* info, const void* context); // by the handler's return: the instruction is tried again
void fault_watch_begins();
void say_used_up(G* g, uintptr_t at, uintptr_t sp); // if the fault is one of the stack
// The kernel's view: SIG_DFL, SIG_IGN or our trampoline.
void* kernel_handler(int sig);
bool dump_signal_is(int sig);      // taken for dumps: to the program it is SIG_DFL
void dump_signal_give_up(int sig); // and now it is
inline bool handled(int sig) { return kernel_handler(sig) == reinterpret_cast<void*>(&trampoline); }
bool ignored(int sig); // by SIG_IGN, or by default
void reset_action(int sig); // SA_RESETHAND

// ---- signal_queue.cpp: lock-free, for handlers add to it whatever they have interrupted
struct Arrival {
  siginfo_t info;
  bool from_kernel; // its action was chosen, and reset if it is one-shot, when the kernel delivered it
};
struct PendingSet {
  std::atomic<uint64_t>* set;
  uint64_t owner; // goid; 0: the process
};
constexpr uint64_t kNobody = ~0ull; // an owner that no thread is
extern std::atomic<uint64_t> g_process_set;
inline PendingSet of_process() { return {&g_process_set, 0}; }
PendingSet of_thread(G*);
// 0; -EAGAIN: a real-time signal, and no room for it. A standard signal that is pending already merges with it.
long add_pending(PendingSet, int sig, const Arrival&);
bool take_pending(PendingSet, int sig, Arrival*); // the oldest
// The oldest after *order (0: of all), which becomes its own; it stays. One whose siginfo was lost comes with zeros, once.
bool peek_pending(PendingSet, int sig, uint64_t* order, Arrival*);
void drop_pending(PendingSet, uint64_t signals);
bool any_entries();

// ---- signal_deliver.cpp
// Pending in user space for the calling thread and for the process.
inline uint64_t pending_set() {
  uint64_t p = g_process_set.load(std::memory_order_acquire);
  return getg() ? p | self()->sig_pending.load(std::memory_order_acquire) : p;
}
// Runs what is pending for the calling G and not blocked by its mask. Outside the runtime, no locks held; may unwind. context: of the signal
// frame we are called from, if any.
void run_pending_signals(void* context = nullptr);
void run_stopped(void* context); // in the stop signal's frame
// Signals to the process, in user space: to the Gs that take them.
void pass_on_signals();
// Runs the handler, on the stack that it asked for; context and mask are the caller's.
void call_handler(int sig, siginfo_t* info, ucontext_t* context);
inline bool handler_has_run() { return self()->handler_ran; }

// ---- signal_stack.cpp
bool on_stack(const stack_t& s, const void* sp);
void altstack_in_child();
stack_t altstack_now(); // as sigaltstack() tells it to the calling G

// ---- signal_mask.cpp
// Changes the calling G's mask; what it lets in runs.
void change_g_mask(uint64_t mask);
int change_mask(int how, const sigset_t* set, sigset_t* old); // 0 or an error number
// What opens signals for the time of a wait.
struct MaskFor {
  uint64_t was;
  explicit MaskFor(uint64_t mask);
  long end(long result);
};
// A wait in user space for the time of which `mask` is the thread's. An event goes before a signal: look() is the same call without
// waiting. A handler that has run by the time the wait begins ends it, so nothing falls between mask and wait.
template <class Look, class Wait> long masked_wait(uint64_t mask, Look look, Wait wait) {
  test_cancel();
  if (long r = look()) return r;
  MaskFor m(mask);
  long r = handler_has_run() ? -EINTR : wait();
  if (r == -EINTR) test_cancel();
  return m.end(r);
}

// ---- signal_send.cpp
siginfo_t sent_info(int sig, int code, sigval value = {});
void default_action(int sig); // of the kernel, to the process, whatever the masks

// ---- signal_fd.cpp
extern std::atomic<uint64_t> g_signalfd_mask; // what any descriptor has ever been made for
void signalfd_made(uint64_t mask);
inline bool signalfd_may_be_own() {
  return GMP_UNLIKELY(self()->sig_pending.load(std::memory_order_relaxed) & g_signalfd_mask.load(std::memory_order_relaxed));
}
// While it lives the kernel sees what is pending for the calling G alone. Raw calls only meanwhile, and none that waits.
class LentSignals {
  static constexpr int kMost = 32;
  struct Lent {
    int sig, code;
    sigval value;
    bool back;
  };
  G* g;
  uint8_t prev;
  int n = 0;
  Lent lent[kMost];

public:
  LentSignals();
  ~LentSignals();
  LentSignals(const LentSignals&) = delete;
};
// look(): a raw poll or select that does not wait. With nothing ready and a signal of the kernel thread's pending these end with EINTR all the same
// (Linux, do_poll), though the signal may be another thread's, or the runtime's own: then it is repeated.
template <class Look> inline long with_own_signals(Look look) {
  auto undisturbed = [&] {
    long r;
    do r = look();
    while (GMP_UNLIKELY(r == -EINTR) && for_another());
    return r;
  };
  if (GMP_LIKELY(!signalfd_may_be_own())) return undisturbed();
  LentSignals lent;
  return undisturbed();
}
// Before a read that may be one of a signalfd: -EAGAIN when nothing of the thread's own is there to read. read(fd): the raw call.
long signalfd_read_own(int fd, FnRef<long(int)> read);

// ---- signal_timer.cpp
uint64_t timer_has_target(const siginfo_t* info); // goid; 0: it is the process's, or no timer's
bool timers_other(const siginfo_t* info);       // from a timer made for one thread, which is not the caller
void to_timers_thread(const siginfo_t& info);   // into that one's set

void signal_start();
void signal_in_child();
void altstack_of_main(); // main has become a G

} // namespace gmp
