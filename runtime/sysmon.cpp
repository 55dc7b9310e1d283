// sysmon: a thread without a P that keeps the others honest. It
//   * takes Ps from Ms that sit in announced system calls for longer than a tick while there is other work,
//   * asks Gs that have computed for 4 ms to make room when there is other work (preempt.cpp), and at once those that run only because nobody else did,
//     when a sleeper's time has come or somebody has been woken: natively that one would run at once, too,
//   * robs Ms whose G blocks unannounced, or won't make room (syscall.cpp has the protocol),
//   * passes on lazy wake-ups (sched.cpp), polls the network when nobody has for 2 ms.
// It sleeps 20 us between looks while it finds something to do, doubling up to 1 ms (while every P runs a G 2 ms if others wait, else 4 ms; 10 ms when
// all are idle), and for as long as nothing happens once all have been idle for 20 ms.
// Most programs do little and often: a timer ten times a second, a request now and then. Each time sysmon is woken from that sleep, and what it does
// until the next must not cost more than the work itself (fifty naps of 20 us did, several times over). So naps double at once while all Ps are idle, and
// a spell in which there was nothing for it to do makes the next one begin with a nap twice as long, up to 1 ms; the first thing to do ends that.
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include "runtime/blocktrace.hpp"
#include "runtime/own_fds.hpp"
#include "runtime/sched.hpp"
#include "runtime/runq.hpp"

