// interrupt(): ends a wait of any kind; one that comes too early ends the next wait; none is ever lost.
#include <sys/epoll.h>
#include <sys/socket.h>
#include "unit.hpp"
using namespace unit;

static void every_kind() {
  static int key;
  int f[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, f) == 0);
  CHECK(poll_open(f[0]));
  std::function<Wait()> waits[] = {
    [] { return wait_on(&key, [] { return true; }, {}, {}, {}); },
    [] { return sleep_until(nanotime() + ms(3600000)); },
    [&] { return poll_wait(f[0], Dir::Read, poll_seq(f[0], Dir::Read), kNoDeadline); },
    [&] {
      PollItem it{f[0], EPOLLIN, 0, 0};
      CHECK(poll_prepare(&it, 1));
      return poll_wait_many(&it, 1, kNoDeadline);
    }};
  for (auto& w : waits) {
    // while it waits
    std::atomic<G*> g{nullptr};
    Latch l(1);
    go(&l, [&] {
      g = getg();
      CHECK(w() == Wait::Interrupted);
    });
    CHECK(soon([&] { return g.load() && g.load()->status.load() == GStatus::Waiting; }));
    CHECK(interrupt(g));
    l.wait();
    // before it waits: the next wait ends at once, the one after that does not
    CHECK(!interrupt(getg()));
    CHECK(w() == Wait::Interrupted);
    int64_t until = nanotime() + ms(3);
    CHECK(sleep_until(until) == Wait::Timeout);
  }
  CHECK_EQ(wake(&key, 9), 0); // nobody was left in the queue
  for (int fd : f) poll_forget(fd), close(fd);
}

// timed_out hears of an interrupt as of a deadline, exactly once, also when it had come before the wait.
static void clean_up() {
  static int key;
  int calls = 0;
  interrupt(getg());
  Wait w = wait_on(&key, [] { return true; }, {}, [&](const void*, bool last) { calls++; CHECK(last); }, {});
  CHECK(w == Wait::Interrupted);
  CHECK_EQ(calls, 1);
}

// Interrupts against wakers: the sum must be right, and a request is seen sooner or later without any other help.
static void storm() {
  static std::atomic<uint32_t> key;
  constexpr int kN = 8, kRequests = 300;
  struct Target {
    std::atomic<G*> g{nullptr};
    std::atomic<int> asked{0}, seen{0};
  };
  static Target t[kN];
  Latch l(kN);
  std::atomic<long> woken{0}, taken{0};
  for (auto& x : t) {
    x.g = nullptr, x.asked = x.seen = 0;
    go(&l, [&] {
      x.g = getg();
      while (x.seen < kRequests) {
        Wait w = wait_on(&key, [] { return true; }, {}, {}, {});
        if (w == Wait::Woken) woken++;
        x.seen = x.asked.load();
      }
    });
  }
  for (auto& x : t) CHECK(soon([&] { return x.g.load() != nullptr; }));
  for (int r = 1; r <= kRequests; r++)
    for (auto& x : t) {
      x.asked = r;
      interrupt(x.g);
      if (r % 5 == 0) wake_one(&key, [&](Unpark u) -> uintptr_t { return taken += u.woke, 0; });
      if (r % 16 == 0) CHECK(soon([&] { return x.seen.load() == r; })); // on its own
    }
  l.wait();
  CHECK_EQ(woken.load(), taken.load());
}

int main(int argc, char** argv) {
  return run(argc, argv, {{"every kind of wait", every_kind}, {"clean-up after an interrupt", clean_up}, {"interrupts against wakers", storm}});
}
