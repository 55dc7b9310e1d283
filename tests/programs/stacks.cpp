// The stack of a thread: used deep, at its smallest, and used up. What an overflow does when the program handles it and when it does not;
// how a program ends that nobody catches an exception of.
#include <atomic>
#include "check.h"
#include <alloca.h>
#include <climits>
#include <csetjmp>
#include <csignal>
#include <semaphore.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

namespace {

pthread_t start_on(size_t size, void* (*body)(void*), void* argument) {
  pthread_attr_t attr;
  pthread_t t;
  OK(pthread_attr_init(&attr));
  OK(pthread_attr_setstacksize(&attr, size));
  OK(pthread_create(&t, &attr, body, argument));
  OK(pthread_attr_destroy(&attr));
  return t;
}

// ---- deep
[[gnu::noinline]] long deep(long bytes) {
  volatile char frame[4096];
  frame[0] = char(bytes);
  frame[4095] = 1;
  if (bytes % (1 << 20) < 4096) sched_yield(); // parked at every depth
  long below = bytes > 4200 ? deep(bytes - 4200) : 0;
  return below + frame[4095] + (frame[0] - char(bytes));
}
void* goes_deep(void*) {
  CHECK(deep(6 << 20) > 1000);
  return nullptr;
}
} // namespace

CASE(six_megabytes_deep) {
  pthread_t t[8];
  for (int round = 0; round < 2; round++) { // again on the same stacks
    for (auto& x : t) x = start_on(8 << 20, goes_deep, nullptr);
    for (auto x : t) finish(x);
  }
  goes_deep(nullptr); // main's own
}

// ---- small
namespace {
sem_t gate;
volatile sig_atomic_t signals;
void counts(int) { signals = signals + 1; }
void* lives_small(void* argument) {
  char text[64];
  while (sem_wait(&gate) != 0) {}
  snprintf(text, sizeof text, "%d %s", 12345, "small");
  CHECK(strcmp(text, "12345 small") == 0);
  void* p = malloc(1000);
  free(p);
  usleep(10);
  OK(pthread_kill(pthread_self(), SIGUSR1)); // a signal frame has room
  OK(sem_post(&gate));
  return argument;
}
} // namespace

CASE(smallest_stacks) {
  struct sigaction a = {}, normal = {};
  a.sa_handler = counts;
  normal.sa_handler = SIG_DFL;
  a.sa_flags = SA_RESTART;
  SYS(sigaction(SIGUSR1, &a, nullptr));
  signals = 0;
  OK(sem_init(&gate, 0, 0));
  static pthread_t t[50];
  for (auto& x : t) x = start_on(size_t(sysconf(_SC_THREAD_STACK_MIN)), lives_small, nullptr);
  OK(sem_post(&gate));
  for (auto x : t) finish(x);
  EQ(signals, 50);
  SYS(sigaction(SIGUSR1, &normal, nullptr));
}

// ---- used up
namespace {
volatile bool for_ever = true;
[[gnu::noinline]] long endless(long depth) {
  volatile char block[512];
  block[0] = char(depth);
  long below = for_ever ? endless(depth + 1) : 0;
  return below + block[0];
}
void* overflows(void*) {
  endless(0);
  return nullptr;
}
thread_local sigjmp_buf back;
thread_local void* fault_at;
std::atomic<int> handled; // of several threads' handlers at once
void comes_back(int, siginfo_t* info, void*) {
  handled++;
  fault_at = info->si_addr;
  siglongjmp(back, 1);
}
constexpr size_t kAltStack = 64 << 10;
void* overflows_and_goes_on(void*) {
  stack_t s = {}, none = {};
  s.ss_size = kAltStack;
  s.ss_sp = malloc(s.ss_size);
  none.ss_flags = SS_DISABLE;
  SYS(sigaltstack(&s, nullptr));
  for (int i = 0; i < 3; i++) {
    char here;
    sched_yield();
    if (sigsetjmp(back, 1) == 0) endless(0);
    CHECK(static_cast<char*>(fault_at) < &here);
    sched_yield();
  }
  SYS(sigaltstack(&none, nullptr));
  free(s.ss_sp);
  return nullptr;
}
int status_of(void (*body)()) {
  fflush(stdout);
  pid_t child = fork();
  SYS(child);
  if (child == 0) {
    body();
    _exit(0);
  }
  int status;
  EQ(waitpid(child, &status, 0), child);
  return status;
}
void dies_of_overflow() { finish(start_on(256 << 10, overflows, nullptr)); }
} // namespace

CASE(overflow_handled_on_an_alternate_stack) {
  struct sigaction a = {}, normal = {};
  a.sa_sigaction = comes_back;
  a.sa_flags = SA_SIGINFO | SA_ONSTACK;
  normal.sa_handler = SIG_DFL;
  SYS(sigaction(SIGSEGV, &a, nullptr));
  handled = 0;
  pthread_t t[10];
  for (auto& x : t) x = start_on(256 << 10, overflows_and_goes_on, nullptr);
  for (auto x : t) finish(x);
  EQ(handled, 30);
  SYS(sigaction(SIGSEGV, &normal, nullptr));
}

// The program has set nothing: it reads SIG_DFL before and after, and dies as it would have.
CASE(overflow_kills) {
  finish(start(+[](void* a) { return a; }, nullptr));
  struct sigaction a;
  SYS(sigaction(SIGSEGV, nullptr, &a));
  CHECK(a.sa_handler == SIG_DFL && a.sa_flags == 0);
  stack_t s;
  SYS(sigaltstack(nullptr, &s));
  EQ(s.ss_flags, SS_DISABLE);
  int status = status_of(dies_of_overflow);
  CHECK(WIFSIGNALED(status));
  EQ(WTERMSIG(status), SIGSEGV);
  // One that is no overflow, one that was sent.
  status = status_of([] {
    finish(start(+[](void* p) -> void* {
      *static_cast<volatile char*>(p) = 1;
      return nullptr;
    }, nullptr));
  });
  EQ(WTERMSIG(status), SIGSEGV);
  status = status_of([] {
    finish(start(+[](void*) -> void* {
      raise(SIGSEGV);
      return nullptr;
    }, nullptr));
  });
  EQ(WTERMSIG(status), SIGSEGV);
}
CASE(ignored_fault_kills) {
  int status = status_of([] {
    signal(SIGSEGV, SIG_IGN);
    dies_of_overflow();
  });
  EQ(WTERMSIG(status), SIGSEGV);
}
CASE_ALONE(overflow) {
  pthread_t t = start_on(256 << 10, [](void*) -> void* {
    pthread_setname_np(pthread_self(), "deep thought");
    return overflows(nullptr);
  }, nullptr);
  finish(t);
}
CASE_ALONE(overflow_of_main) {
  struct rlimit r = {1 << 20, 1 << 20};
  setrlimit(RLIMIT_STACK, &r);
  finish(start(+[](void* a) { return a; }, nullptr));
  overflows(nullptr);
}

// ---- nobody catches
CASE_ALONE(uncaught) {
  finish(start(+[](void*) -> void* { throw std::runtime_error("of a thread"); }, nullptr));
}
CASE_ALONE(terminate_handler_runs_in_the_thread) {
  finish(start(+[](void*) -> void* {
    static thread_local int mine = 0;
    mine = 42;
    std::set_terminate([] {
      printf("terminated with %d\n", mine);
      fflush(stdout);
      _exit(9);
    });
    throw 1;
  }, nullptr));
}
