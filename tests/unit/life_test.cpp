// The life of a G: TLS of its own, recycled shells, handles, stacks, many at once.
#include <sys/mman.h>
#include <sys/syscall.h>
#include "unit.hpp"
using namespace unit;

extern std::atomic<long> tls_made, tls_gone;
int& tls_initialised();
char* tls_zeros();
int& tls_counted();
static thread_local uintptr_t mine_in_exe; // in the runtime's own module: not reset by it, the hooks reset theirs

// The destructors of thread_local objects are the hooks' to call (libc's __call_tls_dtors); here as they do it.
extern "C" void __call_tls_dtors();

static void fresh_tls() {
  constexpr int kRounds = 300, kWidth = 8;
  std::vector<uintptr_t> shells;
  long made = tls_made, gone = tls_gone;
  int recycled = 0;
  for (int r = 0; r < kRounds; r++) {
    Latch l(kWidth);
    std::atomic<uintptr_t> tp[kWidth];
    for (int i = 0; i < kWidth; i++)
      go(&l, [&, i] {
        CHECK_EQ(errno, 0);
        CHECK_EQ(tls_initialised(), 41);
        for (int k = 0; k < 3000; k += 100) CHECK_EQ(tls_zeros()[k], 0);
        CHECK_EQ(tls_counted(), 7);
        tp[i] = thread_pointer_of(getg());
        errno = 1000 + i;
        tls_initialised() = i;
        memset(tls_zeros(), i + 1, 3000);
        tls_counted() = i;
        for (int k = 0; k < 5; k++) {
          yield();
          if (k == 2) sleep_until(nanotime() + 10000);
          CHECK_EQ(errno, 1000 + i);
          CHECK_EQ(tls_initialised(), i);
          CHECK_EQ(tls_zeros()[2999], i + 1);
          CHECK_EQ(tls_counted(), i);
        }
        __call_tls_dtors();
      });
    l.wait();
    for (auto& t : tp) {
      for (uintptr_t s : shells) recycled += s == t;
      shells.push_back(t);
    }
  }
  CHECK(recycled > kRounds * kWidth / 2); // or the test looks at nothing
  CHECK_EQ(tls_made - made, kRounds * kWidth);
  CHECK_EQ(tls_gone - gone, kRounds * kWidth);
}

static void tls_in_works() {
  mine_in_exe = 17;
  int err;
  G* g = spawn_prepare(small_stack(), &err);
  *tls_in(thread_pointer_of(g), &mine_in_exe) = 99; // the parent fills in the child's
  CHECK_EQ(mine_in_exe, 17);
  static std::atomic<uintptr_t> seen;
  static Latch l(1);
  spawn_commit(
    g,
    [](void* a) {
      seen = mine_in_exe + uintptr_t(a);
      exit_g([](G* g, void*) { free_g(g), l.done(); }, nullptr);
    },
    reinterpret_cast<void*>(1));
  l.wait();
  CHECK_EQ(seen.load(), 100);
}

static void handles() {
  CHECK(g_of_handle(thread_pointer_of(main_g())) == main_g());
  CHECK(!g_of_handle(0));
  // a living one, from inside and outside, then stale
  std::atomic<uint32_t> go_on{0};
  uintptr_t t = 0;
  {
    Latch l(1);
    G* g = go(&l, [&] {
      CHECK(g_of_handle(thread_pointer_of(getg())) == getg());
      while (!go_on) wait_on(&go_on, [&] { return go_on == 0; }, {}, {}, {});
    });
    t = thread_pointer_of(g);
    CHECK(g_of_handle(t) == g);
    // garbage near it: no crash, no G
    for (uintptr_t a = t - 4096; a < t + 4096; a += 8)
      if (a != t && a / 4096 == t / 4096) CHECK(!g_of_handle(a));
    go_on = 1;
    wake(&go_on, 1);
    l.wait();
  }
  CHECK(!g_of_handle(t));
  // garbage anywhere
  srand(1);
  for (int i = 0; i < 100000; i++) {
    uintptr_t a = uintptr_t(rand()) << 33 ^ uintptr_t(rand()) << 12 ^ uintptr_t(rand());
    CHECK(!g_of_handle(a));
  }
  CHECK(!g_of_handle(~0ul) && !g_of_handle(8) && !g_of_handle(0x7ffffffff000ul));
  // abandoned
  int err;
  G* g = spawn_prepare(small_stack(), &err);
  t = thread_pointer_of(g);
  CHECK(g_of_handle(t) == g);
  spawn_abandon(g);
  CHECK(!g_of_handle(t));
}

