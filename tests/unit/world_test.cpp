// The stopped world, and the number of Ps changed while everything runs.
#include <pthread.h>
#include "unit.hpp"
using namespace unit;

namespace {

std::atomic<bool> stop;
std::atomic<long> rounds;
int key;

// All there is: switches, waits with and without deadlines, calls, program code that calls nothing.
void busy(int i) {
  while (!stop) {
    switch (i % 6) {
    case 0: yield(); break;
    case 1: sleep_until(nanotime() + 100000); break;
    case 2: blocking_sys(SYS_getppid); yield(); break;
    case 3: wake(&key, 1); yield(); break;
    case 4: wait_on(&key, [] { return !stop; }, {}, {}, {nanotime() + 300000, nullptr, nullptr}); break;
    case 5: {
      int64_t end = nanotime() + ms(1);
      while (nanotime() < end) relax();
      sleep_until(nanotime() + 10000);
    }
    }
    rounds++;
  }
}

struct Crowd {
  Latch l;
  explicit Crowd(int n) : l{uint32_t(n)} {
    stop = false;
    for (int i = 0; i < n; i++) go(&l, [i] { busy(i); });
  }
  void end() {
    stop = true;
    l.wait();
  }
  static void gets_on() { // everybody's doing, so it ends only if the Ps are back
    const long r = rounds;
    CHECK(soon([r] { return rounds > r + 50; }));
  }
};

struct Snapshot {
  long parks = 0, ticks = 0, timers = 0, queued = 0;
  Snapshot() {
    for (int i = 0; i < sched.nprocs; i++) {
      P* p = sched.allp[i];
      parks += p->parks, ticks += p->schedtick, timers += p->timers.n, queued += p->tail - p->head + (p->runnext != nullptr);
    }
  }
};

void stop_and_look() {
  stop_the_world();
  Snapshot a;
  int held = 0;
  for (P* p = sched.stopped; p; p = p->link) held++;
  CHECK_EQ(held, sched.nprocs - (getg() ? 1 : 0));
  CHECK_EQ(sched.npidle.load(), 0);
  const timespec ts{0, 1500000};
  sys(SYS_nanosleep, &ts, 0); // the others have all the time to go on
  Snapshot b;
  CHECK_EQ(a.parks, b.parks);
  CHECK_EQ(a.ticks, b.ticks);
  CHECK_EQ(a.timers, b.timers);
  CHECK_EQ(a.queued, b.queued);
  start_the_world();
}

void from_a_g() {
  Crowd c(12);
  for (int i = 0; i < 30; i++) {
    stop_and_look();
    Crowd::gets_on();
  }
  c.end();
}

void* from_outside(void*) {
  for (int i = 0; i < 30; i++) {
    stop_and_look();
    usleep(500);
  }
  return nullptr;
}
void from_threads() {
  Crowd c(12);
  pthread_t t[2];
  for (auto& x : t) pthread_create(&x, nullptr, from_outside, nullptr);
  for (int i = 0; i < 20; i++) {
    stop_and_look();
    Crowd::gets_on();
  }
  enter_syscall_block();
  for (auto& x : t) pthread_join(x, nullptr);
  exit_syscall();
  Crowd::gets_on();
  c.end();
}
// With nothing to run at all, from outside: whoever waits for timers and descriptors must be there afterwards.
void idle_world() {
  Latch l(1);
  go(&l, [] { sleep_until(nanotime() + ms(60)); });
  pthread_t t;
  pthread_create(&t, nullptr, from_outside, nullptr);
  l.wait();
  sleep_until(nanotime() + ms(20));
  enter_syscall_block();
  pthread_join(t, nullptr);
  exit_syscall();
  sleep_until(nanotime() + ms(1));
}

// Spinners that never call anything are stopped as well.
void spinners() {
  static std::atomic<bool> on;
  static std::atomic<int> begun;
  on = true, begun = 0;
  Latch l(3);
  for (int i = 0; i < 3; i++)
    go(&l, [] {
      begun++;
      while (on.load(std::memory_order_relaxed)) relax();
    });
  while (begun < 3) sleep_until(nanotime() + ms(1));
  for (int i = 0; i < 5; i++) {
    stop_and_look();
    sleep_until(nanotime() + ms(1));
  }
  on = false;
  l.wait();
}

void number_of_ps() {
  const int before = sched.nprocs;
  Crowd c(18);
  uint32_t x = 12345;
  for (int i = 0; i < 60; i++) {
    x = x * 1664525 + 1013904223;
    const int n = 1 + int(x >> 16) % 9;
    set_maxprocs(n);
    CHECK_EQ(sched.nprocs.load(), n);
    CHECK_EQ(stats().ps, n);
    Crowd::gets_on();
  }
  set_maxprocs(before);
  c.end();
  // Timers of Ps that are gone were not forgotten, shells neither.
  for (int i = before; i < kMostPs && sched.allp[i]; i++) {
    CHECK_EQ(sched.allp[i]->timers.n, 0);
    CHECK(sched.allp[i]->gfree == nullptr);
  }
}
void sleepers_over_a_change() {
  const int before = sched.nprocs;
  Latch l(200);
  set_maxprocs(6);
  for (int i = 0; i < 200; i++)
    go(&l, [i] { CHECK(sleep_until(nanotime() + ms(20) + i * 50000) == Wait::Timeout); });
  sleep_until(nanotime() + ms(5));
  set_maxprocs(1);
  sleep_until(nanotime() + ms(5));
  set_maxprocs(4);
  l.wait();
  set_maxprocs(before);
}
void books() {
  CHECK(soon([] { return sched.nmspinning.load() == 0; }));
  CHECK(soon([] { return sched.npidle.load() >= sched.nprocs - 1; }));
  CHECK_EQ(sched.robbed.load(), 0);
  RtScope rt;
  Locked lk(sched.lock);
  int listed = 0;
  for (P* p = sched.pidle; p; p = p->link) listed++;
  CHECK_EQ(listed, sched.npidle.load());
  CHECK(sched.stopped == nullptr);
  CHECK_EQ(sched.stop_wait, 0);
}

} // namespace

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"stopped by a G", from_a_g},
              {"stopped by threads that are no Gs", from_threads},
              {"an idle world", idle_world},
              {"spinners stop", spinners},
              {"the number of Ps, at random", number_of_ps},
              {"sleepers over a change", sleepers_over_a_change},
              {"the books balance", books}});
}
