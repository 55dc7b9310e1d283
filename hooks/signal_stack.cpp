// On which stack a handler runs, and a fault that nobody handles.
//
// The kernel enters the M's alternate stack where a handler may need one. What the thread would have natively is found out here: its own alternate
// stack, or its own stack below what was interrupted. The frame is moved there, and the handler then runs, waits, jumps away or
// returns from it as from a frame of the kernel's.
//
// A fault whose action is SIG_DFL is watched (Go's sigpanic has the same place): when a thread has used up its stack one line says which. Then the
// action is SIG_DFL in the kernel too and the instruction faults again: core and status are those of the program. sigaction reads SIG_DFL.
#include <ucontext.h>
#include "hooks/signal.hpp"

namespace gmp {

// A fault this near below the stack pointer is one of the stack: a frame may be large.
constexpr uintptr_t kNear = 1 << 20;

static void say_used_up(G* g, uintptr_t at, uintptr_t sp) {
  const StackExtent s = stack_extent(g);
  if (!s.top || at >= s.lo + kPage || at < s.lo - s.guard - kNear || sp >= s.top || sp < s.lo - s.guard - kNear) return;
  char name[16];
  get_name(g, name);
  const StackBounds told = stack_bounds(g);
  const uintptr_t lo = told.lo ? uintptr_t(told.lo) : s.lo, size = told.lo ? told.size : s.top - s.lo;
  say("thread %lu (\"%s\") has used up its stack of %lu KB, 0x%lx to 0x%lx: fault at 0x%lx", (unsigned long)goid(g), name,
      (unsigned long)(size >> 10), (unsigned long)lo, (unsigned long)(lo + size), (unsigned long)at);
}

static void to_default(int sig) {
  arch::KernelAction none{};
  sys(SYS_rt_sigaction, sig, &none, 0, 8);
}

void fault_watch(int sig, siginfo_t* info, void* context) {
  G* g = getg();
  const bool raised = info->si_code > 0;
  if (raised && g) say_used_up(g, uintptr_t(info->si_addr), arch::interrupted(context).sp);
  to_default(sig);
  // Sent, it comes again when this handler returns; raised, the instruction does.
  if (!raised) sys(SYS_rt_tgsigqueueinfo, sys(SYS_getpid), sys(SYS_gettid), sig, info);
}

// From the trampoline's first instruction, on whatever stack the kernel has chosen: where shall the frame be?
extern "C" __attribute__((visibility("hidden"), used)) char* gmp_signal_place(int sig, siginfo_t* info, void* context, char* frame) {
  G* g = getg();
  if (!g || !on_gsignal(g, frame)) return frame;
  const uintptr_t sp = arch::interrupted(context).sp;
  const stack_t& alt = self()->altstack;
  uintptr_t top = sp - arch::kRedZone, low = 0;
  if ((g_disposition[sig].flags.load(std::memory_order_relaxed) & SA_ONSTACK) && alt.ss_size && !on_stack(alt, reinterpret_cast<void*>(sp))) {
    low = uintptr_t(alt.ss_sp);
    top = low + alt.ss_size;
  } else if (const StackExtent s = stack_extent(g); s.top && sp < s.top && sp >= s.lo - s.guard) {
    low = s.lo;
  }
  if (char* moved = arch::move_frame(frame, top, low)) return moved;
  // No room: natively the kernel gives up here, whatever the handler.
  say_used_up(g, uintptr_t(info->si_addr), sp);
  to_default(SIGSEGV);
  uint64_t segv = sigbit(SIGSEGV);
  sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &segv, 0, 8);
  for (;;) sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), SIGSEGV);
}

bool fault_is_watched(int sig) { return mode() == Mode::Running && (sig == SIGSEGV || sig == SIGBUS); }

static constinit bool g_untouched[2];
bool fault_was_untouched(int sig) { return g_untouched[sig == SIGBUS] && !g_disposition[sig].handler.load(std::memory_order_relaxed); }

// The process has become one of Gs, the caller is main: the kernel's alternate stack is the M's from here on.
void signal_stack_begins() {
  for (int sig : {SIGSEGV, SIGBUS}) {
    arch::KernelAction was{}, ours = arch::kernel_action(reinterpret_cast<void (*)(int, void*, void*)>(fault_watch), SA_SIGINFO | SA_ONSTACK);
    sys(SYS_rt_sigaction, sig, 0, &was, 8);
    if (was.handler) continue;
    g_untouched[sig == SIGBUS] = !was.restorer;
    ours.flags |= was.flags;
    ours.mask = was.mask;
    sys(SYS_rt_sigaction, sig, &ours, 0, 8);
  }
}

// In fork's child, on the M that was: the thread's own again, as the kernel would have it.
void signal_stack_in_child() {
  stack_t& mine = self()->altstack;
  if (!mine.ss_size) mine.ss_flags = SS_DISABLE;
  sys(SYS_sigaltstack, &mine, 0);
}

} // namespace gmp
