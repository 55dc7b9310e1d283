// A fault that nobody handles (Go's sigpanic has the same place). Its action, SIG_DFL, is watched: when a thread has used up its stack one line says
// which. Then the action is SIG_DFL in the kernel too and the instruction faults again: core and status are those of the program.
// sigaction reads SIG_DFL. Code on a stack that is to be executable now is no fault, whoever handles them.
#include <initializer_list>
#include "hooks/signal.hpp"

namespace gmp {

// A fault this near below the stack pointer is one of the stack: a frame may be large.
constexpr uintptr_t kNear = 1 << 20;

void say_used_up(G* g, uintptr_t at, uintptr_t sp) {
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

bool fault_mended(int sig, const siginfo_t* info, const void* context) {
  G* g = getg();
  if (sig != SIGSEGV || info->si_code != SEGV_ACCERR || !g || uintptr_t(info->si_addr) != arch::interrupted(context).pc) return false;
  uint64_t all = ~0ull, old = 0;
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
  if (stack_made_executable(g, uintptr_t(info->si_addr))) return true; // sigreturn opens them again
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, 0, 8);
  return false;
}

void fault_watch(int sig, siginfo_t* info, void* context) {
  G* g = getg();
  const bool raised = info->si_code > 0;
  if (fault_mended(sig, info, context)) return;
  if (raised && g) say_used_up(g, uintptr_t(info->si_addr), arch::interrupted(context).sp);
  chaos_crashed(sig);
  to_default(sig);
  // Sent, it comes again when this handler returns; raised, the instruction does.
  if (!raised) sys(SYS_rt_tgsigqueueinfo, sys(SYS_getpid), sys(SYS_gettid), sig, info);
}

bool fault_is_watched(int sig) { return mode() == Mode::Running && (sig == SIGSEGV || sig == SIGBUS); }

static constinit bool g_untouched[2];
bool fault_was_untouched(int sig) { return g_untouched[sig == SIGBUS] && !g_disposition[sig].handler.load(std::memory_order_relaxed); }

// The process has become one of Gs: each M has an alternate stack, on which this handler runs and stays.
void fault_watch_begins() {
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

} // namespace gmp
