// What this family knows of libc's struct pthread. A G's TCB is a whole struct pthread, so libc's own code for cancellation state,
// cleanup handlers, forced unwinding and thread-specific data works in a G as it is, also where libc calls it inside itself
// (system() disabling cancellation, stdio's cleanup regions). We only read and write a few words of it, all found through the descriptors
// that libc exports for libthread_db; their meaning is tried once before the first thread is made.
#pragma once
#include <pthread.h>
#include "hooks/thread.hpp"

namespace gmp {

struct KeyStruct { uintptr_t seq; void (*destructor)(void*); }; // libc's __pthread_keys[1024]
struct KeyData { uintptr_t seq; void* data; };                  // level 2: 32 of them
inline constexpr size_t kKeysOfLevel2 = 32, kLevel2s = 32;

struct LibcThread {
  uint32_t size;            // sizeof(struct pthread)
  uint32_t tid;             // offsets
  uint32_t cancel;          // int: state, type and requests
  uint32_t cancel_disabled; // its bit for PTHREAD_CANCEL_DISABLE
  uint32_t cancel_async;    // for PTHREAD_CANCEL_ASYNCHRONOUS; libc sets it around its own blocking system calls too (until 2.40)
  uint32_t specific;        // KeyData* [32]
  uint32_t specific_used;   // bool; 0: unknown, look through all
  KeyStruct* keys;
  void (*call_tls_dtors)();
};
extern LibcThread g_libc_thread;

// Fills it. False: this libc is not as expected; the library must stand aside.
bool libc_thread_init();

inline std::atomic<uint32_t>* cancel_word(uintptr_t tp) {
  return reinterpret_cast<std::atomic<uint32_t>*>(tp + g_libc_thread.cancel);
}

// Has t (living) been cancelled, whether it has acted or not?
bool cancel_requested(pthread_t t);

// Where pthread_exit and cancellation lead in the main thread is __libc_start_call_main's frame, which would end the kernel thread that
// the G happens to be on. Makes it ours (main_ended). Called on the adopted thread.
void redirect_main_exit();

// The end of a thread (thread_end.cpp): destructors, then the G. main_landing: libc destroys no thread_locals there.
[[noreturn]] void thread_finish(bool main_landing);
void thread_entry(void*);
void run_key_destructors();

// malloc's cache of the calling thread (tcache.cpp). learn: once, before the first thread is made. flush: at a thread's end.
void tcache_learn();
void tcache_flush();

// Threads of the program that have not ended; the last one to end ends the process.
extern std::atomic<long> g_alive;

// What pthread_create was asked for (thread_attr.cpp). 0 or the errno that pthread_create returns.
struct ThreadSpec {
  SpawnOpts opts;
  bool detached, mask_set;
  uint64_t mask;
  bool sched_set, affinity_set;
  int sched_policy, sched_priority;
  unsigned char affinity[128];
};
int read_attr(const pthread_attr_t* attr, ThreadSpec* spec);

// A kernel thread of its own for a thread that is being made, if it needs one (thread_sched.cpp). 0 or an errno.
int give_kernel_thread(G*, const ThreadSpec&);
void own_from_start(); // by main, when there are Gs
void read_sched(const G*, int* policy, int* priority);

} // namespace gmp
