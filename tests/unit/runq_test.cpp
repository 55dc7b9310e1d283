// The run queue alone: no scheduler runs.
#include <deque>
#include <pthread.h>
#include "runtime/runq.hpp"
#include "unit.hpp"
using namespace unit;

static P* new_p() { return new P{}; }
static std::vector<G*> some_gs(size_t n) {
  std::vector<G*> v;
  for (size_t i = 0; i < n; i++) {
    v.push_back(new G{});
    v.back()->goid = i + 1;
  }
  return v;
}
static void empty_global() {
  while (sched.runq.pop()) {}
  sched.runqsize = 0;
}

static void fifo_and_next() {
  P* p = new_p();
  auto g = some_gs(4);
  CHECK(runq::empty(p));
  CHECK(!runq::get(p));
  runq::put(p, g[0], false), runq::put(p, g[1], false);
  CHECK_EQ(runq::length(p), 2);
  runq::put(p, g[2], true);
  runq::put(p, g[3], true); // kicks g[2] to the tail
  CHECK(runq::get(p) == g[3]);
  CHECK(runq::get(p) == g[0]);
  CHECK(runq::get(p) == g[1]);
  CHECK(runq::get(p) == g[2]);
  CHECK(!runq::get(p) && runq::empty(p));
}

// Two Gs that hand each other the CPU through runnext must not starve the ring.
static void next_streak() {
  P* p = new_p();
  auto g = some_gs(3);
  runq::put(p, g[2], false);
  runq::put(p, g[0], true);
  int turns = 0;
  for (; turns < 1000; turns++) {
    G* x = runq::get(p);
    if (x == g[2]) break;
    runq::put(p, x == g[0] ? g[1] : g[0], true);
  }
  CHECK(turns > 0 && turns <= 40);
}

static void overflow() {
  P* p = new_p();
  auto g = some_gs(kRunq + 1);
  empty_global();
  for (G* x : g) runq::put(p, x, false);
  CHECK_EQ(sched.runq.n, kRunq / 2 + 1);
  CHECK_EQ(sched.runqsize.load(), kRunq / 2 + 1);
  CHECK_EQ(runq::length(p), kRunq / 2);
  // the oldest half has gone, in order, then the one that did not fit
  for (size_t i = 0; i < kRunq / 2; i++) CHECK(sched.runq.pop() == g[i]);
  CHECK(sched.runq.pop() == g[kRunq]);
  for (size_t i = kRunq / 2; i < kRunq; i++) CHECK(runq::get(p) == g[i]);
  empty_global();
}

static void stealing() {
  P *p = new_p(), *v = new_p();
  auto g = some_gs(9);
  for (G* x : g) runq::put(v, x, false);
  G* got = runq::steal(p, v, false);
  CHECK(got == g[4]); // five of nine: the last is returned, four lie in p
  CHECK_EQ(runq::length(p), 4);
  CHECK_EQ(runq::length(v), 4);
  for (int i = 0; i < 4; i++) CHECK(runq::get(p) == g[size_t(i)]);
  for (int i = 5; i < 9; i++) CHECK(runq::get(v) == g[size_t(i)]);
  // runnext: only when asked, and not a fresh one
  sched.cycles_per_ms = 1000000000000; // everything is fresh
  runq::put(v, g[0], true);
  CHECK(!runq::steal(p, v, false));
  CHECK(!runq::steal(p, v, true));
  sched.cycles_per_ms = 0;
  CHECK(runq::steal(p, v, true) == g[0]);
  CHECK(runq::empty(v));
}

// The indices wrap around 2^32.
static void wrap() {
  P *p = new_p(), *v = new_p();
  v->head = v->tail = p->head = p->tail = 0xfffffff0u;
  auto g = some_gs(200);
  std::deque<G*> ref;
  srand(unsigned(g_config.chaos) + 1);
  size_t n = 0;
  for (int step = 0; step < 3000; step++) {
    if (rand() % 2 && ref.size() < 200) {
      G* x = g[n++ % 200];
      bool in = false;
      for (G* y : ref) in = in || x == y;
      if (in) continue;
      runq::put(v, x, false);
      ref.push_back(x);
    } else if (rand() % 3) {
      G* x = runq::get(v);
      CHECK(x == (ref.empty() ? nullptr : ref.front()));
      if (x) ref.pop_front();
    } else if (G* x = runq::steal(p, v, false)) {
      while (G* y = runq::get(p)) {
        CHECK(y == ref.front());
        ref.pop_front();
      }
      CHECK(x == ref.front());
      ref.pop_front();
    }
  }
}

// One owner, three stealers, kernel threads: every G is taken exactly once for each time it was put.
static P* shared_p;
static std::atomic<bool> owner_done;
static std::atomic<uint32_t>* taken;
static void* thief(void*) {
  P* p = new_p();
  for (;;) {
    bool last = owner_done.load();
    if (G* g = runq::steal(p, shared_p, true)) {
      taken[g->goid]++;
      while (G* h = runq::get(p)) taken[h->goid]++;
    } else if (last) return nullptr;
  }
}
static void concurrent() {
  constexpr size_t kN = 200000;
  shared_p = new_p();
  sched.cycles_per_ms = 0;
  owner_done = false;
  empty_global();
  taken = new std::atomic<uint32_t>[kN + 1]{};
  auto g = some_gs(kN);
  pthread_t t[3];
  for (auto& x : t) pthread_create(&x, nullptr, thief, nullptr);
  for (size_t i = 0; i < kN; i++) {
    runq::put(shared_p, g[i], i % 5 == 0);
    if (i % 3 == 0)
      if (G* x = runq::get(shared_p)) taken[x->goid]++;
  }
  while (G* x = runq::get(shared_p)) taken[x->goid]++;
  owner_done = true;
  for (auto x : t) pthread_join(x, nullptr);
  while (G* x = sched.runq.pop()) taken[x->goid]++;
  size_t wrong = 0;
  for (size_t i = 1; i <= kN; i++) wrong += taken[i] != 1;
  CHECK_EQ(wrong, 0);
  empty_global();
}

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"queue order and runnext", fifo_and_next},
              {"runnext does not starve the ring", next_streak},
              {"overflow moves the older half", overflow},
              {"stealing takes half", stealing},
              {"random operations over the wrap of the indices", wrap},
              {"an owner and three thieves", concurrent}},
             false);
}
