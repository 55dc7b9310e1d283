// From a single-threaded program to a GMP process, and back in fork's child.
#include <initializer_list>
#include <linux/membarrier.h>
#include <new>
#include <sys/syscall.h>
#include "runtime/blocktrace.hpp"
#include "runtime/record.hpp"
#include "runtime/sched.hpp"

namespace gmp {

std::atomic<Mode> g_mode{Mode::Unstarted};
constinit G g_main{};
bool g_no_membarrier;
void (*g_scheduler_started)();

void own_thread() { sched.helpers.fetch_add(1); }

void tcb_unregister_rseq(uintptr_t tcb);
void lot_forget_all();
void m_forget_all();
void world_forget();

static RtMutex start_lock;

const char* probe() {
  const char* why = nullptr;
  return tls_probe(&why) ? nullptr : why;
}

static bool calibrate_and_barrier() {
  if (sys(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) < 0) g_no_membarrier = true;
  int64_t n0 = nanotime();
  uint64_t c0 = arch::cycles();
  while (nanotime() - n0 < 50000) relax();
  uint64_t dc = arch::cycles() - c0;
  int64_t dn = nanotime() - n0;
  sched.cycles_per_ms = dc * 1000000 / uint64_t(dn);
  sched.start_time = n0;
  return true;
}

static bool make_ps(const char** why) {
  sched.nprocs = g_config.maxprocs > 0 ? g_config.maxprocs : granted_procs();
  sched.allp = static_cast<P**>(map_pages(align_up(kMostPs * sizeof(P*), kPage)));
  bool all = sched.allp;
  for (int i = 0; all && i < sched.nprocs; i++) all = (sched.allp[i] = new_p(i));
  all = all && register_room(arch::thread_pointer());
  if (!all) *why = "out of memory";
  return all;
}

// Everything that can fail comes before the first change that can't be undone.
static bool build(const char** why) {
  // These before the template thread is made: with a second thread the kernel waits for a grace period (15 ms here) both to register for
  // membarrier and to grow the table of descriptors.
  calibrate_and_barrier();
  if (!netpoll_init()) {
    *why = "the kernel refuses an epoll instance or an eventfd (out of descriptors or memory?)";
    return false;
  }
  signals_begin();
  if (!make_ps(why) || !tls_init(why)) {
    netpoll_forget_all();
    return false;
  }
  sched.lastpoll.store(nanotime());
  sched.tid_base = uint32_t(sys(SYS_getpid)) * 2654435761u >> 3;
  stop_signal_install();
  setxid_install();
  lockedm_start();

  // The calling thread becomes the main G on M 0; M 0's g0 is a shell, since main's TCB goes with main.
  G* shell = new_shell(64 << 10, kPage, nullptr);
  if (!shell) {
    *why = "out of memory";
    return false;
  }
  M* m0 = new_m_record();
  if (!m0) {
    *why = "out of memory";
    return false;
  }
  m0->tid = int(sys(SYS_gettid));
  m0->g0_tp = shell->tp;
  *tls_in(shell->tp, &t_g) = nullptr;
  *tls_in(shell->tp, &t_m) = m0;
  set_tcb_tid(shell->tp, m0->tid); // main's own TCB has it too (setxid.cpp)
  init_main_g0(m0, shell->stack_top, shell->stack_lo);
  for (int i = sched.nprocs - 1; i >= 1; i--) pidleput(sched.allp[i]);

  G* g = &g_main;
  g->tp = arch::thread_pointer();
  g->m = m0;
  g->goid = sched.goidgen.fetch_add(1) + 1;
  sys(SYS_rt_sigprocmask, 0, 0, &g->sigmask, 8);
  m0->sigmask = g->sigmask;
  m0->curg = g;
  acquirep(m0, sched.allp[0]);
  sched.ng.store(1);
  record_started();
  register_tcb(g->tp, true);
  tcb_unregister_rseq(g->tp);
  if (g_config.chaos) g->sigpend.store(attention::Chaos, std::memory_order_relaxed);
  { // while signals still find no G here: a handler that runs on one may want this lock
    Locked l(sched.allg_lock);
    sched.allg = g;
  }
  t_g = g;
  // From here on others send it signals: they have to find all of the above, or the mark that one is under way would never be taken back.
  g->status.store(GStatus::Running);
  preempt_learn();
  chaos_start();
  cputime_start(m0);
  // What has come meanwhile has found nobody, and the template thread thinks that nobody takes it. (Pairing: alive, then a look at what is pending;
  // whoever keeps a signal looks for takers again afterwards.)
  note_sigmask(g->sigmask);
  request_signals(g);
  return true;
}

bool start() {
  Mode md = g_mode.load(std::memory_order_acquire);
  if (GMP_LIKELY(md == Mode::Running)) return true;
  if (md == Mode::Native) return false;
  Locked l(start_lock);
  md = g_mode.load(std::memory_order_acquire);
  if (md != Mode::Unstarted) return md == Mode::Running;
  const char* why = "unknown";
  if (!build(&why)) {
    g_mode.store(Mode::Native);
    say("standing aside: %s; the program runs natively (GMP_DISABLE=1 silences this)", why);
    return false;
  }
  g_mode.store(Mode::Running, std::memory_order_release);
  blocktrace_start();
  trace_start();
  const bool watched = sysmon_start();
  if (!watched) {
    sched.no_threads.store(true);
    sched.sysmon_wanted.store(true); // the template thread tries again
    template_poke();
  }
  if (g_scheduler_started) g_scheduler_started();
  want_spare(); // making one may need a lock of the program's malloc, and its holder another M
  if (watched) sysmon_await();
  return true;
}

void reset_in_child() {
  if (g_mode.load() != Mode::Running) return;
  // Else the kernel goes on writing into the TCB of that M, which exists no more and whose stack libc's fork has put into its cache.
  if (G* g = t_g) tcb_unregister_rseq(g->m->g0_tp);
  g_mode.store(Mode::Unstarted);
  t_g = nullptr;
  netpoll_forget_all();
  lot_forget_all();
  m_forget_all();
  signals_forget();
  world_forget();
  new (&sched) Sched{};
  new (&g_main) G{};
  new (&start_lock) RtMutex{};
  tls_forget();
}

void at_process_end() {
  if (g_config.blocktrace && mode() == Mode::Running) blocktrace_report();
}

Stats stats() {
  Stats s{};
  s.gs = sched.ng.load();
  s.ms = sched.nm.load();
  s.ps = sched.nprocs;
  s.spinning = sched.nmspinning.load();
  s.idle_ps = sched.npidle.load();
  s.idle_ms = sched.nmidle;
  s.runq = sched.runqsize.load();
  s.handoffs = sched.handoffs.load();
  s.unannounced = sched.unannounced.load();
  s.polls = sched.polls.load();
  s.preempts = sched.preempts.load();
  for (int i = 0; i < kMostPs && sched.allp[i]; i++) s.parks += sched.allp[i]->parks, s.steals += sched.allp[i]->steals;
  return s;
}

} // namespace gmp
