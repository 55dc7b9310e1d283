// The runtime's public verbs: all that hooks/ and preload/ may use. Names are Go's where Go has one.
//
// Glossary: G = a user-level thread with its own stack and TLS; M = a kernel thread; P = the right to run Gs, with a run
// queue. "Foreign" = a kernel thread that is neither an M nor the adopted main thread (timer threads of libc, the program
// before its first pthread_create, everything in native mode): getg() is null there.
//
// Unless a comment says otherwise a verb may be called on a G's stack or on a foreign thread, never on g0, never with a
// runtime lock held. No verb calls malloc and none touches errno. After any verb that can wait the G may be on another M;
// addresses of thread-local variables stay valid, because the thread pointer moves with the G.
#pragma once
#include <atomic>
#include <csignal>
#include <cstddef>
#include <type_traits>
#include <cstdint>
#include "runtime/base.hpp"

namespace gmp {

struct G;
struct Thread; // hooks' record of a thread, in libgmp.so's own TLS; the runtime only reserves nothing and knows nothing of it

// ---------------------------------------------------------------- the process
enum class Mode : int {
  Unstarted, // no thread has been created yet: one thread, plain system calls
  Running,   // Gs exist
  Native,    // the library stands aside: hooks call the real functions and nothing else
};
extern std::atomic<Mode> g_mode;
inline Mode mode() { return g_mode.load(std::memory_order_relaxed); }

struct Config {
  int maxprocs = 0;          // number of Ps; 0: affinity mask and cgroup quota decide
  size_t stack_cap = 0;      // GMP_STACK: cap on the stack size a program asks for; 0: none
  int schedtrace_ms = 0;     // GMP_DEBUG=schedtrace=MS
  bool scheddetail = false;  // GMP_DEBUG=scheddetail=1
  int blocktrace = 0;        // GMP_DEBUG=blocktrace=1: unannounced blocking calls by name; 2: and their stacks as they occur
  uint64_t chaos = 0;        // GMP_DEBUG=chaos=SEED: perturb scheduling decisions
  bool verbose = false;      // GMP_DEBUG=verbose=1: say why the library stands aside, warn once about fallbacks
  bool preempt = true;       // GMP_DEBUG=preempt=0: no signals to threads that compute; they are robbed of their P instead
  bool detours = true;       // GMP_DEBUG=detours=0: libc's inside calls are left alone
  int dumpsig = 0;           // GMP_DEBUG=dumpsig=N: this signal prints every G
  enum class Deadlock { Off, Report, Abort } deadlock = Deadlock::Off; // GMP_DEBUG=deadlock=report|abort: when all Gs sleep for ever
  int max_ms = 10000;        // most kernel threads
};
extern Config g_config; // written by preload before start(), read-only afterwards

// The real pthread_create (with its version), given by preload: Ms must be threads that glibc knows of.
extern int (*g_real_pthread_create)(unsigned long*, const void*, void* (*)(void*), void*);

// Checks what the TCB recipe needs (symbols, their plausibility). Null: fine; else the reason, for the one line.
const char* probe();
// First pthread_create: builds the scheduler and adopts the calling thread as the main G. True when Gs can be made (also
// when it had been called before). On failure the mode is Native for good. Call outside locks, not from a G.
bool start();
// In the child of fork, before anything else: forgets every other G and M and all waits; the mode is Unstarted again and
// the caller is an ordinary thread (getg() null) that a later start() adopts.
void reset_in_child();

// Set by preload (may be null): after the scheduler has been built; when all Gs sleep for ever (by sysmon; only with Config::deadlock).
extern void (*g_scheduler_started)();
extern void (*g_all_asleep)();
// A kernel thread of the library's own, for as long as the process lives, says so: it is no sign of life of the program's.
void own_thread();
// Makes one, detached; main begins with own_thread(). stack: bytes besides TLS, 0: the default. It takes none of the program's signals but those in `open`
// (bit 0: signal 1). False: no kernel thread to be had. May call malloc: not under locks.
bool helper_start(void* (*main)(void*), size_t stack, uint64_t open = 0);

// ---------------------------------------------------------------- identity
// constinit: without it each access asks whether the variable has an initialiser somewhere
extern constinit thread_local G* t_g __attribute__((tls_model("initial-exec")));
inline G* getg() { return t_g; }
uintptr_t thread_pointer_of(const G*);   // the TCB address = pthread_t
uint64_t goid(const G*);
// What its gettid() says, unless it is main: beyond the kernel's numbers (from 2^29 on), stable, and apart from those of
// other processes with which memory may be shared (a process-shared lock keeps its owner's).
int gtid(const G*);
G* main_g();                             // the adopted first thread; null before start()
// G of a pthread_t, null when the handle names no G (stale or foreign). Never crashes on a stale handle.
G* g_of_handle(uintptr_t pthread);
// Is it a thread that libc has made for itself (timers' notifications, aio) and that has not ended? Not from a signal handler.
bool libc_thread(uintptr_t pthread);
// The address that the thread-local `mine` of libgmp.so has in another thread, given that thread's thread pointer.
template <class T> inline T* tls_in(uintptr_t tp, T* mine) {
  return reinterpret_cast<T*>(tp + (reinterpret_cast<uintptr_t>(mine) - arch::thread_pointer()));
}
void set_name(G*, const char* name);     // at most 15 bytes kept; for traces
void get_name(const G*, char out[16]);
// Bounds of the stack that the program may use, guard excluded: [lo, lo+size). Main: from /proc/self/maps' RLIMIT rule,
// left to the caller (lo = 0).
struct StackBounds { void* lo; size_t size; size_t guard; };
StackBounds stack_bounds(const G*);
// Where its stack really ends, slack included, and how much below is a guard. All 0: not known.
struct StackExtent { uintptr_t lo, top; size_t guard; };
StackExtent stack_extent(const G*);
// An instruction fetch has faulted at pc: on a stack that a library loaded since wants executable? It is now, once for each shell.
bool stack_made_executable(G* g, uintptr_t pc);
size_t default_stack_size();             // RLIMIT_STACK's or 8 MB, capped by GMP_STACK

// ---------------------------------------------------------------- life of a G
struct SpawnOpts {
  size_t stack_size;   // bytes that the program can use (TLS and TCB come on top)
  size_t guard_size;   // 0: none
  void* stack_addr;    // program's own stack (lowest address) or null
};
// A G that is not yet runnable: stack, TLS (all modules' images fresh, errno 0, C locale as global) and a tid exist, so the
// caller may fill in its own thread-locals through tls_in(thread_pointer_of(g), &var). May call malloc (as pthread_create
// does): not under locks. Null and *err = EAGAIN when memory or the limit is out.
G* spawn_prepare(const SpawnOpts&, int* err);
// Runs entry(arg) on it. entry must end in exit_g().
void spawn_commit(G*, void (*entry)(void*), void* arg);
// Undoes spawn_prepare.
void spawn_abandon(G*);
// Ends the calling G. on_dead(g, arg) then runs on g0 once the G's stack is no longer in use: it publishes the end (wake() is
// allowed there) and either keeps g for a joiner or calls free_g(g) itself. Resets TLS for recycling first.
[[noreturn]] void exit_g(void (*on_dead)(G*, void*), void* arg);
// Gives stack, TLS and record back; the handle is invalid from here. Called by joiners or in on_dead.
void free_g(G*);
// The kernel thread that runs G now or sits in a system call for it; 0: none. A hint: it may be another's by the time it is used.
int kernel_tid_of(const G*);
bool alive(const G*);                    // has not ended yet
// The living G whose gtid() that is; null: none. Looks through all.
G* g_of_gtid(int tid);
// Number of Gs that exist (main included).
long g_count();

// ---------------------------------------------------------------- waiting
enum class Wait : int {
  Woken = 0,    // by wake()/an event, or spuriously for polls
  Timeout,      // the deadline has passed
  Interrupted,  // interrupt() hit this wait: a signal handler or cancellation may be pending; callers decide, and may wait again
  Invalid,      // validate() said no: nothing was waited for
};

// What a G waits for, as dumps tell it; nothing else depends on it. From Mutex on: what hooks say of their waits in the parking lot.
enum class WaitReason : uint8_t {
  None, Lot, Sleep, PollRead, PollWrite, PollMany,
  Mutex, Cond, ReadLock, WriteLock, Semaphore, Join, Barrier, Once, Futex, LibcLock, Room, Signal,
};

// A reference to a callable that outlives the call; no allocation.
template <class Sig> class FnRef;
template <class R, class... A> class FnRef<R(A...)> {
  void* obj_ = nullptr;
  R (*fn_)(void*, A...) = nullptr;
public:
  FnRef() = default;
  template <class F> FnRef(F&& f)
    : obj_(const_cast<void*>(static_cast<const void*>(&f))),
      fn_([](void* o, A... a) -> R { return (*static_cast<std::remove_reference_t<F>*>(o))(a...); }) {}
  R operator()(A... a) const { return fn_(obj_, a...); }
  explicit operator bool() const { return fn_ != nullptr; }
};

// The parking lot: FIFO queues of waiters keyed by address, under every lock type. Works for Gs and for foreign threads
// alike (those sleep on a futex).
//   validate      runs under the bucket's lock before the caller is queued; false: returns Invalid without waiting.
//   before_sleep  runs after queueing, bucket unlocked: release the mutex of a condition variable here (may call wake()).
//   timed_out     (may be empty) runs under the bucket's lock when the deadline or an interrupt took the waiter out of the
//                 queue; its argument: was it the last one on that address? Clear a "has waiters" bit here.
//   token         receives what the waker passed (0 by default): hand-off of a lock.
//   key           the address; *addr_now (may be null) receives the address at wake-up, other than key after requeue().
struct WaitOpts {
  int64_t deadline = kNoDeadline; // nanotime() scale
  uintptr_t* token = nullptr;
  const void** addr_now = nullptr;
  WaitReason why = WaitReason::Lot;
  Wait* ended = nullptr; // how, written before timed_out runs
};
Wait wait_on(const void* key, FnRef<bool()> validate, FnRef<void()> before_sleep,
             FnRef<void(const void* key, bool was_last)> timed_out, const WaitOpts& opts);

struct Unpark {
  bool woke;      // a waiter was taken
  bool more;      // others remain on the address
  bool fair;      // eventual fairness: hand the lock over instead of releasing it (a waiter has waited > 1 ms)
};
// Takes the first waiter on key (or none); `decide` runs under the bucket's lock with what was found: it changes the lock
// word and returns the token for the waiter. May be called on g0 (on_dead) too.
void wake_one(const void* key, FnRef<uintptr_t(Unpark)> decide);
// Wakes up to n waiters; returns how many.
size_t wake(const void* key, size_t n);
// Under both bucket locks: wakes up to n_wake waiters of `from` and moves up to n_requeue of the remaining to `to`. `decide` runs first (locks
// held) and may lower both numbers or, by returning false, call it off. `after(woken, moved, left)` runs under the locks.
size_t requeue(const void* from, const void* to, size_t n_wake, size_t n_requeue, FnRef<bool(size_t& n_wake, size_t& n_requeue)> decide,
               FnRef<void(size_t woken, size_t moved, size_t left)> after);

void yield();                          // to the end of the global queue's order; foreign: sched_yield
// Before a call that need not wait when there is something for it (poll, recv, send, accept): who calls again and again and never waits lets others go
// first every 0.1 ms, and at once if it has been asked to (as in every verb): programs let their own locks go around such calls. exit_syscall() does the
// same. Foreign: nothing.
void make_room();
Wait sleep_until(int64_t deadline);    // Timeout is the normal end

// Ends target's present wait (any kind) with Interrupted, if it is in one, or its interruptible_sys(). False: it was not
// waiting; its next wait or interruptible call ends at once.
bool interrupt(G* target);
// The calling G's next wait or interruptible call ends at once with Interrupted. For handlers of signals.
void end_next_wait();
// The same as interrupt() for an interruptible_sys() only: a parked G is left alone.
void interrupt_call(G* target);

// ---------------------------------------------------------------- descriptors
// Edge-triggered readiness with an event count for each direction: take the sequence number, try the operation, and when it says
// EAGAIN wait for the number to change. No edge is ever lost and nothing needs re-arming.
enum class Dir : int { Read = 0, Write = 1 };
// False when the descriptor is beyond the table or can't be polled by epoll (regular file: EPERM): hand off instead.
// Registers at first use.
bool poll_open(int fd);
// From now on fd is watched only while somebody waits, and each wait asks the kernel anew. For descriptors that are ready again and again
// while nobody waits (the program's epoll instances: each event in one would wake a kernel thread for nothing).
void poll_once(int fd);
uint32_t poll_seq(int fd, Dir);
// Waits until poll_seq(fd, dir) != seq. Woken may be spurious. Wakes one waiter for each edge: whoever was woken and then succeeded
// calls poll_pass() so that the next waiter tries too (two arrivals in one edge).
Wait poll_wait(int fd, Dir, uint32_t seq, int64_t deadline);
void poll_pass(int fd, Dir);
// The caller knows that fd has become ready in that direction: as an edge from the kernel, which comes as well.
void poll_nudge(int fd, Dir);
// The peer has hung up, an error is pending or urgent data came: an empty-looking descriptor may yet say EOF, a short read need not mean
// empty. Once true stays true until forgotten.
bool poll_hup(int fd);
struct PollItem { int fd; uint32_t events; /* EPOLLIN|EPOLLOUT bits wanted */ uint32_t seq_r, seq_w; /* filled by poll_prepare */ };
// false: one of them can't be polled: hand off.
bool poll_prepare(PollItem*, size_t n);
// The same where all of them are watched for that already; false: not so, and nothing has been done.
bool poll_numbers(PollItem*, size_t n);
Wait poll_wait_many(PollItem*, size_t n, int64_t deadline);
// The number is about to be closed or replaced (close, dup2 over it): forgets the registration, wakes its waiters (they try again).
void poll_forget(int fd);
// The result of look(), a raw call that does not wait, while no kernel thread watches fd: an epoll instance that another thread looks into drops what is
// not ready for that thread (signalfd).
long poll_unseen(int fd, FnRef<long()> look);
// The runtime's own descriptors (epoll, break eventfd): programs that close "all" descriptors must not hit them (EBADF).
bool poll_owns(int fd);
int poll_owned_high();  // none is above

// ---------------------------------------------------------------- blocking calls
// Between the two the M may block; sysmon gives its P to others after 20 us if there is work. No verbs in between. Nothing
// happens on foreign threads. exit_syscall may move the G to another M. errno is kept.
void enter_syscall();
void exit_syscall();
// For calls that will block for certain: gives the P up at once.
void enter_syscall_block();
// Instead of enter_syscall() for what another thread of the process may have to end: with no other kernel thread there to run that one it waits, in
// user space, until there is (m.cpp, room_to_block).
void enter_syscall_waits();
// Instead of enter_syscall() for what a timer on processor time would end, even one whose signal is not for the program: io_uring_enter (preempt.cpp).
void enter_syscall_quiet();
struct SyscallScope {
  SyscallScope() { enter_syscall(); }
  ~SyscallScope() { exit_syscall(); }
  SyscallScope(const SyscallScope&) = delete;
};
// SIGPIPE and SIGXFSZ come from what the thread does itself, and the kernel gives them to the kernel thread. Blocked ones would stay with that one,
// where the next G has them: after a raw call that may raise them, before anything that may move the G. The result of the call.
void keep_sync_signal(int sig);
inline long with_sync_signal(long r) {
  if (GMP_UNLIKELY(r == -EPIPE || r == -EFBIG)) keep_sync_signal(r == -EPIPE ? SIGPIPE : SIGXFSZ);
  return r;
}
extern void (*g_keep_sync_signal)(int sig); // set by hooks: the G blocks it
// A system call with the P handed off meanwhile.
template <class... A> inline long blocking_sys(long n, A... a) {
  enter_syscall();
  long r = with_sync_signal(sys(n, a...));
  exit_syscall();
  return r;
}

// The same, and interrupt() ends it: kStopped then (and nothing has happened), after which the caller looks for signals and cancellation and may
// call again. certain: it will block, so the P goes at once. Foreign threads: plain.
using arch::kStopped;
long interruptible_call(bool certain, long n, long a, long b, long c, long d, long e, long f);
template <class... A> inline long interruptible_sys(bool certain, long n, A... args) {
  long a[6] = {(long)(args)...};
  return interruptible_call(certain, n, a[0], a[1], a[2], a[3], a[4], a[5]);
}
// libc's cancellation signal is what ends those calls; libc sets its own handler at the first pthread_cancel, so this comes after it again.
void stop_signal_install();
// Set by hooks: the stop signal has hit program code on a G (may unwind from here), libc's own system calls included.
extern void (*g_stopped_in_program)(int sig, void* info, void* context, void* libc_handler);
// Sends it to g's kernel thread, if g is running on one.
bool stop_running(G*);

// ---------------------------------------------------------------- signals (signal.cpp)
// True when the calling context (a signal handler's) interrupted a G in program code or a foreign thread, so that the program's
// handler may run here and now; false on g0 or inside the runtime.
bool signal_context_ok();
// From a signal handler when the above is false: the G that was hit runs what is pending when it leaves the runtime, its wait ends if it is
// about to begin one, and signals to the process are passed on. Async-signal-safe.
void signal_defer();
// g has something pending that it does not block: it runs it soon, wherever it is. Not for the calling G, and not from within the runtime.
void signal_g(G* g);
// In the stop signal's handler, around what the program must not be kept from: its own handlers. What it was. (syscall.cpp)
bool set_delivering(bool on);
// g runs its pending signals when it leaves the runtime next.
void request_signals(G* g);
// Set by hooks: runs what is pending for the calling G. context: of the signal frame that it has been found in, or null.
extern void (*g_run_pending_signals)(void* context);
// Set by hooks: signals to the process have arrived on a kernel thread that is none of the program's; find Gs that take them. On g0, no locks.
extern void (*g_pass_on_signals)();
// then(g) for some living G for which want(g), under a lock that keeps the record in place. False: there is none.
bool with_g(FnRef<bool(G*)> want, FnRef<void(G*)> then);
// The G's signal mask: the kernel has it whenever the G runs. set applies at once. note: the kernel has changed it on its own, entering
// or leaving a handler on the calling G.
uint64_t get_sigmask(const G*);
void set_sigmask(uint64_t mask); // calling G
void set_sigmask_only(uint64_t mask); // the same, and nothing that it opens is run
void note_sigmask(uint64_t mask);
void set_sigmask_of(G* not_yet_running, uint64_t mask);
// No G takes these signals any more (bit n - 1: signal n), so no kernel thread of the runtime may: they stay with the kernel. The caller then
// looks at the masks once more. at_once: when it returns that is so already.
void nobody_takes(uint64_t signals, bool at_once);
// The calling G has closed these in its mask: has it been the last to take some of them?
void mask_has_grown(uint64_t by);
void refuse_signals(uint64_t signals); // the calling kernel thread, when it runs no G
// Each M has an alternate stack of its own, for the kernel's frames only: the first M gets it when the program's stack has been noted.
void sigstack_install();
bool on_sigstack(const void* sp);
void leave_by_this_m(void* context); // a signal frame is left on another M than it was entered on

// ---------------------------------------------------------------- the world
// From here to start_the_world() no other G runs in the runtime or program code with a P; world.cpp says exactly what that means. Not from g0;
// callers without a G are welcome. The caller must not wait, and calls no verb that does. One stopper at a time: a second one waits.
void stop_the_world();
void start_the_world();
// The number of Ps from now on (1 to 1024).
void set_maxprocs(int n);

// In chaos mode: the runtime's own handler, which says the seed. To the program the action is SIG_DFL.
bool is_crash_handler(const void* handler);
void chaos_crashed(int sig); // says so, in chaos mode
size_t chaos_part(size_t n);
// How much of a blocking write of n bytes to a stream to try at once: in chaos mode sometimes only a part of what is more than 64 KB, as if the
// kernel had had no room for the rest. (Smaller ones: threads that share a stream count on each other's being whole.)
inline size_t chaos_short(size_t n) { return GMP_LIKELY(g_config.chaos == 0) || n <= 65536 ? n : chaos_part(n); }

// From enter to leave the calling G stays on its kernel thread, keeps its P, and runs no handler. Short, without waiting, and without any verb of this
// header that waits; they nest.
uint8_t rt_enter(G*);
void rt_leave(G*, uint8_t);
// The same around call(), whose result it returns; here a wait in user space may be part of it (the G may be elsewhere after it). What is begun in it is
// finished in it: handlers of the program's, which may leave by longjmp, run at its end. Not on a G: call() alone. May unwind at its end.
long undisturbed(FnRef<long()> call);
// For verbs in libc's own code, which holds locks there: the calling G, if there is one, does not make room for others at the end of a verb while it is
// on. (A wait remains a wait.) Whoever waits for the lock may be the thread that makes kernel threads.
void keep_running(bool on);

// ---------------------------------------------------------------- a kernel thread of one's own
// Go's LockOSThread, counted: from here on the calling G runs only on the kernel thread it is on, and that runs only this G.
void lock_to_m();
void unlock_from_m();
// For what the kernel keeps for each of its threads. Gives g an M of its own and has apply(tid) change that kernel thread: its result; when negative,
// g is as it was before. On another G than the caller it tells when that is next switched to or leaves the runtime.
long own_m(G* g, FnRef<long(int tid)> apply);
// The calling G's kernel thread is as all others are again.
void disown_m();
// The kernel thread that carries g's own state, where it has one (or is locked to one); else 0.
int own_m_tid(const G*);
bool has_own_m(const G*);
// One whose state is what every other M has.
int plain_m_tid();
// Sees to it that the caller is on its own M, if it has one.
void on_own_m();
// For a G not yet running: an M of its own, made by the calling kernel thread, whose state it inherits but for what is given. 0 or an errno.
struct KernelSched {
  bool sched_set;
  int policy, priority;
  const void* affinity; // null: inherited
  size_t affinity_size;
};
int spawn_own_m(G* not_yet_running, const KernelSched&);
// The kernel's robust list (set_robust_list) of the caller's kernel thread, to which it is locked, is the one in the G's own TCB from here on.
// Its unlock_from_m() gives it back; its end hands the list on.
void own_robust_list();
// The id in the calling G's TCB, which libc's own code compares with and gives to the kernel.
int swap_libc_tid(int tid);

// The caller's kernel thread has made a process, or will: it does not end for want of work. (A child may ask for a signal when "its parent" ends,
// PR_SET_PDEATHSIG, and the kernel means the thread.)
void has_child();

// Processor time. The first call makes every switch charge the Gs for theirs.
int64_t g_cpu_time(G*);

// ---------------------------------------------------------------- looking in
struct Stats { long gs, ms, ps, spinning, idle_ps, idle_ms, runq, handoffs, unannounced, steals, parks, polls, preempts; };
Stats stats();
// What the process's end has to say (GMP_DEBUG=blocktrace=1). Any thread.
void at_process_end();

} // namespace gmp
