// Stopping the world: all Ps but the caller's in one hand.
//
// What holds between stop_the_world() and start_the_world(). No G runs in the runtime: no switch, no wait begun or ended by a G, no timer set or taken
// out, and what the Ps own (queues, heaps, free lists) is still. Nor does a G run program code with a P. Outside the world, and going on:
//  * Gs in announced calls (status Syscall), until the call ends: then they queue for a P;
//  * Gs that run without a P (steal says Taken): those that sysmon had robbed before, and those that would not make room in time
//    (computing in libc, on a stack of the program's, blocked in a call that nobody announced). Their first verb queues for a P;
//  * threads that are no Gs, and Ms on their way to sleep. They put Gs that they wake into the global queue, under sched.lock, and end claims.
// So a parked G may become runnable meanwhile, but it does not run. The caller may use verbs that do not wait; it is in the runtime, its signals
// wait. Callers that are no Gs (sysmon, a helper thread) are welcome.
//
// How: the idle Ps are taken from their list, those of announced calls from their Ms as sysmon does. Whoever gives a P up hands it over here
// (pidleput). An M that runs one sees `stopping` on g0 and leaves there; to get it there its G is asked to make room, by flag and signal (preempt.cpp),
// and runqsize says that there is work in the global queue, so that Gs that only switch to each other come by g0 too. What is still running
// kPatience later is robbed, unless it is in the runtime, where nobody stays.
#include <sys/syscall.h>
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

namespace {

constexpr int64_t kPatience = 20000000; // some ticks of the kernel's, with which the signals come

// One stopper at a time. Not a lock that blocks the M: the present stopper may be waiting for this very P.
constinit std::atomic<bool> g_stopper;
constinit uint8_t g_was_in_rt;

void become_stopper() {
  while (g_stopper.exchange(true, std::memory_order_acquire)) {
    if (getg()) {
      yield();
      continue;
    }
    const timespec ts{0, 100000};
    sys(SYS_nanosleep, &ts, 0);
  }
}

// From Ms in announced calls.
void take_from_calls(P* own) {
  for (int i = 0; i < sched.nprocs; i++) {
    P* p = sched.allp[i];
    PStatus s = PStatus::Syscall;
    if (p == own || !p->status.compare_exchange_strong(s, PStatus::Idle, std::memory_order_acq_rel)) continue;
    p->syscalltick++;
    Locked l(sched.lock);
    world_take(p);
  }
}

// From kernel threads that are still to be made, which may wait for a lock that a stopped G holds (malloc's).
void take_from_requests() {
  bool spinning;
  while (P* p = template_reclaim(&spinning)) {
    if (spinning) sched.nmspinning.fetch_sub(1);
    Locked l(sched.lock);
    world_take(p);
  }
}

template <class F> void each_running(P* own, F f) {
  for (int i = 0; i < sched.nprocs; i++) {
    P* p = sched.allp[i];
    if (p == own || p->status.load(std::memory_order_acquire) != PStatus::Running) continue;
    if (M* m = p->m) f(p, m);
  }
}

bool all_here() {
  Locked l(sched.lock);
  return sched.stop_wait == 0;
}

} // namespace

void world_forget() { g_stopper.store(false, std::memory_order_relaxed); } // fork's child: the stopper was another thread

void world_take(P* p) {
  p->status.store(PStatus::Stopped, std::memory_order_release);
  p->link = sched.stopped;
  sched.stopped = p;
  if (--sched.stop_wait == 0) sched.stop_note.wake();
}

void world_leave(M* m) {
  Locked l(sched.lock);
  if (!sched.stopping.load(std::memory_order_relaxed)) return;
  if (m->spinning) { // just made, to search
    m->spinning = false;
    sched.nmspinning.fetch_sub(1);
  }
  world_take(releasep(m));
}

void stop_the_world() {
  become_stopper();
  G* g = getg();
  g_was_in_rt = g ? enter_rt(g) : 0;
  P* own = cur_p();
  {
    Locked l(sched.lock);
    sched.stop_note.clear();
    sched.stop_wait = sched.nprocs - (own ? 1 : 0);
    while (P* p = pidleget()) world_take(p);
    sched.stopping.store(true, std::memory_order_seq_cst);
    publish_runqsize();
  }
  const int64_t begin = nanotime();
  int64_t asked = 0, nap = 20000;
  for (;;) {
    take_from_calls(own);
    take_from_requests();
    if (all_here()) return;
    const int64_t now = nanotime();
    if (now - asked > 2000000) {
      asked = now;
      each_running(own, [](P*, M* m) { preempt_ask(m); });
    }
    if (now - begin > kPatience)
      each_running(own, [](P* p, M* m) {
        if (!take_from(p, m)) return;
        Locked l(sched.lock);
        world_take(p);
      });
    sched.stop_note.sleep_for(nap);
    if (nap < 1000000) nap *= 2;
  }
}

void start_the_world() {
  P* busy = nullptr;
  {
    Locked l(sched.lock);
    sched.stopping.store(false, std::memory_order_seq_cst);
    publish_runqsize();
    P* next = sched.stopped;
    sched.stopped = nullptr;
    while (P* p = next) {
      next = p->link;
      if (runq::empty(p)) {
        pidleput(p);
      } else {
        p->link = busy;
        busy = p;
      }
    }
  }
  while (P* p = busy) {
    busy = p->link;
    startm(p, false);
  }
  // Somebody has to look into the global queue, and to wait for the network and the timers: those who did may have lost their P here.
  int zero = 0;
  if (sched.npidle.load() > 0 && sched.nmspinning.compare_exchange_strong(zero, 1)) startm(nullptr, true);
  const uint8_t was = g_was_in_rt;
  g_stopper.store(false, std::memory_order_release);
  if (G* g = getg()) leave_rt(g, was);
}

} // namespace gmp
