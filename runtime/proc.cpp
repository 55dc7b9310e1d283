// The life of a G: made, started, ended, recycled.
//
// A shell (stack, TLS block, TCB, record) is expensive to make (6 us, a malloc for the dtv) and cheap to use again (0.1 us), so
// finished ones are kept: up to 64 for each P, warm; the rest in a global list with their stack pages given back.
#include <cstring>
#include <sys/syscall.h>
#include "runtime/lend.hpp"
#include "runtime/sched.hpp"

namespace gmp {

constinit thread_local G* t_lent = nullptr;

void destroy_shell(G*);

constexpr int kLocalFree = 64;

static bool fits(G* g, const SpawnOpts& o, size_t map_len) {
  if (o.stack_addr) return g->user_stack; // only TLS and TCB are ours: any will do
  return !g->user_stack && g->map_len == map_len && g->guard_size == align_up(o.guard_size, kPage);
}

static G* take_fitting(G** list, const SpawnOpts& o, size_t map_len, int look) {
  for (G** pp = list; *pp && look > 0; pp = &(*pp)->schedlink, look--)
    if (fits(*pp, o, map_len)) {
      G* g = *pp;
      *pp = g->schedlink;
      return g;
    }
  return nullptr;
}

static G* gfget(const SpawnOpts& o) {
  size_t len = shell_length(o.stack_size, o.guard_size);
  P* p = cur_p();
  if (p && p->gfree && !o.stack_addr)
    if (G* g = take_fitting(&p->gfree, o, len, 8)) {
      p->ngfree--;
      return g;
    }
  if (!sched.gfree) return nullptr;
  Locked l(sched.lock);
  G* g = take_fitting(&sched.gfree, o, len, 32);
  if (g) sched.ngfree--;
  return g;
}

static void gfput(G* g) {
  P* p = cur_p();
  if (p && !g->user_stack && p->ngfree < kLocalFree) {
    g->schedlink = p->gfree;
    p->gfree = g;
    p->ngfree++;
    return;
  }
  stack_trim(g);
  bool crowd;
  {
    Locked l(sched.lock);
    g->schedlink = sched.gfree;
    sched.gfree = g;
    sched.ngfree++;
    crowd = reap_wanted() && sched.ngfree % 1024 == 0;
  }
  if (crowd) template_poke();
}

// No room for another shell (RLIMIT_AS, overcommit): those that idle Ps keep for themselves are for all.
static G* gfget_from_idle(const SpawnOpts& o) {
  {
    Locked l(sched.lock);
    for (P* p = sched.pidle; p; p = p->link)
      while (G* g = p->gfree) {
        p->gfree = g->schedlink;
        p->ngfree--;
        g->schedlink = sched.gfree;
        sched.gfree = g;
        sched.ngfree++;
      }
  }
  return gfget(o);
}

static uint64_t new_goid() {
  P* p = cur_p();
  if (!p) return sched.goidgen.fetch_add(1) + 1;
  if (p->goid_next == p->goid_end) {
    p->goid_next = sched.goidgen.fetch_add(16) + 1;
    p->goid_end = p->goid_next + 16;
  }
  return p->goid_next++;
}

G* spawn_prepare(const SpawnOpts& o, int* err) {
  G* g;
  uint64_t id;
  {
    RtScope rt;
    g = gfget(o);
    id = new_goid();
  }
  if (!g) {
    g = new_shell(o.stack_size, o.guard_size, o.stack_addr); // may call malloc: outside the runtime
    if (g) {
      RtScope rt; // no handler while the lock is held
      Locked l(sched.allg_lock);
      g->all_next = sched.allg;
      if (g->all_next) g->all_next->all_prev = g;
      sched.allg = g;
    } else {
      RtScope rt;
      if (!(g = gfget_from_idle(o))) {
        *err = EAGAIN;
        return nullptr;
      }
    }
  }
  if (o.stack_addr) {
    g->stack_lo = static_cast<char*>(o.stack_addr);
    g->stack_size = o.stack_size;
    g->stack_top = reinterpret_cast<char*>((uintptr_t(o.stack_addr) + o.stack_size) & ~63ul);
  }
  g->asked_size = o.stack_size;
  g->goid = id;
  g->m = nullptr;
  if (GMP_UNLIKELY(g->lockedm.load(std::memory_order_relaxed) != nullptr)) lockedm_reuse(g);
  if (GMP_UNLIKELY(g->libc_state)) {
    tcb_renew(g);
    g->libc_state = false;
  }
  g->cpu_ns.store(0, std::memory_order_relaxed);
  g->cpu_told = 0;
  g->wait.store(waitword::Running, std::memory_order_relaxed);
  g->in_rt.store(1, std::memory_order_relaxed); // until g_start
  g->intr.store(0, std::memory_order_relaxed);
  g->stoppable.store(0, std::memory_order_relaxed);
  g->delivering.store(0, std::memory_order_relaxed);
  g->sigpend.store(g_config.chaos ? attention::Chaos : 0, std::memory_order_relaxed);
  g->no_signal.store(o.stack_addr != nullptr, std::memory_order_relaxed); // no slack on the program's own (stack.cpp)
  g->name[0] = 0;
  g->sigmask = t_g ? t_g->sigmask : 0;
  set_tcb_tid(g->tp, gtid(g));
  register_tcb(g->tp, true);
  return g;
}

void spawn_commit(G* g, void (*entry)(void*), void* arg) {
  g->entry = entry;
  g->arg = arg;
  g->ctx = new_context(g->stack_top, g->stack_lo, nullptr);
  RtScope rt;
  sched.ng.fetch_add(1, std::memory_order_relaxed);
  ready(g);
}

void spawn_abandon(G* g) {
  RtScope rt;
  register_tcb(g->tp, false);
  g->status.store(GStatus::Idle, std::memory_order_relaxed);
  gfput(g);
}

void g_start() {
  G* g = getg();
  leave_rt(g, 0);
  g->entry(g->arg);
  die("a thread's entry function returned");
}

static bool after_exit(M* m, G* g) {
  g->status.store(GStatus::Dead, std::memory_order_release);
  m->curg = nullptr;
  g->m = nullptr;
  if (GMP_UNLIKELY(g->lockedm.load(std::memory_order_relaxed) != nullptr)) lockedm_exit(m, g);
  if (GMP_UNLIKELY(g->sigpend.load(std::memory_order_relaxed) & attention::Signals)) signals_left_behind();
  sched.ng.fetch_sub(1, std::memory_order_relaxed);
  g->on_dead(g, g->dead_arg);
  return false;
}

void exit_g(void (*on_dead)(G*, void*), void* arg) {
  G* g = getg();
  if (g->map) tls_reset_for_reuse();
  g->on_dead = on_dead;
  g->dead_arg = arg;
  enter_rt(g);
  mcall(g, after_exit);
  __builtin_unreachable();
}

void free_g(G* g) {
  if (!g->map) return; // the main G
  RtScope rt;
  GMP_ASSERT(g->status.load() == GStatus::Dead);
  register_tcb(g->tp, false);
  g->status.store(GStatus::Idle, std::memory_order_relaxed);
  gfput(g);
}

long g_count() { return sched.ng.load(std::memory_order_relaxed); }

// ---------------------------------------------------------------- identity

uintptr_t thread_pointer_of(const G* g) { return g->tp; }
uint64_t goid(const G* g) { return g->goid; }
int gtid(const G* g) { return int(0x20000000u | ((sched.tid_base + g->goid) & 0x1fffffff)); }
G* g_of_gtid(int tid) {
  RtScope rt;
  Locked l(sched.allg_lock);
  for (G* g = sched.allg; g; g = g->all_next) {
    GStatus s = g->status.load(std::memory_order_relaxed);
    if (gtid(g) == tid && s != GStatus::Idle && s != GStatus::Dead) return g;
  }
  return nullptr;
}
G* main_g() { return g_main.tp ? &g_main : nullptr; }
G* g_of_handle(uintptr_t t) {
  if (!t || (t & 7) || !registered(t)) return nullptr;
  G* g = *tls_in(t, &t_g);
  if (!g) g = *tls_in(t, &t_lent);
  return g && (g == &g_main || g == g_beside(t)) && g->tp == t ? g : nullptr;
}
void set_name(G* g, const char* name) {
  strncpy(g->name, name, 15);
  g->name[15] = 0;
}
void get_name(const G* g, char out[16]) { memcpy(out, g->name, 16); }

int kernel_tid_of(const G* g) {
  GStatus s = g->status.load(std::memory_order_acquire);
  M* m = g->m;
  return m && (s == GStatus::Running || s == GStatus::Syscall) ? m->tid : 0;
}

} // namespace gmp
