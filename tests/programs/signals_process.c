// Signals to the process: which thread runs the handler, and that its wait ends.
#include "net.h"
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

static _Atomic bool stop;
static void* works(void* argument) {
  while (!stop) {
    for (volatile int i = 0; i < 3000; i++) {
    }
    sched_yield();
  }
  return argument;
}
static void* blocks(void* gate) {
  while (sem_wait(gate) != 0) EQ(errno, EINTR);
  return NULL;
}

// Another process sends a signal for each byte that it is told.
static int order[2];
static pid_t child;
static void start_sender(void) {
  SYS(pipe(order));
  child = fork();
  SYS(child);
  if (child == 0) {
    close(order[1]);
    unsigned char number;
    while (read(order[0], &number, 1) == 1) {
      usleep(3000);
      kill(getppid(), number);
    }
    _exit(0);
  }
}
static void end_sender(void) {
  close(order[0]);
  close(order[1]);
  EQ(waitpid(child, NULL, 0), child);
}
static void send_from_outside(int signal_number) {
  unsigned char c = (unsigned char)signal_number;
  EQ(write(order[1], &c, 1), 1);
}

static _Atomic int handled, elsewhere;
static pthread_t the_main;
static void note(int number) {
  (void)number;
  if (!pthread_equal(pthread_self(), the_main)) elsewhere++;
  handled++;
}

// Main takes a signal to the process as long as it does not block it, whoever is running meanwhile, and its poll ends. A signal that
// comes before main is in poll is lost on it, natively too: hence the allowance.
static void main_polls(int rounds) {
  int lost = 0, quiet[2];
  SYS(pipe(quiet));
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  SYS(sigaction(SIGUSR1, &action, NULL));
  the_main = pthread_self();
  for (int i = 0; i < rounds; i++) {
    int before = handled;
    send_from_outside(SIGUSR1);
    struct pollfd p = {.fd = quiet[0], .events = POLLIN};
    int r = poll(&p, 1, 2000);
    if (r == 0) lost++;
    else EQ(r, -1);
    if (r < 0) EQ(errno, EINTR);
    EQ(handled, before + 1);
  }
  EQ(elsewhere, 0);
  CHECK(lost <= rounds / 5);
  close_pair(quiet);
}

CASE(main_polls_while_others_work) {
  start_sender();
  pthread_t t[4];
  stop = false;
  for (int i = 0; i < 4; i++) t[i] = start(works, NULL);
  main_polls(30);
  stop = true;
  for (int i = 0; i < 4; i++) finish(t[i]);
  end_sender();
}

CASE(main_polls_while_others_are_blocked) {
  start_sender();
  sem_t gate;
  OK(sem_init(&gate, 0, 0));
  pthread_t t[4];
  for (int i = 0; i < 4; i++) t[i] = start(blocks, &gate);
  main_polls(30);
  for (int i = 0; i < 4; i++) OK(sem_post(&gate));
  for (int i = 0; i < 4; i++) finish(t[i]);
  end_sender();
}

// Threads that come from a wait and go into the next all the time, so that signals hit kernel threads in the runtime.
static int ring[8][2];
static void* passes_on(void* which) {
  long k = (long)which;
  char c;
  for (;;) {
    ssize_t n = read(ring[k][0], &c, 1);
    if (n < 0) {
      EQ(errno, EINTR);
      continue;
    }
    if (stop) c = 'q';
    while (write(ring[(k + 1) % 8][1], &c, 1) != 1) EQ(errno, EINTR);
    if (c == 'q') return NULL;
  }
}
CASE(main_polls_while_others_come_and_go) {
  start_sender();
  pthread_t t[8];
  stop = false;
  for (int i = 0; i < 8; i++) SYS(pipe(ring[i]));
  for (long i = 0; i < 8; i++) t[i] = start(passes_on, (void*)i);
  for (int i = 0; i < 3; i++) EQ(write(ring[i * 2][1], "x", 1), 1);
  main_polls(60);
  stop = true;
  for (int i = 0; i < 8; i++) finish(t[i]);
  for (int i = 0; i < 8; i++) close_pair(ring[i]);
  end_sender();
}

static void hears(int count) {
  for (int k = 0; handled < count && k < 5000; k++) pause_ms(1);
  EQ(handled, count);
}

