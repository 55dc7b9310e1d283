// Cancelled inside a call that libc does whole: the thread ends, its cleanup runs, and the others go on: nothing of the
// announced call is left behind.
#include "beside.h"
#include "nameserver.h"
#include <aio.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>

static int fds[2], server;
static sem_t ready;
static _Atomic int cleaned;

// A cleanup handler that waits, yields and computes: it runs in the middle of what was an announced call.
static void clean(void* argument) {
  (void)argument;
  pause_ms(1);
  for (int i = 0; i < 100; i++) sched_yield();
  cleaned++;
}

static void* in_call(void* call) {
  pthread_cleanup_push(clean, NULL);
  OK(sem_post(&ready));
  (*(void (**)(void))call)();
  pthread_cleanup_pop(0);
  FAIL("the call returned, errno %d", errno);
}

static void cancelled_in(void (*call)(void)) {
  OK(sem_init(&ready, 0, 0));
  for (int i = 0; i < 6; i++) {
    cleaned = 0;
    counter = 0;
    blocking = true;
    pthread_t t = start(in_call, &call);
    OK(sem_wait(&ready));
    if (i % 2) pause_ms(20);
    OK(pthread_cancel(t));
    CHECK(finish(t) == PTHREAD_CANCELED);
    EQ(cleaned, 1);
    finish(start(count, NULL));
    EQ(counter, TARGET);
  }
}

static void resolve(void) {
  ask_here(server);
  struct addrinfo hints = {.ai_family = AF_INET}, *found;
  getaddrinfo("a-name.gmp-test.example.", NULL, &hints, &found);
}
static void query(void) {
  ask_here(server);
  unsigned char answer[512];
  res_query("a-name.gmp-test.example.", ns_c_in, ns_t_a, answer, sizeof answer);
}
// Nobody answers at this port.
CASE(getaddrinfo) {
  server = bound(SOCK_DGRAM);
  cancelled_in(resolve);
  cancelled_in(query);
  SYS(close(server));
}

static void suspend(void) {
  static char c;
  // libc's thread may look at a request only when the thread that made it has gone: it lies on no stack.
  static struct aiocb requests[6];
  static int n;
  struct aiocb* request = &requests[n++ % 6];
  *request = (struct aiocb){.aio_fildes = fds[0], .aio_buf = &c, .aio_nbytes = 1, .aio_sigevent.sigev_notify = SIGEV_NONE};
  const struct aiocb* list[] = {request};
  SYS(aio_read(request));
  aio_suspend(list, 1, NULL);
}
CASE(aio_suspend) {
  // Their bytes never come.
  SYS(pipe(fds));
  cancelled_in(suspend);
}

struct command {
  FILE* output;
  pid_t process;
};
static void end_command(void* argument) {
  struct command* c = argument;
  SYS(kill(c->process, SIGKILL));
  int status = pclose(c->output);
  CHECK(WIFSIGNALED(status));
}
static void read_command(void) {
  char line[64];
  struct command c = {popen("echo $$; exec sleep 1000", "r")};
  CHECK(c.output);
  OK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL));
  CHECK(fgets(line, sizeof line, c.output));
  c.process = atoi(line);
  pthread_cleanup_push(end_command, &c);
  OK(pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL));
  fgets(line, sizeof line, c.output);
  pthread_cleanup_pop(0);
}
CASE(popen_and_fgets) { cancelled_in(read_command); }

static void run_command(void) { (void)!system("sleep 1000"); }
CASE(system_call) { cancelled_in(run_command); }

static void lock_file(void) {
  if (lockf(fds[1], F_LOCK, 10) == 0) FAIL("locked twice");
}
CASE(lockf) {
  char name[] = "/tmp/gmp-calls-XXXXXX";
  fds[1] = mkstemp(name);
  SYS(fds[1]);
  int held[2], c = 0;
  SYS(pipe(held));
  pid_t holder = fork(); // a lock of another process
  SYS(holder);
  if (holder == 0) {
    if (lockf(fds[1], F_LOCK, 10) != 0 || write(held[1], &c, 1) != 1) _exit(1);
    pause();
  }
  EQ(read(held[0], &c, 1), 1);
  cancelled_in(lock_file);
  SYS(kill(holder, SIGKILL));
  EQ(waitpid(holder, NULL, 0), holder);
  SYS(unlink(name));
}
