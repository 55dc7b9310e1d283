// schedtrace: lines as Go prints them, and the names of calls that blocked a P unannounced.
#include <fcntl.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

const char* wait_reason_name(WaitReason r) {
  switch (r) {
  case WaitReason::None: return "none";
  case WaitReason::Lot: return "lock";
  case WaitReason::Sleep: return "sleep";
  case WaitReason::PollRead: return "read";
  case WaitReason::PollWrite: return "write";
  case WaitReason::PollMany: return "poll";
  case WaitReason::Dead: return "dead";
  }
  return "?";
}

void schedtrace(int64_t now) {
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
                    "runnable=%ld running=%ld syscall=%ld waiting=%ld handoffs=%ld unannounced=%ld polls=%ld [",
                    (now - sched.start_time) / 1000000, sched.nprocs, sched.npidle.load(), sched.nm.load(), sched.nmspinning.load(),
                    sched.nmidle.load(), sched.runqsize.load(), sched.ng.load(), runnable, running, insys, waiting, sched.handoffs.load(),
                    sched.unannounced.load(), sched.polls.load());
  for (int i = 0; i < sched.nprocs && n < sizeof b - 32; i++) n += format(b + n, sizeof b - n, i ? " %u" : "%u", runq::length(sched.allp[i]));
  b[n < sizeof b - 2 ? n++ : n] = ']';
  b[n < sizeof b - 1 ? n++ : n - 1] = '\n';
  sys(SYS_write, 2, b, n);
  if (!g_config.scheddetail) return;
  for (int i = 0; i < sched.nprocs; i++) {
    P* p = sched.allp[i];
    static const char* st[] = {"idle", "running", "syscall"};
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

void m_unwatch(M* m) {
  Locked l(sched.watch_lock);
  if (m->syscall_fd >= 0) sys(SYS_close, m->syscall_fd);
  m->syscall_fd = -1;
}

// /proc's word on what the M does: "running", or the number of the system call it sits in. False: can't tell. sysmon only. The descriptor
// is kept (0.5 us a look) and kept high, out of the way of programs that count on the lowest free number.
static bool look(M* m, char b[32]) {
  Locked l(sched.watch_lock);
  if (m->syscall_fd == -2) return false;
  if (m->syscall_fd < 0) {
    char path[64];
    format(path, sizeof path, "/proc/self/task/%d/syscall", m->tid);
    long fd = m->tid ? sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    long high = fd < 0 ? -1 : sys(SYS_fcntl, fd, 1030 /*F_DUPFD_CLOEXEC*/, 200);
    if (fd >= 0) sys(SYS_close, fd);
    m->syscall_fd = high < 0 ? -2 : int(high);
    if (high < 0) return false;
  }
  long n = sys(SYS_pread64, m->syscall_fd, b, 31, 0);
  if (n <= 0) return false;
  b[n] = 0;
  for (char* c = b; *c; c++)
    if (*c == ' ' || *c == '\n') *c = 0;
  return true;
}

// Blocked on something that another M could get on without. Not on the address space's lock, which all that would run instead want too
// (mmap, mprotect, munmap, brk, mremap, madvise: a program's threads growing their heaps): those wait their turn.
bool in_kernel(M* m) {
  char b[32];
  if (!look(m, b) || b[0] == 'r') return false;
  int n = 0;
  for (char* c = b; *c >= '0' && *c <= '9'; c++) n = n * 10 + (*c - '0');
  switch (b[0] == '-' ? -1 : n) {
  case SYS_mmap: case SYS_mprotect: case SYS_munmap: case SYS_brk: case SYS_mremap: case SYS_madvise: return false;
  default: return true;
  }
}

// The M's P has been taken unannounced: name the call.
void unannounced_seen(M* m) {
  char b[32];
  if (!g_config.blocktrace || !look(m, b)) return;
  G* g = m->curg;
  bool running = b[0] == 'r';
  say("blocktrace: G%ld held its P unannounced: %s%s", g ? long(g->goid) : 0l, running ? "running program code" : "in system call ",
      running ? "" : b);
}

} // namespace gmp
