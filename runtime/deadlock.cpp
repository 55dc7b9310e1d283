// GMP_DEBUG=deadlock: Go's checkdead. All Gs sleep, and nothing outside of them is there that could wake one: no timer is armed, no
// descriptor waited for, no G in a call (which the kernel, another process or a signal may end), no kernel thread but our own. What
// is left are signal handlers (they may post a semaphore): the report speaks of them.
#include <sys/stat.h>
#include <sys/syscall.h>
#include "runtime/runq.hpp"
#include "runtime/sched.hpp"

namespace gmp {

void (*g_all_asleep)();

// Number of kernel threads; 0: can't tell.
static long kernel_threads() {
  struct stat s;
  return sys(SYS_newfstatat, -100 /*AT_FDCWD*/, "/proc/self/task", &s, 0) == 0 && s.st_nlink > 2 ? long(s.st_nlink) - 2 : 0;
}

static bool nothing_to_do() {
  if (sched.npidle.load() != sched.nprocs || sched.nmspinning.load() != 0 || sched.runqsize.load() != 0 || sched.template_pending.load() != 0 ||
      signal_waiting())
    return false;
  for (int i = 0; i < sched.nprocs; i++)
    if (timers_first(sched.allp[i]) != 0 || !runq::empty(sched.allp[i])) return false;
  return true;
}

// Only another G's doing ends its wait.
static bool asleep_for_ever(G* g) {
  if (g->status.load(std::memory_order_acquire) != GStatus::Waiting || g->wait.load(std::memory_order_acquire) != waitword::Parked) return false;
  if ((g->timer.p && g->timer.index >= 0) || g->intr.load(std::memory_order_relaxed)) return false;
  if (g->sigpend.load(std::memory_order_relaxed) & attention::Signals) return false;
  switch (g->reason) {
  case WaitReason::Lot: case WaitReason::Mutex: case WaitReason::Cond: case WaitReason::ReadLock: case WaitReason::WriteLock:
  case WaitReason::Semaphore: case WaitReason::Join: case WaitReason::Barrier: case WaitReason::Once: case WaitReason::Futex:
  case WaitReason::LibcLock: return true;
  default: return false;
  }
}

// sysmon, its mark for deep sleep set: whoever takes an idle P takes the mark away, so that what is seen while it stands is true at one
// and the same time.
bool all_asleep() {
  if (!nothing_to_do()) return false;
  long ours = sched.helpers.load(), sleepers = 0;
  for (M* m = sched.allm; m; m = m->all_next) ours += m->tid != 0;
  if (kernel_threads() != ours) return false;
  {
    Locked l(sched.allg_lock);
    for (G* g = sched.allg; g; g = g->all_next) {
      GStatus s = g->status.load(std::memory_order_acquire);
      if (s == GStatus::Idle || s == GStatus::Dead) continue;
      if (!asleep_for_ever(g)) return false;
      sleepers++;
    }
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return sleepers > 0 && sleepers == sched.ng.load() && nothing_to_do() && sched.sysmon_deep.load();
}

} // namespace gmp
