// A child forked from a G: it goes on with its one thread, and may become a GMP process of its own.
#include <linux/rseq.h>
#include <sys/syscall.h>
#include "unit.hpp"
using namespace unit;

// Is a registration left that the kernel writes into? Then another one is refused.
static bool rseq_free() {
  alignas(32) static char area[32];
  memset(area, 0, sizeof area);
  long r = sys(SYS_rseq, area, sizeof area, 0, 0x53053053);
  if (r != 0) return false;
  sys(SYS_rseq, area, sizeof area, 1 /*RSEQ_FLAG_UNREGISTER*/, 0x53053053);
  return true;
}

static int child_life() {
  reset_in_child();
  if (getg() || mode() != Mode::Unstarted || main_g()) return 10;
  if (!rseq_free()) return 11;
  errno = 12;
  // plain thread: waits, wakes, sleeps
  int key = 0;
  if (wait_on(&key, [] { return true; }, {}, {}, {nanotime() + ms(2), nullptr, nullptr}) != Wait::Timeout) return 12;
  if (sleep_until(nanotime() + ms(1)) != Wait::Timeout || wake(&key, 1) != 0) return 13;
  if (errno != 12) return 14;
  // a GMP process again
  if (!start() || !getg() || getg() != main_g()) return 15;
  int before = failures;
  Latch l(50);
  std::atomic<int> n{0};
  for (int i = 0; i < 50; i++)
    go(&l, [&, i] {
      for (int k = 0; k < 20; k++) {
        if ((i + k) % 3 == 0) yield();
        else if ((i + k) % 3 == 1) sleep_until(nanotime() + 20000);
        else blocking_sys(SYS_getppid);
      }
      n++;
    });
  l.wait();
  if (n != 50 || failures != before) return 16;
  // and a child of the child
  pid_t pid = fork();
  if (pid == 0) {
    reset_in_child();
    if (!start()) _exit(1);
    Latch k(1);
    go(&k, [] { yield(); });
    k.wait();
    _exit(0);
  }
  int st = 0;
  enter_syscall();
  waitpid(pid, &st, 0);
  exit_syscall();
  return st == 0 ? 0 : 17;
}

static void fork_from(const char*) {
  pid_t pid = fork();
  if (pid == 0) _exit(child_life());
  int st = 0;
  enter_syscall();
  waitpid(pid, &st, 0);
  exit_syscall();
  CHECK_EQ(st, 0);
}

static void from_main() { fork_from("main"); }
// From Gs on other Ms, while others are busy, parked, in calls and asleep.
static void from_gs() {
  std::atomic<bool> stop{false};
  Latch noise(4), l(4);
  for (int i = 0; i < 4; i++)
    go(&noise, [&, i] {
      while (!stop) {
        if (i == 0) blocking_sys(SYS_getppid), yield();
        else if (i == 1) sleep_until(nanotime() + 30000);
        else if (i == 2) free(malloc(100)), yield();
        else sleep_until(nanotime() + ms(2));
      }
    });
  for (int i = 0; i < 4; i++)
    go(&l, [&] {
      yield();
      fork_from("a G");
    }, {256 << 10, 4096, nullptr});
  l.wait();
  stop = true;
  noise.wait();
}

int main(int argc, char** argv) { return run(argc, argv, {{"from main", from_main}, {"from Gs", from_gs}, {"from main again", from_main}}); }
