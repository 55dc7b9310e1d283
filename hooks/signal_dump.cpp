// GMP_DEBUG=dumpsig=N: the signal that asks for a dump. It is taken only while the program leaves it alone: one that is handled or ignored
// already is not taken, and the program's sigaction takes it back; a line says so. To the program it always looks untouched.
#include "hooks/signal.hpp"
#include "hooks/start.hpp"

namespace gmp {

static constinit std::atomic<void*> g_handler;
static int g_signal;

bool dump_signal_take(int sig, void (*handler)(int, void*, void*)) {
  if (kernel_handler(sig) != reinterpret_cast<void*>(SIG_DFL)) {
    say("GMP_DEBUG=dumpsig=%d: the program handles or ignores this signal: choose another; no dumps by signal", sig);
    return false;
  }
  g_signal = sig;
  g_handler.store(reinterpret_cast<void*>(handler), std::memory_order_release);
  arch::KernelAction a = arch::kernel_action(handler, SA_SIGINFO | SA_RESTART);
  sys(SYS_rt_sigaction, sig, &a, 0, 8);
  return true;
}

bool dump_signal_is(int sig) {
  void* ours = g_handler.load(std::memory_order_acquire);
  return ours && sig == g_signal && kernel_handler(sig) == ours;
}

void dump_signal_give_up(int sig) {
  arch::KernelAction none{};
  sys(SYS_rt_sigaction, sig, &none, 0, 8);
  g_handler.store(nullptr, std::memory_order_relaxed);
  say("GMP_DEBUG=dumpsig=%d: the program sets an action of its own for this signal: no dumps by it from now on", sig);
}

bool program_handles(int sig) { return kernel_handler(sig) == reinterpret_cast<void*>(trampoline); }

} // namespace gmp
