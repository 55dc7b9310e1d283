// pthread_once and std::call_once: once for all, also when the routine blocks, throws or is cancelled.
#include "check.h"
#include <atomic>
#include <mutex>
#include <semaphore.h>
#include <stdexcept>

static std::atomic<int> calls{0};
static pthread_once_t control;
static std::atomic<bool> complete{false};

static void slow_init() {
  calls++;
  pause_ms(10);
  sched_yield();
  complete = true;
}
static void* use_once(void* argument) {
  OK(pthread_once(&control, slow_init));
  CHECK(complete); // nobody goes on before it is done
  return argument;
}

CASE(blocking_routine) {
  for (int round = 0; round < 10; round++) {
    control = PTHREAD_ONCE_INIT;
    calls = 0;
    complete = false;
    pthread_t t[40];
    for (auto& x : t) x = start(use_once, nullptr);
    for (auto& x : t) finish(x);
    EQ(calls.load(), 1);
  }
}

static sem_t inside, release_it;
static void cancelled_init() {
  if (calls++ == 0) {
    OK(sem_post(&inside));
    while (sem_wait(&release_it) != 0) {
    } // cancelled here
  }
}
static void* once_cancelled(void* argument) {
  OK(pthread_once(&control, cancelled_init));
  return argument;
}

CASE(cancelled_routine_runs_again) {
  control = PTHREAD_ONCE_INIT;
  calls = 0;
  OK(sem_init(&inside, 0, 0));
  OK(sem_init(&release_it, 0, 0));
  pthread_t first = start(once_cancelled, nullptr);
  OK(sem_wait(&inside));
  pthread_t t[10]; // they wait for the first, then one of them runs it again
  for (auto& x : t) x = start(once_cancelled, &calls);
  pause_ms(5);
  OK(pthread_cancel(first));
  CHECK(finish(first) == PTHREAD_CANCELED);
  for (auto& x : t) CHECK(finish(x) == &calls);
  EQ(calls.load(), 2);
}

static std::once_flag* flag;
static void* call_until_done(void* argument) {
  for (;;) {
    try {
      std::call_once(*flag, [] {
        if (calls++ < 5) {
          sched_yield();
          throw std::runtime_error("not yet");
        }
        complete = true;
      });
      CHECK(complete);
      return argument;
    } catch (std::runtime_error&) {
      sched_yield();
    }
  }
}

CASE(throwing_callable_runs_again) {
  for (int round = 0; round < 10; round++) {
    std::once_flag fresh;
    flag = &fresh;
    calls = 0;
    complete = false;
    pthread_t t[20];
    for (auto& x : t) x = start(call_until_done, nullptr);
    for (auto& x : t) finish(x);
    EQ(calls.load(), 6);
  }
}

// A function's static object: __cxa_guard_acquire waits in libstdc++ by a raw futex call.
struct Slow {
  int value;
  Slow() : value(0) {
    calls++;
    pause_ms(5);
    sched_yield();
    value = 42;
  }
};
static Slow& the_slow() {
  static Slow slow;
  return slow;
}
static void* use_static(void* argument) {
  EQ(the_slow().value, 42);
  return argument;
}

CASE(static_object) {
  calls = 0;
  pthread_t t[40];
  for (auto& x : t) x = start(use_static, nullptr);
  for (auto& x : t) finish(x);
  EQ(calls.load(), 1);
}

struct Fails {
  Fails() {
    if (calls++ < 3) {
      sched_yield();
      throw std::runtime_error("constructor");
    }
  }
};
static void* use_failing_static(void* argument) {
  for (;;) {
    try {
      static Fails object;
      (void)&object;
      return argument;
    } catch (std::runtime_error&) {
    }
  }
}

CASE(static_object_that_throws) {
  calls = 0;
  pthread_t t[20];
  for (auto& x : t) x = start(use_failing_static, nullptr);
  for (auto& x : t) finish(x);
  EQ(calls.load(), 4);
}

static pthread_once_t outer = PTHREAD_ONCE_INIT, inner = PTHREAD_ONCE_INIT;
static void inner_init() { calls += 10; }
static void outer_init() {
  calls++;
  OK(pthread_once(&inner, inner_init));
}

CASE(nested) {
  calls = 0;
  OK(pthread_once(&outer, outer_init));
  OK(pthread_once(&inner, inner_init));
  EQ(calls.load(), 11);
}
