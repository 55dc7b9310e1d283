// Processes to be looked at: each case builds a known picture, says "ready" and stays so until it is killed, or until what the test does
// lets it end. `dump CASE [N]`
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER, second = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_rwlock_t third = PTHREAD_RWLOCK_INITIALIZER;
static pthread_mutex_t free_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t sem;
static pthread_t thread[3];
static atomic_int arrived, stop;
static int pipe_end[2], other_pipe[2];

static void nap(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL); }
static void named(const char* name) { pthread_setname_np(pthread_self(), name); }
static pthread_t start(void* (*entry)(void*), void* arg) {
  pthread_t t;
  pthread_attr_t a;
  pthread_attr_init(&a);
  pthread_attr_setstacksize(&a, 64 << 10);
  if (pthread_create(&t, &a, entry, arg) != 0) {
    puts("pthread_create failed");
    exit(1);
  }
  pthread_attr_destroy(&a);
  return t;
}
static void ready(int threads) {
  while (atomic_load(&arrived) < threads) nap(1);
  nap(30); // to the place where they wait
  puts("ready");
  fflush(stdout);
}
static void stay(void) {
  for (;;) pause();
}

// ---- three threads, each holding what the one before waits for
__attribute__((noinline)) static void take_second(void) {
  pthread_mutex_lock(&second);
  __asm__ volatile(""); // a call, not a jump
}
static void* alpha(void* arg) {
  named("alpha");
  pthread_mutex_lock(&first);
  pthread_barrier_wait(&barrier);
  atomic_fetch_add(&arrived, 1);
  take_second();
  return arg;
}
static void* beta(void* arg) {
  named("beta");
  pthread_mutex_lock(&second);
  pthread_barrier_wait(&barrier);
  atomic_fetch_add(&arrived, 1);
  pthread_rwlock_rdlock(&third);
  return arg;
}
static void* gamma_(void* arg) {
  named("gamma");
  pthread_rwlock_wrlock(&third);
  pthread_barrier_wait(&barrier);
  atomic_fetch_add(&arrived, 1);
  pthread_mutex_lock(&first);
  return arg;
}
static void circle(void) {
  pthread_barrier_init(&barrier, NULL, 3);
  thread[0] = start(alpha, NULL), thread[1] = start(beta, NULL), thread[2] = start(gamma_, NULL);
}
static void* self_locker(void* arg) {
  named("self");
  pthread_mutex_lock(&free_mutex);
  atomic_fetch_add(&arrived, 1);
  pthread_mutex_lock(&free_mutex);
  return arg;
}
static void case_self(int n) {
  (void)n;
  start(self_locker, NULL);
  ready(1);
  stay();
}
static void case_circle(int n) {
  (void)n;
  circle();
  ready(3);
  stay();
}
// The same with main waiting as well: nobody is left who could wake anybody.
static void case_asleep(int n) {
  (void)n;
  circle();
  ready(3);
  pthread_join(thread[0], NULL);
}
static void* joiner(void* next) {
  pthread_barrier_wait(&barrier);
  atomic_fetch_add(&arrived, 1);
  pthread_join(*(pthread_t*)next, NULL);
  return NULL;
}
static void case_join_circle(int n) {
  (void)n;
  pthread_barrier_init(&barrier, NULL, 4);
  for (int i = 0; i < 3; i++) thread[i] = start(joiner, &thread[(i + 1) % 3]);
  pthread_barrier_wait(&barrier);
  ready(3);
  stay();
}

// ---- one of each kind of wait
static void* reader(void* arg) {
  char c;
  named("reader");
  atomic_fetch_add(&arrived, 1);
  return read(pipe_end[0], &c, 1) < 0 ? NULL : arg;
}
static void* poller(void* arg) {
  named("poller");
  atomic_fetch_add(&arrived, 1);
  poll((struct pollfd[]){{pipe_end[0], POLLIN, 0}, {other_pipe[0], POLLIN, 0}}, 2, -1);
  return arg;
}
static void* sleeper(void* arg) {
  named("sleeper");
  atomic_fetch_add(&arrived, 1);
  nap(3600000);
  return arg;
}
// One processor less than the others have: that takes a kernel thread.
static void* pinned(void* arg) {
  cpu_set_t set;
  named("pinned");
  sched_getaffinity(0, sizeof set, &set);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&set) > 1; i++) CPU_CLR(i, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  atomic_fetch_add(&arrived, 1);
  nap(3600000);
  return arg;
}
static void* condition(void* arg) {
  named("condition");
  pthread_mutex_lock(&free_mutex);
  atomic_fetch_add(&arrived, 1);
  pthread_cond_wait(&cond, &free_mutex);
  return arg;
}
static void* semaphore(void* arg) {
  struct timespec until;
  named("semaphore");
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 3000;
  atomic_fetch_add(&arrived, 1);
  sem_timedwait(&sem, &until);
  return arg;
}
static void* locker(void* arg) {
  FILE* f = tmpfile();
  char path[64];
  named("locker");
  snprintf(path, sizeof path, "/proc/self/fd/%d", fileno(f));
  FILE* again = fopen(path, "r");
  flock(fileno(f), LOCK_EX);
  atomic_fetch_add(&arrived, 1);
  flock(fileno(again), LOCK_EX); // another open file description: waits for ever
  return arg;
}
static void* ender(void* arg) {
  named("ender");
  atomic_fetch_add(&arrived, 1);
  pthread_join(*(pthread_t*)arg, NULL);
  return arg;
}
__attribute__((noinline)) static void turn_round(void) {
  while (!atomic_load_explicit(&stop, memory_order_relaxed)) {}
}
static void* spinner(void* arg) {
  named("spinner");
  atomic_fetch_add(&arrived, 1);
  turn_round();
  return arg;
}
static void case_waits(int n) {
  (void)n;
  if (pipe(pipe_end) || pipe(other_pipe)) exit(1);
  sem_init(&sem, 0, 0);
  thread[0] = start(reader, NULL);
  start(poller, NULL), start(sleeper, NULL), start(condition, NULL), start(semaphore, NULL), start(locker, NULL), start(ender, &thread[0]);
  start(pinned, NULL);
  ready(8);
  stay();
}
static void case_spin(int n) {
  for (int i = 0; i < n; i++) start(spinner, NULL);
  start(sleeper, NULL);
  while (atomic_load(&arrived) < n + 1) sched_yield();
  puts("ready");
  fflush(stdout);
  turn_round();
}
static void case_many(int n) {
  if (pipe(pipe_end)) exit(1);
  for (int i = 0; i < n; i++) start(reader, NULL);
  start(sleeper, NULL);
  ready(n + 1);
  stay();
}
static void case_abort(int n) {
  (void)n;
  circle();
  ready(3);
  abort();
}
// Threads come and go while somebody looks.
static void* brief(void* arg) { return arg; }
static void case_churn(int n) {
  for (int round = 0; round < n; round++) {
    pthread_t t[20];
    for (int i = 0; i < 20; i++) t[i] = start(brief, NULL);
    for (int i = 0; i < 20; i++) pthread_join(t[i], NULL);
    if (round == 0) puts("ready"), fflush(stdout);
  }
  puts("done");
}

