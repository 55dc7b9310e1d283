// Skynet (github.com/atemerev/skynet) with plain threads: a ten-way tree of them; each leaf returns its ordinal, each
// node the sum of its children, which it creates and joins.
#include <getopt.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "common.h"

namespace {

constexpr char usage[] =
    "usage: skynet [N] [--stack KB]\n"
    "  N leaves (default 100000), ten children a node, stacks of KB (default 64); prints the sum of the leaves'\n"
    "  ordinals. The time goes to stderr. Exits 1 when a thread cannot be created or the sum is wrong\n";

constexpr long fanout = 10;

struct Node {
  long first = 0;
  long leaves = 0;
  uint64_t sum = 0;
  int error = 0;
};

pthread_attr_t attr;

void* run_node(void* arg) {
  auto& node = *static_cast<Node*>(arg);
  if (node.leaves == 1) {
    node.sum = static_cast<uint64_t>(node.first);
    return nullptr;
  }
  std::array<Node, fanout> children;
  std::array<pthread_t, fanout> threads;
  long count = std::min(fanout, node.leaves), started = 0;
  for (; started < count; ++started) {
    Node& child = children[started];
    long begin = node.leaves * started / count, end = node.leaves * (started + 1) / count;
    child.first = node.first + begin;
    child.leaves = end - begin;
    node.error = pthread_create(&threads[started], &attr, run_node, &child);
    if (node.error) break;
  }
  // Those that did start point into this frame: they are joined whatever became of the others.
  for (long i = 0; i < started; ++i) {
    int error = pthread_join(threads[i], nullptr);
    if (error) die(error, "pthread_join");
    node.sum += children[i].sum;
    if (!node.error) node.error = children[i].error;
  }
  return nullptr;
}

} // namespace

int main(int argc, char** argv) {
  static const option options[] = {
      {"stack", required_argument, nullptr, 's'}, {"help", no_argument, nullptr, 'h'}, {nullptr, 0, nullptr, 0}};
  long stack_kb = 64;
  for (int c; (c = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (c) {
    case 's':
      stack_kb = number(optarg, "--stack", 16, 1L << 20);
      break;
    case 'h':
      fputs(usage, stdout);
      return 0;
    default:
      bad_usage(usage);
    }
  }
  long leaves = 100000;
  if (optind < argc) leaves = number(argv[optind++], "N", 1, 1000000000);
  if (optind < argc) bad_usage(usage);

  pthread_attr_init(&attr);
  if (int error = pthread_attr_setstacksize(&attr, static_cast<size_t>(stack_kb) * 1024))
    die(error, "a stack of %ld KB", stack_kb);

  double start = now_seconds();
  Node root;
  root.leaves = leaves;
  pthread_t thread;
  if (int error = pthread_create(&thread, &attr, run_node, &root)) die(error, "pthread_create");
  if (int error = pthread_join(thread, nullptr)) die(error, "pthread_join");
  double elapsed = now_seconds() - start;

  if (root.error) die(root.error, "pthread_create somewhere in the tree");
  auto expected = static_cast<uint64_t>(leaves) * static_cast<uint64_t>(leaves - 1) / 2;
  if (root.sum != expected) die(0, "sum %lu instead of %lu", root.sum, expected);
  printf("skynet: %ld leaves, sum %lu\n", leaves, root.sum);
  fprintf(stderr, "%.3f s\n", elapsed);
  return 0;
}
