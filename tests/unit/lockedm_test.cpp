// Gs locked to an M: they stay on it through every kind of wait, nobody else runs there, and an M changed for good ends with its G.
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "unit.hpp"
using namespace unit;

static int tid() { return int(sys(SYS_gettid)); }

// A G that is locked now and then; counted.
static void counted() {
  Latch l(1);
  go(&l, [&] {
    lock_to_m();
    lock_to_m();
    const int t = tid();
    unlock_from_m();
    for (int i = 0; i < 200; i++) {
      yield();
      CHECK_EQ(tid(), t);
    }
    unlock_from_m();
    unlock_from_m(); // nothing left
    yield();
  });
  l.wait();
}

// Many locked Gs that yield, sleep, block and lock user-space words beside others that are not.
static void stays() {
  constexpr int kLocked = 6, kFree = 10;
  std::atomic<int> owner[kLocked]{};
  std::atomic<bool> done{false};
  std::atomic<int> word{0};
  Latch l(kLocked), f(kFree);
  for (int i = 0; i < kLocked; i++)
    go(&l, [&, i] {
      lock_to_m();
      const int t = tid();
      owner[i] = t;
      for (int r = 0; r < 60; r++) {
        switch ((r + i) % 4) {
        case 0: yield(); break;
        case 1: sleep_until(nanotime() + 20000); break;
        case 2: {
          timespec ts{0, 20000};
          blocking_sys(SYS_nanosleep, &ts, nullptr);
          break;
        }
        case 3: {
          int seen = word.load();
          WaitOpts o;
          o.deadline = nanotime() + 50000;
          wait_on(&word, [&] { return word.load() == seen; }, {}, [](const void*, bool) {}, o);
          break;
        }
        }
        CHECK_EQ(tid(), t);
      }
      owner[i] = 0;
      unlock_from_m();
    });
  for (int i = 0; i < kFree; i++)
    go(&f, [&] {
      while (!done) {
        const int t = tid();
        for (auto& o : owner) CHECK(o != t || t != tid()); // a look at two instants: moved in between is fine
        word++;
        wake(&word, 1);
        yield();
      }
    });
  l.wait();
  done = true;
  f.wait();
}

// As the kernel's call gives it: 20 less the nice value. The process may have been started with one.
static long priority() { return sys(SYS_getpriority, PRIO_PROCESS, 0); }
static const long own_start = priority();
static long nicer_by(int n) { return 20 - own_start + n; }

// An M of one's own shows what was asked for, others don't; it is gone with its G.
static void own_state() {
  std::atomic<int> where{0};
  Latch l(1);
  go(&l, [&] {
    long r = own_m(getg(), [&](int t) { where = t; return sys(SYS_setpriority, PRIO_PROCESS, t, nicer_by(7)); });
    CHECK_EQ(r, 0);
    CHECK(has_own_m(getg()));
    for (int i = 0; i < 20; i++) {
      sleep_until(nanotime() + 10000);
      CHECK_EQ(priority(), own_start - 7);
      CHECK_EQ(tid(), where);
    }
  });
  l.wait();
  for (int i = 0; i < 50; i++) {
    Latch k(4);
    for (int j = 0; j < 4; j++)
      go(&k, [&] {
        CHECK_EQ(priority(), own_start);
        yield();
      });
    k.wait();
  }
  // It ends after its G, not with it: bounded only by the watchdog.
  while (sys(SYS_tgkill, sys(SYS_getpid), where.load(), 0) == 0) sleep_until(nanotime() + 1000000);
}

static void taken_back() {
  Latch l(1);
  go(&l, [&] {
    CHECK_EQ(own_m(getg(), [&](int) -> long { return -EPERM; }), -EPERM);
    CHECK(!has_own_m(getg()));
    CHECK_EQ(own_m(getg(), [&](int) -> long { return 0; }), 0);
    CHECK(has_own_m(getg()));
    disown_m();
    CHECK(!has_own_m(getg()));
    yield();
  });
  l.wait();
}

// Asked for by another: of one that waits, of one that runs, of one that is locked already.
static void from_outside() {
  for (int kind = 0; kind < 3; kind++) {
    std::atomic<G*> target{nullptr};
    std::atomic<int> step{0};
    Latch l(1);
    go(&l, [&] {
      if (kind == 2) lock_to_m();
      target = getg();
      while (step == 0) kind == 1 ? yield() : void(sleep_until(nanotime() + 200000));
      on_own_m();
      CHECK_EQ(priority(), own_start - 5);
      CHECK_EQ(tid(), own_m_tid(getg()));
      if (kind == 2) unlock_from_m(); // the state is still its own
      CHECK(has_own_m(getg()));
      yield();
      CHECK_EQ(priority(), own_start - 5);
    });
    while (!target) yield();
    CHECK_EQ(own_m(target, [&](int t) { return sys(SYS_setpriority, PRIO_PROCESS, t, nicer_by(5)); }), 0);
    step = 1;
    l.wait();
  }
}

int main(int argc, char** argv) {
  return run(argc, argv, {{"counted", counted}, {"stays", stays}, {"own_state", own_state}, {"taken_back", taken_back}, {"from_outside", from_outside}});
}
