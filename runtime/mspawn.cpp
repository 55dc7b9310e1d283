// Kernel threads. Ms are real pthreads, so that glibc keeps its own books right, and the template thread makes them: pthread_create
// calls malloc, and whoever needs an M may stand in the middle of the program's malloc (a lock inside jemalloc parks a G).
#include <new>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "runtime/sched.hpp"

namespace gmp {

int (*g_real_pthread_create)(unsigned long*, const void*, void* (*)(void*), void*);

constexpr size_t kG0Stack = 64 << 10; // a signal frame with AMX state takes 12 KB of it

static RtMutex m_slab_lock;
static char *m_slab, *m_slab_end;

static M* fresh_record() {
  Locked l(m_slab_lock);
  if (m_slab == m_slab_end) {
    char* slab = static_cast<char*>(map_pages(64 << 10));
    if (!slab) return nullptr;
    m_slab = slab;
    m_slab_end = m_slab + (64 << 10) / sizeof(M) * sizeof(M);
  }
  M* m = reinterpret_cast<M*>(m_slab);
  if (!(m->sigstack = static_cast<char*>(map_pages(kSigStack)))) return nullptr;
  m_slab += sizeof(M);
  return m;
}

// A record is never unmapped: whoever still holds a stale pointer to it finds an M, if perhaps another one.
M* new_m_record() {
  int n = sched.nm.load();
  do
    if (n >= g_config.max_ms) return nullptr;
  while (!sched.nm.compare_exchange_weak(n, n + 1));
  M* m;
  {
    Locked l(sched.lock);
    m = sched.mfree;
    if (m) sched.mfree = m->schedlink;
  }
  if (m) return m;
  if (!(m = fresh_record())) {
    sched.nm.fetch_sub(1);
    return nullptr;
  }
  m->id = sched.mids.fetch_add(1);
  m->preempt_timer = -1;
  m->made.store(1, std::memory_order_relaxed);
  m->rng = uint32_t(arch::cycles()) | 1;
  if (g_config.chaos) m->rng = uint32_t(g_config.chaos * 2654435761u + unsigned(m->id)) | 1;
  m->all_next = sched.allm;
  while (!__atomic_compare_exchange_n(&sched.allm, &m->all_next, m, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {}
  return m;
}

void free_m_record(M* m) {
  Locked l(sched.lock);
  if (m->robust.next) { // the kernel reads it when the thread is gone: never used again
    sched.nm.fetch_sub(1);
    return;
  }
  m->schedlink = sched.mfree;
  sched.mfree = m;
  sched.nm.fetch_sub(1);
}

void m_forget_all() {
  // fork's child: the records stay mapped, nobody refers to them.
  m_slab = m_slab_end = nullptr;
  new (&m_slab_lock) RtMutex{};
}

void template_request(M* m) {
  {
    Locked l(sched.template_lock);
    m->schedlink = sched.template_queue;
    sched.template_queue = m;
    sched.template_pending.fetch_add(1);
  }
  template_poke();
}

static void* m_entry(void* arg) {
  m_main(static_cast<M*>(arg));
  return nullptr;
}

void template_queue_m(M* m) {
  {
    Locked l(sched.template_lock);
    m->schedlink = sched.template_queue;
    sched.template_queue = m;
  }
  template_poke();
}

int make_m_here(M* m, const KernelSched& k) {
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&a, kG0Stack + shell_overhead());
  const uint64_t block[16] = {~((1ull << 31) | (1ull << 32))}; // as the template's
  // Not by its name, which no libc before 2.32 has (libc_versions.hpp).
  if (auto* set = reinterpret_cast<int (*)(pthread_attr_t*, const void*)>(dlsym(RTLD_DEFAULT, "pthread_attr_setsigmask_np"))) set(&a, block);
  int e = 0;
  if (k.sched_set) {
    sched_param p{};
    p.sched_priority = k.priority;
    pthread_attr_setinheritsched(&a, PTHREAD_EXPLICIT_SCHED);
    e = pthread_attr_setschedpolicy(&a, k.policy);
    if (!e) e = pthread_attr_setschedparam(&a, &p);
  }
  if (!e && k.affinity) e = pthread_attr_setaffinity_np(&a, k.affinity_size, static_cast<const cpu_set_t*>(k.affinity));
  unsigned long t;
  if (!e) e = g_real_pthread_create(&t, &a, m_entry, m);
  pthread_attr_destroy(&a);
  if (!e) m->tid = tcb_tid(t);
  return e;
}

// A P that waits for an M to be made, taken back: an M has become idle meanwhile. Making one may take for ever, if the program's malloc holds
// a lock (jemalloc's are pthread mutexes) and its holder waits for this very P.
P* template_reclaim(bool* spinning) {
  Locked l(sched.template_lock);
  M* m = sched.template_making;
  if (!m || !m->nextp)
    for (m = sched.template_queue; m && !m->nextp;) m = m->schedlink;
  if (!m) return nullptr;
  P* p = m->nextp;
  *spinning = m->spinning;
  m->nextp = nullptr;
  m->spinning = false;
  sched.template_pending.fetch_sub(1);
  return p;
}

// The P that m was made for, if it still has it.
static P* take_nextp(M* m) {
  Locked l(sched.template_lock);
  if (sched.template_making == m) sched.template_making = nullptr;
  P* p = m->nextp;
  if (p) sched.template_pending.fetch_sub(1);
  m->nextp = nullptr;
  return p;
}

void template_poke() {
  sched.template_word.fetch_add(1, std::memory_order_release);
  futex_wake(&sched.template_word, 1);
}

static void tell_maker(M* m) {
  wake(&m->made, 1);
  futex_wake(&m->made, 1); // a thread that is no G
}

void m_main(M* m) {
  t_m = m;
  m->g0_tp = arch::thread_pointer();
  m->stop_sent.store(false, std::memory_order_relaxed); // the record may be an ended M's
  m->preempt_timer = -1;
  m->tid = int(sys(SYS_gettid));
  sigstack_install();
  sys(SYS_rt_sigprocmask, 0, 0, &m->sigmask, 8);
  m->cpu_mark.store(0, std::memory_order_relaxed);
  {
    Locked l(sched.template_lock); // before anybody may hand it a P of its own: template_reclaim() takes those
    if (sched.template_making == m && (m->lockedg || m->doomed || !m->nextp)) sched.template_making = nullptr;
  }
  if (m->made.exchange(1, std::memory_order_acq_rel) == 0) tell_maker(m);
  // A G's own M has none yet; what it may find in nextp came by its note.
  if (!m->lockedg && !m->doomed)
    if (P* p = take_nextp(m)) acquirep(m, p);
  schedule_loop(m);
  // An idle M ends. No handler finds it here; libc's own signal 33 must (setuid waits for every thread).
  uint64_t all = ~(1ull << 32);
  sys(SYS_rt_sigprocmask, 2, &all, 0, 8);
  preempt_forget(m);
  m->doomed = m->parent = false;
  t_m = nullptr; // what libc's end of a thread calls is called by an ordinary thread
  m->tid = 0;
  free_m_record(m);
}

bool helper_start(void* (*main)(void*), size_t stack, uint64_t open) {
  const uint64_t block = ~((1ull << 31) | (1ull << 32) | open); // 32 and 33 are libc's
  uint64_t old = 0;
  sys(SYS_rt_sigprocmask, 2, &block, &old, 8);
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
  if (stack) pthread_attr_setstacksize(&a, stack + shell_overhead());
  unsigned long t;
  const int e = g_real_pthread_create(&t, &a, main, nullptr);
  pthread_attr_destroy(&a);
  sys(SYS_rt_sigprocmask, 2, &old, 0, 8);
  return e == 0;
}

// One, and more when many wait for one; at most half as many as there are, for the calls of a burst may be short ones that a few can do in turn. (Those
// that still wait a millisecond later ask again.)
static M* spares() {
  M* q = nullptr;
  int most = (sched.nm.load() + 1) / 2;
  for (int n = sched.room_waiters.load(); n >= 0 && most > 0; n -= 4, most--) {
    M* m = new_m_record();
    if (!m) break;
    m->schedlink = q;
    q = m;
  }
  return q;
}

void template_loop() {
  own_thread();
  bool refused = false;
  for (;;) {
    uint32_t seen = sched.template_word.load(std::memory_order_acquire); // before the look into the queue
    M* q;
    {
      Locked l(sched.template_lock);
      q = sched.template_making = sched.template_queue;
      if (q) {
        sched.template_queue = q->schedlink;
        q->schedlink = nullptr;
      }
    }
    if (!q && sched.spare_wanted.exchange(false)) refused = !(q = spares());
    if (GMP_UNLIKELY(sched.sysmon_wanted.load(std::memory_order_relaxed))) {
      template_listens(false);
      if (sysmon_start()) sched.sysmon_wanted.store(false, std::memory_order_relaxed);
      else refused = true;
    }
    if (!q) {
      const int64_t open = template_listens(true), condemned = tls_ready() ? reap() : -1;
      const int64_t nap = open < 0 || (condemned >= 0 && condemned < open) ? condemned : open;
      signal_forward();
      // Refused: asked again until an M is idle, for nobody may be left who would ask.
      futex_wait(&sched.template_word, seen, refused ? 10000000 : nap);
      if (refused && sched.nmidle.load() == 0) sched.spare_wanted.store(true);
      refused = false;
      continue;
    }
    template_listens(false);
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&a, kG0Stack + shell_overhead());
    while (q) {
      M* m = q;
      q = m->schedlink;
      unsigned long t;
      int e = g_real_pthread_create(&t, &a, m_entry, m);
      if ((e != 0) != sched.no_threads.load(std::memory_order_relaxed)) sched.no_threads.store(e != 0, std::memory_order_relaxed);
      if (e) {
        // No kernel thread to be had (ulimit -u, cgroup pids.max): the P goes back; whoever returns from a call takes it.
        static bool said;
        if (!said) say("can't start another kernel thread (error %d): blocking calls will wait for one that returns", e);
        said = true;
        if (m->made.load(std::memory_order_relaxed) == 0) { // its maker frees it
          m->made.store(2, std::memory_order_release);
          tell_maker(m);
          continue;
        }
        P* p = take_nextp(m);
        bool spinning = m->spinning;
        m->spinning = false;
        free_m_record(m);
        if (p) shelve(p, spinning);
        refused = true;
      }
    }
    pthread_attr_destroy(&a);
  }
}

} // namespace gmp
