/* A thread pool: one bounded queue, a mutex, two condition variables, and jobs whose answers add up. */
#include <getopt.h>
#include <pthread.h>
#include <stdint.h>

#include "common.h"

static const char usage[] =
    "usage: pool [--threads T] [--jobs M] [--work ROUNDS] [--queue SLOTS]\n"
    "  T threads (default 64) take M jobs (default 200000) of ROUNDS hash rounds each (default 200) out of a queue of\n"
    "  SLOTS (default 256); prints a checksum that depends on every job and on no order. The time goes to stderr\n";

struct queue {
  pthread_mutex_t lock;
  pthread_cond_t not_empty, not_full;
  uint64_t* jobs;
  long capacity, head, count;
  int closed;
};

struct tally {
  uint64_t checksum, id_sum;
  long done;
};

static struct queue queue = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .not_empty = PTHREAD_COND_INITIALIZER, .not_full = PTHREAD_COND_INITIALIZER};
static struct tally total;
static pthread_mutex_t total_lock = PTHREAD_MUTEX_INITIALIZER;
static long work = 200;

static void push(uint64_t job) {
  pthread_mutex_lock(&queue.lock);
  while (queue.count == queue.capacity) pthread_cond_wait(&queue.not_full, &queue.lock);
  queue.jobs[(queue.head + queue.count++) % queue.capacity] = job;
  pthread_cond_signal(&queue.not_empty);
  pthread_mutex_unlock(&queue.lock);
}

static int pop(uint64_t* job) {
  pthread_mutex_lock(&queue.lock);
  while (queue.count == 0 && !queue.closed) pthread_cond_wait(&queue.not_empty, &queue.lock);
  int got = queue.count > 0;
  if (got) {
    *job = queue.jobs[queue.head];
    queue.head = (queue.head + 1) % queue.capacity;
    --queue.count;
    pthread_cond_signal(&queue.not_full);
  }
  pthread_mutex_unlock(&queue.lock);
  return got;
}

/* splitmix64's finaliser, over and over: something to compute that a compiler cannot fold. */
static uint64_t compute(uint64_t x) {
  for (long i = 0; i < work; ++i) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    x ^= x >> 31;
  }
  return x;
}

static void* worker(void* arg) {
  (void)arg;
  struct tally mine = {0};
  for (uint64_t job; pop(&job);) {
    mine.checksum += compute(job);
    mine.id_sum += job;
    ++mine.done;
  }
  pthread_mutex_lock(&total_lock);
  total.checksum += mine.checksum;
  total.id_sum += mine.id_sum;
  total.done += mine.done;
  pthread_mutex_unlock(&total_lock);
  return NULL;
}

int main(int argc, char** argv) {
  static const struct option options[] = {
      {"threads", required_argument, NULL, 't'}, {"jobs", required_argument, NULL, 'j'},
      {"work", required_argument, NULL, 'w'},    {"queue", required_argument, NULL, 'q'},
      {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0}};
  long threads = 64, jobs = 200000;
  queue.capacity = 256;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (option) {
    case 't':
      threads = number(optarg, "--threads", 1, 10000000);
      break;
    case 'j':
      jobs = number(optarg, "--jobs", 1, 1L << 31);
      break;
    case 'w':
      work = number(optarg, "--work", 0, 1L << 40);
      break;
    case 'q':
      queue.capacity = number(optarg, "--queue", 1, 1L << 24);
      break;
    case 'h':
      fputs(usage, stdout);
      return 0;
    default:
      bad_usage(usage);
    }
  }
  if (optind != argc) bad_usage(usage);

  queue.jobs = malloc((size_t)queue.capacity * sizeof *queue.jobs);
  pthread_t* workers = malloc((size_t)threads * sizeof *workers);
  if (!queue.jobs || !workers) die(errno, "malloc");

  double start = now_seconds();
  for (long i = 0; i < threads; ++i) {
    int error = pthread_create(&workers[i], NULL, worker, NULL);
    if (error) die(error, "pthread_create, thread %ld", i);
  }
  for (long i = 0; i < jobs; ++i) push((uint64_t)i);
  pthread_mutex_lock(&queue.lock);
  queue.closed = 1;
  pthread_cond_broadcast(&queue.not_empty);
  pthread_mutex_unlock(&queue.lock);
  for (long i = 0; i < threads; ++i) {
    int error = pthread_join(workers[i], NULL);
    if (error) die(error, "pthread_join, thread %ld", i);
  }
  double elapsed = now_seconds() - start;
  free(workers);
  free(queue.jobs);

  if (total.done != jobs || total.id_sum != (uint64_t)jobs * (uint64_t)(jobs - 1) / 2)
    die(0, "%ld jobs done instead of %ld, or one done twice", total.done, jobs);
  printf("%ld jobs on %ld threads, checksum %016lx\n", jobs, threads, total.checksum);
  fprintf(stderr, "%.3f s, %.0f jobs/s\n", elapsed, (double)jobs / elapsed);
  return 0;
}
