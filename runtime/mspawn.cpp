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

M* new_m_record() {
  if (sched.nm.load() >= g_config.max_ms) return nullptr;
  M* m;
  {
    Locked l(m_slab_lock);
    if (m_slab == m_slab_end) {
      m_slab = static_cast<char*>(map_pages(64 << 10));
      m_slab_end = m_slab + (64 << 10) / sizeof(M) * sizeof(M);
    }
    m = reinterpret_cast<M*>(m_slab);
    m_slab += sizeof(M);
  }
  m->id = sched.nm.fetch_add(1);
  m->syscall_fd = -1;
  m->rng = uint32_t(arch::cycles()) | 1;
  if (g_config.chaos) m->rng = uint32_t(g_config.chaos * 2654435761u + unsigned(m->id)) | 1;
  m->all_next = sched.allm;
  while (!__atomic_compare_exchange_n(&sched.allm, &m->all_next, m, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {}
  return m;
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
  }
  template_poke();
}

void template_poke() {
  sched.template_word.fetch_add(1, std::memory_order_release);
  futex_wake(&sched.template_word, 1);
}

static void* m_entry(void* arg) {
  m_main(static_cast<M*>(arg));
  return nullptr;
}

void m_main(M* m) {
  t_m = m;
  m->g0_tp = arch::thread_pointer();
  m->tid = int(sys(SYS_gettid));
  sys(SYS_rt_sigprocmask, 0, 0, &m->sigmask, 8);
  P* p = m->nextp;
  m->nextp = nullptr;
  acquirep(m, p);
  schedule_loop(m);
}

void template_loop() {
  for (;;) {
    uint32_t seen = sched.template_word.load(std::memory_order_acquire); // before the look into the queue
    M* q;
    {
      Locked l(sched.template_lock);
      q = sched.template_queue;
      sched.template_queue = nullptr;
    }
    if (!q) {
      if (tls_ready() && reap_wanted()) reap();
      futex_wait(&sched.template_word, seen);
      continue;
    }
    pthread_attr_t a;
    pthread_attr_init(&a);
    pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&a, kG0Stack + shell_overhead());
    while (q) {
      M* m = q;
      q = m->schedlink;
      unsigned long t;
      int e = 0;
      for (int tries = 0; tries < 50 && (e = g_real_pthread_create(&t, &a, m_entry, m)) == EAGAIN; tries++) {
        timespec ts{0, 10000000};
        sys(SYS_nanosleep, &ts, 0);
      }
      if (e) {
        // No kernel thread to be had (ulimit -u, cgroup pids.max): the P goes back; whoever returns from a call takes it.
        say("can't start another kernel thread (error %d): blocking calls will wait for one that returns", e);
        sched.nm.fetch_sub(1);
        shelve(m->nextp, m->spinning);
      }
    }
    pthread_attr_destroy(&a);
  }
}

} // namespace gmp
