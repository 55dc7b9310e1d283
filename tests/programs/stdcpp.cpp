// The C++ library's own: threads, locks, conditions, semaphores, latches, futures, stop tokens, atomic waits.
// Much of it calls futex through syscall(), or the clock variants of the pthread calls.
#include "check.h"
#include <atomic>
#include <barrier>
#include <chrono>
#include <condition_variable>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <queue>
#include <semaphore>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

static std::vector<std::jthread> crowd(int n, auto body) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < n; i++) threads.emplace_back([=] { body(i); });
  return threads;
}

CASE(mutexes) {
  std::mutex plain;
  std::recursive_mutex recursive;
  std::timed_mutex timed;
  long a = 0, b = 0, c = 0;
  crowd(20, [&](int) {
    for (int i = 0; i < 300; i++) {
      {
        std::scoped_lock both(plain, timed); // takes two locks without a deadlock
        a++;
        if (i % 32 == 0) std::this_thread::yield();
      }
      {
        std::lock_guard outer(recursive);
        std::lock_guard inner(recursive);
        b++;
      }
      if (std::unique_lock lock(timed, 60s); lock) c++;
    }
  });
  EQ(a, 6000);
  EQ(b, 6000);
  EQ(c, 6000);
}

CASE(timed_mutex_times_out) {
  std::timed_mutex m;
  std::shared_timed_mutex s;
  m.lock();
  s.lock();
  std::jthread([&] {
    auto before = Clock::now();
    CHECK(!m.try_lock_for(20ms));
    CHECK(!m.try_lock_until(std::chrono::system_clock::now() + 20ms));
    CHECK(!s.try_lock_for(20ms));
    CHECK(!s.try_lock_shared_for(20ms));
    CHECK(Clock::now() - before >= 78ms);
  }).join();
  m.unlock();
  s.unlock();
}

CASE(shared_mutex) {
  std::shared_mutex m;
  long value = 0, copy = 0;
  std::atomic<int> writers{0};
  crowd(30, [&](int me) {
    for (int i = 0; i < 200; i++) {
      if (me % 5 == 0) {
        std::unique_lock lock(m);
        EQ(writers++, 0);
        value++;
        if (i % 16 == 0) std::this_thread::yield();
        copy++;
        writers--;
      } else {
        std::shared_lock lock(m);
        EQ(value, copy);
      }
    }
  });
  EQ(value, 1200);
}

CASE(condition_variable) {
  std::mutex m;
  std::condition_variable cv;
  std::queue<int> queue;
  std::atomic<long> sum{0};
  auto consumers = crowd(10, [&](int) {
    for (int i = 0; i < 200; i++) {
      std::unique_lock lock(m);
      cv.wait(lock, [&] { return !queue.empty(); });
      sum += queue.front();
      queue.pop();
    }
  });
  auto producers = crowd(10, [&](int) {
    for (int i = 0; i < 200; i++) {
      {
        std::lock_guard lock(m);
        queue.push(i);
      }
      cv.notify_one();
    }
  });
  producers.clear();
  consumers.clear();
  EQ(sum.load(), 10 * 199 * 100);
  std::unique_lock lock(m);
  auto before = Clock::now();
  CHECK(!cv.wait_for(lock, 20ms, [] { return false; }));
  CHECK(!cv.wait_until(lock, std::chrono::system_clock::now() + 20ms, [] { return false; }));
  CHECK(Clock::now() - before >= 39ms);
}

CASE(condition_variable_any) {
  std::shared_mutex m;
  std::condition_variable_any cv;
  bool go = false;
  auto threads = crowd(20, [&](int) {
    std::shared_lock lock(m);
    cv.wait(lock, [&] { return go; });
  });
  {
    std::unique_lock lock(m);
    go = true;
  }
  cv.notify_all();
}

CASE(counting_semaphore) {
  std::counting_semaphore<100> slots(3);
  std::binary_semaphore none(0);
  std::atomic<int> inside{0};
  crowd(30, [&](int) {
    for (int i = 0; i < 50; i++) {
      slots.acquire();
      CHECK(++inside <= 3);
      std::this_thread::yield();
      inside--;
      slots.release();
    }
  });
  auto before = Clock::now();
  CHECK(!none.try_acquire_for(20ms));
  CHECK(Clock::now() - before >= 20ms);
  std::jthread t([&] { none.release(); });
  none.acquire();
}

