// The number of Ps: what the machine grants, and its change while running.
#include <fcntl.h>
#include <new>
#include <sched.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

namespace {

// cgroup v2's cpu.max of this process, rounded up; 0: no limit or not readable.
int cgroup_cpus() {
  char path[512], b[512];
  long fd = sys(SYS_openat, AT_FDCWD, "/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  long n = sys(SYS_read, fd, b, sizeof b - 1);
  sys(SYS_close, fd);
  if (n <= 0) return 0;
  b[n] = 0;
  const char* own = "";
  for (char* l = b; *l;) {
    char* e = l;
    while (*e && *e != '\n') e++;
    bool end = !*e;
    *e = 0;
    if (l[0] == '0' && l[1] == ':' && l[2] == ':') own = l + 3;
    if (end) break;
    l = e + 1;
  }
  int best = 0;
  // The quota of any ancestor binds as well; own group first, then the root of what this container sees.
  for (const char* dir : {own, ""}) {
    format(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", dir[0] == '/' && !dir[1] ? "" : dir);
    fd = sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    char q[64];
    n = sys(SYS_read, fd, q, sizeof q - 1);
    sys(SYS_close, fd);
    if (n <= 0 || q[0] == 'm') continue;
    q[n] = 0;
    long quota = 0, period = 0;
    char* c = q;
    for (; *c >= '0' && *c <= '9'; c++) quota = quota * 10 + (*c - '0');
    while (*c == ' ') c++;
    for (; *c >= '0' && *c <= '9'; c++) period = period * 10 + (*c - '0');
    int k = period > 0 ? int((quota + period - 1) / period) : 0;
    if (k > 0 && (best == 0 || k < best)) best = k;
  }
  return best;
}

} // namespace

int granted_procs() {
  unsigned long mask[128] = {};
  long n = sys(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int cpus = 0;
  for (long i = 0; i < n / 8; i++) cpus += __builtin_popcountl(mask[i]);
  if (cpus < 1) cpus = 1;
  int q = cgroup_cpus();
  return q > 0 && q < cpus ? q : cpus;
}

P* new_p(int id) {
  P* p = new (map_pages(align_up(sizeof(P), kPage))) P{};
  p->id = id;
  p->status.store(PStatus::Idle);
  return p;
}

namespace {

// World stopped, sched.lock held: the P is in the list of stopped ones.
void unlist(P* p) {
  for (P** at = &sched.stopped; *at; at = &(*at)->link)
    if (*at == p) {
      *at = p->link;
      return;
    }
}

// What a P that is no more wanted owns goes to all, its timers to `heir`.
void empty_out(P* p, P* heir) {
  while (G* g = runq::get(p)) globrunqput(g);
  while (G* g = p->gfree) {
    p->gfree = g->schedlink;
    g->schedlink = sched.gfree;
    sched.gfree = g;
    sched.ngfree++;
  }
  p->ngfree = 0;
  timers_move(p, heir);
}

void resize(int n) {
  Locked l(sched.lock);
  // Ps beyond the number stay in the table: a kernel thread that read the old number may look at one, and finds nothing there.
  for (int i = sched.nprocs; i < n; i++) {
    if (!sched.allp[i]) __atomic_store_n(&sched.allp[i], new_p(i), __ATOMIC_RELEASE);
    P* p = sched.allp[i];
    p->status.store(PStatus::Stopped, std::memory_order_release);
    p->link = sched.stopped;
    sched.stopped = p;
  }
  // The caller's own goes on as the first one.
  if (P* own = cur_p(); own && own->id >= n) {
    M* m = own->m;
    P* first = sched.allp[0];
    unlist(first);
    releasep(m);
    own->status.store(PStatus::Stopped, std::memory_order_release);
    acquirep(m, first);
  }
  for (int i = n; i < sched.nprocs; i++) {
    unlist(sched.allp[i]);
    empty_out(sched.allp[i], sched.allp[0]);
  }
  sched.nprocs.store(n, std::memory_order_release);
}

} // namespace

void set_maxprocs(int n) {
  if (mode() != Mode::Running) return;
  if (n < 1) n = 1;
  if (n > kMostPs) n = kMostPs;
  stop_the_world();
  if (n != sched.nprocs) resize(n);
  start_the_world();
}

// The quota of a container and the mask of all its threads (taskset -ap) may change at any time. sysmon's own mask is what its creator had, so that
// a thread that pins itself changes nothing.
void watch_procs() {
  if (g_config.maxprocs > 0) return; // the user has decided
  const int n = granted_procs();
  if (n != sched.nprocs) set_maxprocs(n);
}

} // namespace gmp
