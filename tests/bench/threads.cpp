// Making, ending, yielding and sleeping.
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>
#include "crew.hpp"

namespace {

void* empty(void* arg) { return arg; }

void create_join(benchmark::State& state) {
  for (auto _ : state) {
    pthread_t thread;
    must(pthread_create(&thread, nullptr, empty, nullptr), "pthread_create");
    must(pthread_join(thread, nullptr), "pthread_join");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(create_join)->UseRealTime();

void yield_between_2(benchmark::State& state) {
  constexpr long yields = 5000;
  Crew crew(2, [](int) {
    return timed([] {
      for (long i = 0; i < yields; ++i) sched_yield();
    });
  });
  measure(state, crew, 2 * yields);
}
BENCHMARK(yield_between_2)->UseManualTime();

void* sleeper(void*) {
  for (int i = 0; i < 3; ++i) {
    const timespec ms{0, 1000000};
    nanosleep(&ms, nullptr);
  }
  return nullptr;
}

void sleepers(benchmark::State& state) {
  const SmallStacks small;
  std::vector<pthread_t> threads(static_cast<size_t>(state.range(0)));
  for (auto _ : state) {
    for (auto& t : threads) must(pthread_create(&t, small.get(), sleeper, nullptr), "pthread_create");
    for (auto& t : threads) must(pthread_join(t, nullptr), "pthread_join");
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sleepers)->Arg(10000)->UseRealTime();

struct Node {
  const pthread_attr_t* attr;
  long first, leaves, sum;
};

void* skynet_node(void* arg) {
  auto& node = *static_cast<Node*>(arg);
  if (node.leaves == 1) {
    node.sum = node.first;
    return nullptr;
  }
  Node children[10];
  pthread_t threads[10];
  const long share = node.leaves / 10;
  for (int i = 0; i < 10; ++i) {
    children[i] = {node.attr, node.first + i * share, share, 0};
    must(pthread_create(&threads[i], node.attr, skynet_node, &children[i]), "pthread_create");
  }
  for (int i = 0; i < 10; ++i) {
    must(pthread_join(threads[i], nullptr), "pthread_join");
    node.sum += children[i].sum;
  }
  return nullptr;
}

void skynet(benchmark::State& state) {
  const SmallStacks small;
  const long leaves = state.range(0);
  for (auto _ : state) {
    Node root{small.get(), 0, leaves, 0};
    skynet_node(&root);
    if (root.sum != leaves * (leaves - 1) / 2) state.SkipWithError("wrong sum");
  }
  state.SetItemsProcessed(state.iterations() * leaves);
}
BENCHMARK(skynet)->Arg(1000)->UseRealTime();

// Until the child has been made, has run and is reaped; beside so many threads that sleep.
void fork_with_threads(benchmark::State& state) {
  const SmallStacks small;
  static sem_t begun, never;
  sem_init(&begun, 0, 0);
  sem_init(&never, 0, 0);
  std::vector<pthread_t> threads(static_cast<size_t>(state.range(0)));
  for (auto& t : threads)
    must(pthread_create(&t, small.get(), [](void*) -> void* { return sem_post(&begun), sem_wait(&never), nullptr; }, nullptr), "pthread_create");
  for (size_t i = 0; i < threads.size(); ++i) sem_wait(&begun); // their first steps are not what is measured
  for (auto _ : state) {
    const pid_t pid = fork();
    if (pid == 0) _exit(0);
    int status = 1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) state.SkipWithError("the child failed");
  }
  for (size_t i = 0; i < threads.size(); ++i) sem_post(&never);
  for (auto& t : threads) must(pthread_join(t, nullptr), "pthread_join");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(fork_with_threads)->Arg(10000)->UseRealTime();

// How long after its time a sleeper runs, four threads that compute being there.
void late_among_4_spinners(benchmark::State& state) {
  std::atomic<bool> stop{false};
  pthread_t threads[4];
  for (auto& t : threads)
    must(pthread_create(&t, nullptr, [](void* stop) -> void* {
           while (!static_cast<std::atomic<bool>*>(stop)->load(std::memory_order_relaxed)) {}
           return nullptr;
         }, &stop), "pthread_create");
  for (auto _ : state) {
    const timespec ms{0, 1000000};
    const double begin = now();
    nanosleep(&ms, nullptr);
    state.SetIterationTime(now() - begin - 1e-3);
  }
  stop = true;
  for (auto& t : threads) must(pthread_join(t, nullptr), "pthread_join");
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(late_among_4_spinners)->Iterations(40)->UseManualTime();

} // namespace