CASE(latch_and_barrier) {
  std::latch ready(50), go(1);
  std::atomic<int> through{0};
  auto threads = crowd(50, [&](int) {
    ready.count_down();
    go.wait();
    through++;
  });
  ready.wait();
  EQ(through.load(), 0);
  go.count_down();
  threads.clear();
  EQ(through.load(), 50);

  int phase = 0;
  auto complete = [&]() noexcept { phase++; };
  std::barrier barrier(10, complete);
  crowd(10, [&](int) {
    for (int i = 0; i < 200; i++) {
      EQ(phase, i);
      barrier.arrive_and_wait();
    }
  });
  EQ(phase, 200);
}

CASE(atomic_wait) {
  std::atomic<int> word{0};
  std::atomic<long long> wide{0}; // no futex of its size: waits through a proxy
  auto ping = [](auto& value, int parity) {
    for (int i = 0; i < 500; i++) {
      for (auto seen = value.load(); seen % 2 != parity; seen = value.load()) value.wait(seen);
      value++;
      value.notify_all();
    }
  };
  {
    std::jthread a([&] { ping(word, 0); }), b([&] { ping(word, 1); });
    std::jthread c([&] { ping(wide, 0); }), d([&] { ping(wide, 1); });
  }
  EQ(word.load(), 1000);
  EQ(wide.load(), 1000);
  std::atomic_flag flag;
  auto threads = crowd(50, [&](int) { flag.wait(false); });
  flag.test_and_set();
  flag.notify_all();
}

CASE(futures) {
  std::vector<std::future<int>> results;
  for (int i = 0; i < 50; i++)
    results.push_back(std::async(std::launch::async, [i] {
      std::this_thread::sleep_for(1ms);
      if (i % 10 == 9) throw i;
      return i * i;
    }));
  for (int i = 0; i < 50; i++) {
    try {
      EQ(results[static_cast<size_t>(i)].get(), i * i);
      CHECK(i % 10 != 9);
    } catch (int n) {
      EQ(n, i);
    }
  }
  std::promise<std::string> promise;
  auto shared = promise.get_future().share();
  CHECK(shared.wait_for(10ms) == std::future_status::timeout);
  auto threads = crowd(20, [&](int) { CHECK(shared.get() == "kept"); });
  promise.set_value("kept");
  threads.clear();
  std::promise<void> at_exit;
  std::jthread t([&] { at_exit.set_value_at_thread_exit(); });
  at_exit.get_future().wait();
}

CASE(stop_tokens) {
  std::atomic<int> stopped{0}, called{0};
  {
    std::mutex m;
    std::condition_variable_any cv;
    std::vector<std::jthread> threads;
    for (int i = 0; i < 20; i++)
      threads.emplace_back([&](std::stop_token token) {
        std::atomic<bool> told{false};
        std::stop_callback callback(token, [&] {
          called++;
          told = true;
          told.notify_one();
        });
        std::unique_lock lock(m);
        CHECK(!cv.wait(lock, token, [] { return false; }));
        stopped++;
        told.wait(false); // the wait's own callback comes first: leaving now could take this one back before it is called
      });
    std::this_thread::sleep_for(5ms);
    for (auto& t : threads) t.request_stop();
  }
  EQ(stopped.load(), 20);
  EQ(called.load(), 20);
}

CASE(thread_itself) {
  std::thread::id mine = std::this_thread::get_id(), other;
  std::thread t([&] { other = std::this_thread::get_id(); });
  CHECK(t.joinable() && t.get_id() != mine);
  auto id = t.get_id();
  t.join();
  CHECK(other == id && !t.joinable());
  try {
    t.join();
    FAIL("joined twice");
  } catch (std::system_error& e) {
    CHECK(e.code() == std::errc::invalid_argument);
  }
  auto before = Clock::now();
  std::this_thread::sleep_for(10ms);
  std::this_thread::sleep_until(before + 20ms);
  CHECK(Clock::now() - before >= 20ms);
}

// shared_ptr counts without atomic operations while __libc_single_threaded is true: it must be false by now.
CASE(shared_ptr_counts) {
  struct Tracked {
    std::atomic<int>* alive;
    explicit Tracked(std::atomic<int>* a) : alive(a) { ++*alive; }
    ~Tracked() { --*alive; }
  };
  std::atomic<int> alive{0};
  {
    auto shared = std::make_shared<Tracked>(&alive);
    crowd(8, [&](int) {
      for (int i = 0; i < 20000; i++) {
        auto copy = shared;
        if (i % 1000 == 0) std::this_thread::yield();
      }
    });
    EQ(shared.use_count(), 1);
    EQ(alive.load(), 1);
  }
  EQ(alive.load(), 0);
}
