// The P and the kernel: announced calls, robbing, timers beside a computing G, the cap on Ms.
#include <sys/syscall.h>
#include "unit.hpp"
using namespace unit;

// With one P: a G sits in a call until another one, which needs the P, lets it go.
static void hand_off(void (*enter)()) {
  int f[2];
  CHECK(pipe(f) == 0);
  Latch l(2);
  std::atomic<bool> in{false};
  go(&l, [&] {
    errno = 55;
    in = true;
    enter();
    char c;
    long r = sys(SYS_read, f[0], &c, 1);
    exit_syscall();
    CHECK_EQ(r, 1);
    CHECK_EQ(errno, 55);
  });
  go(&l, [&] {
    while (!in) yield();
    CHECK_EQ(write(f[1], "x", 1), 1);
  });
  l.wait();
  close(f[0]), close(f[1]);
}
static void announced() {
  for (int i = 0; i < 50; i++) hand_off(enter_syscall);
}
static void announced_block() {
  for (int i = 0; i < 50; i++) hand_off(enter_syscall_block);
}
static void nested() {
  for (int i = 0; i < 1000; i++) {
    enter_syscall();
    enter_syscall(); // a hook within a hook's call
    exit_syscall();  // ends it
    exit_syscall();  // nothing left to end
    exit_syscall();
  }
  yield(); // the P is there
}
// Short calls from many Gs; what they count on the way in and out must add up.
static void many_calls() {
  constexpr int kN = 20, kRounds = 400;
  std::atomic<long> n{0};
  Latch l(kN);
  for (int i = 0; i < kN; i++)
    go(&l, [&, i] {
      for (int r = 0; r < kRounds; r++) {
        if (r % 50 == 49) {
          timespec ts{0, 200000};
          blocking_sys(SYS_nanosleep, &ts, nullptr);
        } else blocking_sys(SYS_getppid);
        n++;
        if (r % 3 == i % 3) yield();
      }
    });
  l.wait();
  CHECK_EQ(n.load(), kN * kRounds);
}

static std::atomic<bool> flag;
// A G spins in program code on what another one sets: with one P only robbing helps.
static void spin_on_flag() {
  flag = false;
  Latch l(1);
  go(&l, [&] { flag = true; });
  while (!flag.load(std::memory_order_relaxed)) relax();
  l.wait();
  // the other way round: the spinner is not main
  flag = false;
  Latch l2(1);
  std::atomic<bool> spins{false};
  go(&l2, [&] {
    spins = true;
    while (!flag.load(std::memory_order_relaxed)) relax();
  });
  while (!spins) yield();
  flag = true;
  l2.wait();
}
// A G blocks in a call that nobody announced.
static void unannounced() {
  int f[2];
  CHECK(pipe(f) == 0);
  Latch l(2);
  go(&l, [&] {
    char c;
    CHECK_EQ(sys(SYS_read, f[0], &c, 1), 1);
  });
  go(&l, [&] {
    yield();
    CHECK_EQ(write(f[1], "x", 1), 1);
  });
  l.wait();
  close(f[0]), close(f[1]);
}
// A sleeper must wake while another G computes; the computing one goes on until the sleeper has said so.
static void timer_beside_computing() {
  sleep_until(nanotime() + ms(80)); // everybody idle, sysmon in its deep sleep
  flag = false;
  Latch l(2);
  go(&l, [&] {
    int64_t give_up = nanotime() + ms(8000);
    while (!flag.load(std::memory_order_relaxed) && nanotime() < give_up) relax();
    CHECK(flag.load()); // else the sleeper has not woken while this G computed
  });
  go(&l, [&] {
    sleep_until(nanotime() + ms(1));
    flag = true;
  });
  l.wait();
}
// Verbs that are robbed and retaken at random moments: long stretches of program code between them.
static void rob_storm() {
  constexpr int kN = 6;
  std::atomic<long> n{0};
  Latch l(kN);
  for (int i = 0; i < kN; i++)
    go(&l, [&, i] {
      for (int r = 0; r < 12; r++) {
        int64_t end = nanotime() + ms(i % 2 ? 11 : 2);
        while (nanotime() < end) relax();
        if (r % 3 == 0) sleep_until(nanotime() + 50000);
        else if (r % 3 == 1) blocking_sys(SYS_getppid);
        else yield();
        n++;
      }
    });
  l.wait();
  CHECK_EQ(n.load(), kN * 12);
  // every P has come back
  CHECK(soon([] { return sched.npidle.load() >= sched.nprocs - 1; }));
}
// At the cap the calls that can't have an M wait for one that returns; nothing is lost.
static void cap() {
  int f[2];
  CHECK(pipe(f) == 0);
  int was = g_config.max_ms;
  g_config.max_ms = sched.nm.load(); // no more from here on
  int n = 3 * sched.nm.load() + 5;
  Latch l{uint32_t(n)};
  std::atomic<int> done{0};
  for (int i = 0; i < n; i++)
    go(&l, [&] {
      timespec ts{0, 3000000};
      blocking_sys(SYS_nanosleep, &ts, nullptr);
      done++;
    });
  l.wait();
  CHECK_EQ(done.load(), n);
  CHECK_EQ(sched.nm.load(), g_config.max_ms);
  g_config.max_ms = was;
  close(f[0]), close(f[1]);
}
// Searchers are counted right whatever happened: else wakep would never wake again, or nobody would search.
static void books() {
  CHECK(soon([] { return sched.nmspinning.load() == 0; }));
  CHECK(soon([] { return sched.npidle.load() >= sched.nprocs - 1; }));
  int listed = 0;
  {
    RtScope rt;
    Locked lk(sched.lock);
    for (P* p = sched.pidle; p; p = p->link) listed++;
    CHECK_EQ(listed, sched.npidle.load());
    int ms = 0;
    for (M* m = sched.midle; m; m = m->schedlink) ms++;
    CHECK_EQ(ms, sched.nmidle);
  }
}

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"announced calls hand the P off", announced},
              {"calls that block for certain", announced_block},
              {"nested announcements", nested},
              {"many Gs, short and long calls", many_calls},
              {"spinning on a flag", spin_on_flag},
              {"an unannounced call", unannounced},
              {"a timer beside a computing G", timer_beside_computing},
              {"robberies at random", rob_storm},
              {"the books balance", books},
              {"the cap on Ms", cap},
              {"the books balance after the cap", books}});
}
