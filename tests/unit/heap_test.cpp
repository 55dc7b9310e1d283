// The timer heap alone, against a reference. An M and a P are made up; no scheduler runs.
#include <algorithm>
#include "unit.hpp"
using namespace unit;

static M fake_m;
static void fake_p() {
  fake_m.p = new P{};
  fake_m.rng = 1;
  t_m = &fake_m;
  sched.lastpoll = 1; // nobody sleeps in the poller: no breaks
}
static void check_heap(P* p) {
  auto& h = p->timers;
  for (uint32_t i = 0; i < h.n; i++) {
    CHECK_EQ(h.heap[i]->index, i);
    if (i) CHECK(h.heap[(i - 1) / 4]->when <= h.heap[i]->when);
  }
  CHECK_EQ(h.first.load(), h.n ? h.heap[0]->when : 0);
}

static void random_operations() {
  fake_p();
  P* p = fake_m.p;
  constexpr size_t kN = 3000;
  std::vector<G*> gs;
  std::vector<int64_t> when(kN, 0); // the reference: 0 = not armed
  for (size_t i = 0; i < kN; i++) gs.push_back(new G{}), gs[i]->goid = i;
  srand(unsigned(g_config.chaos) + 5);
  int64_t now = 1000;
  long fired = 0;
  for (int step = 0; step < 60000; step++) {
    size_t i = size_t(rand()) % kN;
    switch (rand() % 8) {
    case 0: case 1: case 2: case 3:
      if (when[i]) break;
      gs[i]->wait = waitword::Parked;
      when[i] = now + rand() % 5000 + 1;
      timer_add(gs[i], when[i]);
      break;
    case 4: case 5: // disarmed by its G; also when it has fired or never was armed
      timer_del(gs[i]);
      when[i] = 0;
      break;
    default: {
      if (rand() % 10) break;
      now += rand() % 400;
      GList out;
      check_timers(p, now, &out);
      int64_t last = 0;
      while (G* g = out.pop()) {
        CHECK(when[g->goid] != 0 && when[g->goid] <= now);
        CHECK(when[g->goid] >= last); // in order of time
        last = when[g->goid];
        CHECK_EQ(g->wait.load(), waitword::Claimed | uint32_t(Wait::Timeout) << 8);
        timer_del(g); // what the G itself does afterwards
        when[g->goid] = 0;
        fired++;
      }
      for (size_t k = 0; k < kN; k++)
        if (when[k]) CHECK(when[k] > now);
    }
    }
    if (step % 500 == 0) check_heap(p);
  }
  CHECK(fired > 1000);
  check_heap(p);
  uint32_t armed = 0;
  for (int64_t w : when) armed += w != 0;
  CHECK_EQ(p->timers.n, armed);
}

// A G that somebody else has claimed is dropped from the heap and not made runnable again.
static void lost_race() {
  fake_p();
  G *a = new G{}, *b = new G{}, *c = new G{};
  a->wait = waitword::Claimed;  // woken meanwhile
  b->wait = waitword::Waiting;  // has not slept yet: claimed, but runs on by itself
  c->wait = waitword::Parked;
  for (G* g : {a, b, c}) timer_add(g, 10);
  GList out;
  check_timers(fake_m.p, 10, &out);
  CHECK_EQ(out.n, 1);
  CHECK(out.pop() == c);
  CHECK_EQ(b->wait.load(), waitword::Claimed | uint32_t(Wait::Timeout) << 8);
  CHECK_EQ(a->wait.load(), waitword::Claimed);
  CHECK_EQ(timers_first(fake_m.p), 0);
}

static void odd_deadlines() {
  fake_p();
  G *a = new G{}, *b = new G{};
  timer_add(a, kNoDeadline); // for ever: no timer
  CHECK_EQ(fake_m.p->timers.n, 0);
  timer_del(a);
  timer_add(b, -5); // long over, and not confused with "none"
  CHECK(timers_first(fake_m.p) > 0);
  timer_del(b);
  CHECK_EQ(timers_first(fake_m.p), 0);
}

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"random add, del, fire against a reference", random_operations},
              {"timers whose G has been claimed", lost_race},
              {"no deadline, deadlines in the past", odd_deadlines}},
             false);
}
