// Gs that need their kernel thread (Go's LockOSThread): g->lockedm runs only g, and g runs only there.
//
// When such a G parks, its M gives the P away and sleeps on its note; whoever finds the G runnable hands its own P over to that M
// (start_lockedm) and looks for another. So a locked G costs two switches of the kernel for each of its waits.
//
// Two ways to become one. lock_to_m() takes the M that the G is on, for a while: a mutex of the kernel's is held. own_m() is for state that the kernel
// keeps in its thread - policy, affinity, credentials, namespaces - and the two end together unless the state is taken back. The process's first kernel
// thread is what `ps` shows, so only main makes that one its own; others get a new one, made by the template thread, whose
// state nobody changes. Of a G that may be running elsewhere just now (another thread asks) only lockedm is set: every switch to a
// G looks at it, and leaving the runtime does when asked to.
//
// lockedm is set under lockedm_lock, and taken back by the G itself or by who ends it. lockedg is the M's own while it runs, else
// (a new one) its G's.
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

static long robust_offset; // of libc's robust list from the thread pointer
static int template_tid;   // of the thread that makes plain Ms

void lockedm_start() {
  void* head = nullptr;
  size_t length = 0;
  robust_offset = sys(SYS_get_robust_list, 0, &head, &length) == 0 && head ? long(uintptr_t(head) - arch::thread_pointer()) : 0;
}

int plain_m_tid() { return template_tid; }
void lockedm_template(int tid) { template_tid = tid; }

// ---------------------------------------------------------------- the M's side

static void give_robust_list(void* head) {
  sys(SYS_set_robust_list, head, sizeof(M::RobustHead));
}

static void send_away(M* m) { // asleep, and nobody else's
  m->lockedg = nullptr;
  m->doomed = true;
  m->note.wake();
}

bool stop_lockedm(M* m) {
  GMP_ASSERT(!m->spinning);
  if (m->p) handoffp(releasep(m));
  if (m->doomed) return false;
  m->charge_in = 0;
  do signal_forward();
  while (m->note.sleep_until_signal() != Note::Sleep::Woken);
  m->note.clear(); // the next wake is for the next sleep: not before its G has run
  P* p = m->nextp;
  m->nextp = nullptr;
  if (!p) return false; // sent away
  acquirep(m, p);
  return true;
}

void start_lockedm(M* m, G* g) {
  M* to = g->lockedm.load(std::memory_order_acquire);
  GMP_ASSERT(to != m && !m->lockedg);
  to->nextp = releasep(m);
  to->note.wake();
}

// ---------------------------------------------------------------- the G's side

static void bind(G* g, M* m) {
  m->lockedg = g;
  g->lockedm.store(m, std::memory_order_release);
}

// On g, in the runtime.
static void unbind(G* g) {
  M* m = g->lockedm.load(std::memory_order_relaxed);
  g->lockedm.store(nullptr, std::memory_order_relaxed);
  g->own_m = false;
  if (m != g->m) return send_away(m); // never come there
  m->lockedg = nullptr;
  if (!g->own_robust) return;
  g->own_robust = false;
  give_robust_list(reinterpret_cast<void*>((m->id == 0 ? g_main.tp : m->g0_tp) + robust_offset));
}

static bool after_come(M* m, G* g) {
  g->status.store(GStatus::Runnable, std::memory_order_relaxed);
  start_lockedm(m, g);
  return false;
}

void lockedm_come(G* g) {
  M* to = g->lockedm.load(std::memory_order_acquire);
  if (to && to != g->m) mcall(g, after_come);
}

void on_own_m() {
  G* g = getg();
  if (GMP_LIKELY(!g)) return;
  M* to = g->lockedm.load(std::memory_order_relaxed);
  if (GMP_LIKELY(!to || to == g->m)) return; // also where leaving the runtime asks again
  if (g->insys.load(std::memory_order_relaxed)) return request_signals(g); // when the call is over
  RtScope rt;
  lockedm_come(g);
}

void lock_to_m() {
  G* g = getg();
  if (!g) return;
  // Should it end locked its M ends: the first kernel thread is main's alone to take along. Once for each G: that M it keeps.
  if (GMP_UNLIKELY(g->m->id == 0) && g != &g_main && !g->lockedm.load(std::memory_order_relaxed)) own_m(g, [](int) { return 0l; });
  RtScope rt;
  {
    Locked l(sched.lockedm_lock);
    g->lock_count++;
    if (!g->lockedm.load(std::memory_order_relaxed)) {
      g->m->note.clear();
      bind(g, g->m);
    }
  }
  lockedm_come(g);
}

void unlock_from_m() {
  G* g = getg();
  if (!g) return;
  RtScope rt;
  Locked l(sched.lockedm_lock);
  if (g->lock_count > 0 && --g->lock_count == 0 && !g->own_m) unbind(g);
}

// A sleeping M of g's own, made by the template thread. Null: none to be had. It is not yet g's.
static M* make_m(G* g) {
  M* m;
  {
    RtScope rt;
    if (!(m = new_m_record())) return nullptr;
    m->note.clear();
    m->nextp = nullptr;
    m->lockedg = g;
    m->made.store(0, std::memory_order_relaxed);
    template_queue_m(m);
  }
  // In user space: the template thread may wait for a lock of malloc's, and the G that holds it for this M.
  while (m->made.load(std::memory_order_acquire) == 0) {
    if (!getg()) {
      futex_wait(&m->made, 0);
      continue;
    }
    WaitOpts o;
    o.why = WaitReason::Room;
    if (wait_on(&m->made, [m] { return m->made.load(std::memory_order_relaxed) == 0; }, {}, {}, o) == Wait::Interrupted) request_signals(getg());
  }
  if (m->made.load(std::memory_order_relaxed) == 1) return m;
  RtScope rt;
  m->made.store(1, std::memory_order_relaxed);
  m->lockedg = nullptr;
  free_m_record(m);
  return nullptr;
}

