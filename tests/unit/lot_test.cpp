// The parking lot: order, deadlines, tokens, requeue, fairness, Gs and foreign threads as waiters and wakers.
#include <pthread.h>
#include "unit.hpp"
using namespace unit;

// Parks on key until woken; *state: 1 queued.
struct Parked {
  std::atomic<int> queued{0};
  std::atomic<int> result{-1};
  uintptr_t token = 0;
  const void* addr = nullptr;
};
static void park_on(const void* key, Parked* p, int64_t deadline = kNoDeadline) {
  WaitOpts o{deadline, &p->token, &p->addr};
  Wait w = wait_on(key, [&] { p->queued = 1; return true; }, {}, {}, o);
  p->result = int(w);
}
static void wait_queued(Parked& p) {
  while (!p.queued) yield();
}

static void fifo() {
  constexpr int kN = 50;
  static int key;
  std::vector<int> order;
  Parked p[kN];
  Latch l(kN);
  for (int i = 0; i < kN; i++) {
    go(&l, [&, i] {
      park_on(&key, &p[i]);
      order.push_back(i); // one wake at a time: no race
      p[i].queued = 2;
    });
    wait_queued(p[i]);
  }
  for (int i = 0; i < kN; i++) {
    CHECK_EQ(wake(&key, 1), 1);
    CHECK(soon([&] { return p[i].queued.load() == 2; }));
    CHECK_EQ(p[i].result.load(), int(Wait::Woken));
    for (int k = i + 1; k < kN; k++) CHECK_EQ(p[k].result.load(), -1);
  }
  CHECK_EQ(wake(&key, 1), 0);
  l.wait();
  for (int i = 0; i < kN; i++) CHECK_EQ(order[size_t(i)], i);
}

static void tokens_and_more() {
  static int key;
  Parked p[3];
  Latch l(3);
  for (auto& x : p) {
    go(&l, [&] { park_on(&key, &x); });
    wait_queued(x);
  }
  for (int i = 0; i < 3; i++)
    wake_one(&key, [&](Unpark u) -> uintptr_t {
      CHECK(u.woke);
      CHECK_EQ(u.more, i < 2);
      return 1000 + uintptr_t(i);
    });
  wake_one(&key, [&](Unpark u) -> uintptr_t {
    CHECK(!u.woke && !u.more);
    return 5;
  });
  l.wait();
  uintptr_t all = 0;
  for (int i = 0; i < 3; i++) {
    if (!g_config.chaos) CHECK_EQ(p[i].token, 1000 + i); // first come, first served
    all += 1u << 4 * (p[i].token - 1000);
  }
  CHECK_EQ(all, 0x111);
}

static void validate_says_no() {
  static int key;
  int64_t t = nanotime();
  Wait w = wait_on(&key, [] { return false; }, [] { CHECK(false); }, {}, {t + ms(5000), nullptr, nullptr});
  CHECK(w == Wait::Invalid);
}

static void deadlines() {
  static int key;
  int calls = 0;
  bool last = false;
  int64_t until = nanotime() + ms(20);
  Wait w = wait_on(&key, [] { return true; }, {}, [&](const void* k, bool l) { calls++, last = l; CHECK(k == &key); }, {until, nullptr, nullptr});
  CHECK(w == Wait::Timeout);
  CHECK(nanotime() >= until);
  CHECK_EQ(calls, 1);
  CHECK(last);
  // not the last: another one still waits
  Parked p;
  Latch l(1);
  go(&l, [&] { park_on(&key, &p); });
  wait_queued(p);
  w = wait_on(&key, [] { return true; }, {}, [&](const void*, bool l) { last = l; }, {nanotime() + ms(5), nullptr, nullptr});
  CHECK(w == Wait::Timeout);
  CHECK(!last);
  CHECK_EQ(wake(&key, 9), 1);
  l.wait();
  CHECK_EQ(wake(&key, 9), 0);
  // long past
  CHECK(wait_on(&key, [] { return true; }, {}, {}, {1, nullptr, nullptr}) == Wait::Timeout);
}

