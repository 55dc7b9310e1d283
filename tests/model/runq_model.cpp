// The ring of a P (runq.hpp): one owner that puts and gets, two stealers that take half. Capacity 4 instead of 256, indices start just below
// their wrap. Every item must be taken exactly once.
#include "explorer.hpp"
using namespace model;

namespace {
constexpr int kCap = 4;
enum { Head, Tail, Slot, Next = Slot + kCap };  // Next: runnext
enum Mutation { None, StealWithoutCas, GetWithoutCas, SlotAfterTail, OverflowWithoutCas };
constexpr int kItems = 6;

struct Runq {
  Mutation mut;
  void init(State& s) { s.mem[Head] = s.mem[Tail] = 254; }
  void took(Cpu& c, int item) { // ghost[i]: how often item i was taken
    c.check(item != 0, "an empty slot was taken for an item");
    if (item) c.check(++c.ghost(item) == 1, "an item was taken twice");
  }
  // The owner: puts items 1..kItems (1 and 4 through runnext, as ready() does), then gets until it sees nothing.
  bool owner(Cpu& c) {
    auto &item = c.r(0), &h = c.r(1), &t = c.r(2), &g = c.r(3), &k = c.r(4);
    switch (c.pc()) {
    case 0: // the next item
      if (item == kItems) { c.go(20); return true; }
      item++;
      g = item;
      if (item == 1 || item == 4) {
        g = c.xchg(Next, item); // what was there goes to the tail
        c.go(g ? 1 : 0);
      } else c.next();
      return true;
    case 1: h = c.ld(Head), c.next(); return true;
    case 2: t = c.ld(Tail), c.go(uint8_t(t - h) >= kCap ? 10 : 3); return true;
    case 3:
      if (mut == SlotAfterTail) c.st(Tail, t + 1);
      else c.st(Slot + t % kCap, g);
      c.next();
      return true;
    case 4:
      if (mut == SlotAfterTail) c.st(Slot + t % kCap, g);
      else c.st(Tail, t + 1);
      c.go(0);
      return true;
    // put_overflow: half of the ring and g to the global queue
    case 10: c.r(5) = uint8_t(c.ld(Slot + h % kCap) | c.ld(Slot + (h + 1) % kCap) << 4), c.next(); return true;
    case 11:
      if (mut == OverflowWithoutCas) c.st(Head, h + 2);
      else if (!c.cas(Head, h, h + 2)) { c.go(1); return true; }
      took(c, c.r(5) & 15), took(c, c.r(5) >> 4), took(c, g);
      c.go(0);
      return true;
    // get
    case 20: g = c.xchg(Next, 0); if (g) took(c, g); c.next(); return true;
    case 21: h = c.ld(Head), c.next(); return true;
    case 22: t = c.ld(Tail), c.go(t == h ? kDone : 23); return true;
    case 23: k = c.ld(Slot + h % kCap), c.next(); return true;
    case 24:
      if (mut == GetWithoutCas) c.st(Head, h + 1), took(c, k);
      else if (c.cas(Head, h, h + 1)) took(c, k);
      c.go(20);
      return true;
    }
    return false;
  }
  bool stealer(Cpu& c) { // steals once, half of what it sees, at most 2 items
    auto &h = c.r(0), &t = c.r(1), &n = c.r(2), &i = c.r(3), &batch = c.r(4);
    switch (c.pc()) {
    case 0: h = c.ld(Head), c.next(); return true;
    case 1:
      t = c.ld(Tail);
      n = uint8_t(t - h), n = uint8_t(n - n / 2), i = batch = 0;
      c.go(n == 0 ? 5 : n > kCap / 2 ? 0 : 2);
      return true;
    case 2:
      batch = uint8_t(batch | c.ld(Slot + (h + i) % kCap) << 4 * i);
      if (++i == n) c.next();
      return true;
    case 3:
      if (mut == StealWithoutCas) c.st(Head, h + n);
      else if (!c.cas(Head, h, h + n)) { c.go(0); return true; }
      took(c, batch & 15);
      if (n == 2) took(c, batch >> 4);
      c.go(kDone);
      return true;
    case 5: // runnext, since the ring is empty
      t = c.ld(Next);
      c.go(t ? 6 : kDone);
      return true;
    case 6:
      if (c.cas(Next, t, 0)) took(c, t);
      c.go(kDone);
      return true;
    }
    return false;
  }
  bool step(Cpu& c, State&) { return c.t == 0 ? owner(c) : stealer(c); }
  const char* final(const State& s) {
    for (int i = 1; i <= kItems; i++)
      if (s.ghost[i] != 1) return "an item was lost";
    return nullptr;
  }
  const char* stuck(const State&) { return "stuck"; }
};
} // namespace

int main() {
  expect_right("run queue ring: owner and two stealers", Runq{None}, 3);
  expect_caught("  a stealer that stores head", Runq{StealWithoutCas}, 3);
  expect_caught("  an owner that stores head", Runq{GetWithoutCas}, 3);
  expect_caught("  an overflow that stores head", Runq{OverflowWithoutCas}, 3);
  expect_caught("  tail published before the slot", Runq{SlotAfterTail}, 3);
  return verdict();
}
