// hooks' record of a thread, one for each thread in libgmp.so's own static TLS: it exists for Gs, for main before start() and for foreign
// threads alike, needs no allocation, and is found from a pthread_t at a constant offset.
#pragma once
#include <csetjmp>
#include <csignal>
#include <pthread.h>
#include "hooks/hook.hpp"

namespace gmp {

struct Thread {
  // Life and join: waited on by joiners (wait_on(&life, ...)).
  enum Life : uint32_t { Alive = 0, Dead = 1 };
  std::atomic<uint32_t> life;
  // Joinable -> Joining (one joiner) or Detached; Exited is set by on_dead. The last of {end, join/detach} frees the G.
  enum Join : uint32_t { Joinable = 0, Joining = 1, Detached = 2, Exited = 4 };
  std::atomic<uint32_t> join;
  pthread_t joiner;                  // for the EDEADLK check
  void* (*start)(void*);
  int (*start_c11)(void*);
  void* arg;
  void* result;
  // Cancellation (cancel.cpp).
  enum Cancel : uint32_t { kDisabled = 1, kAsync = 2, kPending = 4, kExiting = 8 };
  std::atomic<uint32_t> cancel;
  // Signals (signal.cpp): set by the trampoline when a handler ran; `no_restart` if its action lacked SA_RESTART.
  bool handler_ran, handler_no_restart;
  // Cached kernel-like thread id: G: given at creation; others: gettid at first use; 0 = unknown.
  int tid;
  stack_t altstack;                  // what sigaltstack() told and was told (virtual: the M has its own)
  void* cleanup_jmp;                 // head of the __pthread_register_cancel list
  void* exit_frame;                  // where the forced unwind ends
  jmp_buf* exit_jmp;
};

extern thread_local Thread t_thread __attribute__((tls_model("initial-exec")));
inline Thread* self() { return &t_thread; }
// Of a live pthread_t (G, main or foreign): same offset from the thread pointer everywhere.
inline Thread* thread_at(pthread_t t) { return tls_in(uintptr_t(t), &t_thread); }

// This thread's id as gettid() tells it, cached. A G's is its own and never the kernel's.
int self_tid();

} // namespace gmp
