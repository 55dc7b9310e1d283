// The scheduler: who runs which G.
//
// The idea is Go's. G = a thread of the program, M = a kernel thread, P = the right to run program code, of which there are
// GOMAXPROCS. An M needs a P to run Gs; an M that blocks in the kernel gives its P to another. Each P has a queue of its
// own, so that the common case takes no lock; Ms without work steal half the queue of a random P; Ms without luck sleep.
//
// The wake-up protocol. Work may be queued while other Ps are idle, and nobody may sleep while work waits for long. One
// searching ("spinning") M is enough: whoever queues work wakes an M only if a P is idle and nobody searches (wakep); a
// searcher that finds work wakes the next searcher. A searcher that gives up first drops its P, then its spinning mark,
// and then looks at all queues once more: either the queuer saw it spinning, and this last look comes after the queueing, or the
// queuer saw no one spinning and wakes someone itself. Both sides have a full fence between their store and their load.
//
// Where we differ from Go:
//  * Lazy wake-ups. Waking a parked kernel thread costs the waker 5 to 10 us here and the ping-pong of two threads needs no
//    second P at all. So the first G that is made runnable on a P with an empty queue (it goes to runnext) wakes nobody:
//    usually the waker is about to wait itself. If sysmon has already seen it running, it is not, and the
//    wake-up is passed on; else sysmon sees the P's tick stand still within 20 us to 1 ms
//    and calls wakep. A second G in the queue wakes at once.
//  * A waiter is ended by a claim (g.hpp), not by a lock held over the switch: C waits have many wakers.
//  * yield goes to the tail of the local queue; the 61st-tick look at the global queue keeps it fair, and every so often the
//    loop polls the network although the queue is not empty, because C programs spin on sched_yield.
//  * Preemption's signal is the kernel's timer on the thread's processor time (preempt.cpp), and unannounced blocking is robbed of its P (syscall.cpp).
// Rejected: one global queue (a lock for each switch); per-P epoll instances (a connection would stick to its P); waking
// an M for each ready G (see above: it made every benchmark with two Ps slower than with one).
#include <sys/syscall.h>
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

constinit Sched sched{};

uint32_t fastrand() {
  M* m = cur_m();
  static constinit std::atomic<uint32_t> shared{0};
  uint32_t x = m ? m->rng : shared.load(std::memory_order_relaxed);
  if (GMP_UNLIKELY(x == 0)) x = (uint32_t(g_config.chaos) * 2654435761u ^ 0x9e3779b9) | 1;
  x ^= x << 13, x ^= x >> 17, x ^= x << 5;
  if (m) m->rng = x;
  else shared.store(x, std::memory_order_relaxed);
  return x;
}

bool runq_empty(P* p) { return runq::empty(p); }

// ---------------------------------------------------------------- global queue, idle Ps (sched.lock held)

