// signalfd. The kernel's looks (read, poll, select, epoll_wait) see what is pending for the process and for the kernel thread that looks. What was
// sent to one thread is pending in user space (signal_queue.cpp). So, for the moment of a look, what is pending there and blocked is made
// pending for the kernel thread too: a copy goes to the kernel, the call is made without waiting, and what it has not consumed is taken
// back. The G stays in the runtime meanwhile, so it keeps its kernel thread, which blocks what the G blocks, and nobody else sees the copies.
//
// Only threads that have such a signal pending, in a process that has ever made a descriptor for it, do so: g_signalfd_mask. Whoever sends one ends
// the wait that its thread may be in (to_g), and every wait looks again then.
#include <cstring>
#include <poll.h>
#include "hooks/fdtable.hpp"
#include "hooks/signal.hpp"

namespace gmp {

constinit std::atomic<uint64_t> g_signalfd_mask{0};

// Generating one of these stops or continues the process, or undoes the other.
constexpr uint64_t kJobControl = sigbit(SIGCONT) | sigbit(SIGTSTP) | sigbit(SIGTTIN) | sigbit(SIGTTOU);

void signalfd_made(uint64_t mask) { g_signalfd_mask.fetch_or(mask & ~kUnblockable & ~kJobControl, std::memory_order_seq_cst); }

LentSignals::LentSignals() : g(getg()), prev(rt_enter(g)) {
  const long pid = sys(SYS_getpid), tid = sys(SYS_gettid);
  const PendingSet own = of_thread(g);
  uint64_t set = own.set->load() & g_signalfd_mask.load() & get_sigmask(g);
  for (; set && n < kMost; set &= set - 1) {
    const int sig = __builtin_ctzll(set) + 1;
    uint64_t order = 0;
    Arrival a;
    while (n < kMost && peek_pending(own, sig, &order, &a)) {
      // SI_TKILL, and what the kernel itself would say, are for the kernel alone to say.
      if (a.info.si_code >= 0 || a.info.si_code == SI_TKILL || sys(SYS_rt_tgsigqueueinfo, pid, tid, sig, &a.info) != 0) {
        if (sys(SYS_tgkill, pid, tid, sig) != 0) break;
        a.info.si_code = SI_TKILL;
      }
      lent[n++] = {sig, a.info.si_code, a.info.si_value, false};
      if (sig < 32) break;
    }
  }
}

LentSignals::~LentSignals() {
  const long pid = sys(SYS_getpid);
  for (int i = 0; i < n; i++) {
    const int sig = lent[i].sig;
    if (i > 0 && lent[i - 1].sig == sig) continue; // each signal once
    const uint64_t only = sigbit(sig);
    const timespec now{};
    siginfo_t info;
    // The thread's own come before the process's.
    while (sys(SYS_rt_sigtimedwait, &only, &info, &now, 8) == sig) {
      Lent* l = lent + i;
      while (l < lent + n && (l->sig != sig || l->back || l->code != info.si_code || (l->code != SI_TKILL && l->value.sival_ptr != info.si_value.sival_ptr))) l++;
      if (l < lent + n) {
        l->back = true;
        continue;
      }
      if (sys(SYS_rt_sigqueueinfo, pid, sig, &info) != 0) sys(SYS_kill, pid, sig); // it was the process's
      break;
    }
  }
  // What has not come back has been read.
  Arrival a;
  for (int i = 0; i < n; i++)
    if (!lent[i].back) take_pending(of_thread(g), lent[i].sig, &a);
  rt_leave(g, prev);
}

// If a look without the thread's own finds nothing and one with them does, they are what a read finds: it can't wait.
long signalfd_read_own(int fd, FnRef<long(int)> read) {
  if (fd_ready(fd, POLLIN)) return -EAGAIN;
  LentSignals lent;
  return fd_ready(fd, POLLIN) ? read(fd) : -EAGAIN;
}

} // namespace gmp