// The end is published while the G still leaves: whoever frees it then must not pull its stack away.
static void joiner_frees() {
  for (int r = 0; r < 2000; r++) {
    static std::atomic<uint32_t> dead;
    dead = 0;
    int err;
    G* g = spawn_prepare(small_stack(), &err);
    spawn_commit(g, [](void*) { exit_g([](G*, void*) { dead = 1, wake(&dead, 1); }, nullptr); }, nullptr);
    while (!dead) wait_on(&dead, [] { return dead == 0; }, {}, {}, {});
    free_g(g);
  }
}

static void stacks() {
  Latch l(3);
  // the bounds hold and can be used to the last page
  go(&l, [] {
    StackBounds b = stack_bounds(getg());
    char here;
    CHECK(&here > b.lo && &here < static_cast<char*>(b.lo) + b.size);
    CHECK(b.size >= 256 << 10);
    static_cast<volatile char*>(b.lo)[64] = 1;
  }, {256 << 10, 4096, nullptr});
  // the program's own
  void* own = mmap(nullptr, 128 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  go(&l, [own] {
    char here;
    CHECK(&here > own && &here < static_cast<char*>(own) + (128 << 10));
    yield();
    CHECK(stack_bounds(getg()).lo == own);
  }, {128 << 10, 0, own});
  go(&l, [] { CHECK_EQ(stack_bounds(getg()).guard, 0); }, {64 << 10, 0, nullptr});
  l.wait();
  munmap(own, 128 << 10);
  // shells of user stacks are used again, with the new stack
  for (int i = 0; i < 200; i++) {
    void* s = mmap(nullptr, 64 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Latch k(1);
    go(&k, [s] {
      char here;
      CHECK(&here > s && &here < static_cast<char*>(s) + (64 << 10));
    }, {64 << 10, 0, s});
    k.wait();
    munmap(s, 64 << 10);
  }
}

static long vm_rss_kb() {
  long rss = 0, size;
  FILE* f = fopen("/proc/self/statm", "r");
  if (f && fscanf(f, "%ld %ld", &size, &rss) != 2) rss = 0;
  if (f) fclose(f);
  return rss * 4;
}

// A crowd: all parked at once, none lost, woken all at once; Ms stay few; and its memory goes back.
static void crowd() {
  constexpr uint32_t kN = 100000;
  static std::atomic<uint32_t> open_;
  static std::atomic<uint32_t> arrived, left;
  open_ = arrived = left = 0;
  long rss = vm_rss_kb();
  Latch l(kN);
  for (uint32_t i = 0; i < kN; i++)
    go(&l, [] {
      arrived++;
      while (!open_) wait_on(&open_, [] { return open_ == 0; }, {}, {}, {});
      left++;
    }, {32 << 10, 4096, nullptr});
  while (arrived < kN) yield();
  long each = (vm_rss_kb() - rss) * 1024 / long(kN);
  printf("  %ld bytes resident a parked G, %d Ms\n", each, sched.nm.load());
  CHECK(each < 14 << 10);
  CHECK(sched.nm.load() < procs() + 8);
  CHECK_EQ(g_count(), kN + 1);
  open_ = 1;
  wake(&open_, SIZE_MAX);
  l.wait();
  CHECK_EQ(left.load(), kN);
  CHECK_EQ(g_count(), 1);
}

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"thread-locals are a G's own, and fresh in a recycled shell", fresh_tls},
              {"a child's thread-locals filled in by its parent", tls_in_works},
              {"handles: living, stale, garbage", handles},
              {"the joiner frees the G", joiner_frees},
              {"stacks: bounds, the program's own", stacks},
              {"100,000 parked Gs", crowd},
              {"thread-locals again, after the crowd", fresh_tls}});
}