// Already bound: the state goes to that M, where the G will run. False: not bound.
static bool apply_bound(G* g, FnRef<long(int tid)> apply, long* r) {
  RtScope rt;
  Locked l(sched.lockedm_lock);
  M* m = g->lockedm.load(std::memory_order_relaxed);
  if (!m) return false;
  if ((*r = apply(m->tid)) >= 0) g->own_m = true;
  return true;
}

long own_m(G* g, FnRef<long(int tid)> apply) {
  const bool mine = g == getg();
  long r;
  if (mine) on_own_m();
  if (apply_bound(g, apply, &r)) return r;
  if (mine) {
    RtScope rt;
    if (g->m->id != 0 || g == &g_main) {
      Locked l(sched.lockedm_lock);
      if ((r = apply(g->m->tid)) < 0) return r; // nothing has changed, nothing is bound
      g->m->note.clear();
      bind(g, g->m);
      g->own_m = true;
      return r;
    }
  }
  M* m = make_m(g);
  if (!m) return -EAGAIN;
  if ((r = mine ? 0 : apply(m->tid)) >= 0) {
    bool bound = false;
    {
      RtScope rt;
      Locked l(sched.lockedm_lock);
      GStatus s = g->status.load(std::memory_order_relaxed);
      if (s == GStatus::Dead || s == GStatus::Idle) r = -ESRCH;
      else if (!g->lockedm.load(std::memory_order_relaxed)) bind(g, m), g->own_m = true, bound = true;
    }
    if (bound && mine) { // some calls can only change the thread that makes them
      on_own_m();
      if ((r = apply(m->tid)) < 0) disown_m();
      return r;
    }
    if (bound) {
      request_signals(g);
      return r;
    }
  }
  send_away(m);
  if (r >= 0) apply_bound(g, apply, &r); // another was faster
  return r;
}

void disown_m() {
  G* g = getg();
  if (!g) return;
  RtScope rt;
  Locked l(sched.lockedm_lock);
  if (!g->own_m) return;
  g->own_m = false;
  if (g->lock_count == 0) unbind(g);
}

bool has_own_m(const G* g) { return g->lockedm.load(std::memory_order_relaxed) && g->own_m; }

int own_m_tid(const G* g) {
  M* m = g->lockedm.load(std::memory_order_acquire);
  return m ? m->tid : 0;
}

int spawn_own_m(G* g, const KernelSched& k) {
  M* m = new_m_record();
  if (!m) return EAGAIN;
  m->note.clear();
  m->nextp = nullptr;
  m->lockedg = g;
  if (int e = make_m_here(m, k)) {
    RtScope rt;
    m->lockedg = nullptr;
    free_m_record(m);
    return e;
  }
  bind(g, m);
  g->own_m = true;
  return 0;
}

// ---------------------------------------------------------------- ends

// The kernel reads the list when the thread has ended, and by then g's memory is another's.
static void leave_robust_list(M* m, G* g) {
  auto* head = reinterpret_cast<M::RobustHead*>(g->tp + robust_offset);
  m->robust = *head;
  if (head->next == head) m->robust.next = &m->robust;
  for (void* e = head->next; e != head;) {
    void** next = reinterpret_cast<void**>(uintptr_t(e) & ~1ul); // the bit: a priority-inheriting one
    e = *next;
    if (e == head) *next = &m->robust;
  }
  give_robust_list(&m->robust);
  head->next = head;
  head->pending = nullptr;
  reinterpret_cast<void**>(head)[-1] = head; // libc's robust_prev
}

// On g0. The M ends too when it has been changed, or holds what the kernel is to hand on.
void lockedm_exit(M* m, G* g) {
  Locked l(sched.lockedm_lock);
  M* own = g->lockedm.load(std::memory_order_relaxed);
  const bool for_good = g->own_m || g->lock_count > 0;
  g->lockedm.store(nullptr, std::memory_order_relaxed);
  g->own_m = false;
  g->lock_count = 0;
  if (own != m) return send_away(own);
  if (g->own_robust) leave_robust_list(m, g);
  g->own_robust = false;
  m->lockedg = nullptr;
  m->doomed = for_good;
}

// Bound by another thread when it had already ended.
void lockedm_reuse(G* g) {
  RtScope rt;
  Locked l(sched.lockedm_lock);
  if (M* m = g->lockedm.load(std::memory_order_relaxed)) send_away(m);
  g->lockedm.store(nullptr, std::memory_order_relaxed);
  g->own_m = false;
}

void has_child() {
  if (G* g = getg()) g->m->parent = true;
}

// ---------------------------------------------------------------- for libc's own locks

void own_robust_list() {
  G* g = getg();
  if (!g || g->own_robust || !robust_offset) return;
  RtScope rt;
  g->own_robust = true;
  give_robust_list(reinterpret_cast<void*>(g->tp + robust_offset));
}

int swap_libc_tid(int tid) {
  const uintptr_t tp = arch::thread_pointer();
  getg()->libc_state = true;
  const int was = tcb_tid(tp);
  set_tcb_tid(tp, tid);
  return was;
}

} // namespace gmp
