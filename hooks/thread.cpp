// pthread_create and thrd_create: a Thread record in a fresh G.
#include <cstring>
#include <threads.h>
#include "hooks/thread.hpp"
#include "hooks/signal.hpp"
#include "hooks/start.hpp"
#include "hooks/thread_libc.hpp"

namespace gmp {

thread_local constinit Thread t_thread{};
constinit std::atomic<long> g_alive{1};

GMP_REAL(pthread_create);
GMP_REAL(thrd_create);

// The first thread of the process is about to be made: the caller becomes the main G. False: make real threads.
static GMP_NOINLINE bool begin() {
  if (native()) return false;
  if (!libc_thread_init()) {
    if (g_config.verbose) say("standing aside: this libc's thread descriptor does not look as expected");
    g_mode.store(Mode::Native, std::memory_order_relaxed);
    return false;
  }
  if (mode() == Mode::Unstarted) tcache_learn();
  self_tid(); // the kernel's, while this is a kernel thread
  g_alive.store(1, std::memory_order_relaxed);
  if (mode() == Mode::Unstarted && g_process_begins) g_process_begins();
  if (!start()) {
    if (g_process_stays_native) g_process_stays_native();
    return false;
  }
  fault_watch_begins();
  if (getg() && getg() == main_g()) {
    char name[16] = "";
    sys(SYS_prctl, 16 /*PR_GET_NAME*/, name, 0, 0, 0);
    set_name(getg(), name);
    redirect_main_exit();
    altstack_of_main();
    own_from_start();
    for (int i = 0; i < self()->kernel_mutexes; i++) lock_to_m();
    self()->kernel_mutexes = 0;
  }
  return true;
}

static uint64_t callers_mask(G* g) {
  uint64_t mask = 0;
  if (g) mask = get_sigmask(g);
  else sys(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, 8);
  return mask & ~(1ull << 31); // libc's SIGCANCEL is blocked in a thread that acts on a cancellation, not in what it makes
}

// The new thread's own thread-locals; the shell may have been another thread's. It does not run before spawn_commit.
static Thread* fill(G* g, G* creator, const ThreadSpec& spec) {
  uintptr_t tp = thread_pointer_of(g);
  Thread* t = thread_at(tp);
  memset(static_cast<void*>(t), 0, sizeof *t);
  t->join.store(spec.detached ? Thread::Detached : Thread::Joinable, std::memory_order_relaxed);
  t->tid = gtid(g);
  cancel_word(tp)->store(0, std::memory_order_relaxed);
  set_sigmask_of(g, spec.mask_set ? spec.mask : callers_mask(creator));
  char name[16] = "";
  if (creator) get_name(creator, name);
  else sys(SYS_prctl, 16 /*PR_GET_NAME*/, name, 0, 0, 0);
  set_name(g, name);
  return t;
}

static int create(pthread_t* out, const pthread_attr_t* attr, void* (*start)(void*), int (*start_c11)(void*), void* arg) {
  ThreadSpec spec;
  if (int error = read_attr(attr, &spec)) return error;
  int error = EAGAIN;
  G* g = spawn_prepare(spec.opts, &error);
  // Natively other threads run, and end, while one keeps asking; here they need the caller's P to give their stacks back.
  for (int tries = 0; GMP_UNLIKELY(!g) && tries < 4 && getg(); tries++) {
    yield();
    g = spawn_prepare(spec.opts, &error);
  }
  if (GMP_UNLIKELY(!g)) return error;
  Thread* t = fill(g, getg(), spec);
  if (GMP_UNLIKELY(spec.sched_set || spec.affinity_set || (getg() && own_m_tid(getg()))))
    if (int e = give_kernel_thread(g, spec)) return spawn_abandon(g), e;
  t->start = start;
  t->start_c11 = start_c11;
  t->arg = arg;
  g_alive.fetch_add(1, std::memory_order_relaxed);
  *out = thread_pointer_of(g); // the new thread may look at where its creator keeps this
  spawn_commit(g, thread_entry, nullptr);
  return 0;
}

void thread_in_child() {
  Thread* t = self();
  t->tid = 0;
  t->own_sched_only = t->tid_address_set = false;
  t->kernel_mutexes = 0;
  t->robust_held = nullptr; // the parent holds them; the memory may go
}

} // namespace gmp

using namespace gmp;

GMP_HOOK int pthread_create(pthread_t* out, const pthread_attr_t* attr, void* (*start)(void*), void* arg) {
  if (GMP_UNLIKELY(mode() != Mode::Running) && !begin()) return REAL(pthread_create)(out, attr, start, arg);
  return create(out, attr, start, nullptr, arg);
}

GMP_HOOK int thrd_create(thrd_t* out, thrd_start_t start, void* arg) {
  if (GMP_UNLIKELY(mode() != Mode::Running) && !begin()) return REAL(thrd_create)(out, start, arg);
  int error = create(out, nullptr, nullptr, start, arg);
  return error == 0 ? thrd_success : error == ENOMEM ? thrd_nomem : thrd_error;
}
