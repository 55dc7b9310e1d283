// Exhaustive exploration of small concurrent programs under x86's memory model (TSO): every interleaving of single memory accesses, and
// every moment at which a store buffer may drain. The lock-free parts of runtime/ are written down again as such programs; each model also
// has mutations that remove one protection, and its test demands that the explorer then finds the failure: a model that can't
// fail proves nothing.
//
// A model is a struct with   void init(State&);   bool step(Cpu&, State&)  (one atomic step of thread c.t at c.pc(); false: blocked here;
// no effect then);   const char* final(const State&)  (all threads done) and   const char* stuck(const State&)  (nobody can move).
// Ghost variables (knowledge of the checker, not of the program) are in State::ghost: changed at once, seen by everybody.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_set>
#include <vector>

namespace model {

constexpr int kThreads = 5, kMem = 28, kRegs = 6, kBuf = 4, kGhost = 16;
constexpr uint8_t kDone = 255;

struct Thread {
  uint8_t pc, r[kRegs], n, addr[kBuf], val[kBuf]; // n: stores in the buffer, oldest first
};
struct State {
  uint8_t mem[kMem], ghost[kGhost];
  Thread th[kThreads];
  bool operator==(const State& o) const { return memcmp(this, &o, sizeof o) == 0; }
};
static_assert(std::has_unique_object_representations_v<State>);
struct Hash {
  size_t operator()(const State& s) const {
    uint64_t h = 1469598103934665603ull;
    const auto* p = reinterpret_cast<const unsigned char*>(&s);
    for (size_t i = 0; i < sizeof s; i++) h = (h ^ p[i]) * 1099511628211ull;
    return size_t(h ^ h >> 29);
  }
};

// What a thread's step may do. loads look into the thread's own buffer first; rmw() and fence() drain it.
struct Cpu {
  State& s;
  int t;
  const char* error = nullptr;
  Thread& th() { return s.th[t]; }
  uint8_t& pc() { return th().pc; }
  uint8_t& r(int i) { return th().r[i]; }
  uint8_t& ghost(int i) { return s.ghost[i]; }
  uint8_t ld(int a) {
    Thread& x = th();
    for (int i = x.n - 1; i >= 0; i--)
      if (x.addr[i] == a) return x.val[i];
    return s.mem[a];
  }
  void st(int a, int v) {
    if (th().n == kBuf) drain_one(s, t);
    th().addr[th().n] = uint8_t(a), th().val[th().n++] = uint8_t(v);
  }
  void fence() {
    while (th().n) drain_one(s, t);
  }
  void fence_everybody() { // membarrier()
    for (int i = 0; i < kThreads; i++)
      while (s.th[i].n) drain_one(s, i);
  }
  uint8_t xchg(int a, int v) {
    fence();
    uint8_t old = s.mem[a];
    s.mem[a] = uint8_t(v);
    return old;
  }
  bool cas(int a, int from, int to) {
    fence();
    if (s.mem[a] != uint8_t(from)) return false;
    s.mem[a] = uint8_t(to);
    return true;
  }
  uint8_t add(int a, int d) {
    fence();
    return s.mem[a] = uint8_t(s.mem[a] + d);
  }
  void go(int p) { pc() = uint8_t(p); }
  void next() { pc()++; }
  void check(bool ok, const char* what) {
    if (!ok && !error) error = what;
  }
  static void drain_one(State& s, int t) {
    Thread& x = s.th[t];
    s.mem[x.addr[0]] = x.val[0];
    x.n--;
    for (int i = 0; i < x.n; i++) x.addr[i] = x.addr[i + 1], x.val[i] = x.val[i + 1];
    x.addr[x.n] = x.val[x.n] = 0;
  }
};

struct Result {
  size_t states = 0;
  std::string error, trace; // error empty: every execution is right
};

template <class Model> Result explore(Model& m, int threads, size_t limit = 6000000) {
  struct Frame {
    State s;
    int choice;          // next to try: 2*t: step of t, 2*t+1: t's buffer drains
    int came;
    bool moved;
  };
  Result res;
  std::unordered_set<State, Hash> seen;
  std::vector<Frame> path;
  State s0;
  memset(&s0, 0, sizeof s0);
  for (int t = threads; t < kThreads; t++) s0.th[t].pc = kDone;
  m.init(s0);
  seen.insert(s0);
  path.push_back({s0, 0, -1, false});
  auto fail = [&](const char* what) {
    res.error = what;
    for (size_t i = 1; i < path.size(); i++)
      res.trace += std::string(" ") + (path[i].came & 1 ? "drain" : "t") + std::to_string(path[i].came / 2) + "@" +
                   std::to_string(path[i - 1].s.th[path[i].came / 2].pc);
  };
  while (!path.empty() && res.error.empty()) {
    Frame& f = path.back();
    if (f.choice == 2 * threads) {
      if (!f.moved) {
        bool done = true;
        for (int t = 0; t < threads; t++) done = done && f.s.th[t].pc == kDone;
        if (const char* e = done ? m.final(f.s) : m.stuck(f.s)) fail(e);
      }
      path.pop_back();
      continue;
    }
    int c = f.choice++, t = c / 2;
    State n = f.s;
    Cpu cpu{n, t};
    if (c & 1) {
      if (!n.th[t].n) continue;
      Cpu::drain_one(n, t);
    } else {
      if (n.th[t].pc == kDone || !m.step(cpu, n)) continue;
    }
    f.moved = true;
    if (cpu.error) {
      path.push_back({n, 0, c, false});
      fail(cpu.error);
      break;
    }
    if (seen.insert(n).second) {
      if (seen.size() > limit) {
        fail("too many states: make the model smaller");
        break;
      }
      path.push_back({n, 0, c, false}); // f is invalid from here
    }
  }
  res.states = seen.size();
  return res;
}

// The faithful model must be right; each mutant must be caught.
inline int g_failures;
template <class Model> void expect_right(const char* name, Model m, int threads) {
  Result r = explore(m, threads);
  printf("%-62s %8zu states: %s\n", name, r.states, r.error.empty() ? "right" : r.error.c_str());
  if (!r.error.empty()) printf("  trace:%s\n", r.trace.c_str()), g_failures++;
}
template <class Model> void expect_caught(const char* name, Model m, int threads) {
  Result r = explore(m, threads);
  printf("%-62s %8zu states: %s%s\n", name, r.states, r.error.empty() ? "NOT CAUGHT" : "caught: ", r.error.c_str());
  if (r.error.empty() || r.error.compare(0, 8, "too many") == 0) g_failures++;
}
inline int verdict() {
  printf(g_failures ? "%d FAILED\n" : "all as expected\n", g_failures);
  return g_failures ? 1 : 0;
}

} // namespace model
