// The netpoller: lost edges, the baton, deadlines, poll over several descriptors, descriptors that vanish.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <thread>
#include "runtime/own_fds.hpp"
#include "unit.hpp"
using namespace unit;

// Blocking descriptors, as the programs': tries must not block.
static ssize_t try_recv(int fd, void* b, size_t n) { return sys(SYS_recvfrom, fd, b, n, MSG_DONTWAIT, 0, 0); }
static ssize_t read_one(int fd, char* c, int64_t deadline = kNoDeadline) {
  for (;;) {
    uint32_t seq = poll_seq(fd, Dir::Read);
    ssize_t r = try_recv(fd, c, 1);
    if (r != -EAGAIN) {
      if (r > 0) poll_pass(fd, Dir::Read);
      return r;
    }
    if (poll_wait(fd, Dir::Read, seq, deadline) == Wait::Timeout) return -ETIMEDOUT;
  }
}
struct Pair {
  int a, b;
  Pair(int type = SOCK_STREAM) {
    int f[2];
    if (socketpair(AF_UNIX, type, 0, f) != 0) abort();
    a = f[0], b = f[1];
  }
  ~Pair() {
    for (int fd : {a, b}) poll_forget(fd), close(fd);
  }
};

// Many readers on one descriptor; messages come in bursts, several in one edge. Nobody may be left waiting while there is something to read.
static void baton() {
  constexpr int kReaders = 20, kMessages = 3000;
  Pair p(SOCK_DGRAM);
  std::atomic<int> got{0};
  CHECK(poll_open(p.a));
  Latch l(kReaders);
  for (int i = 0; i < kReaders; i++)
    go(&l, [&] {
      char c = 0;
      for (;;) {
        CHECK_EQ(read_one(p.a, &c), 1);
        if (c == 'q') return;
        got++;
      }
    });
  srand(unsigned(g_config.chaos) + 3);
  for (int sent = 0; sent < kMessages;) {
    for (int burst = 1 + rand() % 9; burst > 0 && sent < kMessages; burst--, sent++) {
      while (sys(SYS_sendto, p.b, "x", 1, MSG_DONTWAIT, 0, 0) != 1) yield();
    }
    if (rand() % 3 == 0) CHECK(soon([&] { return got.load() == sent; })); // all of a burst arrive without another edge to help
  }
  CHECK(soon([&] { return got.load() == kMessages; }));
  for (int i = 0; i < kReaders; i++)
    while (sys(SYS_sendto, p.b, "q", 1, MSG_DONTWAIT, 0, 0) != 1) yield();
  l.wait();
}

// The edge comes between the try and the wait: the wait must see it.
static void edge_in_between() {
  Pair p;
  CHECK(poll_open(p.a));
  char c;
  for (int i = 0; i < 200; i++) {
    uint32_t seq = poll_seq(p.a, Dir::Read);
    CHECK_EQ(try_recv(p.a, &c, 1), -EAGAIN);
    CHECK_EQ(write(p.b, "y", 1), 1);
    if (i % 2) CHECK(soon([&] { return poll_seq(p.a, Dir::Read) != seq; })); // the edge is in already
    CHECK(poll_wait(p.a, Dir::Read, seq, nanotime() + ms(10000)) == Wait::Woken);
    CHECK_EQ(read_one(p.a, &c), 1);
  }
}

static void deadlines() {
  Pair p;
  CHECK(poll_open(p.a));
  char c;
  int64_t until = nanotime() + ms(15);
  CHECK_EQ(read_one(p.a, &c, until), -ETIMEDOUT);
  CHECK(nanotime() >= until);
  // one times out, the other waits on and gets what comes
  Latch l(1);
  go(&l, [&] {
    char d;
    CHECK_EQ(read_one(p.a, &d), 1);
  });
  CHECK_EQ(read_one(p.a, &c, nanotime() + ms(15)), -ETIMEDOUT);
  CHECK_EQ(write(p.b, "z", 1), 1);
  l.wait();
}

static void writers() {
  Pair p;
  CHECK(poll_open(p.a) && poll_open(p.b));
  constexpr size_t kBytes = 4 << 20;
  Latch l(1);
  size_t read_n = 0;
  go(&l, [&] {
    static char b[50000];
    for (;;) {
      uint32_t seq = poll_seq(p.b, Dir::Read);
      ssize_t r = try_recv(p.b, b, sizeof b);
      if (r == 0) return;
      if (r > 0) read_n += size_t(r);
      else if (r == -EAGAIN) poll_wait(p.b, Dir::Read, seq, kNoDeadline);
      else {
        CHECK(false);
        return;
      }
    }
  });
  static char out[64 << 10];
  size_t sent = 0;
  while (sent < kBytes) {
    uint32_t seq = poll_seq(p.a, Dir::Write);
    ssize_t r = sys(SYS_sendto, p.a, out, sizeof out, MSG_DONTWAIT, 0, 0);
    if (r > 0) sent += size_t(r);
    else if (r == -EAGAIN) poll_wait(p.a, Dir::Write, seq, kNoDeadline);
    else {
      CHECK(false);
      return;
    }
  }
  shutdown(p.a, SHUT_WR);
  l.wait();
  CHECK_EQ(read_n, sent);
}

