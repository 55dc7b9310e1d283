/* N threads that are provably alive at once, what each of them costs, and where a system's limit is. */
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

static const char usage[] =
    "usage: sleepers [N] [--mode cond|read|socket|sleep] [--ms MS] [--stack KB]\n"
    "  N threads (default 1000000) count themselves and then wait; when all are alive, prints what one costs, "
    "releases\n"
    "  and joins them. Exits 1 when a thread cannot be created, after saying at how many and why\n"
    "  --mode cond    wait on one condition variable (the default)\n"
    "  --mode read    in read(2) of one pipe\n"
    "  --mode socket  in recv(2), each thread on a socket of its own\n"
    "  --mode sleep   in nanosleep; all must be alive before the first is back\n"
    "  --ms MS        keep them all alive for MS more before the release (default 0);\n"
    "                 with --mode sleep, the time each sleeps (default 2000 + N/20)\n"
    "  --stack KB     stack of each thread (default: the system's default)\n";

enum mode { COND, READ, SOCKET, SLEEP };

static enum mode mode = COND;
static long sleep_ms;
static int pipe_ends[2];
static int* sockets;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t release = PTHREAD_COND_INITIALIZER;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;
static long alive, awaited = LONG_MAX, peak, returned_early;
static int released;

/* Figures in KB; the last four are the whole system's, and the kernel's side of a thread is to be seen only there. */
struct memory {
  long rss, page_tables, threads, kernel_stack, slab, available;
};

static long field(const char* path, const char* name) {
  FILE* file = fopen(path, "r");
  if (!file) return 0;
  char line[256];
  long value = 0;
  size_t length = strlen(name);
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, name, length) && line[length] == ':') {
      value = atol(line + length + 1);
      break;
    }
  fclose(file);
  return value;
}

static struct memory measure(void) {
  return (struct memory){
      .rss = field("/proc/self/status", "VmRSS"),
      .page_tables = field("/proc/self/status", "VmPTE"),
      .threads = field("/proc/self/status", "Threads"),
      .kernel_stack = field("/proc/meminfo", "KernelStack"),
      .slab = field("/proc/meminfo", "Slab"),
      .available = field("/proc/meminfo", "MemFree"),
  };
}

static void nap(long ms) {
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  while (nanosleep(&left, &left) && errno == EINTR) continue;
}

/* Blocks until the release. Nothing is ever written to the descriptors: end of file is the release. */
static void block_in(long index) {
  char byte;
  ssize_t n = 0;
  switch (mode) {
  case COND:
    pthread_mutex_lock(&lock);
    while (!released) pthread_cond_wait(&release, &lock);
    pthread_mutex_unlock(&lock);
    return;
  case READ:
    do n = read(pipe_ends[0], &byte, 1);
    while (n < 0 && errno == EINTR);
    break;
  case SOCKET:
    do n = recv(sockets[index], &byte, 1, 0);
    while (n < 0 && errno == EINTR);
    break;
  case SLEEP:
    nap(sleep_ms);
    return;
  }
  if (n) die(n < 0 ? errno : 0, "thread %ld: read something nobody wrote", index);
}

static void* sleeper(void* arg) {
  long index = (long)arg;
  pthread_mutex_lock(&lock);
  if (++alive > peak) peak = alive;
  if (alive >= awaited) pthread_cond_signal(&progress);
  pthread_mutex_unlock(&lock);

  block_in(index);

  pthread_mutex_lock(&lock);
  --alive;
  if (!released) {
    ++returned_early;
    pthread_cond_signal(&progress);
  }
  pthread_mutex_unlock(&lock);
  return arg;
}

static void prepare(long threads) {
  if (mode == READ && pipe(pipe_ends)) die(errno, "pipe");
  if (mode != SOCKET) return;
  /* Two threads share a pair, one at each end, so that a thread costs one descriptor. */
  long most = (long)raise_nofile() - 16;
  if (threads > most) die(0, "--mode socket: the limit of open files allows %ld threads", most);
  sockets = malloc((size_t)(threads + 1) * sizeof *sockets);
  if (!sockets) die(errno, "malloc");
  for (long i = 0; i < threads; i += 2)
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, &sockets[i])) die(errno, "socketpair %ld", i / 2);
}

