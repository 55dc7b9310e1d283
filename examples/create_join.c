/* What a thread costs: N times pthread_create of an empty thread and pthread_join. */
#include <getopt.h>
#include <limits.h>
#include <pthread.h>

#include "common.h"

static const char usage[] = "usage: create_join [N] [--stack KB]\n"
                            "  creates and joins an empty thread N times (default 100000) and prints ns per pair\n";

static long ran;

static void* empty(void* arg) {
  /* Not atomic: join orders one thread's increment before the next one's, and a lost one would show it does not. */
  ++*(long*)arg;
  return arg;
}

int main(int argc, char** argv) {
  static const struct option options[] = {
      {"stack", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
  long stack_kb = 0;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (option) {
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
  long pairs = 100000;
  if (optind < argc) pairs = number(argv[optind++], "N", 1, LONG_MAX);
  if (optind < argc) bad_usage(usage);

  pthread_attr_t attr;
  pthread_attr_init(&attr);
  if (stack_kb) {
    int error = pthread_attr_setstacksize(&attr, (size_t)stack_kb * 1024);
    if (error) die(error, "a stack of %ld KB", stack_kb);
  }

  double start = now_seconds();
  for (long i = 0; i < pairs; ++i) {
    pthread_t thread;
    void* result = NULL;
    int error = pthread_create(&thread, &attr, empty, &ran);
    if (error) die(error, "pthread_create, pair %ld", i);
    if ((error = pthread_join(thread, &result))) die(error, "pthread_join, pair %ld", i);
    if (result != &ran) die(0, "pair %ld: join returned %p instead of %p", i, result, (void*)&ran);
  }
  double elapsed = now_seconds() - start;
  if (ran != pairs) die(0, "only %ld of %ld threads ran", ran, pairs);
  printf("create+join: %.0f ns per pair (%ld pairs in %.3f s)\n", elapsed * 1e9 / (double)pairs, pairs, elapsed);
  return 0;
}
