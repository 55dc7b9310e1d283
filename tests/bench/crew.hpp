// A crew of threads made once and then sent through measured rounds, so that no figure contains a thread's start. Each
// thread times its own part: the round's time runs from the first that began to the last that ended, and does not
// contain the crew's waking up and reporting back, which natively costs more than many a round preloaded.
#pragma once

#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <limits>
#include <vector>

inline double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

// A benchmark that goes on after an error measures something else.
inline void must(int error, const char* what) {
  if (!error) return;
  std::fprintf(stderr, "pthread_bench: %s: %s\n", what, std::strerror(error));
  std::exit(1);
}

struct Span {
  double begin = std::numeric_limits<double>::infinity(), end = 0; // as it stands: counts for nothing
};

// The size most thread-per-connection programs ask for; it is also what lets 10,000 native threads exist at once.
class SmallStacks {
public:
  SmallStacks() {
    must(pthread_attr_init(&attr_), "pthread_attr_init");
    must(pthread_attr_setstacksize(&attr_, 64 * 1024), "pthread_attr_setstacksize");
  }
  ~SmallStacks() { pthread_attr_destroy(&attr_); }
  SmallStacks(const SmallStacks&) = delete;
  SmallStacks& operator=(const SmallStacks&) = delete;
  const pthread_attr_t* get() const { return &attr_; }

private:
  pthread_attr_t attr_;
};

class Crew {
public:
  using Part = std::function<Span(int index)>;

  Crew(int size, Part part) : part_(std::move(part)), members_(static_cast<size_t>(size)) {
    const SmallStacks small;
    for (int i = 0; i < size; ++i) {
      Member& m = members_[static_cast<size_t>(i)];
      m.crew = this;
      m.index = i;
      must(pthread_create(&m.thread, small.get(), run, &m), "pthread_create");
    }
    round(); // every member has been through its code and its stack once
  }

  ~Crew() {
    pthread_mutex_lock(&lock_);
    over_ = true;
    ++generation_;
    pthread_cond_broadcast(&start_);
    pthread_mutex_unlock(&lock_);
    for (Member& m : members_) pthread_join(m.thread, nullptr);
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  double round() {
    pthread_mutex_lock(&lock_);
    working_ = members_.size();
    ++generation_;
    pthread_cond_broadcast(&start_);
    while (working_ > 0) pthread_cond_wait(&done_, &lock_);
    pthread_mutex_unlock(&lock_);
    Span whole;
    for (const Member& m : members_) {
      whole.begin = std::min(whole.begin, m.span.begin);
      whole.end = std::max(whole.end, m.span.end);
    }
    return whole.end - whole.begin;
  }

private:
  struct alignas(64) Member { // a line each: they write their spans at once
    Crew* crew;
    int index;
    pthread_t thread;
    Span span;
  };

  static void* run(void* arg) {
    auto& me = *static_cast<Member*>(arg);
    Crew& crew = *me.crew;
    for (unsigned long seen = 0;;) {
      pthread_mutex_lock(&crew.lock_);
      while (crew.generation_ == seen) pthread_cond_wait(&crew.start_, &crew.lock_);
      seen = crew.generation_;
      const bool over = crew.over_;
      pthread_mutex_unlock(&crew.lock_);
      if (over) return nullptr;
      // All are awake and on their way before any begins: woken one after the other, each would be done before the next
      // came, and the crowd that is to be measured would never be one.
      ++crew.arrived_;
      while (crew.arrived_ < seen * crew.members_.size()) sched_yield();
      me.span = crew.part_(me.index);
      pthread_mutex_lock(&crew.lock_);
      if (--crew.working_ == 0) pthread_cond_signal(&crew.done_);
      pthread_mutex_unlock(&crew.lock_);
    }
  }

  Part part_;
  std::vector<Member> members_;
  pthread_mutex_t lock_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t start_ = PTHREAD_COND_INITIALIZER, done_ = PTHREAD_COND_INITIALIZER;
  unsigned long generation_ = 0;
  size_t working_ = 0;
  std::atomic<unsigned long> arrived_ = 0; // in all rounds together
  bool over_ = false;
};

// One member's part, timed whole.
template <class F> Span timed(F&& work) {
  Span s;
  s.begin = now();
  work();
  s.end = now();
  return s;
}

inline void measure(benchmark::State& state, Crew& crew, long operations_in_a_round) {
  for (auto _ : state) state.SetIterationTime(crew.round());
  state.SetItemsProcessed(state.iterations() * operations_in_a_round);
}

// Two threads that hand a turn to and fro: `there` and `back` are one end's part of a round trip each. Only the first
// thread's clock counts, and starts after one trip, when the other is known to be there.
inline void ping_pong(benchmark::State& state, const std::function<void()>& there, const std::function<void()>& back) {
  constexpr long trips = 2000;
  Crew crew(2, [&](int index) {
    if (index == 1) {
      for (long i = 0; i <= trips; ++i) back();
      return Span{};
    }
    there();
    return timed([&] {
      for (long i = 0; i < trips; ++i) there();
    });
  });
  measure(state, crew, trips);
}
