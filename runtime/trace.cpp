// schedtrace: lines as Go prints them.
#include <fcntl.h>
#include <sys/syscall.h>
#include "runtime/blocktrace.hpp"
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

const char* wait_reason_name(WaitReason r) {
  switch (r) {
  case WaitReason::None: return "none";
  case WaitReason::Lot: return "lock";
  case WaitReason::Sleep: return "sleep";
  case WaitReason::Signal: return "signal";
  case WaitReason::PollRead: return "read";
  case WaitReason::PollWrite: return "write";
  case WaitReason::PollMany: return "poll";
  case WaitReason::Mutex: return "mutex";
  case WaitReason::Cond: return "cond";
  case WaitReason::ReadLock: return "rwlock (read)";
  case WaitReason::WriteLock: return "rwlock (write)";
  case WaitReason::Semaphore: return "semaphore";
  case WaitReason::Join: return "join";
  case WaitReason::Barrier: return "barrier";
  case WaitReason::Once: return "once";
  case WaitReason::Futex: return "futex";
  case WaitReason::LibcLock: return "libc lock";
  case WaitReason::Room: return "kernel thread";
  }
  return "?";
}

static void schedtrace(int64_t now) {
  char b[1024];
  long runnable = 0, running = 0, insys = 0, waiting = 0;
  {
    Locked l(sched.allg_lock);
    for (G* g = sched.allg; g; g = g->all_next) switch (g->status.load(std::memory_order_relaxed)) {
      case GStatus::Runnable: runnable++; break;
      case GStatus::Running: running++; break;
      case GStatus::Syscall: insys++; break;
      case GStatus::Waiting: waiting++; break;
      default:;
      }
  }
  size_t n = format(b, sizeof b,
                    "SCHED %ldms: gomaxprocs=%d idleprocs=%d threads=%d spinningthreads=%d idlethreads=%d runqueue=%ld gs=%ld "
                    "runnable=%ld running=%ld syscall=%ld waiting=%ld handoffs=%ld preempts=%ld unannounced=%ld blocked=%ld polls=%ld [",
                    (now - sched.start_time) / 1000000, sched.nprocs.load(), sched.npidle.load(), sched.nm.load(), sched.nmspinning.load(),
                    sched.nmidle.load(), sched.runqsize.load(), sched.ng.load(), runnable, running, insys, waiting, sched.handoffs.load(), sched.preempts.load(),
                    sched.unannounced.load(), blocked_calls(), sched.polls.load());
  for (int i = 0; i < sched.nprocs && n < sizeof b - 32; i++) n += format(b + n, sizeof b - n, i ? " %u" : "%u", runq::length(sched.allp[i]));
  b[n < sizeof b - 2 ? n++ : n] = ']';
  b[n < sizeof b - 1 ? n++ : n - 1] = '\n';
  sys(SYS_write, 2, b, n);
  if (!g_config.scheddetail) return;
  for (int i = 0; i < sched.nprocs; i++) {
    P* p = sched.allp[i];
    static const char* st[] = {"idle", "running", "syscall", "stopped"};
    M* m = p->m;
    say("  P%d: status=%s schedtick=%u syscalltick=%u m=%d runqsize=%u gfreecnt=%d timerslen=%u steals=%ld", i,
        st[int(p->status.load())], p->schedtick, p->syscalltick, m ? m->id : -1, runq::length(p), p->ngfree, p->timers.n, p->steals);
  }
  for (M* m = sched.allm; m; m = m->all_next) {
    if (m->tid == 0) continue;
    G* g = m->curg;
    P* p = m->p;
    say("  M%d: tid=%d p=%d curg=%ld spinning=%d", m->id, m->tid, p ? p->id : -1, g ? long(g->goid) : -1l, int(m->spinning));
  }
  Locked l(sched.allg_lock);
  long shown = 0;
  for (G* g = sched.allg; g && shown < 200; g = g->all_next) {
    static const char* st[] = {"idle", "runnable", "running", "syscall", "waiting", "dead"};
    GStatus s = g->status.load(std::memory_order_relaxed);
    if (s == GStatus::Idle || s == GStatus::Dead) continue;
    say("  G%ld: status=%s(%s) name=%s", long(g->goid), st[int(s)], wait_reason_name(g->reason), g->name[0] ? g->name : "-");
    shown++;
  }
}

// Not sysmon, which has no standard error (own_fds.cpp).
static void* trace_main(void*) {
  own_thread();
  const int64_t every = int64_t(g_config.schedtrace_ms) * 1000000;
  for (int64_t next = nanotime() + every;; next += every) {
    for (int64_t now; (now = nanotime()) < next;) {
      const timespec ts{(next - now) / 1000000000, (next - now) % 1000000000};
      sys(SYS_nanosleep, &ts, 0);
    }
    schedtrace(nanotime());
  }
  return nullptr;
}

void trace_start() {
  if (g_config.schedtrace_ms && !helper_start(trace_main, 0)) say("schedtrace=%d: no thread for it", g_config.schedtrace_ms);
}

} // namespace gmp
