// What the unit tests share: CHECK, the run of oneself at several numbers of Ps, Gs from lambdas, latches.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <sys/wait.h>
#include <csignal>
#include <unistd.h>
#include <vector>
#include "runtime/sched.hpp"

namespace unit {

using namespace gmp;

inline std::atomic<int> failures{0};
#define CHECK(c)                                                                                  \
  do {                                                                                            \
    if (!(c)) {                                                                                   \
      ::dprintf(1, "  FAILED %s:%d: %s\n", __FILE__, __LINE__, #c);                               \
      ::unit::failures++;                                                                         \
    }                                                                                             \
  } while (0)
#define CHECK_EQ(a, b)                                                                            \
  do {                                                                                            \
    long a_ = long(a), b_ = long(b);                                                              \
    if (a_ != b_) {                                                                               \
      ::dprintf(1, "  FAILED %s:%d: %s is %ld, not %ld\n", __FILE__, __LINE__, #a, a_, b_);       \
      ::unit::failures++;                                                                         \
    }                                                                                             \
  } while (0)

inline int procs() { return g_config.maxprocs; }
inline int64_t ms(int64_t n) { return n * 1000000; }

// Zero when n things are done. Gs and foreign threads may wait.
class Latch {
  std::atomic<uint32_t> n_;

public:
  explicit Latch(uint32_t n) : n_(n) {}
  void done() {
    if (n_.fetch_sub(1) == 1) wake(&n_, SIZE_MAX);
  }
  void wait() {
    while (n_.load()) wait_on(&n_, [&] { return n_.load() != 0; }, {}, {}, {});
  }
  uint32_t left() { return n_.load(); }
};

struct Job {
  std::function<void()> f;
  Latch* done;
  G* g;
};
inline SpawnOpts small_stack() { return {64 << 10, 4096, nullptr}; }

// Runs f on a new G; the latch, if any, hears of its end once the G has left its stack and been given back.
inline G* go(Latch* done, std::function<void()> f, SpawnOpts o = small_stack()) {
  int err = 0;
  G* g = spawn_prepare(o, &err);
  if (!g) {
    dprintf(1, "  FAILED: no G (error %d)\n", err);
    _exit(1);
  }
  auto* j = new Job{std::move(f), done, g};
  spawn_commit(
    g,
    [](void* a) {
      auto* j = static_cast<Job*>(a);
      j->f();
      Latch* l = j->done;
      delete j;
      exit_g(
        [](G* g, void* l) {
          free_g(g);
          if (l) static_cast<Latch*>(l)->done();
        },
        l);
    },
    j);
  return g;
}

// Until cond() holds; false after ten seconds (a time limit for failure, never a measure of success).
template <class F> bool soon(F cond) {
  int64_t end = nanotime() + ms(10000);
  while (!cond()) {
    if (nanotime() > end) return false;
    sleep_until(nanotime() + ms(1));
  }
  return true;
}

struct Case {
  const char* name;
  void (*fn)();
};

// start_scheduler false: the cases look at data structures only.
inline int run(int argc, char** argv, std::vector<Case> cases, bool start_scheduler = true) {
  if (argc < 2) { // myself, again and again
    int bad = 0;
    for (const char* p : start_scheduler ? std::vector<const char*>{"1", "2", "8"} : std::vector<const char*>{"2"})
      for (const char* seed : {"0", "4711"}) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
          execl("/proc/self/exe", argv[0], p, seed, nullptr);
          _exit(127);
        }
        int st = 0, waited = 0;
        while (waitpid(pid, &st, WNOHANG) == 0) {
          usleep(20000);
          if (++waited == 3000) printf("FAILED: hangs at %s Ps, chaos %s\n", p, seed), kill(pid, SIGKILL);
        }
        if (st != 0) printf("FAILED: status %x at %s Ps, chaos %s\n", unsigned(st), p, seed), bad++;
      }
    return bad ? 1 : 0;
  }
  setvbuf(stdout, nullptr, _IONBF, 0);
  g_config.maxprocs = atoi(argv[1]);
  g_config.chaos = argc > 2 ? strtoull(argv[2], nullptr, 0) : 0;
  g_real_pthread_create = reinterpret_cast<decltype(g_real_pthread_create)>(dlsym(RTLD_DEFAULT, "pthread_create"));
  if (start_scheduler) {
    if (const char* why = probe()) return printf("FAILED: can't start: %s\n", why), 1;
    if (!start()) return printf("FAILED: start()\n"), 1;
  }
  for (Case& c : cases) {
    int before = failures;
    c.fn();
    printf("%s: %s (%d Ps, chaos %lu)\n", failures == before ? "ok" : "NOT OK", c.name, g_config.maxprocs, (unsigned long)g_config.chaos);
  }
  return failures ? 1 : 0;
}

} // namespace unit
