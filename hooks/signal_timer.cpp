// Timers that signal one thread (SIGEV_THREAD_ID). The kernel knows no G, so the timer signals the process, and who it is for is found by the
// timer's number, which comes with the signal. SIGEV_THREAD is libc's own thread.
#include <ctime>
#include "hooks/cputime.hpp"
#include "hooks/signal_send.hpp"

namespace gmp {

namespace {
GMP_REAL_V(timer_create, "GLIBC_2.3.3");

// By the kernel's number: small ones. An entry lives until its number is given out anew; goid 0: not one thread's.
constexpr unsigned kTimers = 4096;
constinit std::atomic<uint64_t> g_target[kTimers]{};

void note(int id, uint64_t target) {
  if (unsigned(id) < kTimers) g_target[id].store(target, std::memory_order_release);
}
} // namespace

uint64_t timer_has_target(const siginfo_t* info) {
  if (info->si_code != SI_TIMER) return 0;
  const unsigned id = unsigned(info->si_timerid);
  return id < kTimers ? g_target[id].load(std::memory_order_acquire) : 0;
}

bool timers_other(const siginfo_t* info) {
  const uint64_t target = timer_has_target(info);
  G* g = getg();
  return target && !(g && goid(g) == target);
}

void to_timers_thread(const siginfo_t& info) {
  const uint64_t target = timer_has_target(&info);
  const int sig = info.si_signo;
  with_g([target](G* g) { return goid(g) == target; }, // else it has ended
         [&](G* g) {
           add_pending(of_thread(g), sig, Arrival{info, true});
           if (get_sigmask(g) & sigbit(sig)) interrupt_call(g); // it may be in sigwait
           else signal_g(g);
         });
}

// The kernel's number, or an error.
long make_timer(clockid_t clock, const sigevent* event, int* id) {
  uint64_t target = 0;
  sigevent changed;
  if (event && event->sigev_notify == SIGEV_THREAD_ID && mode() == Mode::Running) {
    G* g = g_of_tid(event->_sigev_un._tid);
    if (!g && event->_sigev_un._tid >= 0x20000000) return -EINVAL;
    if (g) {
      changed = *event;
      changed.sigev_notify = SIGEV_SIGNAL;
      event = &changed;
      target = goid(g);
    }
  }
  const long r = sys(SYS_timer_create, clock, event, id);
  if (r == 0) note(*id, target);
  return r;
}

} // namespace gmp

using namespace gmp;

// libc's handle is the kernel's number, but for SIGEV_THREAD.
GMP_HOOK int timer_create(clockid_t clock, sigevent* event, timer_t* out) noexcept {
  if (const long r = kernel_clock_for_timer(&clock); r < 0) return int(ret(r));
  if (native() || !event || event->sigev_notify != SIGEV_THREAD_ID) {
    const int r = REAL(timer_create)(clock, event, out);
    if (r == 0 && (!event || event->sigev_notify != SIGEV_THREAD)) note(int(intptr_t(*out)), 0);
    return r;
  }
  int id;
  const long r = make_timer(clock, event, &id);
  if (r == 0) *out = timer_t(intptr_t(id));
  return int(ret(r));
}
