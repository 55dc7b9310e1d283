// Sleeps: never too short, in their order, many at once, whatever P they were armed on.
#include "unit.hpp"
using namespace unit;

static void never_short() {
  for (int64_t d : {1, 1000, 50000, 1000000, 5000000}) {
    int64_t until = nanotime() + d;
    CHECK(sleep_until(until) == Wait::Timeout);
    CHECK(nanotime() >= until);
  }
  CHECK(sleep_until(0) == Wait::Timeout);
  CHECK(sleep_until(nanotime() - ms(1000)) == Wait::Timeout);
}

// Wide enough apart that the order is the scheduler's to keep: a sleeper with a deadline 40 ms later can't come first unless it was
// woken early, which is checked as well.
static void in_order() {
  constexpr int kN = 8;
  int64_t base = nanotime() + ms(20);
  std::atomic<int> n{0};
  int place[kN];
  Latch l(kN);
  for (int i = 0; i < kN; i++) {
    int slot = (i * 5 + 3) % kN;
    go(&l, [&, slot] {
      int64_t until = base + slot * ms(40);
      sleep_until(until);
      CHECK(nanotime() >= until);
      place[slot] = n++;
    });
  }
  l.wait();
  if (procs() == 1) // with more, the kernel may hold back one M for as long as it likes
    for (int i = 0; i < kN; i++) CHECK_EQ(place[i], i);
}

static void ten_thousand() {
  constexpr uint32_t kN = 10000;
  Latch l(kN);
  int64_t base = nanotime();
  std::atomic<long> early{0};
  for (uint32_t i = 0; i < kN; i++)
    go(&l, [&, i] {
      int64_t until = base + ms(10) + int64_t(i * 7919 % kN) * 10000;
      sleep_until(until);
      if (nanotime() < until) early++;
    }, {32 << 10, 4096, nullptr});
  l.wait();
  CHECK_EQ(early.load(), 0);
  for (int i = 0; i < sched.nprocs; i++) CHECK_EQ(sched.allp[i]->timers.n, 0);
}

// From the deepest idleness: all Ms asleep, sysmon too.
static void after_idleness() {
  for (int i = 0; i < 4; i++) {
    int64_t until = nanotime() + ms(130);
    CHECK(sleep_until(until) == Wait::Timeout);
    Latch l(4);
    for (int k = 0; k < 4; k++) go(&l, [] { sleep_until(nanotime() + ms(1)); });
    l.wait();
  }
}

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"never too short", never_short}, {"in order", in_order}, {"10,000 sleepers", ten_thousand}, {"after idleness", after_idleness}});
}
