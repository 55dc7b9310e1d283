// Mutexes, condition variables, semaphores and read-write locks.
#include <semaphore.h>

#include "crew.hpp"

namespace {

// Statically initialised, as most programs have them; on lines of their own.
alignas(64) pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
alignas(64) pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
alignas(64) long counter;

// The crew's member is a second thread: a C library may skip work in a process of one.
void mutex_uncontended(benchmark::State& state) {
  constexpr long locks = 200000;
  Crew crew(1, [](int) {
    return timed([] {
      for (long i = 0; i < locks; ++i) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
      }
    });
  });
  measure(state, crew, locks);
}
BENCHMARK(mutex_uncontended)->UseManualTime();

// A dozen nanoseconds of a thread's own. Without them whoever holds the lock takes it again before its line can reach
// another core, and the figure is of one thread at a time.
unsigned own_work(unsigned x) {
  for (int i = 0; i < 10; ++i) benchmark::DoNotOptimize(x = x * 1664525u + 1013904223u);
  return x;
}

void mutex_contended(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  const long each = 2000000 / threads;
  counter = 0;
  long rounds = 1; // the crew's own first
  {
    Crew crew(threads, [each](int) {
      return timed([each] {
        unsigned own = 1;
        for (long i = 0; i < each; ++i) {
          pthread_mutex_lock(&mutex);
          counter = counter + 1;
          pthread_mutex_unlock(&mutex);
          own = own_work(own);
        }
      });
    });
    measure(state, crew, each * threads);
    rounds += static_cast<long>(state.iterations());
  }
  if (counter != rounds * each * threads) state.SkipWithError("the mutex let two threads in at once");
}
BENCHMARK(mutex_contended)->Arg(2)->Arg(16)->Arg(256)->Arg(1000)->UseManualTime();

void cond_round_trip(benchmark::State& state) {
  pthread_cond_t moved[2] = {PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER};
  int turn = 0;
  const auto pass = [&](int me) {
    pthread_mutex_lock(&mutex);
    while (turn != me) pthread_cond_wait(&moved[me], &mutex);
    turn = 1 - me;
    pthread_cond_signal(&moved[1 - me]);
    pthread_mutex_unlock(&mutex);
  };
  ping_pong(
      state, [&] { pass(0); }, [&] { pass(1); });
}
BENCHMARK(cond_round_trip)->UseManualTime();

void sem_round_trip(benchmark::State& state) {
  sem_t there, back;
  sem_init(&there, 0, 0);
  sem_init(&back, 0, 0);
  ping_pong(
      state,
      [&] {
        sem_post(&there);
        sem_wait(&back);
      },
      [&] {
        sem_wait(&there);
        sem_post(&back);
      });
  sem_destroy(&there);
  sem_destroy(&back);
}
BENCHMARK(sem_round_trip)->UseManualTime();

// Read-mostly: one in 64 locks is a writer's.
void rwlock_read_mostly(benchmark::State& state) {
  const int threads = static_cast<int>(state.range(0));
  const long each = 256000 / threads;
  Crew crew(threads, [each](int) {
    return timed([each] {
      long sum = 0;
      for (long i = 1; i <= each; ++i) {
        if (i % 64 == 0) {
          pthread_rwlock_wrlock(&rwlock);
          counter = counter + 1;
        } else {
          pthread_rwlock_rdlock(&rwlock);
          sum += counter;
        }
        pthread_rwlock_unlock(&rwlock);
      }
      benchmark::DoNotOptimize(sum);
    });
  });
  measure(state, crew, each * threads);
}
BENCHMARK(rwlock_read_mostly)->Arg(1)->Arg(2)->Arg(16)->UseManualTime();

} // namespace
