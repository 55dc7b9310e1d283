// Which M runs which P: waking and parking kernel threads, their end when many have been idle for long, and what happens when no more
// are to be had.
//
// Idle Ms are a stack, so that the last to park is the first to be used again. Beyond nprocs of them whoever parks does so for
// kIdleTime only and then ends: after a burst of blocking calls (a thousand threads in flock) the number of kernel threads
// falls back to what the program needs. What lies at the bottom stays for good; M 0 is the process's first thread, whose end would
// make a zombie of it.
//
// At the cap (maxms, or the kernel's limit on threads) a P without an M goes to the idle list, and the next M that comes back from a call
// takes it. The last M that runs anything must not block on somebody else's doing: room_to_block() has a G wait, in user space, until
// another M is there. Else the one that holds the lock could never run to give it back. That the kernel refuses another thread
// must be known while an M still runs: so a spare one is made first.
//
// Below the cap it is the same: who makes a thread needs locks of malloc's and ld.so's, and a G that holds one may be in a queue with no M left to
// run it. So a G that waits for what others do, in the kernel, sees to it that another M is there first.
#include <sys/syscall.h>
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

constexpr int64_t kIdleTime = 250000000; // making a thread again costs 50 us

// sched.lock held.
static M* midleget() {
  M* m = sched.midle;
  if (m) {
    sched.midle = m->schedlink;
    sched.nmidle--;
  }
  return m;
}

void want_spare() {
  if (!sched.spare_wanted.exchange(true)) template_poke();
}

static void send_off(M* m, P* p, bool spinning) {
  m->spinning = spinning;
  m->nextp = p;
  m->note.wake();
}

// No kernel thread is to be had for p. An M may have gone to sleep since the last look: it gets p, or nobody would wake it. One that sleeps in
// netpoll takes an idle P when it is woken.
void shelve(P* p, bool spinning) {
  M* m;
  {
    Locked l(sched.lock);
    m = midleget();
    if (!m) {
      if (spinning) sched.nmspinning.fetch_sub(1);
      while (G* g = runq::get(p)) globrunqput(g); // for those that run: none may ever come for this P
      pidleput(p);
    }
  }
  if (m) send_off(m, p, spinning);
  else if (sched.lastpoll.load() == 0) netpoll_break();
}

// Whoever asks for a new M looks for idle ones afterwards, and whoever idles looks for requests: one of them sees the other.
static void give_requested() {
  bool spinning;
  if (GMP_LIKELY(sched.template_pending.load() == 0)) return;
  if (P* p = template_reclaim(&spinning)) shelve(p, spinning);
}

// Runs p on an idle or a new M.
void startm(P* p, bool spinning) {
  M* m;
  bool last;
  {
    Locked l(sched.lock);
    if (!p && !(p = pidleget())) {
      if (spinning) sched.nmspinning.fetch_sub(1);
      return;
    }
    m = midleget();
    last = m && sched.nmidle == 0;
  }
  if (m) send_off(m, p, spinning);
  if (GMP_UNLIKELY(last)) want_spare();
  if (m) return;
  if (!(m = new_m_record())) {
    want_spare(); // the template thread tries again
    return shelve(p, spinning);
  }
  m->spinning = spinning;
  m->nextp = p;
  template_request(m);
  if (sched.nmidle.load() > 0) give_requested();
}

void wakep() {
  if (sched.nprocs == 1 && cur_p()) return; // the only one is ours
  // What was queued (a plain store to a ring's tail) before the look for searchers; pairs with the fence in find_runnable.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (sched.npidle.load() == 0 || sched.nmspinning.load() != 0) return;
  int zero = 0;
  if (!sched.nmspinning.compare_exchange_strong(zero, 1)) return;
  startm(nullptr, true);
}