static void hang_up_wakes_all() {
  Pair p;
  CHECK(poll_open(p.a));
  Latch l(5);
  for (int i = 0; i < 5; i++)
    go(&l, [&] {
      char c;
      CHECK_EQ(read_one(p.a, &c), 0);
    });
  sleep_until(nanotime() + ms(5));
  shutdown(p.b, SHUT_RDWR);
  l.wait();
  CHECK(poll_hup(p.a));
}

static void forget() {
  Pair p;
  CHECK(poll_open(p.a));
  Latch l(3);
  std::atomic<int> woken{0};
  for (int i = 0; i < 3; i++)
    go(&l, [&] {
      uint32_t seq = poll_seq(p.a, Dir::Read);
      CHECK(poll_wait(p.a, Dir::Read, seq, kNoDeadline) == Wait::Woken);
      woken++;
    });
  sleep_until(nanotime() + ms(5));
  poll_forget(p.a);
  l.wait();
  CHECK_EQ(woken.load(), 3);
  // the number means another descriptor now; nothing of the old is left
  int f[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, f) == 0);
  CHECK(dup2(f[0], p.a) == p.a);
  close(f[0]);
  CHECK(poll_open(p.a));
  CHECK(!poll_hup(p.a));
  char c;
  go(nullptr, [fd = f[1]] {
    sleep_until(nanotime() + ms(3));
    CHECK_EQ(write(fd, "n", 1), 1);
    close(fd);
  });
  CHECK_EQ(read_one(p.a, &c), 1);
  CHECK_EQ(c, 'n');
}

static void many_descriptors() {
  Pair p[6];
  PollItem it[7];
  for (int i = 0; i < 6; i++) it[i] = {p[i].a, EPOLLIN, 0, 0};
  it[6] = {-1, EPOLLIN, 0, 0};
  CHECK(poll_prepare(it, 7));
  CHECK(poll_wait_many(it, 7, nanotime() + ms(10)) != Wait::Woken || true); // a spurious wake-up is allowed
  char c;
  for (int r = 0; r < 120; r++) {
    int k = r % 6;
    CHECK(poll_prepare(it, 7));
    go(nullptr, [&, k] { CHECK_EQ(write(p[k].b, "m", 1), 1); });
    while (try_recv(p[k].a, &c, 1) == -EAGAIN) { // as poll does: look, wait, look again
      Wait w = poll_wait_many(it, 7, nanotime() + ms(10000));
      CHECK(w == Wait::Woken);
      if (w != Wait::Woken) return;
      CHECK(poll_prepare(it, 7));
    }
  }
  // one that can always be written
  it[0].events = EPOLLIN | EPOLLOUT;
  CHECK(poll_prepare(it, 7));
  // one that can't be polled
  int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  PollItem file{fd, EPOLLIN, 0, 0};
  CHECK(!poll_prepare(&file, 1));
  CHECK(!poll_open(fd));
  close(fd);
}

// Observers (poll) and a consumer (read) on one descriptor: an edge reaches both.
static void observers_and_consumers() {
  Pair p;
  CHECK(poll_open(p.a));
  for (int r = 0; r < 100; r++) {
    Latch l(3);
    std::atomic<int> ready{0};
    for (int i = 0; i < 2; i++)
      go(&l, [&] {
        PollItem it{p.a, EPOLLIN, 0, 0};
        CHECK(poll_prepare(&it, 1));
        ready++;
        CHECK(poll_wait_many(&it, 1, nanotime() + ms(10000)) == Wait::Woken);
      });
    // All three wait before the byte comes: a consumer that read it on its own would have made the edge disappear.
    G* g = go(&l, [&] {
      char c;
      CHECK_EQ(read_one(p.a, &c), 1);
    });
    CHECK(soon([&] { return ready == 2 && g->status.load() == GStatus::Waiting; }));
    CHECK_EQ(write(p.b, "o", 1), 1);
    l.wait();
  }
}

// What sysmon does at its start, by a kernel thread: no descriptor but netpoll's two, and what it says comes out all the same.
static void apart() {
  int f[2], was = dup(2);
  CHECK(pipe2(f, O_CLOEXEC) == 0 && was >= 0 && dup2(f[1], 2) == 2);
  static bool begun, empty, kept;
  std::thread([] {
    begun = own_fds_begin();
    empty = fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 && fcntl(2, F_GETFD) < 0;
    kept = fcntl(netpoll_fds().epoll, F_GETFD) >= 0 && fcntl(netpoll_fds().eventfd, F_GETFD) >= 0;
    char b[64];
    CHECK(read_file("/proc/self/stat", b, sizeof b) > 0);
    CHECK(fcntl(0, F_GETFD) < 0);
    if (begun) say("from %s", "apart");
  }).join();
  dup2(was, 2);
  close(was);
  close(f[1]);
  char b[64] = "";
  const ssize_t n = read(f[0], b, sizeof b - 1);
  close(f[0]);
  if (!begun) return; // Linux before 5.9
  CHECK(empty);
  CHECK(kept);
  CHECK(n > 0 && !strcmp(b, "gmp: from apart\n"));
}

int main(int argc, char** argv) {
  return run(argc, argv,
             {{"many readers, bursts, the baton", baton},
              {"an edge between the try and the wait", edge_in_between},
              {"deadlines", deadlines},
              {"writers wait for room", writers},
              {"a hang-up wakes all", hang_up_wakes_all},
              {"a forgotten number", forget},
              {"several descriptors", many_descriptors},
              {"a table of descriptors apart", apart},
              {"observers beside a consumer", observers_and_consumers}});
}