// ---- asleep, but not for ever: each ends well once it gets what it waits for
static void post(int sig) {
  (void)sig;
  sem_post(&sem);
}
static void* waiter(void* arg) {
  while (sem_wait(&sem) != 0) {}
  return arg;
}
static void case_for_a_signal(int n) { // by a handler
  (void)n;
  struct sigaction a = {.sa_handler = post, .sa_flags = SA_RESTART};
  sem_init(&sem, 0, 0);
  sigaction(SIGUSR1, &a, NULL);
  thread[0] = start(waiter, NULL);
  ready(0);
  pthread_join(thread[0], NULL);
  puts("woken");
}
static void* sigwaiter(void* arg) {
  int sig;
  sigwait(arg, &sig);
  return arg;
}
static void case_in_sigwait(int n) {
  (void)n;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, NULL);
  thread[0] = start(sigwaiter, &set);
  ready(0);
  pthread_join(thread[0], NULL);
  puts("woken");
}
static void* line_reader(void* arg) {
  char c;
  return read(0, &c, 1) == 1 ? arg : NULL;
}
static void case_for_a_line(int n) { // from outside, by a descriptor
  (void)n;
  thread[0] = start(line_reader, NULL);
  ready(0);
  pthread_join(thread[0], NULL);
  puts("woken");
}
static void case_for_a_process(int n) { // process-shared
  (void)n;
  sem_t* shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  sem_init(shared, 1, 0);
  pid_t child = fork();
  if (child == 0) {
    nap(900);
    sem_post(shared);
    _exit(0);
  }
  start(sleeper, NULL); // so that there are threads; ends with the process
  sem_wait(shared);
  waitpid(child, NULL, 0);
  puts("woken");
}
static void expired(union sigval v) {
  (void)v;
  sem_post(&sem);
}
static void case_for_a_timer(int n) { // libc's own thread
  (void)n;
  timer_t timer;
  struct sigevent e = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = expired};
  sem_init(&sem, 0, 0);
  timer_create(CLOCK_MONOTONIC, &e, &timer);
  timer_settime(timer, 0, &(struct itimerspec){.it_value = {0, 900000000}}, NULL);
  thread[0] = start(waiter, NULL);
  pthread_join(thread[0], NULL);
  puts("woken");
}
static void case_takes_usr2(int n) { // the program wants the signal for itself
  (void)n;
  struct sigaction a = {.sa_handler = post}, old;
  sem_init(&sem, 0, 0);
  sigaction(SIGUSR2, NULL, &old);
  thread[0] = start(waiter, NULL);
  printf("before: %s\n", old.sa_handler == SIG_DFL ? "default" : "something");
  sigaction(SIGUSR2, &a, &old);
  printf("replaced: %s\n", old.sa_handler == SIG_DFL ? "default" : "something");
  kill(getpid(), SIGUSR2);
  pthread_join(thread[0], NULL);
  puts("woken");
}

static const struct {
  const char* name;
  void (*run)(int);
} cases[] = {
  {"circle", case_circle}, {"self", case_self}, {"asleep", case_asleep}, {"join_circle", case_join_circle}, {"waits", case_waits}, {"spin", case_spin},
  {"many", case_many}, {"abort", case_abort}, {"churn", case_churn}, {"for_a_signal", case_for_a_signal}, {"in_sigwait", case_in_sigwait},
  {"for_a_line", case_for_a_line}, {"for_a_process", case_for_a_process}, {"for_a_timer", case_for_a_timer}, {"takes_usr2", case_takes_usr2},
};

int main(int argc, char** argv) {
  for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof cases[0]; i++)
    if (!strcmp(argv[1], cases[i].name)) {
      cases[i].run(argc > 2 ? atoi(argv[2]) : 0);
      return 0;
    }
  fprintf(stderr, "usage: dump CASE [N]\n");
  return 2;
}