// Wakers and deadlines race for every waiter: what the wakers took and what the waiters say must agree.
static void deadline_race() {
  static int key;
  constexpr int kN = 40, kRounds = 60;
  std::atomic<long> woken{0}, timeouts{0}, taken{0};
  std::atomic<bool> stop{false};
  Latch l(kN), lw(1);
  for (int i = 0; i < kN; i++)
    go(&l, [&, i] {
      for (int r = 0; r < kRounds; r++) {
        uintptr_t tok = 0;
        Wait w = wait_on(&key, [] { return true; }, {}, {}, {nanotime() + 20000 + (i * r % 50) * 10000, &tok, nullptr});
        if (w == Wait::Woken) {
          woken++;
          CHECK_EQ(tok, 77);
        } else timeouts++;
      }
    });
  go(&lw, [&] {
    while (!stop) {
      wake_one(&key, [&](Unpark u) -> uintptr_t {
        if (u.woke) taken++;
        return 77;
      });
      yield();
    }
  });
  l.wait();
  stop = true;
  lw.wait();
  CHECK_EQ(woken.load(), taken.load());
  CHECK_EQ(woken + timeouts, kN * kRounds);
}

static void requeueing() {
  static int from, to;
  constexpr int kN = 10;
  Parked p[kN];
  Latch l(kN);
  for (auto& x : p) {
    go(&l, [&] { park_on(&from, &x); });
    wait_queued(x);
  }
  CHECK_EQ(requeue(&from, &to, 1, 100, [](size_t&, size_t&) { return false; }, [](size_t, size_t, size_t) { CHECK(false); }), 0);
  size_t n = requeue(
    &from, &to, 9, 9, [](size_t& w, size_t& m) { return w = 1, m = 6, true; },
    [](size_t woken, size_t moved, size_t left) {
      CHECK_EQ(woken, 1);
      CHECK_EQ(moved, 6);
      CHECK_EQ(left, 3);
    });
  CHECK_EQ(n, 7);
  CHECK(soon([&] { return p[0].result.load() == 0; }));
  CHECK(p[0].addr == &from);
  // onto itself: nobody moves, and it ends
  CHECK_EQ(requeue(&to, &to, 0, SIZE_MAX, [](size_t&, size_t&) { return true; }, [](size_t, size_t, size_t) {}), 6);
  for (int i = 1; i <= 6; i++) { // in their order
    CHECK_EQ(wake(&to, 1), 1);
    CHECK(soon([&] { return p[i].result.load() == 0; }));
    CHECK(p[i].addr == &to);
  }
  CHECK_EQ(wake(&to, 100), 0);
  CHECK_EQ(wake(&from, 100), 3);
  l.wait();
}

// Waiters whose deadline strikes while they are moved about must find the queue they are in.
static void requeue_race() {
  static int key[2];
  constexpr int kN = 24, kRounds = 40;
  std::atomic<bool> stop{false};
  Latch l(kN), lm(1);
  for (int i = 0; i < kN; i++)
    go(&l, [&, i] {
      for (int r = 0; r < kRounds; r++)
        wait_on(&key[i & 1], [] { return true; }, {}, {}, {nanotime() + 10000 * (1 + (i + r) % 30), nullptr, nullptr});
    });
  go(&lm, [&] {
    for (int i = 0; !stop; i++) {
      requeue(&key[i & 1], &key[~i & 1], 0, 5, [](size_t&, size_t&) { return true; }, [](size_t, size_t, size_t) {});
      if (i % 7 == 0) wake(&key[i & 1], 2);
      yield();
    }
  });
  l.wait();
  stop = true;
  lm.wait();
  CHECK_EQ(wake(&key[0], SIZE_MAX) + wake(&key[1], SIZE_MAX), 0);
}

