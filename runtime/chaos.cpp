// Chaos mode (GMP_DEBUG=chaos=SEED): every decision that the scheduler is free in goes the unlikely way now and then. The decisions stand where they
// are made (chaos() in sched.hpp): what runs next, who is woken, whether a lock is handed over, when a P is handed off, who is
// preempted and where; and large writes go in parts (chaos_short). Each M draws from a generator of its own, seeded by SEED and its number, so a seed repeats itself as far as the kernel's timing does.
// A process that ends by a fault or abort says which seed it had.
#include <csignal>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

namespace {

constexpr int kFatal[] = {SIGFPE, SIGILL, SIGTRAP, SIGABRT}; // hooks/fault_watch.cpp has SIGSEGV and SIGBUS

void on_crash(int sig, void* info, void*) {
  chaos_crashed(sig);
  arch::KernelAction dfl{};
  sys(SYS_rt_sigaction, sig, &dfl, 0, 8);
  // A fault comes again when the instruction does; what was sent has to be sent again.
  if (static_cast<siginfo_t*>(info)->si_code <= 0) sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), sig);
}

} // namespace

void chaos_crashed(int sig) {
  if (g_config.chaos) say("chaos=%lu: the process ends by signal %d", (unsigned long)g_config.chaos, sig);
}

size_t chaos_part(size_t n) {
  RtScope rt;
  return chaos(2) ? 1 + fastrand() % n : n;
}

bool is_crash_handler(const void* handler) { return handler == reinterpret_cast<const void*>(&on_crash); }

void chaos_start() {
  if (!g_config.chaos) return;
  for (int sig : kFatal) {
    arch::KernelAction was{}, ours = arch::kernel_action(on_crash, 4 /*SA_SIGINFO*/ | 0x40000000 /*SA_NODEFER*/);
    sys(SYS_rt_sigaction, sig, 0, &was, 8);
    if (!was.handler) sys(SYS_rt_sigaction, sig, &ours, 0, 8);
  }
}

} // namespace gmp
