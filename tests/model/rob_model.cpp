// Robbing and retaking (syscall.cpp, sysmon.cpp): a P must never be used by two.
//
// t0 is a G on its M: verbs (enter_rt .. leave_rt), announced calls (enter_syscall .. exit_syscall), program code in between.
// t1 is sysmon: tries to rob, to retake, to rob again.
// t2 is whoever gets the P from sysmon: uses it and puts it back among the idle ones.
#include "explorer.hpp"
using namespace model;

namespace {
enum { InRt, Steal, Insys, PStat, Mp, GStat, Free }; // Mp: m->p is this P; Free: it lies in the idle list
enum { SNone, STentative, STaken };
enum { PRunning, PSyscall, PIdle };
enum { GRunning, GSyscall };
enum { Owner, Robs, Retakes };                       // ghost; Owner: 0 the G's M, 1 sysmon or t2, 2 nobody (idle or up for grabs)
enum Mutation { None, OwnFences, NoBarrier, InsysFirst, InRtFirst, NoRecheck, IgnoreInsys, BlindReturn };

struct Rob {
  Mutation mut;
  void init(State& s) { s.mem[Mp] = 1; }
  void use(Cpu& c) {
    c.check(c.ghost(Owner) == 0, "the G uses a P that it does not own");
    c.check(c.ld(Mp) == 1, "the G is in the runtime without a P");
  }
  // Subroutines of t0; r0: where to go on. enter_rt: 40.., get_p: 50.., leave_syscall: 60..
  bool g(Cpu& c) {
    switch (c.pc()) {
    case 0: c.r(0) = 1, c.go(40); return true;
    case 1: use(c), c.next(); return true;
    case 2: use(c), c.next(); return true;             // a verb takes its time
    case 3: c.st(InRt, 0), c.next(); return true;      // program code
    case 4: c.r(0) = 5, c.go(40); return true;         // enter_syscall
    case 5: use(c), c.st(Mp, 0), c.next(); return true;
    case 6: c.st(GStat, GSyscall), c.next(); return true;
    case 7: c.st(Insys, 1), c.next(); return true;
    case 8: c.ghost(Owner) = 2, c.st(PStat, PSyscall), c.next(); return true;
    case 9: c.st(InRt, 0), c.next(); return true;      // the call
    case 10: c.st(InRt, 1), c.next(); return true;     // exit_syscall
    case 11: c.check(c.ld(Insys) == 1, "the call has ended by itself"), c.st(Insys, 0), c.next(); return true;
    case 12:
      if (mut == BlindReturn) c.st(PStat, PRunning), c.ghost(Owner) = 0, c.next();
      else if (c.cas(PStat, PSyscall, PRunning)) c.ghost(Owner) = 0, c.next();
      else c.r(0) = 14, c.go(50);
      return true;
    case 13: c.st(Mp, 1), c.next(); return true;
    case 14: use(c), c.st(GStat, GRunning), c.next(); return true;
    case 15: use(c), c.st(InRt, 0), c.next(); return true;
    case 16: // once more round
      c.go(c.r(1)++ == 0 ? 0 : kDone);
      return true;

    case 40: // enter_rt: no fence, only order of the code (OwnFences: kernels without membarrier)
      c.st(InRt, 1);
      if (mut == OwnFences) c.fence();
      c.next();
      return true;
    case 41: c.go(c.ld(Steal) ? 42 : c.r(0)); return true;
    case 42: {                                         // enter_rt_slow
      uint8_t s = c.ld(Steal);
      if (s == STentative) return false;               // sysmon decides soon
      if (s == STaken) c.st(Steal, SNone), c.go(50);
      else c.go(c.r(0));
      return true;
    }
    case 50:                                           // get_p; waiting in the global queue = waiting until it is idle
      if (!c.s.mem[Free]) return false;
      c.xchg(Free, 0), c.ghost(Owner) = 0;
      c.next();
      return true;
    case 51: c.st(PStat, PRunning), c.next(); return true;
    case 52: c.st(Mp, 1), c.go(c.r(0)); return true;
    }
    return false;
  }
  bool sysmon(Cpu& c) {
    switch (c.pc()) {
    case 0: c.go(c.ld(PStat) == PSyscall ? 20 : c.ld(PStat) == PRunning ? 1 : 30); return true;
    case 1: c.go(c.ld(InRt) ? 30 : 2); return true;    // rob
    case 2: c.go(c.cas(Steal, SNone, STentative) ? 3 : 30); return true;
    case 3:
      if (mut == OwnFences) c.fence();
      else if (mut != NoBarrier) c.fence_everybody();
      c.next();
      return true;
    case 4: // in_rt and insys by one load. Two loads, in either order, can see the G before and during (or during and after) a call.
      switch (mut) {
      case NoRecheck: c.r(0) = 0; break;
      case IgnoreInsys:
      case InRtFirst: c.r(0) = c.ld(InRt); break;
      case InsysFirst: c.r(0) = c.ld(Insys); break;
      default: c.r(0) = c.ld(Insys) | c.ld(InRt);
      }
      c.next();
      return true;
    case 5:
      if (mut == InRtFirst) c.r(0) |= c.ld(Insys);
      if (mut == InsysFirst) c.r(0) |= c.ld(InRt);
      c.next();
      return true;
    case 6: c.r(0) |= c.ld(Mp) == 0, c.next(); return true;
    case 7: c.r(0) |= c.ld(GStat) != GRunning, c.go(c.r(0) ? 8 : 10); return true;
    case 8: c.st(Steal, SNone), c.go(30); return true;
    case 10:
      c.check(c.ghost(Owner) == 0, "sysmon robs a P that is not the G's");
      c.ghost(Owner) = 1, c.ghost(Robs)++;
      c.st(Mp, 0), c.next();
      return true;
    case 11: c.st(Steal, STaken), c.go(25); return true;
    case 20: // retake
      if (c.cas(PStat, PSyscall, PIdle)) {
        c.check(c.ghost(Owner) == 2, "sysmon retakes a P that is in use");
        c.ghost(Owner) = 1, c.ghost(Retakes)++, c.go(25);
      } else c.go(30);
      return true;
    case 25: c.fence(), c.r(2) = 1, c.go(26); return true; // handoffp; t2 sees ghost Owner 1
    case 26: // until t2 has given it back, so that it can be taken again
      if (c.ghost(Owner) == 1) return false;
      c.go(30);
      return true;
    case 30: c.go(++c.r(1) < 3 ? 0 : kDone); return true;
    }
    return false;
  }
  bool other(Cpu& c, State& s) {
    switch (c.pc()) {
    case 0: // started by sysmon, or never
      if (s.th[1].pc == kDone) { c.go(kDone); return true; }
      if (s.th[1].pc != 26 || c.ghost(Owner) != 1) return false;
      c.next();
      return true;
    case 1: c.check(c.ghost(Owner) == 1, "the P's new owner uses it beside the old one"), c.next(); return true;
    case 2:
      c.check(c.ghost(Owner) == 1, "the P's new owner uses it beside the old one");
      c.st(PStat, PIdle), c.next();
      return true;
    case 3: c.fence(), c.ghost(Owner) = 2, c.xchg(Free, 1), c.go(0); return true;
    }
    return false;
  }
  bool step(Cpu& c, State& s) { return c.t == 0 ? g(c) : c.t == 1 ? sysmon(c) : other(c, s); }
  const char* final(const State&) { return nullptr; }
  const char* stuck(const State&) { return "stuck: the P is lost, or the G waits for a decision that never comes"; }
};
// A model whose sysmon never succeeds would be right as well: show that both ways of taking the P happen.
struct Reached : Rob {
  int which;
  const char* final(const State& s) { return s.ghost[which] ? "reached" : nullptr; }
};
} // namespace

int main() {
  expect_right("robbing and retaking", Rob{None}, 3);
  expect_right("  with fences of their own instead of membarrier", Rob{OwnFences}, 3);
  expect_caught("  (a robbery does succeed)", Reached{{None}, Robs}, 3);
  expect_caught("  (a retake does succeed)", Reached{{None}, Retakes}, 3);
  expect_caught("  without membarrier", Rob{NoBarrier}, 3);
  expect_caught("  without the second look", Rob{NoRecheck}, 3);
  expect_caught("  in_rt read, then insys", Rob{InRtFirst}, 3);
  expect_caught("  insys read, then in_rt", Rob{InsysFirst}, 3);
  expect_caught("  insys not read", Rob{IgnoreInsys}, 3);
  expect_caught("  exit_syscall without its CAS", Rob{BlindReturn}, 3);
  return verdict();
}