static void fairness() {
  static int key;
  Parked p;
  Latch l(1);
  go(&l, [&] { park_on(&key, &p); });
  wait_queued(p);
  sleep_until(nanotime() + ms(5));
  bool fair = false;
  wake_one(&key, [&](Unpark u) -> uintptr_t { return fair = u.fair, 0; });
  CHECK(fair); // has waited longer than 1 ms
  l.wait();
}

// before_sleep runs after queueing: a wake from there finds the waiter.
static void wake_in_before_sleep() {
  static int key;
  for (int i = 0; i < 200; i++) {
    size_t n = 0;
    Wait w = wait_on(&key, [] { return true; }, [&] { n = wake(&key, 1); }, {}, {});
    CHECK(w == Wait::Woken);
    CHECK_EQ(n, 1);
  }
}

// Foreign threads: waiters with and without deadline, wakers of Gs; a ball goes to and fro between a G and a thread.
static std::atomic<uint32_t> ball;
static void* foreign_player(void*) {
  if (getg()) return nullptr;
  for (uint32_t i = 0; i < 2000; i++) {
    while (ball.load() != 1) wait_on(&ball, [] { return ball.load() != 1; }, {}, {}, {});
    ball = 0;
    wake(&ball, 1);
  }
  int64_t until = nanotime() + ms(10);
  Wait w = wait_on(&ball, [] { return true; }, {}, {}, {until, nullptr, nullptr});
  return reinterpret_cast<void*>(w == Wait::Timeout && nanotime() >= until ? 1L : 0L);
}
static void foreign() {
  pthread_t t;
  pthread_create(&t, nullptr, foreign_player, nullptr);
  for (uint32_t i = 0; i < 2000; i++) {
    ball = 1;
    wake(&ball, 1);
    while (ball.load() != 0) wait_on(&ball, [] { return ball.load() != 0; }, {}, {}, {});
  }
  void* r = nullptr;
  SyscallScope in_join;
  pthread_join(t, &r);
  CHECK(r == reinterpret_cast<void*>(1L));
}

// A lock built as the hooks build theirs: no increment may be lost, everybody must get through.
static void lock_of_many() {
  static std::atomic<uint32_t> word; // bit 0: held, bit 1: waited for
  static long counter;
  counter = 0;
  word = 0;
  constexpr int kN = 16, kRounds = 500;
  Latch l(kN);
  for (int i = 0; i < kN; i++)
    go(&l, [&] {
      for (int r = 0; r < kRounds; r++) {
        for (;;) {
          uint32_t v = word.load();
          if (!(v & 1)) {
            if (word.compare_exchange_strong(v, v | 1)) break;
            continue;
          }
          uintptr_t tok = 0;
          auto still_held = [] {
            uint32_t v = word.load();
            while (v & 1)
              if (word.compare_exchange_weak(v, v | 2)) return true;
            return false;
          };
          Wait w = wait_on(&word, still_held, {}, {}, {kNoDeadline, &tok, nullptr});
          if (w == Wait::Woken && tok == 1) break; // handed over
        }
        long c = counter;
        if (r % 16 == 0) yield();
        counter = c + 1;
        uint32_t o = 1;
        if (!word.compare_exchange_strong(o, 0))
          wake_one(&word, [](Unpark u) -> uintptr_t {
            bool hand_over = u.woke && u.fair;
            word = (u.more ? 2 : 0) | hand_over;
            return hand_over;
          });
      }
    });
  l.wait();
  CHECK_EQ(counter, kN * kRounds);
}

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"first in, first out", fifo},
              {"tokens; are there more", tokens_and_more},
              {"validate says no", validate_says_no},
              {"deadlines", deadlines},
              {"deadlines against wakers", deadline_race},
              {"requeue", requeueing},
              {"requeue against deadlines", requeue_race},
              {"fairness after 1 ms", fairness},
              {"a wake in before_sleep", wake_in_before_sleep},
              {"a foreign thread as waiter and waker", foreign},
              {"a lock of sixteen Gs", lock_of_many}});
}