// Who only looks is not told of signals that are main's, although they may hit the kernel thread that looks for him.
static void* looks(void* argument) {
  const int fd = *(int*)argument;
  struct pollfd p = {.fd = fd, .events = POLLIN}, many[100];
  for (int i = 0; i < 100; i++) many[i] = p;
  for (long i = 0; !stop; i++) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(fd, &in);
    struct timeval none = {0, 0}, soon = {0, 100};
    switch (i % 5) {
    case 0: EQ(poll(&p, 1, 0), 0); break;
    case 3: EQ(poll(many, 100, 1), 0); break;
    case 1: EQ(select(fd + 1, &in, NULL, NULL, &none), 0); break;
    case 2: EQ(poll(&p, 1, 1), 0); break;
    default: EQ(select(fd + 1, &in, NULL, NULL, &soon), 0); break;
    }
  }
  return NULL;
}
CASE(main_takes_while_others_look) {
  start_sender();
  struct sigaction action = {.sa_handler = note};
  SYS(sigaction(SIGUSR1, &action, NULL));
  the_main = pthread_self();
  int quiet[2];
  SYS(pipe(quiet));
  pthread_t t[2];
  stop = false;
  for (int i = 0; i < 2; i++) t[i] = start(looks, &quiet[0]);
  for (int i = 0; i < 300; i++) {
    const int before = handled;
    send_from_outside(SIGUSR1);
    hears(before + 1);
  }
  EQ(elsewhere, 0);
  stop = true;
  for (int i = 0; i < 2; i++) finish(t[i]);
  close_pair(quiet);
  end_sender();
}

// A signal that comes while the first thread is being made (whose main blocks it for a moment: anybody may get it), and the next one while all wait.
static void hears_two(int delay) {
  int heard[2];
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  SYS(sigaction(SIGUSR1, &action, NULL));
  handled = 0;
  SYS(pipe(heard));
  const pid_t self = getpid(), sender = fork();
  SYS(sender);
  if (sender == 0) {
    char c;
    EQ(read(heard[0], &c, 1), 1);
    const struct timespec t = {0, delay * 1000};
    nanosleep(&t, NULL);
    kill(self, SIGUSR1);
    EQ(read(heard[0], &c, 1), 1);
    kill(self, SIGUSR1);
    _exit(0);
  }
  sem_t gate;
  OK(sem_init(&gate, 0, 0));
  EQ(write(heard[1], "x", 1), 1);
  pthread_t t = start(blocks, &gate);
  for (int i = 0; i < 2; i++) {
    hears(i + 1);
    if (i == 0) EQ(write(heard[1], "x", 1), 1);
  }
  int status;
  EQ(waitpid(sender, &status, 0), sender);
  OK(sem_post(&gate));
  finish(t);
  _exit(0);
}
CASE(comes_with_the_first_thread) {
  for (int i = 0; i < 60; i++) {
    const pid_t child = fork();
    SYS(child);
    if (child == 0) hears_two(i * 50);
    int status;
    EQ(waitpid(child, &status, 0), child);
    EQ(status, 0);
  }
}

// A wait whose mask alone lets the signal in: whoever else runs, it ends.
CASE(only_the_wait_takes_it) {
  start_sender();
  sigset_t block, open;
  sigemptyset(&block);
  sigaddset(&block, SIGUSR1);
  OK(pthread_sigmask(SIG_BLOCK, &block, &open));
  struct sigaction action = {.sa_handler = note};
  SYS(sigaction(SIGUSR1, &action, NULL));
  the_main = pthread_self();
  pthread_t t[4];
  stop = false;
  for (int i = 0; i < 4; i++) t[i] = start(works, NULL);
  int quiet[2];
  SYS(pipe(quiet));
  for (int i = 0; i < 60; i++) {
    int before = handled;
    send_from_outside(SIGUSR1);
    struct pollfd p = {.fd = quiet[0], .events = POLLIN};
    fd_set in;
    FD_ZERO(&in);
    FD_SET(quiet[0], &in);
    struct timespec most = {20, 0};
    switch (i % 3) {
    case 0: EQ(ppoll(&p, 1, &most, &open), -1); break;
    case 1: EQ(pselect(quiet[0] + 1, &in, NULL, NULL, &most, &open), -1); break;
    default: EQ(sigsuspend(&open), -1); break;
    }
    EQ(errno, EINTR);
    EQ(handled, before + 1);
  }
  EQ(elsewhere, 0);
  stop = true;
  for (int i = 0; i < 4; i++) finish(t[i]);
  close_pair(quiet);
  end_sender();
  OK(pthread_sigmask(SIG_SETMASK, &open, NULL));
}
