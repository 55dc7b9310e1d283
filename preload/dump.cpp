// A kernel thread of its own prints: libunwind and dladdr take ld.so's locks and call malloc, which a G may hold for ever. So states and
// waits are printed first, by what needs none of those, and stacks after them; whoever waits for the report does not wait for ever.
#include "preload/dump.hpp"
#include <csignal>
#include <sys/syscall.h>
#include "hooks/start.hpp"
#include "preload/dump_print.hpp"
#include "runtime/traceback.hpp"

namespace gmp {
namespace {

enum : uint32_t { kDump = 1, kDeadlock = 2 };
constinit std::atomic<uint32_t> g_wanted{0}, g_done{0};
bool g_told; // the deadlock
enum : int { kUnknown, kForEver, kMayWake };
constinit std::atomic<int> g_verdict{kUnknown}; // is there a signal's handler that may end it? Told before the stacks, which may never be

// Signals whose handlers may wake somebody. Faults come from the program itself.
size_t handled_signals(char* b, size_t size) {
  constexpr uint64_t faults = 1ull << (SIGSEGV - 1) | 1ull << (SIGBUS - 1) | 1ull << (SIGILL - 1) | 1ull << (SIGFPE - 1) | 1ull << (SIGTRAP - 1) |
                              1ull << (SIGSYS - 1) | 1ull << (SIGABRT - 1);
  size_t n = 0;
  *b = 0;
  for (int sig = 1; sig <= 64; sig++)
    if (!(faults >> (sig - 1) & 1) && program_handles(sig)) n += format(b + n, size - n, n ? ", %d" : "%d", sig);
  return n;
}

[[noreturn]] void abort_now() {
  struct { void* handler; unsigned long flags; void* restorer; unsigned long mask; } dfl = {};
  sys(SYS_rt_sigaction, SIGABRT, &dfl, 0, 8);
  uint64_t none = 0;
  sys(SYS_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
  for (;;) sys(SYS_tgkill, sys(SYS_getpid), sys(SYS_gettid), SIGABRT);
}

void serve(uint32_t wanted) {
  if (wanted & kDeadlock) {
    char handled[256];
    const bool may_wake = handled_signals(handled, sizeof handled) != 0;
    g_verdict.store(may_wake ? kMayWake : kForEver, std::memory_order_relaxed);
    if (may_wake) say("all threads are asleep, for ever unless a signal comes (the program handles %s)", handled);
    else say("all threads are asleep: deadlock");
  }
  dump_print();
  if (wanted & kDeadlock) {
    g_done.store(1, std::memory_order_release);
    futex_wake(&g_done, 1);
  }
}

void* dumper_main(void*) {
  own_thread();
  traceback_load();
  for (;;) {
    uint32_t wanted = g_wanted.exchange(0, std::memory_order_acquire);
    if (wanted) serve(wanted);
    else futex_wait(&g_wanted, 0);
  }
  return nullptr;
}

void want(uint32_t what) {
  g_wanted.fetch_or(what, std::memory_order_release);
  futex_wake(&g_wanted, 1);
}

void on_signal(int, void*, void*) {
  if (mode() == Mode::Running) want(kDump);
  else say("dump of process %d: no thread has been made yet", int(sys(SYS_getpid)));
}

// sysmon, which has no standard error (own_fds.cpp).
void all_asleep_now() {
  if (g_told) return;
  g_told = true;
  want(kDeadlock);
  const int64_t until = nanotime() + 5000000000; // a lock of ld.so or malloc may be what all wait for
  while (!g_done.load(std::memory_order_acquire) && nanotime() < until) futex_wait(&g_done, 0, 100000000);
  if (g_config.deadlock == Config::Deadlock::Abort && g_verdict.load(std::memory_order_relaxed) == kForEver) abort_now();
}

// Most signals are the program's Gs'; the dumper takes none but the one that asks.
void dumper_start() {
  g_wanted.store(0, std::memory_order_relaxed); // a fork may have come between
  g_done.store(0, std::memory_order_relaxed);
  g_told = false;
  g_verdict.store(kUnknown, std::memory_order_relaxed);
  if (!helper_start(dumper_main, 0, g_config.dumpsig ? 1ull << (g_config.dumpsig - 1) : 0)) say("no kernel thread for dumps: dumpsig and deadlock are off");
}

} // namespace

void dump_start_up() {
  if (g_config.dumpsig && !dump_signal_take(g_config.dumpsig, on_signal)) g_config.dumpsig = 0;
  if (!g_config.dumpsig && g_config.deadlock == Config::Deadlock::Off) return;
  g_scheduler_started = dumper_start;
  if (g_config.deadlock != Config::Deadlock::Off) g_all_asleep = all_asleep_now;
}

} // namespace gmp
