// The end of a wait (wait.cpp, lot.cpp): many wakers race for one claim on g->wait.
//
// Waits:      t0 the waiter, two rounds of begin_wait, queueing, park, clean-up; t1 and t2 wakers as in lot.cpp (take, write the token, finish);
//             t3 the timer, a direct claim; t4 a direct claim as netpoll makes it (its own lock and queue).
// Interrupts: t0 waits until it has seen what both interrupters wanted; t1 and t2: raise a flag, interrupt().
#include "explorer.hpp"
using namespace model;

namespace {
enum { W, Lock, Queued, Token, TimerLock, Armed, FdLock, FdQueued, Run, Intr, Flag1, Flag2, Stop };
enum { Running = 0, Waiting = 1, Parked = 2, Claimed = 4, Reserved = 8, ReservedParked = 9 };
constexpr int kWoken = Claimed, kTimeout = Claimed | 0x10, kIntr = Claimed | 0x20, kDirect = Claimed | 0x40; // which claim
enum { Alive, Claims, Asleep, Last };  // ghost: the waiter's record exists; successful claims; registers saved, not yet run again; which
enum Mutation { None, OneStepClaim, BlindPark, BlindClaim, FinishWithoutReady, ReadyAlways, TokenLate, BeginPlainStore, IntrPlainStore, IntrNoFence };

struct Wait {
  Mutation mut;
  void init(State&) {}
  void claimed(Cpu& c, int which) { c.ghost(Claims)++, c.ghost(Last) = uint8_t(which); }
  void make_ready(Cpu& c) {
    c.check(c.ghost(Asleep) == 1, "a G is made runnable that has not parked (it would run on two Ms)");
    c.check(c.s.mem[Run] == 0, "a G is made runnable twice");
    c.xchg(Run, 1);
  }
  // claim(): one step per CAS attempt; true when finished, *won says how.
  bool claim(Cpu& c, int which, bool* won, bool* parked) {
    for (int w : {Waiting, Parked})
      if (c.ld(W) == w) {
        if (mut == BlindClaim) c.st(W, which);
        else if (!c.cas(W, w, which)) return false;
        claimed(c, which);
        *won = true, *parked = w == Parked;
        return true;
      }
    *won = false;
    return true;
  }
  bool waiter(Cpu& c) {
    auto& round = c.r(0);
    switch (c.pc()) {
    case 0: // under the bucket's lock
      if (!c.cas(Lock, 0, 1)) return false;
      c.next();
      return true;
    case 1: c.xchg(W, Waiting), c.ghost(Alive) = 1, c.ghost(Claims) = 0, c.next(); return true;
    case 2: c.st(Token, 0), c.st(Queued, 1), c.next(); return true;
    case 3: c.xchg(Lock, 0), c.next(); return true;
    case 4: // also in a descriptor's queue (as if it waited for both: the claims are the same)
      if (!c.cas(FdLock, 0, 1)) return false;
      c.st(FdQueued, 1), c.xchg(FdLock, 0), c.next();
      return true;
    case 5:
      if (!c.cas(TimerLock, 0, 1)) return false;
      c.st(Armed, 1), c.xchg(TimerLock, 0), c.next();
      return true;
    case 6: c.go(c.ld(W) & Claimed ? 20 : 7); return true;           // park()
    case 7: c.ghost(Asleep) = 1, c.next(); return true;              // on g0: commit_park
    case 8:
      if (mut == BlindPark) { c.xchg(W, Parked), c.go(10); return true; }
      c.go(c.cas(W, Waiting, Parked) ? 10 : 9);
      return true;
    case 9:
      if (c.ld(W) == Reserved && c.cas(W, Reserved, ReservedParked)) c.go(10);
      else c.ghost(Asleep) = 0, c.go(20);
      return true;
    case 10: // asleep until somebody has made it runnable
      if (!c.s.mem[Run]) return false;
      c.xchg(Run, 0), c.ghost(Asleep) = 0, c.go(20);
      return true;
    case 20: {
      uint8_t w = c.ld(W);
      c.check(w & Claimed, "the wait is over although nobody has ended it");
      c.check(c.ghost(Claims) == 1, "one wait was ended twice");
      c.check(c.ghost(Last) == w, "the reason is another's");
      c.r(1) = w;
      c.st(W, Running), c.next();
      return true;
    }
    case 21: // clean-up: timer_del, the descriptor's queue, the bucket unless woken from there
      if (!c.cas(TimerLock, 0, 1)) return false;
      c.st(Armed, 0), c.xchg(TimerLock, 0), c.next();
      return true;
    case 22:
      if (!c.cas(FdLock, 0, 1)) return false;
      c.st(FdQueued, 0), c.xchg(FdLock, 0), c.next();
      return true;
    case 23:
      if (c.r(1) == kWoken) {
        c.check(c.ld(Token) == 1, "woken without the token");
        c.next();
        return true;
      }
      if (!c.cas(Lock, 0, 1)) return false;
      c.st(Queued, 0), c.xchg(Lock, 0), c.next();
      return true;
    case 24: c.ghost(Alive) = 0, c.go(++round < 2 ? 0 : 25); return true; // wait_on returns: the record is gone
    case 25: c.xchg(Stop, 1), c.go(kDone); return true;
    }
    return false;
  }
  // lot.cpp: wake_one
  bool waker(Cpu& c) {
    auto& parked = c.r(0);
    bool won = false, p = false;
    switch (c.pc()) {
    case 0:
      if (!c.cas(Lock, 0, 1)) return false;
      c.go(c.ld(Queued) ? 1 : 6);
      return true;
    case 1:
      c.check(c.ghost(Alive), "a waiter is found in the queue that has returned");
      c.st(Queued, 0), c.next();
      return true;
    case 2: // take()
      if (mut == OneStepClaim) {
        if (!claim(c, kWoken, &won, &p)) return true;
        parked = p, c.go(won ? 3 : 6);
        return true;
      }
      if (c.ld(W) == Waiting) {
        if (c.cas(W, Waiting, Reserved)) claimed(c, kWoken), parked = 0, c.go(3);
      } else if (c.ld(W) == Parked) {
        if (c.cas(W, Parked, kWoken)) claimed(c, kWoken), parked = 1, c.go(3);
      } else c.go(6);
      return true;
    case 3:
      if (mut != TokenLate) {
        c.check(c.ghost(Alive), "the token is written into a record that is gone");
        c.st(Token, 1);
      }
      c.next();
      return true;
    case 4: // finish()
      if (mut != OneStepClaim && !parked) parked = c.xchg(W, kWoken) == ReservedParked;
      if (mut == FinishWithoutReady && c.s.mem[W] == kWoken && !c.r(2)) parked = 0;
      c.next();
      return true;
    case 5:
      if (mut == TokenLate) {
        c.check(c.ghost(Alive), "the token is written into a record that is gone");
        c.st(Token, 1);
      }
      c.next();
      return true;
    case 6: c.xchg(Lock, 0), c.next(); return true;
    case 7:
      if (parked) make_ready(c);
      c.go(kDone);
      return true;
    }
    return false;
  }
  // timer.cpp and netpoll.cpp: the claim under the lock of the queue that named the G. The timer goes on until the waiter is done (it always has a
  // deadline), so a waiter that never returns has lost a wake-up.
  bool direct(Cpu& c, int lock, int queued, int which, bool again) {
    bool won = false, p = false;
    switch (c.pc()) {
    case 0:
      if (c.ld(Stop)) { c.go(kDone); return true; }
      if (again && !c.ld(queued)) return false;
      if (!c.cas(lock, 0, 1)) return false;
      c.go(c.ld(queued) ? 1 : 3);
      return true;
    case 1:
      c.check(c.ghost(Alive), "a waiter is found in the queue that has returned");
      c.st(queued, 0), c.next();
      return true;
    case 2:
      if (!claim(c, which, &won, &p)) return true;
      c.r(0) = mut == ReadyAlways ? won : won && p;
      c.next();
      return true;
    case 3: c.xchg(lock, 0), c.next(); return true;
    case 4:
      if (c.r(0)) make_ready(c);
      c.r(0) = 0, c.go(again ? 0 : kDone);
      return true;
    }
    return false;
  }
  bool step(Cpu& c, State&) {
    switch (c.t) {
    case 0: return waiter(c);
    case 1: case 2: return waker(c);
    case 3: return direct(c, TimerLock, Armed, kTimeout, true);
    default: return direct(c, FdLock, FdQueued, kDirect, false);
    }
  }
  const char* final(const State&) { return nullptr; }
  const char* stuck(const State&) { return "a wait never ends: lost wake-up"; }
};

struct Interrupts {
  Mutation mut;
  void init(State&) {}
  bool step(Cpu& c, State&) {
    if (c.t == 0) switch (c.pc()) {
      case 0: // begin_wait
        if (mut == BeginPlainStore) c.st(W, Waiting);
        else c.xchg(W, Waiting);
        c.next();
        return true;
      case 1: c.go(c.ld(Intr) ? 2 : 5); return true;
      case 2:
        if (mut == IntrPlainStore) c.st(Intr, 0);
        else c.xchg(Intr, 0);
        c.next();
        return true;
      case 3: c.st(W, Running), c.go(12); return true; // cancel_wait: Interrupted
      case 5: c.go(c.ld(W) & Claimed ? 10 : 6); return true;
      case 6: c.ghost(Asleep) = 1, c.go(c.cas(W, Waiting, Parked) ? 7 : 9); return true;
      case 7:
        if (!c.s.mem[Run]) return false;
        c.xchg(Run, 0), c.next();
        return true;
      case 8: c.next(); return true;
      case 9: c.ghost(Asleep) = 0, c.next(); return true;
      case 10: c.check(c.ld(W) == kIntr, "the wait is over although nobody has ended it"), c.st(W, Running), c.next(); return true;
      case 11:
        if (mut == IntrPlainStore) c.st(Intr, 0);
        else c.xchg(Intr, 0);
        c.next();
        return true;
      case 12: c.r(0) |= c.ld(Flag1), c.next(); return true; // what was it for?
      case 13: c.r(1) |= c.ld(Flag2), c.go(c.r(0) && c.r(1) ? kDone : 0); return true;
      }
    else switch (c.pc()) {
      case 0: c.st(c.t == 1 ? Flag1 : Flag2, 1), c.next(); return true;
      case 1:
        c.st(Intr, 1);
        if (mut != IntrNoFence) c.fence();
        c.next();
        return true;
      case 2: {
        uint8_t w = c.ld(W);
        if (w != Waiting && w != Parked) c.go(kDone);
        else if (c.cas(W, w, kIntr)) c.r(0) = w == Parked, c.next();
        return true;
      }
      case 3:
        if (c.r(0)) c.check(c.ghost(Asleep) == 1, "a G is made runnable that has not parked"), c.xchg(Run, 1);
        c.go(kDone);
        return true;
      }
    return false;
  }
  const char* final(const State&) { return nullptr; }
  const char* stuck(const State&) { return "the G sleeps although an interrupt has come that it has not seen"; }
};
} // namespace

int main() {
  expect_right("one wait, two wakers, a timer", Wait{None}, 4);
  expect_right("one wait, two wakers, a timer, a descriptor", Wait{None}, 5);
  expect_caught("  claim in one step, then the token", Wait{OneStepClaim}, 4);
  expect_caught("  token written after finish", Wait{TokenLate}, 4);
  expect_caught("  parking without a CAS", Wait{BlindPark}, 4);
  expect_caught("  claiming without a CAS", Wait{BlindClaim}, 5);
  expect_caught("  finish forgets the parked G", Wait{FinishWithoutReady}, 4);
  expect_caught("  claim makes a G runnable that has not parked", Wait{ReadyAlways}, 4);
  expect_right("interrupts", Interrupts{None}, 3);
  expect_caught("  Waiting published by a plain store", Interrupts{BeginPlainStore}, 3);
  expect_caught("  intr cleared by a plain store", Interrupts{IntrPlainStore}, 3);
  expect_caught("  interrupt() without a fence", Interrupts{IntrNoFence}, 3);
  return verdict();
}
