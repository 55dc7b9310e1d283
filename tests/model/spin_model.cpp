// "The last look" (sched.cpp: wakep, find_runnable). A P may not sleep while work lies in a ring and nobody searches.
//
// t0 runs on P0: queues one G (a plain store to the ring's tail), looks whether anybody searches, else wakes an M for the idle P.
//    It then computes for ever: only another P can run what it has queued.
// t1 is the searcher on P1: finds nothing, gives P1 up, drops its mark, looks once more, sleeps.
// t2 is the M that t0 may wake.
#include "explorer.hpp"
using namespace model;

namespace {
enum { Work, Spinning, Idle, Woken };       // memory
enum { Taken };                             // ghost
enum Mutation { None, NoFenceQueuer, NoFenceSearcher, NoLastLook, LookBeforeDrop };

struct Spin {
  Mutation mut;
  void init(State& s) { s.mem[Spinning] = 1; }
  bool take(Cpu& c) { // steal: a CAS on head
    if (c.cas(Work, 1, 0)) {
      c.ghost(Taken) = 1;
      return true;
    }
    return false;
  }
  bool step(Cpu& c, State&) {
    switch (c.t) {
    case 0:
      switch (c.pc()) {
      case 0: c.st(Work, 1), c.next(); return true;
      case 1:
        if (mut != NoFenceQueuer) c.fence();
        c.next();
        return true;
      case 2: c.go(c.ld(Idle) == 0 ? kDone : 3); return true;
      case 3: c.go(c.ld(Spinning) != 0 ? kDone : 4); return true;
      case 4: c.go(c.cas(Spinning, 0, 1) ? 5 : kDone); return true;
      case 5: // startm: takes an idle P under the lock, or gives the mark back
        if (c.s.mem[Idle]) c.add(Idle, -1), c.xchg(Woken, 1);
        else c.add(Spinning, -1);
        c.go(kDone);
        return true;
      }
      return false;
    case 1:
      switch (c.pc()) {
      case 0: // the search; what is found ends the search (and wakes the next searcher: not needed here)
        if (take(c)) c.add(Spinning, -1), c.go(kDone);
        else c.next();
        return true;
      case 1:
        if (mut == LookBeforeDrop) c.r(0) = c.ld(Work);
        c.next();
        return true;
      case 2: c.add(Idle, 1), c.next(); return true;
      case 3:
        // On x86 the locked decrement is a fence itself; the mutant models a plain store, as a port might make of it.
        if (mut == NoFenceSearcher) c.st(Spinning, c.ld(Spinning) - 1);
        else c.add(Spinning, -1);
        c.next();
        return true;
      case 4: {
        bool work = mut == NoLastLook ? false : mut == LookBeforeDrop ? c.r(0) != 0 : c.ld(Work) != 0;
        c.go(work ? 5 : kDone);
        return true;
      }
      case 5: // P again, under the lock; none: somebody else has taken it and searches
        c.fence();
        if (c.s.mem[Idle]) c.add(Idle, -1), c.add(Spinning, 1), c.go(0);
        else c.go(kDone);
        return true;
      }
      return false;
    case 2:
      switch (c.pc()) {
      case 0:
        if (!c.s.mem[Woken]) return false;
        c.xchg(Woken, 0), c.next();
        return true;
      case 1:
        if (take(c)) c.add(Spinning, -1), c.go(kDone);
        else c.next();
        return true;
      case 2: c.add(Idle, 1), c.next(); return true;
      case 3: c.add(Spinning, -1), c.next(); return true;
      case 4: c.go(c.ld(Work) ? 5 : 0); return true;
      case 5:
        if (c.s.mem[Idle]) c.add(Idle, -1), c.add(Spinning, 1), c.go(1);
        else c.go(0);
        return true;
      }
      return false;
    }
    return false;
  }
  const char* judge(const State& s) { return s.ghost[Taken] ? nullptr : "work is queued, a P is idle and everybody sleeps"; }
  const char* final(const State& s) { return judge(s); }
  const char* stuck(const State& s) { return judge(s); }
};
} // namespace

int main() {
  expect_right("spinning and the last look", Spin{None}, 3);
  expect_caught("  without the queuer's fence", Spin{NoFenceQueuer}, 3);
  expect_caught("  without the searcher's", Spin{NoFenceSearcher}, 3);
  expect_caught("  without the last look", Spin{NoLastLook}, 3);
  expect_caught("  looking before the mark is dropped", Spin{LookBeforeDrop}, 3);
  return verdict();
}
