// A thread blocks in the kernel in a call that cannot be parked; the others must go on, with one processor too.
// What frees the blocked thread is a counter that another thread brings to its target: no progress, no end.
#pragma once
#include "check.h"
#include <sched.h>
#include <stdatomic.h>

enum { TARGET = 20000 };
static _Atomic long counter;
static _Atomic bool blocking; // the thread is about to block

static inline void* count(void* argument) {
  while (!blocking) sched_yield();
  for (long i = 0; i < TARGET; i++) {
    atomic_fetch_add(&counter, 1);
    if (i % 16 == 0) sched_yield();
  }
  return argument;
}

// Runs the blocker; counts in another thread; then frees the blocker.
static inline void* beside(void* (*blocker)(void*), void* argument, void (*release)(void*)) {
  counter = 0;
  blocking = false;
  pthread_t b = start(blocker, argument), c = start(count, NULL);
  finish(c);
  EQ(counter, TARGET);
  release(argument);
  return finish(b);
}

// A case that runs before there are threads, and then in one.
#define CASE_ANYWHERE(id)                                                                                              \
  static void anywhere_##id(void);                                                                                     \
  static void* thread_##id(void* argument) {                                                                           \
    anywhere_##id();                                                                                                   \
    return argument;                                                                                                   \
  }                                                                                                                    \
  CASE(id) {                                                                                                           \
    anywhere_##id();                                                                                                   \
    finish(start(thread_##id, NULL));                                                                                  \
  }                                                                                                                    \
  static void anywhere_##id(void)
