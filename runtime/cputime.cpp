// The processor time of a G: what its kernel threads have used while it ran there. From the first question on (sched.accounting) every switch
// counts, and reads the kernel thread's clock and charges the G that leaves; a program that never asks pays a load for each switch.
//
// The clock costs 300 ns, as much as several switches; where system calls are slow, several times that. Where switches come faster than every 32 times its
// cost (10 us at least) not every one looks, but one of a few hundred, at random: the Gs that take turns so quickly share by the number of their turns.
// Whoever sysmon has seen running (20 us to 4 ms) is charged in any case.
//
// What was used before the first question is not known exactly. Main has what its kernel thread had when the first thread was made; a G that
// has been running since sysmon saw it has at least that time, which is right for a thread that computes and asks at its end.
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

static int64_t thread_clock(int tid) {
  timespec t;
  const int clock = tid ? cpu_clock_of(tid) : CLOCK_THREAD_CPUTIME_ID;
  if (sys(SYS_clock_gettime, clock, &t) < 0) return 0;
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static constinit std::atomic<int64_t> often{10000}; // ns

static void weigh_clock() {
  int64_t least = INT64_MAX, at = nanotime();
  for (int i = 0; i < 4; i++) {
    thread_clock(0);
    const int64_t now = nanotime();
    if (now - at < least) least = now - at;
    at = now;
  }
  if (least * 32 > 10000) often.store(least * 32 < 200000 ? least * 32 : 200000, std::memory_order_relaxed);
}

void cputime_start(M*) { g_main.cpu_ns.store(thread_clock(0), std::memory_order_relaxed); }

void charge_begin(M* m) { m->cpu_mark.store(thread_clock(0), std::memory_order_release); }

// Readers take cpu_ns, the mark, and cpu_ns again: in this order the two stores give them a time that is short, never one counted twice.
void charge(M* m, G* g) {
  const int64_t now = thread_clock(0), mark = m->cpu_mark.load(std::memory_order_relaxed);
  int every = m->charge_every;
  every = now - mark > often.load(std::memory_order_relaxed) * every ? 1 : every < 256 ? every * 2 + 1 : every;
  m->charge_every = every;
  m->charge_in = every == 1 ? 1 : every / 2 + int(fastrand() % uint32_t(every)); // at random: two that alternate must not be counted in step
  m->cpu_mark.store(now, std::memory_order_release);
  g->cpu_ns.fetch_add(now - mark, std::memory_order_release);
}

static void start_accounting() {
  Locked l(sched.cpu_lock);
  if (sched.accounting.load(std::memory_order_relaxed)) return;
  weigh_clock();
  const int64_t now = nanotime();
  for (M* m = sched.allm; m; m = m->all_next)
    if (int tid = m->tid) m->cpu_mark.store(thread_clock(tid), std::memory_order_relaxed);
  for (int i = 0; i < sched.nprocs; i++) {
    P* p = sched.allp[i];
    M* m = p->m;
    G* g = m ? m->curg : nullptr;
    if (!g || g == &g_main || p->seen_sched.load(std::memory_order_relaxed) != p->schedtick) continue;
    int64_t ran = now - p->seen_sched_at, used = m->cpu_mark.load(std::memory_order_relaxed);
    if (ran > 0) g->cpu_ns.store(ran < used ? ran : used, std::memory_order_relaxed);
  }
  sched.accounting.store(true, std::memory_order_release);
}

int64_t g_cpu_time(G* g) {
  RtScope rt;
  if (GMP_UNLIKELY(!sched.accounting.load(std::memory_order_acquire))) start_accounting();
  int64_t used, again = g->cpu_ns.load(std::memory_order_acquire);
  do {
    used = again;
    GStatus s = g->status.load(std::memory_order_acquire);
    M* m = g->m;
    int64_t more = 0;
    if (m && (s == GStatus::Running || s == GStatus::Syscall) && m->curg == g)
      more = thread_clock(g == getg() ? 0 : m->tid) - m->cpu_mark.load(std::memory_order_acquire);
    again = g->cpu_ns.load(std::memory_order_acquire);
    if (again == used && more > 0) used += more, again = used;
  } while (again != used);
  Locked l(sched.cpu_lock);
  if (used < g->cpu_told) used = g->cpu_told; // it was leaving its M
  return g->cpu_told = used;
}

} // namespace gmp
