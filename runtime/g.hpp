// G, M and P: the three records. States are worded as ownership: who may touch the record now.
#pragma once
#include "runtime/gmp.hpp"
#include "runtime/lock.hpp"

namespace gmp {

struct G;
struct M;
struct P;

enum class GStatus : uint8_t {
  Idle,     // a shell: owned by a free list or by spawn_prepare's caller
  Runnable, // owned by a run queue (or by the waker that is about to put it there)
  Running,  // owned by the M in g->m, which has a P unless `steal` says Taken
  Syscall,  // owned by the M in g->m, whose P is up for grabs
  Waiting,  // owned by whoever wins the claim on g->wait
  Dead,     // has left its stack; owned by on_dead, then by the joiner
};

const char* wait_reason_name(WaitReason);

// One timer for each G: no wait has two deadlines. Guarded by p->timers.lock.
struct Timer {
  int64_t when = 0;
  P* p = nullptr; // whose heap it is in; stable while armed
  int32_t index = -1; // place in the heap; -1: not in one; -2: in the list of the loose ones
  Timer* next = nullptr;
};

// g->wait: who ends this wait? All wakers (lock, descriptor, timer, interrupt) race for one claim; only the winner makes the G
// runnable. The G publishes Waiting before any queue can hand it to a waker, and the scheduler turns Waiting into Parked
// once the G's registers are saved: a claim that comes between is seen there, and the G runs on without having slept.
namespace waitword {
inline constexpr uint32_t Running = 0, Waiting = 1, Parked = 2, Claimed = 4, Reserved = 8, ReservedParked = 9; // Claimed | (uint32_t(Wait) << 8)
}

// steal: sysmon takes the P of an M that sits in program code or in a call that nobody announced (syscall.cpp).
namespace stealflag {
inline constexpr uint8_t None = 0, Tentative = 1, Taken = 2;
}

// g->sigpend, looked at by each verb on its way out.
namespace attention {
inline constexpr uint8_t Signals = 1; // run_pending_signals wanted
inline constexpr uint8_t Preempt = 2; // others shall run (preempt.cpp)
inline constexpr uint8_t Chaos = 4;   // stands always, in chaos mode
}

struct alignas(64) G {
  // -- first line: what every verb and the switch touch
  void* ctx;                         // saved fcontext while not running
  uintptr_t tp;                      // thread pointer = TCB = pthread_t
  M* m;                              // while Running or Syscall
  std::atomic<uint32_t> wait;
  std::atomic<uint8_t> in_rt;        // in the runtime: signals are recorded, sysmon keeps off. Written by the G only.
  std::atomic<uint8_t> steal;        // written by sysmon (None->Tentative->Taken/None) and cleared by the G
  std::atomic<uint8_t> insys;        // between enter_syscall and exit_syscall; written by the G only
  std::atomic<uint8_t> sigpend;      // attention:: what is to be done when it leaves the runtime next
  std::atomic<uint8_t> intr;         // interrupt() came while not waiting: the next wait ends at once
  std::atomic<GStatus> status;
  std::atomic<uint8_t> stoppable;    // in interruptible_sys(); written by the G only
  std::atomic<uint8_t> delivering;   // the stop signal's handler runs what is pending, and is not in a handler of the program's
  std::atomic<uint8_t> no_signal;    // its stack has no room for the frame of a preemption's signal, or may have none
  std::atomic<uint8_t> quiet;        // in a call that the preemption's timer would end; written by the G only
  WaitReason reason;
  G* schedlink;                      // next in whatever list owns this G
  uint64_t sigmask;                  // what the kernel shall have while this G runs
  std::atomic<M*> lockedm;           // runs only there (lockedm.cpp); null: anywhere
  // -- waiting and identity
  // sysmon's look (sysmon.cpp, rob): in the runtime or in an announced call, at one instant.
  bool out_of_reach() const {
    static_assert(offsetof(G, in_rt) % 4 == 0 && offsetof(G, insys) == offsetof(G, in_rt) + 2);
    const uint32_t mask = 0xffu << 0 | 0xffu << 16; // little-endian
    return (__atomic_load_n(reinterpret_cast<const uint32_t*>(&in_rt), __ATOMIC_SEQ_CST) & mask) != 0;
  }
  Timer timer;
  const void* wait_addr;             // for dumps: the lot's Waiter, the descriptor or the PollItems
  uint64_t wait_since;               // cycles()
  uint64_t goid;
  void (*entry)(void*);
  void* arg;
  void (*on_dead)(G*, void*);
  void* dead_arg;
  // -- memory
  char* map;                         // the mapping; null for the main G
  size_t map_len;
  char* stack_lo;                    // usable stack
  size_t stack_size, guard_size;
  size_t asked_size;                 // of the stack, by the program: what it is told (the rest is slack for a signal frame)
  char* stack_top;                   // where the first frame goes
  bool user_stack, dirty_stack, libc_state;
  bool keeps_running;                // makes no room: keep_running()
  bool exec_retried;                 // stack_made_executable() has said yes to this shell
  uint16_t wait_n;                   // for dumps: how many PollItems
  short blocked_call;                // what held its P unannounced (blocktrace.cpp), plus 1; 0: nothing
  int64_t blocked_at;
  int lock_count;                    // lock_to_m() without unlock_from_m(); this and own_m under sched.lockedm_lock
  bool own_m;                        // lockedm's kernel state has been changed for it: the two end together
  bool own_robust;                   // lockedm's robust list is this G's
  std::atomic<int64_t> cpu_ns;       // processor time up to m->cpu_mark (cputime.cpp)
  int64_t cpu_told;                  // what was last said of it: never goes back; sched.cpu_lock
  char name[16];
  G *all_prev, *all_next;            // every shell, for dumps; sched.allg_lock
};

struct M {
  uintptr_t g0_tp;
  void* g0_ctx;                      // saved fcontext of g0 while a G runs
  G* curg;
  P* p;                              // null: idle, in a system call, or robbed
  P* nextp;                          // given by whoever wakes this M
  P* oldp;                           // the P it had before the system call
  G* lockedg;                        // runs only this one (lockedm.cpp)
  bool spinning;                     // out of work and looking for some
  // What is to be done with the G that has left the M, once its registers are saved. Returns true when it is to run on.
  bool (*after)(M*, G*);
  G* prev;                           // in a direct switch: the G that is being left
  uint64_t sigmask;                  // what the kernel has for this thread
  uint32_t rng;
  int id, tid;
  int preempt_timer;                 // the kernel's, on this thread's processor time; -1: not made yet, -2: can't be had (watch_lock)
  std::atomic<bool> preempt_armed;   // it has not expired yet
  bool parent;                       // of processes: has_child()
  bool doomed;                       // ends when it has left the G it runs
  std::atomic<uint32_t> made;        // an M asked for by make_m(): 1 once it has a tid, 2 when there is none to be had
  int charge_in, charge_every;       // switches until the next look at that clock (cputime.cpp)
  std::atomic<int64_t> cpu_mark;     // the kernel thread's clock when its G was last charged
  struct RobustHead { void* next; long offset; void* pending; } robust; // lockedm.cpp
  std::atomic<bool> stop_sent;       // a stop signal (syscall.cpp) is on its way to this kernel thread
  char* sigstack;                    // its alternate stack (signal.cpp)
  Note note;                         // parked here
  M* schedlink;                      // idle list / template's request list
  M* all_next;                       // every record ever made; those of ended Ms (tid 0) are used again
};

enum class PStatus : uint32_t { Idle, Running, Syscall, Stopped /* by stop_the_world() */ };

struct TimerHeap {
  RtMutex lock;
  Timer** heap;                      // 4-ary min-heap by when
  uint32_t n, cap;
  Timer* loose;                      // for which there was no memory
  std::atomic<int64_t> first;        // when of the first, 0 when empty: read without the lock
};

inline constexpr uint32_t kRunq = 256;

struct alignas(64) P {
  std::atomic<uint32_t> head, tail;  // head: moved by stealers and owner (CAS); tail: by the owner
  std::atomic<G*> runnext;           // runs next, inheriting the time slice
  std::atomic<uint64_t> runnext_at;  // cycles() when it was set: stealers leave a fresh one alone
  std::atomic<bool> lazy;            // a wake-up was not passed on to an idle P: sysmon looks after it
  std::atomic<PStatus> status;
  uint32_t schedtick, syscalltick, polltick, next_streak;
  uint32_t hog_tick;                 // when it took a preempted G last
  bool hog_due;                      // because its time had come, not for want of others
  M* m;
  P* link;                           // idle list
  int id;
  G* gfree;                          // shells, most recently used first
  int ngfree;
  uint64_t goid_next, goid_end;
  TimerHeap timers;
  long parks, steals;                // statistics, owner only
  uint32_t asks, asks_tick;          // share_p(): calls in this turn; which turn that is
  uint64_t asks_since;               // cycles() at the third
  // sysmon's memory
  std::atomic<uint32_t> seen_sched;  // ready() reads it: is this tick an old one?
  uint32_t seen_sys, seen_cpu_tick, spare_tick; // spare_tick: the turn for want of others that has been asked to end
  int64_t seen_sched_at, seen_sys_at, seen_state_at, seen_cpu;
  int64_t asked_at, asked_cpu;       // to make room, in this tick; 0: not yet
  std::atomic<G*> runq[kRunq];
};

struct GList {                       // FIFO through schedlink
  G *head = nullptr, *tail = nullptr;
  long n = 0;
  void push(G* g) {
    g->schedlink = nullptr;
    (tail ? tail->schedlink : head) = g;
    tail = g;
    n++;
  }
  G* pop() {
    G* g = head;
    if (g) {
      head = g->schedlink;
      if (!head) tail = nullptr;
      n--;
    }
    return g;
  }
  void append(GList& o) {
    if (!o.head) return;
    (tail ? tail->schedlink : head) = o.head;
    tail = o.tail;
    n += o.n;
    o = GList{};
  }
};

extern constinit thread_local M* t_m __attribute__((tls_model("initial-exec"))); // set on g0 only

} // namespace gmp
