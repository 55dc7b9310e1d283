// pthread_exit and cancellation in C++: destructors run, catch (...) sees the unwinding and must pass it on.
#include "check.h"
#include <atomic>
#include <csignal>
#include <cxxabi.h>
#include <exception>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <semaphore.h>

static std::string order;
struct Noter {
  const char* text;
  ~Noter() { order += text; }
};

static void (*volatile leave)(void*) = pthread_exit;

[[gnu::noinline]] static void deep(int depth) {
  Noter noter{"d"};
  if (depth == 0) {
    leave(reinterpret_cast<void*>(7));
    return; // not reached, for all the compiler knows
  }
  deep(depth - 1);
}

static void* exits(void*) {
  Noter a{"a"};
  Noter b{"b"};
  deep(2);
  return nullptr;
}

CASE(exit_runs_destructors) {
  order.clear();
  EQ(reinterpret_cast<intptr_t>(finish(start(exits, nullptr))), 7);
  CHECK(order == "dddba");
}

static void* rethrows(void* argument) {
  Noter a{"a"};
  try {
    Noter b{"b"};
    pthread_exit(argument);
  } catch (abi::__forced_unwind&) {
    order += "f";
    throw;
  } catch (...) {
    order += "!";
    throw;
  }
}

CASE(forced_unwind_is_caught_and_rethrown) {
  order.clear();
  CHECK(finish(start(rethrows, &order)) == &order);
  CHECK(order == "bfa");
}

static void* catches_all(void* argument) {
  try {
    Noter b{"b"};
    pthread_exit(argument);
  } catch (...) {
    order += "c";
    throw;
  }
}

CASE(catch_all_and_rethrow) {
  order.clear();
  CHECK(finish(start(catches_all, &order)) == &order);
  CHECK(order == "bc");
}

static void* swallows(void*) {
  try {
    pthread_exit(nullptr);
  } catch (...) {
  }
  return nullptr;
}

static int status_of_child(void* (*body)(void*)) {
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    if (!freopen("/dev/null", "w", stderr)) _exit(4);
    finish(start(body, nullptr));
    _exit(0);
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  return status;
}

CASE(swallowed_unwind_aborts) {
  int status = status_of_child(swallows);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void* throws(void*) { throw std::runtime_error("nobody catches"); }

CASE(uncaught_exception_aborts) {
  int status = status_of_child(throws);
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void* exits_inside_catch(void* argument) {
  Noter a{"a"};
  try {
    throw std::runtime_error("first");
  } catch (std::exception&) {
    Noter b{"b"};
    pthread_exit(argument);
  }
}

CASE(exit_inside_catch) {
  order.clear();
  CHECK(finish(start(exits_inside_catch, &order)) == &order);
  CHECK(order == "ba");
}

struct BlocksInDestructor {
  sem_t* sem;
  ~BlocksInDestructor() {
    sched_yield();
    while (sem_wait(sem) != 0) {
    }
    order += "w";
  }
};

static sem_t release_it;
static void* destructor_blocks(void*) {
  BlocksInDestructor one{&release_it};
  pthread_exit(nullptr);
}

CASE(destructor_may_block) {
  order.clear();
  OK(sem_init(&release_it, 0, 0));
  pthread_t t = start(destructor_blocks, nullptr);
  pause_ms(5);
  OK(sem_post(&release_it));
  finish(t);
  CHECK(order == "w");
}

static void* blocked_with_object(void* sem) {
  Noter a{"a"};
  try {
    sem_wait(static_cast<sem_t*>(sem));
  } catch (abi::__forced_unwind&) {
    order += "f";
    throw;
  }
  return nullptr;
}

CASE(cancel_runs_destructors) {
  order.clear();
  sem_t never;
  OK(sem_init(&never, 0, 0));
  pthread_t t = start(blocked_with_object, &never);
  pause_ms(5);
  OK(pthread_cancel(t));
  CHECK(finish(t) == PTHREAD_CANCELED);
  // Cancelled before its try block was entered or inside it: the object goes either way once it exists.
  CHECK(order == "fa");
}

// Exceptions in flight belong to the thread: many throw over a yield at once.
static std::atomic<long> caught{0};
static void* throws_over_yield(void* argument) {
  for (int i = 0; i < 50; i++) {
    try {
      try {
        sched_yield();
        throw i;
      } catch (int& n) {
        sched_yield();
        EQ(n, i);
        EQ(std::uncaught_exceptions(), 0);
        throw;
      }
    } catch (int n) {
      EQ(n, i);
      caught++;
    }
  }
  return argument;
}

CASE(exceptions_of_many_threads) {
  pthread_t t[50];
  for (auto& x : t) x = start(throws_over_yield, nullptr);
  for (auto& x : t) finish(x);
  EQ(caught.load(), 2500);
}