static void release_all(long threads) {
  pthread_mutex_lock(&lock);
  released = 1;
  pthread_cond_broadcast(&release);
  pthread_mutex_unlock(&lock);
  if (mode == READ) close(pipe_ends[1]);
  if (mode == SOCKET)
    for (long i = 0; i < threads; i += 2) shutdown(sockets[i], SHUT_RDWR);
}

static void report(const struct memory* before, const struct memory* after, long threads) {
  double n = (double)threads;
  double rss = (double)(after->rss - before->rss) / n;
  double tables = (double)(after->page_tables - before->page_tables) / n;
  double stack = (double)(after->kernel_stack - before->kernel_stack) / n;
  double slab = (double)(after->slab - before->slab) / n;
  double used = (double)(before->available - after->available) / n;
  printf("per thread: rss %.2f KB  page tables %.2f KB  kernel stacks %.2f KB  kernel slab %.2f KB  total %.2f KB  "
         "(free memory fell by %.2f KB)\n",
         rss, tables, stack, slab, rss + tables + stack + slab, used);
  printf("kernel threads: %ld\n", after->threads);
}

static enum mode parse_mode(const char* name) {
  static const char* const names[] = {"cond", "read", "socket", "sleep"};
  for (int i = 0; i < 4; ++i)
    if (!strcmp(name, names[i])) return (enum mode)i;
  bad_usage(usage);
}

int main(int argc, char** argv) {
  static const struct option options[] = {{"mode", required_argument, NULL, 'm'},
                                          {"ms", required_argument, NULL, 't'},
                                          {"stack", required_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  long wanted = 1000000, ms = -1, stack_kb = 0;
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (option) {
    case 'm':
      mode = parse_mode(optarg);
      break;
    case 't':
      ms = number(optarg, "--ms", 0, 86400000);
      break;
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
  if (optind < argc) wanted = number(argv[optind++], "N", 1, 100000000);
  if (optind < argc) bad_usage(usage);
  sleep_ms = ms >= 0 ? ms : 2000 + wanted / 20;

  pthread_attr_t attr;
  pthread_attr_init(&attr);
  if (stack_kb) {
    int error = pthread_attr_setstacksize(&attr, (size_t)stack_kb * 1024);
    if (error) die(error, "a stack of %ld KB", stack_kb);
  }
  pthread_t* threads = malloc((size_t)wanted * sizeof *threads);
  if (!threads) die(errno, "malloc");
  /* Touched now, so that the list and the sockets are not counted as the threads' memory. */
  memset(threads, 0, (size_t)wanted * sizeof *threads);
  prepare(wanted);

  struct memory before = measure();
  double start = now_seconds();
  long created = 0;
  int error = 0;
  for (; created < wanted; ++created)
    if ((error = pthread_create(&threads[created], &attr, sleeper, (void*)created))) break;
  if (error) printf("pthread_create failed at %ld threads: %s\n", created, strerror(error));

  pthread_mutex_lock(&lock);
  awaited = created;
  while (alive < created && !returned_early) pthread_cond_wait(&progress, &lock);
  long all_alive = alive == created;
  pthread_mutex_unlock(&lock);
  double elapsed = now_seconds() - start;

  if (all_alive) {
    /* The last to count itself still has to reach its wait. */
    nap(20);
    struct memory after = measure();
    printf("%ld threads alive at once, %.2f s, %.1f us each\n", created, elapsed,
           elapsed * 1e6 / (double)(created ? created : 1));
    if (created) report(&before, &after, created);
    fflush(stdout);
    if (ms > 0 && mode != SLEEP) nap(ms);
  } else {
    printf("not all alive at once: %ld of %ld when the first came back (more --ms needed)\n", peak, created);
  }

  start = now_seconds();
  release_all(wanted);
  for (long i = 0; i < created; ++i) {
    void* result = NULL;
    int failed = pthread_join(threads[i], &result);
    if (failed) die(failed, "pthread_join, thread %ld", i);
    if (result != (void*)i) die(0, "thread %ld returned %p", i, result);
  }
  if (alive != 0) die(0, "%ld threads still counted after all were joined", alive);
  printf("all joined, %.2f s\n", now_seconds() - start);
  free(threads);
  free(sockets);
  return error || !all_alive;
}