namespace gmp {

// The signal comes with the kernel's tick (1 to 10 ms) and may find its G in libc a few times.
constexpr int64_t kPatience = 20000000;

// About the kernel's own slice: threads that spin for each other, or pass a lock of their own making on, count on it. (With Go's 10 ms a program of such
// threads took four times as long on one P as on one processor.)
constexpr int64_t kSlice = 4000000, kSliceSeen = kSlice / 2; // from the latter on it is watched how much of it is spent on a processor
constexpr int64_t kPollEvery = 2000000;
constexpr int64_t kSpareSlice = 500000; // of who has had a slice and runs only because nobody else did, once somebody does

constexpr int64_t kLookAtGrants = 3000000000; // the files of the cgroup cost 30 us

static bool g_may_open; // files

static bool other_work(P* p) {
  if (!runq::empty(p) || sched.runqsize.load() > 0) return true;
  int64_t f = timers_first(p);
  return f != 0 && sched.npidle.load() == 0 && f < nanotime();
}

// A preempted G for want of others (hogget), not asked yet.
static bool runs_to_spare(P* p) { return p->hog_tick + 1 == p->schedtick && !p->hog_due && p->spare_tick != p->schedtick; }

// Somebody who has not just had a slice: woken, made, or whose time to sleep is over.
static bool fresh_work(P* p, int64_t now) {
  if (!runq_empty(p) || __atomic_load_n(&sched.runq.head, __ATOMIC_RELAXED)) return true;
  const int64_t f = timers_first(p);
  return f != 0 && f <= now;
}

// The M's side is enter_rt().
bool take_from(P* p, M* m) {
  Locked l(sched.reap_lock);
  G* g = m->curg;
  if (!g || g->in_rt.load(std::memory_order_relaxed)) return false;
  // g may end and its record be used for another G at any time (it stays mapped: reap_lock); what is read is checked again below.
  uint8_t none = stealflag::None;
  if (!g->steal.compare_exchange_strong(none, stealflag::Tentative)) return false;
  if (!g_no_membarrier) sys(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
  else std::atomic_thread_fence(std::memory_order_seq_cst);
  // One load: by two, in either order, in_rt may be seen clear in a call and insys before it or after it, while exit_syscall, which does
  // not look at steal, goes on. Both clear at one instant: program code, and the next verb waits for us.
  if (g->out_of_reach() || m->curg != g || g->m != m || m->p != p ||
      g->status.load(std::memory_order_acquire) != GStatus::Running) {
    g->steal.store(stealflag::None, std::memory_order_release);
    return false;
  }
  // From here on g's M can't touch P or M state: its first verb waits for the flag to leave Tentative.
  m->p = nullptr;
  p->m = nullptr;
  block_begins(m, g);
  sched.robbed.fetch_add(1, std::memory_order_relaxed);
  g->sigpend.fetch_and(uint8_t(~attention::Preempt), std::memory_order_relaxed); // it will queue for a P
  g->steal.store(stealflag::Taken, std::memory_order_release);
  return true;
}

static bool rob(P* p, M* m) {
  if (!take_from(p, m)) return false;
  sched.unannounced.fetch_add(1, std::memory_order_relaxed);
  handoffp(p);
  return true;
}

// What m has used of a processor; where the kernel does not say, the time of day does.
static int64_t cpu_time(M* m) {
  timespec t;
  if (sys(SYS_clock_gettime, cpu_clock_of(m->tid), &t) < 0) return nanotime();
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

// An armed timer that no sleeping poller watches (one does when lastpoll is 0) and that a P standing still won't look at.
static bool timer_before(int64_t when) {
  if (sched.npidle.load() == 0 || sched.lastpoll.load() == 0) return false;
  for (int i = 0; i < sched.nprocs; i++)
    if (int64_t f = timers_first(sched.allp[i]); f != 0 && f < when) return true;
  return false;
}

// No kernel thread can be had for idle Ps: their timers' Gs are for those that run.
static void idle_timers(int64_t now) {
  GList l;
  for (int i = 0; i < sched.nprocs; i++) check_timers(sched.allp[i], now, &l);
  ready_list(l);
}

// Where that is not to be known, what has used no processor for long is taken to be blocked.
static bool blocked(M* m, bool brief) { return g_may_open ? in_kernel(m, brief) : !brief; }

static bool retake(int64_t now) {
  bool did = false;
  for (int i = 0; i < sched.nprocs; i++) {
    P* p = sched.allp[i];
    PStatus s = p->status.load(std::memory_order_acquire);
    if (s == PStatus::Syscall) {
      if (p->seen_sys != p->syscalltick) { // a call that has begun since the last look gets one tick
        p->seen_sys = p->syscalltick;
        p->seen_sys_at = now;
        continue;
      }
      // Nothing to do for it and others are idle or searching: leave it, the call may end soon.
      if (runq::empty(p) && sched.nmspinning.load() + sched.npidle.load() > 0 && now - p->seen_sys_at < 10000000) {
        if (timers_first(p) != 0 && timer_before(kNoDeadline)) wakep();
        continue;
      }
      if (p->status.compare_exchange_strong(s, PStatus::Idle, std::memory_order_acq_rel)) {
        p->syscalltick++;
        handoffp(p);
        did = true;
      }
    } else if (s == PStatus::Running) {
      if (p->seen_sched.load(std::memory_order_relaxed) != p->schedtick) {
        p->seen_sched.store(p->schedtick, std::memory_order_relaxed);
        p->seen_sched_at = now;
        p->seen_state_at = 0;
        p->asked_at = 0;
        continue;
      }
      // A G that runs on since the last look, with idle Ps beside it: pass a lazy wake-up on, and see to it that somebody waits for
      // the network (this M won't before its G is done).
      if (sched.npidle.load() > 0) {
        bool lazy = p->lazy.load(std::memory_order_relaxed);
        if (lazy) p->lazy.store(false, std::memory_order_relaxed);
        if ((lazy && !runq::empty(p)) || (netpoll_awaited() && sched.lastpoll.load() != 0) || timer_before(kNoDeadline)) {
          wakep();
          did = true;
        }
      }
      int64_t held = now - p->seen_sched_at;
      M* m = p->m;
      if (m && chaos(2)) preempt_ask(m);
      if (m && held >= kSpareSlice && runs_to_spare(p) && fresh_work(p, now)) {
        p->spare_tick = p->schedtick; // once: where no signal will do it ends as any other slice
        preempt_ask(m);
      }
      // Blocked in the kernel (libc's own locks above all: many threads on one FILE): no need to wait for the end of its slice.
      if (held > 100000 && held < kSliceSeen) {
        if (now - p->seen_state_at < 1000000 || !m || !other_work(p)) continue; // one that computes is not asked at every look
        p->seen_state_at = now;
        if (blocked(m, true) && rob(p, m)) did = true;
        continue;
      }
      if (!m || held < kSliceSeen) continue;
      // Time on a processor is what counts: with more Ms than free processors, robbing one that the kernel has not let run would
      // only add a kernel thread that waits for the same.
      if (p->seen_cpu_tick != p->schedtick) {
        p->seen_cpu_tick = p->schedtick;
        p->seen_cpu = cpu_time(m);
      }
      if (held < kSlice || !other_work(p)) continue;
      const int64_t used = cpu_time(m);
      const bool computed = used - p->seen_cpu >= kSliceSeen / 2;
      if (p->asked_at == 0) {
        if (!computed && !blocked(m, false)) continue;
        if (computed && preempt_ask(m)) {
          p->asked_at = now;
          p->asked_cpu = used;
          continue;
        }
      } else if (used - p->asked_cpu < kPatience && !blocked(m, false)) {
        if (used - p->asked_cpu > 1000000) preempt_ask(m); // the signal came at the wrong moment, or comes with the next tick
        continue;
      }
      if (rob(p, m)) did = true;
      p->seen_sched_at = now;
      p->asked_at = 0;
    }
  }
  return did;
}

// When to look again at the latest because of those.
static int64_t spare_ends(int64_t now) {
  int64_t at = INT64_MAX;
  for (int i = 0; i < sched.nprocs; i++) {
    P* p = sched.allp[i];
    if (p->status.load(std::memory_order_relaxed) != PStatus::Running || !runs_to_spare(p)) continue;
    int64_t t = p->seen_sched_at + kSpareSlice;
    if (!fresh_work(p, now)) {
      const int64_t f = timers_first(p);
      if (f == 0) continue;
      if (f > t) t = f;
    }
    if (t < at) at = t;
  }
  return at;
}

// No idle P to wake, none to take from a system call: each look only takes a processor away from those who work.
static bool all_running(bool* others_wait) {
  *others_wait = false;
  if (sched.npidle.load() != 0) return false;
  for (int i = 0; i < sched.nprocs; i++) {
    if (sched.allp[i]->status.load(std::memory_order_relaxed) != PStatus::Running) return false;
    *others_wait = *others_wait || other_work(sched.allp[i]);
  }
  return true;
}

static void* sysmon_main(void*) {
  own_thread();
  g_may_open = own_fds_begin();
  sched.sysmon_begun.wake();
  int64_t delay = 20000, first_nap = 20000, idle_since = 0, robbed_at = 0, granted_at = nanotime();
  int quiet = 0;
  bool of_use = true; // since the last deep sleep
  for (;;) {
    timespec ts{delay / 1000000000, delay % 1000000000};
    sys(SYS_nanosleep, &ts, 0);
    int64_t now = nanotime();
    bool all_idle = sched.npidle.load() == sched.nprocs;
    if (all_idle) {
      if (!idle_since) idle_since = now;
      if (now - idle_since > 20000000) {
        sched.sysmon_note.clear();
        sched.sysmon_deep.store(true);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (sched.npidle.load() == sched.nprocs) {
          if (g_all_asleep && all_asleep()) g_all_asleep();
          sched.sysmon_note.sleep_for(g_all_asleep ? 250000000 : 3600000000000);
        }
        sched.sysmon_deep.store(false);
        idle_since = 0;
        quiet = 0;
        first_nap = of_use ? 20000 : first_nap < 500000 ? first_nap * 2 : 1000000;
        of_use = false;
        delay = first_nap;
        now = nanotime();
        all_idle = false;
      }
    } else {
      idle_since = 0;
    }
    int64_t last = sched.lastpoll.load();
    if (netpoll_any() && last != 0 && now - last > kPollEvery && sched.lastpoll.compare_exchange_strong(last, now)) {
      GList l;
      netpoll(0, &l);
      ready_list(l);
    }
    if (timer_before(now)) { // of an idle P, whose poller has gone to run something
      if (GMP_UNLIKELY(sched.no_threads.load(std::memory_order_relaxed))) idle_timers(now);
      else wakep();
      of_use = true;
    }
    if (GMP_UNLIKELY(sched.robbed.load(std::memory_order_relaxed) > 0) && now - robbed_at >= 10000000) {
      robbed_at = now;
      preempt_robbed();
    }
    if (now - granted_at >= kLookAtGrants && g_may_open) {
      granted_at = now;
      watch_procs();
    }
    if (GMP_UNLIKELY(sched.stopping.load(std::memory_order_relaxed))) continue; // the Ps are the stopper's to take
    if (retake(now)) quiet = 0, delay = first_nap = 20000, of_use = true;
    else if (++quiet > 50 || all_idle) delay *= 2;
    bool others_wait;
    int64_t cap = all_idle ? 10000000 : !all_running(&others_wait) ? 1000000 : others_wait ? kSlice / 2 : 4000000;
    if (delay > cap) delay = cap;
    if (const int64_t at = spare_ends(now); at - now < delay) delay = at - now > 50000 ? at - now : 50000;
  }
  return nullptr;
}

void sysmon_wake() {
  if (sched.sysmon_deep.exchange(false)) sched.sysmon_note.wake();
}

bool sysmon_start() { return helper_start(sysmon_main, 64 << 10); }

void sysmon_await() { sched.sysmon_begun.sleep(); }

} // namespace gmp
