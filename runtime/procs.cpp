// The number of Ps: what the machine grants, and its change while running.
#include <initializer_list>
#include <new>
#include <sched.h>
#include <sys/syscall.h>
#include "runtime/own_fds.hpp"
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

namespace {

// "QUOTA PERIOD" rounded up to processors; 0: no limit.
int quota_cpus(const char* c) {
  if (*c == 'm') return 0;
  long quota = 0, period = 0;
  for (; *c >= '0' && *c <= '9'; c++) quota = quota * 10 + (*c - '0');
  while (*c == ' ') c++;
  for (; *c >= '0' && *c <= '9'; c++) period = period * 10 + (*c - '0');
  return period > 0 ? int((quota + period - 1) / period) : 0;
}

// cpu.max of this process's group and of the root of what this container sees (cgroup v2): the lesser. 0: no limit. -1: neither
// can be read (any more: a chroot, other credentials).
int cgroup_cpus() {
  char b[512], path[512], q[64];
  if (read_file("/proc/self/cgroup", b, sizeof b) <= 0) return -1;
  const char* own = "";
  for (char* l = b; *l;) {
    char* e = l;
    while (*e && *e != '\n') e++;
    const bool end = !*e;
    *e = 0;
    if (l[0] == '0' && l[1] == ':' && l[2] == ':' && l[4]) own = l + 3; // "/" is the root
    if (end) break;
    l = e + 1;
  }
  int least = -1;
  for (const char* group : {own, ""}) {
    if (group == own && !own[0]) continue;
    format(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
    if (read_file(path, q, sizeof q) <= 0) continue;
    const int n = quota_cpus(q);
    if (least <= 0 || (n > 0 && n < least)) least = n;
  }
  return least;
}

} // namespace

static constinit int last_quota = 0;
// At start(), and by sysmon (own_fds.cpp).
int granted_procs() {
  unsigned long mask[128] = {};
  const long n = sys(SYS_sched_getaffinity, 0, sizeof mask, mask);
  int cpus = 0;
  for (long i = 0; i < n / 8; i++) cpus += __builtin_popcountl(mask[i]);
  if (cpus < 1) cpus = 1;
  if (const int quota = cgroup_cpus(); quota >= 0) last_quota = quota;
  return last_quota > 0 && last_quota < cpus ? last_quota : cpus;
}

// Null: no memory.
P* new_p(int id) {
  void* at = map_pages(align_up(sizeof(P), kPage));
  if (!at) return nullptr;
  P* p = new (at) P{};
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
    if (!p) { // no memory: as many as there are
      n = i;
      break;
    }
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