// While the world stops there is always something to look for: g0 is where an M hears of it.
void publish_runqsize() {
  sched.runqsize.store(sched.runq.n + sched.hogs.n + sched.stopping.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

void globrunqput(G* g) {
  sched.runq.push(g);
  publish_runqsize();
}

// A fair share of the global queue: one to run, the rest into p's queue.
G* globrunqget(P* p, int max) {
  long n = sched.runq.n;
  if (n == 0) return nullptr;
  long take = n / sched.nprocs + 1;
  if (max > 0 && take > max) take = max;
  if (take > long(kRunq) / 2) take = kRunq / 2;
  if (take > n) take = n;
  G* g = sched.runq.pop();
  for (long i = 1; i < take && runq::has_room(p); i++) {
    if (sched.runq.head) __builtin_prefetch(sched.runq.head->schedlink); // the list's next but one
    runq::put_local(p, sched.runq.pop());
  }
  publish_runqsize();
  return g;
}

// Preempted Gs wait apart, and run when nobody else wants to, or one every 20 ms: a sleeper or a connection that becomes ready goes
// before those that have just had their slice, but does not keep them out. One at a time, so that local queues hold none. Who runs because nobody else
// wanted to makes room as soon as somebody does (sysmon.cpp).
void hogput(G* g) {
  sched.hogs.push(g);
  publish_runqsize();
}

static G* hogget(P* p, bool due) {
  G* g = sched.hogs.pop();
  if (!g) return nullptr;
  p->hog_tick = p->schedtick;
  p->hog_due = due;
  sched.hog_at.store(arch::cycles(), std::memory_order_relaxed);
  publish_runqsize();
  return g;
}

// Never twice in a row: on a busy machine a slice takes longer than that.
static bool hog_due(P* p) {
  return p->schedtick - p->hog_tick >= 2 && __atomic_load_n(&sched.hogs.head, __ATOMIC_RELAXED) && arch::cycles() - sched.hog_at.load(std::memory_order_relaxed) > 20 * sched.cycles_per_ms;
}

P* pidleget() {
  P* p = sched.pidle;
  if (p) {
    sched.pidle = p->link;
    sched.npidle.fetch_sub(1);
    if (GMP_UNLIKELY(sched.sysmon_deep.load(std::memory_order_relaxed))) sysmon_wake();
  }
  return p;
}

void pidleput(P* p) {
  if (GMP_UNLIKELY(sched.stopping.load(std::memory_order_relaxed))) return world_take(p);
  p->status.store(PStatus::Idle, std::memory_order_release);
  p->link = sched.pidle;
  sched.pidle = p;
  sched.npidle.fetch_add(1);
}

void acquirep(M* m, P* p) {
  p->m = m;
  p->status.store(PStatus::Running, std::memory_order_release);
  m->p = p;
}

P* releasep(M* m) {
  P* p = m->p;
  m->p = nullptr;
  p->m = nullptr;
  return p;
}

// ---------------------------------------------------------------- signal masks of Ms

static void set_kernel_mask(M* m, uint64_t mask) {
  m->sigmask = mask;
  sys(SYS_rt_sigprocmask, 2 /*SIG_SETMASK*/, &m->sigmask, 0, 8);
}

// ---------------------------------------------------------------- making Gs runnable

void ready(G* g, bool next) {
  P* p = cur_p();
  g->status.store(GStatus::Runnable, std::memory_order_relaxed);
  if (!p) {
    {
      Locked l(sched.lock);
      globrunqput(g);
    }
    wakep();
    return;
  }
  if (GMP_UNLIKELY(chaos(4))) next = false;
  bool had_work = !runq::empty(p);
  runq::put(p, g, next);
  // Lazy only in a G that has just begun to run: one that sysmon has seen computing won't wait soon, and can afford the wake-up.
  if (had_work || p->seen_sched.load(std::memory_order_relaxed) == p->schedtick) wakep();
  else p->lazy.store(true, std::memory_order_relaxed);
}

// First come, first served: behind what waits in the global queue, and a list that does not fit would push the oldest there. (With events of
// the network put into the local queue while others wait in the global one, an echo server with 1,000 connections had a p99 four
// times the native one: the local queue never ran dry.)
void ready_list(GList& l) {
  if (!l.head) return;
  P* p = cur_p();
  if (p && !__atomic_load_n(&sched.runq.head, __ATOMIC_RELAXED) && runq::length(p) + size_t(l.n) <= kRunq) {
    while (G* g = l.pop()) ready(g, false);
    return;
  }
  {
    Locked k(sched.lock);
    for (G* g = l.head; g; g = g->schedlink) g->status.store(GStatus::Runnable, std::memory_order_relaxed);
    sched.runq.append(l);
    publish_runqsize();
  }
  wakep();
}

// ---------------------------------------------------------------- finding work

static G* steal_work(P* p, int64_t* now, int64_t* poll_until) {
  for (int round = 0; round < 4; round++) {
    bool last = round == 3;
    uint32_t n = uint32_t(sched.nprocs), start = fastrand() % n;
    for (uint32_t k = 0; k < n; k++) {
      P* victim = sched.allp[(start + k) % n];
      if (victim == p) continue;
      if (last) {
        int64_t f = timers_first(victim);
        if (f != 0) {
          if (*now == 0) *now = nanotime();
          if (f <= *now) {
            GList due;
            check_timers(victim, *now, &due);
            ready_list(due);
            if (G* g = runq::get(p)) return g;
          } else if (*poll_until == 0 || f < *poll_until)
            *poll_until = f;
        }
      }
      // Idle ones as well: without an M (the cap, or one that is being made) their queues need not be empty.
      if (G* g = runq::steal(p, victim, last)) {
        p->steals++;
        return g;
      }
    }
  }
  return nullptr;
}

static void reset_spinning(M* m) {
  m->spinning = false;
  sched.nmspinning.fetch_sub(1);
  // A searcher has found work: somebody else shall go on searching.
  wakep();
}

// Blocks until there is something to run. On return m has a P; null: it shall end.
static G* find_runnable(M* m) {
top:
  P* p = m->p;
  int64_t now = 0, poll_until = 0;
  // Timers of this P.
  if (int64_t f = timers_first(p)) {
    now = nanotime();
    if (f <= now) {
      GList due;
      check_timers(p, now, &due);
      ready_list(due);
    }
    poll_until = timers_first(p);
  }
  if (sched.runqsize.load(std::memory_order_relaxed) > 0 && (p->schedtick % 61 == 0 || hog_due(p))) {
    Locked l(sched.lock);
    if (G* g = hog_due(p) ? hogget(p, true) : globrunqget(p, 1)) return g;
  }
  // A queue that never runs dry must not keep the network waiting: look about every 50 us.
  if (GMP_UNLIKELY((p->schedtick & 31) == 0) && netpoll_any()) {
    uint64_t t = arch::cycles(), last = sched.lastpoll_tsc.load(std::memory_order_relaxed);
    if (t - last > sched.cycles_per_ms / 20 && sched.lastpoll.load(std::memory_order_relaxed) != 0) {
      GList l;
      netpoll(0, &l);
      ready_list(l);
    }
  }
  if (G* g = runq::get(p)) return g;
  if (sched.runqsize.load() > 0) {
    Locked l(sched.lock);
    if (G* g = globrunqget(p, 0)) return g;
  }
  if (netpoll_any() && sched.lastpoll.load() != 0) {
    GList l;
    netpoll(0, &l);
    if (l.head) {
      G* g = l.pop();
      ready_list(l);
      return g;
    }
  }
  if (sched.runqsize.load() > 0) {
    Locked l(sched.lock);
    if (G* g = hogget(p, false)) return g;
  }
  // Searching costs CPU: at most half as many searchers as busy Ps.
  if (m->spinning || 2 * sched.nmspinning.load() < sched.nprocs - sched.npidle.load()) {
    if (!m->spinning) {
      m->spinning = true;
      sched.nmspinning.fetch_add(1);
    }
    if (sched.nprocs > 1)
      if (G* g = steal_work(p, &now, &poll_until)) return g;
    if (G* g = runq::get(p)) return g;
  }
  // Give the P up.
  {
    Locked l(sched.lock);
    if (G* g = globrunqget(p, 0)) return g;
    if (G* g = hogget(p, false)) return g;
    releasep(m);
    pidleput(p);
  }
  bool was_spinning = m->spinning;
  if (m->spinning) {
    m->spinning = false;
    sched.nmspinning.fetch_sub(1);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst); // see the essay: the last look comes after the mark is dropped
  bool work = sched.runqsize.load() > 0;
  for (int i = 0; !work && i < sched.nprocs; i++) work = !runq::ring_empty(sched.allp[i]); // not runnext: its P is about to run it, and sysmon looks after the rest
  if (!work) {
    for (int i = 0; i < sched.nprocs; i++) // timers that were armed while we were giving up
      if (int64_t f = timers_first(sched.allp[i]))
        if (poll_until == 0 || f < poll_until) poll_until = f;
  } else if (was_spinning) {
    Locked l(sched.lock);
    P* q = pidleget();
    if (q) {
      acquirep(m, q);
      m->spinning = true;
      sched.nmspinning.fetch_add(1);
    }
  }
  if (m->p) goto top;
  // Wait for the network and the timers, if nobody does.
  if ((netpoll_any() || poll_until != 0) && sched.lastpoll.exchange(0) != 0) {
    sched.polluntil.store(poll_until);
    int64_t delay = -1;
    if (poll_until != 0) {
      delay = poll_until - nanotime();
      if (delay < 0) delay = 0;
    }
    // A timer armed between the look above and here has seen lastpoll != 0 and told nobody: look again now that it is 0.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    for (int i = 0; i < sched.nprocs; i++)
      if (int64_t f = timers_first(sched.allp[i]))
        if (poll_until == 0 || f < poll_until) delay = 0;
    if (sched.runqsize.load() > 0 || signal_waiting()) delay = 0;
    if (delay != 0) m->charge_in = 0;
    GList l;
    netpoll(delay, &l);
    sched.polluntil.store(0);
    sched.lastpoll.store(nanotime());
    signal_forward();
    P* q;
    {
      Locked k(sched.lock);
      q = pidleget();
    }
    if (!q) {
      ready_list(l); // no P here: to the global queue
    } else {
      acquirep(m, q);
      if (l.head) {
        G* g = l.pop();
        ready_list(l);
        return g;
      }
      goto top; // timers or a break: this M looks for work as one that spins would
    }
  } else if (poll_until != 0) {
    int64_t until = sched.polluntil.load();
    if (until == 0 || until > poll_until) netpoll_break();
  }
  if (!stopm(m)) return nullptr;
  goto top;
}

// ---------------------------------------------------------------- the loop

static void execute(M* m, G* g) {
  P* p = m->p;
  p->schedtick++;
  p->lazy.store(!runq::ring_empty(p), std::memory_order_relaxed);
  m->curg = g;
  g->m = m;
  g->status.store(GStatus::Running, std::memory_order_release);
  if (GMP_UNLIKELY(g->sigmask != m->sigmask)) set_kernel_mask(m, g->sigmask);
  if (GMP_UNLIKELY(sched.accounting.load(std::memory_order_relaxed)) && m->charge_in <= 0) charge_begin(m);
  for (;;) {
    switch_to_g(m, g);
    g = m->curg; // another one, after direct switches
    if (GMP_UNLIKELY(sched.accounting.load(std::memory_order_relaxed))) charge_switch(m, p, g);
    if (!m->after(m, g)) break;
    // The wait was over before it began.
    g->status.store(GStatus::Running, std::memory_order_relaxed);
  }
  m->curg = nullptr;
}

// g's way off the M: directly to the next G of the local queue (one switch and one write of the thread pointer instead of two),
// unless the loop on g0 has something to look after. `after` then runs on the next G's stack, in the runtime.
void switch_out(G* g, bool (*after)(M*, G*)) {
  M* m = g->m;
  P* p = m->p;
  uint32_t tick = p->schedtick;
  bool detour = (tick % 61 == 0 && sched.runqsize.load(std::memory_order_relaxed) > 0) ||
                ((tick & 7) == 0 && (timers_first(p) != 0 || ((tick & 31) == 0 && netpoll_any()))) || m->lockedg;
  G* next = GMP_LIKELY(!detour) ? runq::get(p) : nullptr;
  if (!next) {
    mcall(g, after);
    return;
  }
  GMP_ASSERT(next != g);
  const bool charged = sched.accounting.load(std::memory_order_relaxed);
  if (GMP_UNLIKELY(charged | (next->sigmask != m->sigmask) | (next->lockedm.load(std::memory_order_relaxed) != nullptr))) {
    if (next->lockedm.load(std::memory_order_relaxed)) { // the loop has its M woken
      runq::put(p, next, true);
      mcall(g, after);
      return;
    }
    if (charged) charge_switch(m, p, g);
    if (next->sigmask != m->sigmask) set_kernel_mask(m, next->sigmask);
  }
  runq::prefetch(p);
  p->schedtick = tick + 1;
  p->lazy.store(!runq::ring_empty(p), std::memory_order_relaxed);
  next->status.store(GStatus::Running, std::memory_order_relaxed);
  switch_direct(m, g, next, after);
}

void schedule_loop(M* m) {
  // main's g0 arrives here in the middle of main's first switch; other Ms start with nothing.
  if (m->curg) {
    G* g = m->curg;
    if (m->after(m, g)) execute(m, g);
    m->curg = nullptr;
  }
  for (;;) {
    signal_forward();
    if (GMP_UNLIKELY(sched.stopping.load(std::memory_order_relaxed)) && m->p) world_leave(m);
    if (GMP_UNLIKELY(m->lockedg || m->doomed)) {
      if (!stop_lockedm(m)) return;
      execute(m, m->lockedg);
      continue;
    }
    if (!m->p && !stopm(m)) return;
    G* g = find_runnable(m);
    if (!g) return;
    if (m->spinning) reset_spinning(m);
    if (GMP_UNLIKELY(g->lockedm.load(std::memory_order_acquire) != nullptr)) start_lockedm(m, g);
    else execute(m, g);
  }
}

bool after_yield(M* m, G* g) {
  g->status.store(GStatus::Runnable, std::memory_order_relaxed);
  if (GMP_UNLIKELY(chaos(4))) {
    Locked l(sched.lock);
    globrunqput(g);
    return false;
  }
  // Who waits for a preempted G by yielding (a spin lock) must not keep it waiting.
  if (GMP_UNLIKELY(__atomic_load_n(&sched.hogs.head, __ATOMIC_RELAXED) != nullptr) && runq::empty(m->p)) {
    Locked l(sched.lock);
    hogput(g);
    return false;
  }
  runq::put(m->p, g, false);
  return false;
}

void yield() {
  G* g = getg();
  if (!g) {
    sys(SYS_sched_yield);
    return;
  }
  uint8_t prev = enter_rt(g);
  P* p = g->m->p;
  // Nobody else here: let the network and the timers in now and then, other kernel threads otherwise.
  if (runq::empty(p) && sched.runqsize.load(std::memory_order_relaxed) == 0 && (++p->polltick & 15) != 0)
    sys(SYS_sched_yield);
  else
    switch_out(g, after_yield);
  leave_rt(g, prev);
}

} // namespace gmp
