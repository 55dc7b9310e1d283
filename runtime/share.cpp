// A G whose calls find something to do each time never waits: an event loop whose descriptors are always ready, a copy from disk to disk. It would keep
// its P until it is preempted, after 4 ms on a processor (with one P; else others steal what it has made runnable), and in the midst of what it does,
// perhaps with a lock held that those need who then run: a Python's global lock is let go of around such calls only, and one thread that streamed
// made the others ten times slower. Natively who has been woken would have run at such a call long since. So every 0.1 ms such a call lets others go
// first, and where there are none looks for them: for timers that are due, and every 1 ms at the network. From the third call of a turn on, so that one
// that serves a request and waits does not even read the clock.
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

static bool after_look(M* m, G* g) {
  P* p = m->p;
  g->status.store(GStatus::Runnable, std::memory_order_relaxed);
  GList l;
  check_timers(p, nanotime(), &l);
  if (netpoll_any() && sched.lastpoll.load() != 0 && arch::cycles() - sched.lastpoll_tsc.load(std::memory_order_relaxed) > sched.cycles_per_ms) netpoll(0, &l);
  ready_list(l);
  if (runq::empty(p) && sched.runqsize.load(std::memory_order_relaxed) > 0) {
    Locked lock(sched.lock);
    if (sched.runq.n > 0) return globrunqput(g), false;
    if (sched.hogs.n > 0) return hogput(g), false;
  }
  runq::put(p, g, false);
  return false;
}

void share_p(G* g) {
  P* p = g->m->p;
  if (p->asks_tick != p->schedtick) {
    p->asks_tick = p->schedtick;
    p->asks = 0;
  }
  const uint32_t n = p->asks++;
  if (GMP_LIKELY(n < 2)) return;
  const bool others = !runq::empty(p);
  if (!others && (n & 7) != 2) return;
  const uint64_t now = arch::cycles();
  if (n == 2) {
    p->asks_since = now;
    return;
  }
  // Who has a kernel thread of its own pays for each of its turns with a switch of the kernel's.
  const uint64_t turn = g->lockedm.load(std::memory_order_relaxed) ? sched.cycles_per_ms : sched.cycles_per_ms / 10;
  if (now - p->asks_since < turn || g->keeps_running) return;
  p->asks_since = now;
  if (sched.npidle.load() > 0) { // an idle M watches timers and network
    if (others) wakep();
    return;
  }
  if (others) return switch_out(g, after_yield);
  const int64_t timer = timers_first(p);
  if ((timer != 0 && timer <= nanotime()) || sched.runqsize.load(std::memory_order_relaxed) > 0 ||
      (netpoll_any() && sched.lastpoll.load() != 0 && now - sched.lastpoll_tsc.load(std::memory_order_relaxed) > sched.cycles_per_ms))
    mcall(g, after_look);
}

void make_room() {
  G* g = getg();
  if (!g) return;
  const uint8_t prev = enter_rt(g);
  if (GMP_LIKELY(prev == 0)) share_p(g);
  leave_rt(g, prev);
}

} // namespace gmp
