// Internal declarations of the scheduler; sched.cpp opens with the essay.
#pragma once
#include "runtime/g.hpp"

namespace gmp {

struct Sched {
  RtMutex lock;            // global queue, idle lists, M list, global free list
  GList runq;
  GList hogs;              // preempted: what has just been woken goes before them
  std::atomic<uint64_t> hog_at; // cycles() when one was taken last
  std::atomic<long> runqsize;   // of both
  M* midle;
  std::atomic<int> nmidle;
  M* allm;
  M* mfree;                // records of Ms that have ended
  std::atomic<int> nm;     // Ms that exist
  std::atomic<int> mids;
  std::atomic<bool> spare_wanted;        // the template thread is to make Ms without a P
  std::atomic<int> room_waiters;         // Gs in room_to_block()
  P* pidle;
  std::atomic<int> npidle;
  std::atomic<int> nmspinning;
  P** allp;                // kMostPs places
  std::atomic<int> nprocs; // changes only while the world is stopped; read anywhere
  std::atomic<bool> stopping; // the world (world.cpp)
  int stop_wait;           // Ps that are still to come
  P* stopped;
  Note stop_note;
  G* gfree;
  long ngfree;
  std::atomic<bool> no_threads;    // the last kernel thread asked for was refused
  Note sysmon_begun;               // it has a table of descriptors of its own, or none
  std::atomic<bool> sysmon_wanted; // sysmon was, too
  G* condemned;         // surplus shells, in no list any more (reap.cpp: the template thread's)
  int64_t condemned_at;
  std::atomic<uint64_t> goidgen;
  std::atomic<long> ng;    // living Gs, main included
  RtMutex allg_lock;
  RtMutex reap_lock;       // held by sysmon while it reads records of Gs, by the reaper while it unmaps one
  RtMutex lockedm_lock;    // who is locked to what
  RtMutex cpu_lock;        // G.cpu_told
  std::atomic<bool> accounting; // each switch charges the G for its processor time
  RtMutex watch_lock;      // M.preempt_timer: sysmon makes it, an M that ends takes it along
  G* allg;
  // netpoll: 0 while an M blocks in it, else when it was last polled (nanotime).
  uint32_t tid_base; // gtid()
  std::atomic<int64_t> lastpoll;
  std::atomic<int64_t> polluntil;
  std::atomic<uint64_t> lastpoll_tsc;
  // sysmon
  std::atomic<bool> sysmon_deep; // sleeps until somebody leaves idleness
  Note sysmon_note;
  std::atomic<int> helpers; // kernel threads of ours that are no Ms
  uint64_t cycles_per_ms;
  int64_t start_time;
  // template thread's inbox: Ms to be started
  RtMutex template_lock;
  M* template_queue;
  M* template_making; // taken from the queue, not running yet
  std::atomic<int> template_pending; // Ps that wait for an M to be made
  std::atomic<uint32_t> template_word;
  // statistics
  std::atomic<long> handoffs, unannounced, polls, preempts;
  std::atomic<long> robbed;              // Gs that run without a P
};
extern Sched sched;
inline constexpr int kMostPs = 1024;
extern G g_main;
extern bool g_no_membarrier;

// ---- entering and leaving the runtime on a G (syscall.cpp holds the slow part and the argument)
void enter_rt_slow(G* g);
void attend(G* g);
inline uint8_t enter_rt(G* g) {
  uint8_t prev = g->in_rt.load(std::memory_order_relaxed);
  g->in_rt.store(1, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (GMP_UNLIKELY(g_no_membarrier)) std::atomic_thread_fence(std::memory_order_seq_cst);
  if (GMP_UNLIKELY(g->steal.load(std::memory_order_relaxed) | g->insys.load(std::memory_order_relaxed)))
    if (!prev) enter_rt_slow(g);
  return prev;
}
inline void leave_rt(G* g, uint8_t prev) {
  std::atomic_signal_fence(std::memory_order_seq_cst);
  g->in_rt.store(prev, std::memory_order_relaxed);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (GMP_UNLIKELY(g->sigpend.load(std::memory_order_relaxed)) && !prev) attend(g);
}
// For verbs that also run on g0 and on foreign threads: does nothing there.
class RtScope {
  G* g_;
  uint8_t prev_ = 0;

public:
  RtScope() : g_(getg()) {
    if (g_) prev_ = enter_rt(g_);
  }
  ~RtScope() {
    if (g_) leave_rt(g_, prev_);
  }
  RtScope(const RtScope&) = delete;
};

// The M and P of the caller, in the runtime: null on foreign threads (and sysmon).
inline M* cur_m() { return t_g ? t_g->m : t_m; }
inline P* cur_p() {
  M* m = cur_m();
  return m ? m->p : nullptr;
}

bool signal_waiting();
void signal_forward(); // g0, no locks: passes a signal that arrived on g0 on to a G
constexpr int kStopSignal = 32; // libc's SIGCANCEL: no program blocks or uses it
void mend_idle_mask(void* context);
void signals_left_behind();
int64_t template_listens(bool on); // how long at most until the next call; -1: until poked
void signals_begin();
void signals_forget(); // in fork's child
bool in_template();    // the calling thread is the template thread

// ---- switch.cpp
void switch_to_g(M*, G*);                 // on g0: runs g until it switches back; its context is saved then
void mcall(G* g, bool (*after)(M*, G*));  // on a G: back to g0, which calls after(m, g)
void switch_direct(M*, G* g, G* next, bool (*after)(M*, G*)); // on g: to next, which calls after(m, g)
void switch_out(G* g, bool (*after)(M*, G*)); // one of the two (sched.cpp)
void* new_context(char* stack_top, char* stack_lo, void (*fn)()); // first run calls fn on the new stack
[[noreturn]] void g_start();              // first function of every G
void init_main_g0(M* m0, char* stack_top, char* stack_lo);

// ---- stack.cpp / tls.cpp
bool tls_probe(const char** why);
bool tls_ready();                         // the image has been taken
bool tls_init(const char** why);          // makes the template thread, learns the layout
void tls_forget();                        // in fork's child
size_t signal_slack();
size_t shell_length(size_t stack_size, size_t guard_size); // of the mapping
size_t shell_overhead();                  // bytes above the usable stack: TLS, TCB, G
G* new_shell(size_t stack_size, size_t guard_size, void* stack_addr); // null: out of memory. May call malloc.
void tls_reset_for_reuse();               // on the ending G's own thread pointer
void stack_trim(G*);                      // give stack pages back
void tcb_renew(G*);                       // of a shell: nothing that libc has noted there is left
bool registered(uintptr_t tcb);
G* g_beside(uintptr_t tcb);
bool register_room(uintptr_t tcb);        // false: no memory for it
void register_tcb(uintptr_t tcb, bool on);
void set_tcb_tid(uintptr_t tcb, int tid);
int tcb_tid(uintptr_t tcb);
size_t tcb_tid_offset();

// ---- reap.cpp
bool reap_wanted();
int64_t reap();                           // template thread; ns until it wants to be called again, or -1

// ---- sched.cpp
void schedule_loop(M* m);                 // returns when m shall end
void ready(G* g, bool next = true);       // g is Runnable's owner's to give: puts it into a queue
void ready_list(GList&);
P* pidleget();                            // sched.lock held
void pidleput(P* p);                      // sched.lock held
void globrunqput(G*);                     // sched.lock held
G* globrunqget(P*, int max);              // sched.lock held
void hogput(G*);                          // sched.lock held
void publish_runqsize();                  // sched.lock held
void acquirep(M*, P*);
P* releasep(M*);
bool runq_empty(P*);
inline bool chaos(unsigned one_in);       // true now and then, in chaos mode only
uint32_t fastrand();
bool after_yield(M*, G*);                 // for switch_out(): g goes to the tail of the queue

// ---- share.cpp
void share_p(G* g);                       // in the runtime, with a P: make_room()

// ---- wait.cpp: the claim
bool claim(G* g, Wait reason, bool* must_ready); // true: this caller ends the wait; *must_ready: and must make g runnable
bool claim_reserve(G* g, bool* parked);
bool claim_finish(G* g, bool parked);            // true: must be made runnable
inline bool claim_and_ready(G* g, Wait reason) {
  bool must;
  if (!claim(g, reason, &must)) return false;
  if (must) ready(g);
  return true;
}
bool begin_wait(G* g);                    // publishes Waiting; false: an interrupt is pending, nothing was published
Wait park(G* g, WaitReason, const void* what); // after begin_wait and queueing
void cancel_wait(G* g);                   // begin_wait but nothing was queued

// ---- lot.cpp
inline constexpr size_t kWaiterKey = 16; // where a waiter's record has its key, for dumps

// ---- timer.cpp
void timer_add(G* g, int64_t when);       // in the heap of the caller's P
void timer_del(G* g);                     // no-op if it has fired
int64_t timers_first(P*);                 // 0: none
void timers_move(P* from, P* to);         // world stopped
void check_timers(P*, int64_t now, GList* out); // claims for those due

// ---- netpoll.cpp
bool netpoll_init();
void netpoll(int64_t delay_ns, GList* out); // <0: block; 0: poll; >0: at most so long
void netpoll_break();
struct NetpollFds { int epoll, eventfd; };
NetpollFds netpoll_fds();
bool netpoll_any();                       // has anything been registered?
bool netpoll_awaited();                   // does any G wait for a descriptor?
void netpoll_forget_all();
void poll_own(int fd, bool own);          // poll_owns() says so from now on

// ---- m.cpp: which M runs which P
void wakep();
void startm(P* p, bool spinning);
void shelve(P* p, bool spinning);         // startm without an M to be had
void handoffp(P* p);
void want_spare();                        // an M without a P, soon
bool stopm(M*);                           // until somebody hands it a P; false: it shall end
void room_to_block(G*, void (*leave)(G*), bool ends); // leave(g) once another M is there to run the others; ends: or when interrupted

// ---- lockedm.cpp: Gs with a kernel thread of their own
bool stop_lockedm(M*);                    // until somebody brings a P for its G; false: it shall end
void start_lockedm(M* m, G* g);           // g is found runnable: m's P goes to g's own M
void lockedm_exit(M* m, G* g);            // g has left its stack for good
void lockedm_reuse(G* g);                 // a shell becomes a new G
void lockedm_come(G* g);                  // on g, in the runtime: goes to its M if it is on another
void lockedm_start();                     // learns from the first thread
void lockedm_template(int tid);           // the thread that makes plain Ms

// ---- cputime.cpp
void charge(M* m, G* g);                  // with what m has used since the mark
void charge_begin(M* m);                  // what was used so far is nobody's
inline void charge_switch(M* m, P* p, G* g) { // g leaves
  if (--m->charge_in <= 0 || p->seen_sched.load(std::memory_order_relaxed) == p->schedtick) charge(m, g);
}
void cputime_start(M* m0);

// ---- setxid.cpp
void setxid_install();

// ---- mspawn.cpp: kernel threads
void free_m_record(M*);
void template_queue_m(M*);                // an M without a P: see M.made
int make_m_here(M*, const KernelSched&);  // by the calling kernel thread, which it takes after; 0 or an errno
M* new_m_record();                        // null at the cap, and without memory
constexpr size_t kSigStack = 64 << 10;    // M.sigstack; a frame with AMX state takes 12 KB
void template_request(M*);
P* template_reclaim(bool* spinning);      // null: nobody waits for an M
void template_poke();                     // there is something for the template thread to do
[[noreturn]] void template_loop();
void m_main(M*);

// ---- chaos.cpp
void chaos_start();

// ---- preempt.cpp
void preempt_learn();                     // start(): where libc lies, and the main stack
bool preempt_ask(M*);                     // others shall run; false: no signal will reach what it runs
void preempt_robbed();                    // Gs without a P that compute shall queue for one
void preempt_signalled(void* context);    // in the handler of the stop signal: the timer has expired
bool is_preempt_signal(const void* info);
void preempt_point(G*, uint8_t why);      // leaving the runtime
void preempt_disarm(M*);                  // the calling G's, whose mark (quiet) keeps it so
void preempt_forget(M*);                  // m's kernel thread is about to end
// ---- deadlock.cpp
bool all_asleep();                        // sysmon only

// ---- world.cpp
void world_take(P*);                      // sched.lock held, the world stopping: one of those that are waited for
void world_leave(M*);                     // g0, with a P: gives it up if the world is stopping

// ---- procs.cpp
P* new_p(int id);
int granted_procs();                      // by affinity mask and cgroup
void watch_procs();                       // has that changed? sysmon only

// ---- sysmon.cpp, trace.cpp
bool take_from(P*, M*);                   // the P of an M that is in program code; false: it is not
bool sysmon_start();                      // false: no kernel thread to be had
void sysmon_await();                      // until it has begun
void sysmon_wake();                       // if in deep sleep
void trace_start();                       // schedtrace=, from its own kernel thread

inline bool chaos(unsigned one_in) { return GMP_UNLIKELY(g_config.chaos != 0) && fastrand() % one_in == 0; }

} // namespace gmp