// p has lost its M to the kernel: give it another if there is anything to do.
void handoffp(P* p) {
  sched.handoffs.fetch_add(1, std::memory_order_relaxed);
  if (!runq::empty(p) || sched.runqsize.load() != 0) {
    startm(p, false);
    return;
  }
  if (sched.nmspinning.load() + sched.npidle.load() == 0) {
    int zero = 0;
    if (sched.nmspinning.compare_exchange_strong(zero, 1)) {
      startm(p, true);
      return;
    }
  }
  int64_t when;
  {
    Locked l(sched.lock);
    if (sched.runq.n + sched.hogs.n != 0) goto start;
    // The last P must not go idle while nobody waits for the network.
    if (sched.npidle.load() == sched.nprocs - 1 && sched.lastpoll.load() != 0) goto start;
    when = timers_first(p);
    pidleput(p);
  }
  if (when != 0) {
    int64_t until = sched.polluntil.load();
    if (sched.lastpoll.load() != 0) wakep();
    else if (until == 0 || until > when) netpoll_break();
  }
  return;
start:
  startm(p, false);
}

// Idle Ms but M 0 come and go. False: m was idle for too long and is no longer on the list.
static bool wait_idle(M* m) {
  bool excess;
  {
    Locked l(sched.lock);
    m->note.clear();
    m->schedlink = sched.midle;
    sched.midle = m;
    excess = ++sched.nmidle > sched.nprocs && m->id != 0 && !m->parent;
  }
  give_requested();
  if (GMP_UNLIKELY(sched.room_waiters.load() > 0)) wake(&sched.room_waiters, 1);
  for (;;) {
    signal_forward(); // first: the handler may have run before clear()
    switch (m->note.sleep_until_signal(excess ? kIdleTime : -1)) {
    case Note::Sleep::Woken: return true;
    case Note::Sleep::Signal: break;
    case Note::Sleep::Timeout:
      Locked l(sched.lock);
      excess = false;
      if (sched.nmidle <= sched.nprocs) break;
      for (M** at = &sched.midle; *at; at = &(*at)->schedlink) // not found: someone is about to wake it
        if (*at == m) {
          *at = m->schedlink;
          sched.nmidle--;
          return false;
        }
    }
  }
}

// Sleeps until somebody hands this M a P. False: it shall end.
bool stopm(M* m) {
  GMP_ASSERT(!m->p && !m->spinning);
  m->charge_in = 0;
  if (!wait_idle(m)) return false;
  P* p = m->nextp;
  m->nextp = nullptr;
  acquirep(m, p);
  return true;
}

// ---------------------------------------------------------------- at the cap

// sched.lock held. If this M blocks nobody is there to run the others: nor idle, nor in netpoll, nor at another G.
static bool last_one(P* own) {
  if (sched.nmidle > 0 || sched.lastpoll.load() == 0) return false;
  for (int i = 0; i < sched.nprocs; i++)
    if (P* p = sched.allp[i]; p != own && p->status.load(std::memory_order_relaxed) == PStatus::Running) return false;
  return true;
}

// Looks and leaves the P (leave(g)) under one lock: two that are the last two must not both go.
void room_to_block(G* g, void (*leave)(G*), bool ends) {
  int64_t nap = 1000000; // should no spare be had: an M that has come back is found at the next look
  for (;;) {
    {
      RtScope rt;
      Locked l(sched.lock);
      if (!last_one(g->m->p)) return leave(g);
    }
    sched.room_waiters.fetch_add(1);
    want_spare();
    WaitOpts o;
    o.deadline = nanotime() + nap;
    o.why = WaitReason::Room;
    Wait x = wait_on(&sched.room_waiters, [] { return sched.nmidle.load() == 0; }, {}, {}, o);
    sched.room_waiters.fetch_sub(1);
    if (x == Wait::Interrupted && ends) { // it was meant for the call, which ends before it begins
      g->intr.store(1, std::memory_order_seq_cst);
      RtScope rt;
      return leave(g);
    }
    if (nap < 16000000) nap *= 2;
  }
}

} // namespace gmp
