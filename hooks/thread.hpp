// hooks' record of a thread, one for each thread in libgmp.so's own static TLS: it exists for Gs, for main before start() and for foreign
// threads alike, needs no allocation, and is found from a pthread_t at a constant offset.
#pragma once
#include <csignal>
#include <pthread.h>
#include "hooks/hook.hpp"

namespace gmp {

struct FdRec;

struct Thread {
  // Who frees the G (thread_join.cpp). Exited is set once, by on_dead; whoever then holds the claim (the joiner's Joining or Detached)
  // gives the G back. Joiners wait on this word. Gone: main's G, which is never freed, has been joined.
  enum Join : uint32_t { Joinable = 0, Joining = 1, Detached = 2, Exited = 4, Gone = 8 };
  std::atomic<uint32_t> join;
  enum Life : uint32_t { Alive = 0, Dead = 1 };
  std::atomic<uint32_t> life;        // Dead: no code of the program runs there any more
  std::atomic<pthread_t> joiner;     // who waits for this thread: for the EDEADLK check
  void* (*start)(void*);
  int (*start_c11)(void*);           // instead of start, for thrd_create
  void* arg;
  void* result;
  bool exit_called;                  // result is what pthread_exit was given; else an unwound thread was cancelled
  int kernel_mutexes;                // that the first thread locked before there was a G to lock to its kernel thread (mutex_kernel.cpp)
  bool own_sched_only;               // its own kernel thread is for policy or affinity and nothing else (thread_sched.cpp)
  // Signals (signal.hpp). Has a handler run since the hook began, and one without SA_RESTART?
  bool handler_ran, handler_no_restart;
  std::atomic<uint64_t> sig_pending; // for this thread, from within the process
  // Cached kernel-like thread id: G: given at creation; others: gettid at first use; 0 = unknown.
  int tid;
  bool tid_address_set;              // tid_address.cpp
  int* tid_address;
  stack_t altstack;                  // what sigaltstack() told and was told (virtual: the M has its own)
  pthread_mutex_t* robust_held;      // robust mutexes that this thread holds, linked through their __data.__list (mutex_robust.cpp)
  // A child that shares this memory may be running on this thread pointer (posix_spawn, vfork), with a parent that sleeps in the middle of
  // its G: hooks go straight to the kernel and touch no table (io: fdtable.hpp).
  bool vfork_child;
  int vfork_of;                      // in a vfork (vfork.cpp): the process that called it
  // In fork(): this process, for libc's code that may be running in the parent or in the child, where the parking lot is not to be touched.
  int forking;
  // A call in progress counts as one of its descriptor's waiters (fdkeep.hpp). serial 0: none.
  struct {
    std::atomic<uint32_t> serial;
    uint32_t last, wgen;
    int fd;
    bool flies;
    FdRec* rec;
  } hold;
  const void* polled;                // the array of the last poll that went well
  // Cancellation state and cleanup handlers are not here: libc's own, in the TCB, which is the G's (cancel.cpp).
};

// constinit: without it every access first asks whether an initialiser has to run.
extern constinit thread_local Thread t_thread __attribute__((tls_model("initial-exec")));
inline Thread* self() { return &t_thread; }
// Of a live pthread_t (G, main or foreign): same offset from the thread pointer everywhere.
inline Thread* thread_at(pthread_t t) { return tls_in(uintptr_t(t), &t_thread); }

// This thread's id as gettid() tells it, cached. A G's is its own and never the kernel's.
int self_tid();

// Is a cancellation requested that the calling thread would act on at a cancellation point? For hooks that have something to give
// back before they call test_cancel(): it does not return then (nor does after_interrupt()), unless the thread is ending already.
bool cancel_pending();
bool cancel_async_pending(); // and may act anywhere
void cancel_start();

// The calling G is gone at once (thread_end.cpp).
[[noreturn]] void thread_vanish(int status);
// In the child of fork, by the forking thread, after reset_in_child(): it is an ordinary kernel thread now.
void thread_in_child();

} // namespace gmp
