// Descriptors: numbers reused at once, dup, dup2 over one in use, non-blocking flags, closing under a blocked thread,
// FIFOs, eventfd, timerfd, many threads on one pipe.
#include "net.h"
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

static void* expect_byte(void* fd) {
  read_byte(*(int*)fd);
  return NULL;
}

CASE(number_reused_at_once) {
  int first = -1;
  for (int i = 0; i < 2000; i++) {
    int fd[2];
    if (i % 3 == 0)
      SYS(pipe(fd));
    else if (i % 3 == 1)
      SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    else
      tcp_pair(fd);
    if (first < 0) first = fd[0];
    pthread_t t = start(expect_byte, &fd[0]);
    if (i % 4 == 0) sched_yield();
    write_byte(fd[1]);
    finish(t);
    if (i % 5 == 0) write_byte(fd[1]); // readiness left behind belongs to the old file, not to the number
    close_pair(fd);
  }
  int fd[2];
  SYS(pipe(fd));
  CHECK(fd[0] <= first + 1); // nothing leaked
  close_pair(fd);
}

static _Atomic bool computed;
static void* compute(void* unused) {
  while (!computed) {}
  return unused;
}

// Whatever is opened on the program's behalf meanwhile has no number of the program's, not even for a moment.
CASE(lowest_free_number_beside_threads_that_compute) {
  pthread_t t[6];
  for (int i = 0; i < 6; i++) t[i] = start(compute, NULL);
  int lowest = -1;
  for (int64_t until = now_ns(CLOCK_MONOTONIC) + 300000000; now_ns(CLOCK_MONOTONIC) < until;) {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    SYS(fd);
    if (lowest < 0) lowest = fd;
    EQ(fd, lowest);
    int copy = fcntl(fd, F_DUPFD, lowest);
    EQ(copy, lowest + 1);
    SYS(close(copy));
    SYS(close(fd));
    if (fd % 2) sched_yield();
  }
  computed = true;
  for (int i = 0; i < 6; i++) finish(t[i]);
}

// Closed by ways other than close(): stdio, dup2, close_range.
CASE(number_reused_after_other_closers) {
  for (int i = 0; i < 200; i++) {
    int fd[2], other[2];
    SYS(pipe(fd));
    SYS(pipe(other));
    pthread_t t = start(expect_byte, &fd[0]);
    sched_yield();
    write_byte(fd[1]);
    finish(t);
    if (i % 3 == 0) {
      FILE* f = fdopen(fd[0], "r");
      CHECK(f);
      EQ(fclose(f), 0);
      EQ(dup(other[0]), fd[0]);
    } else if (i % 3 == 1) {
      EQ(dup2(other[0], fd[0]), fd[0]);
    } else {
      SYS(close_range((unsigned)fd[0], (unsigned)fd[0], 0));
      EQ(fcntl(other[0], F_DUPFD, fd[0]), fd[0]);
    }
    t = start(expect_byte, &fd[0]);
    sched_yield();
    write_byte(other[1]);
    finish(t);
    close_pair(fd);
    close_pair(other);
  }
}

CASE(dup_shares_the_file) {
  int fd[2];
  SYS(pipe(fd));
  int copy = dup(fd[0]), third = dup3(fd[0], 300, O_CLOEXEC);
  EQ(third, 300);
  EQ(fcntl(third, F_GETFD), FD_CLOEXEC);
  pthread_t a = start(expect_byte, &copy), b = start(expect_byte, &fd[0]), c = start(expect_byte, &third);
  pause_ms(2);
  EQ(write(fd[1], "xxx", 3), 3);
  finish(a);
  finish(b);
  finish(c);
  SYS(close(fd[0]));
  a = start(expect_byte, &copy);
  pause_ms(1);
  write_byte(fd[1]);
  finish(a);
  SYS(close(copy));
  SYS(close(third));
  SYS(close(fd[1]));
}

CASE(non_blocking) {
  int fd[2], on = 1, off = 0;
  char c;
  SYS(pipe(fd));
  SYS(fcntl(fd[0], F_SETFL, O_NONBLOCK));
  ERRNO(read(fd[0], &c, 1), EAGAIN);
  SYS(fcntl(fd[0], F_SETFL, 0));
  pthread_t t = start(expect_byte, &fd[0]);
  pause_ms(1);
  write_byte(fd[1]);
  finish(t);
  SYS(ioctl(fd[0], FIONBIO, &on));
  EQ(fcntl(fd[0], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  ERRNO(read(fd[0], &c, 1), EAGAIN);
  int copy = dup(fd[0]); // the flag is the open file's, not the number's
  ERRNO(read(copy, &c, 1), EAGAIN);
  SYS(ioctl(copy, FIONBIO, &off));
  t = start(expect_byte, &fd[0]);
  pause_ms(1);
  write_byte(fd[1]);
  finish(t);
  SYS(fcntl(fd[1], F_SETFL, O_NONBLOCK));
  char* block = calloc(1, 1 << 20);
  CHECK(write(fd[1], block, 1 << 20) < 1 << 20);
  ERRNO(write(fd[1], block, 1 << 20), EAGAIN);
  free(block);
  SYS(close(copy));
  close_pair(fd);
  SYS(pipe2(fd, O_NONBLOCK | O_CLOEXEC));
  ERRNO(read(fd[0], &c, 1), EAGAIN);
  close_pair(fd);
  SYS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
  ERRNO(recv(fd[0], &c, 1, 0), EAGAIN);
  close_pair(fd);
}

CASE(blocking_stays_blocking) {
  int fd[2];
  for (int kind = 0; kind < 3; kind++) {
    if (kind == 0)
      SYS(pipe(fd));
    else if (kind == 1)
      SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    else
      tcp_pair(fd);
    pthread_t t = start(expect_byte, &fd[0]);
    for (int i = 0; i < 10; i++) { // while the thread blocks on it, and before and after
      EQ(fcntl(fd[0], F_GETFL) & O_NONBLOCK, 0);
      EQ(fcntl(fd[1], F_GETFL) & O_NONBLOCK, 0);
      pause_ms(1);
    }
    write_byte(fd[1]);
    finish(t);
    EQ(fcntl(fd[0], F_GETFL) & O_NONBLOCK, 0);
    close_pair(fd);
  }
}

struct blocked {
  int fd;
  sem_t ready;
  ssize_t result;
  int error;
};
static void* read_and_report(void* argument) {
  struct blocked* b = argument;
  char c;
  OK(sem_post(&b->ready));
  b->result = read(b->fd, &c, 1);
  b->error = errno;
  return NULL;
}

// A thread blocked in read holds the file: close() by another takes the number away, and the read goes on. Where the
// reader had not got so far it is told EBADF. The race is run until the reader was blocked.
CASE(close_under_blocked_reader) {
  bool seen = false;
  for (int i = 0; i < 200 && !seen; i++) {
    int fd[2];
    SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
    struct blocked b = {.fd = fd[0]};
    OK(sem_init(&b.ready, 0, 0));
    pthread_t t = start(read_and_report, &b);
    OK(sem_wait(&b.ready));
    pause_ms(20);
    SYS(close(fd[0]));
    ERRNO(fcntl(fd[0], F_GETFD), EBADF);
    ssize_t n = send(fd[1], "x", 1, MSG_NOSIGNAL);
    finish(t);
    if (n == 1) {
      EQ(b.result, 1);
      seen = true;
    } else {
      EQ(b.result, -1);
      EQ(b.error, EBADF);
    }
    SYS(close(fd[1]));
  }
  CHECK(seen);
}

CASE(dup2_over_one_in_use) {
  bool seen = false;
  for (int i = 0; i < 200 && !seen; i++) {
    int a[2], b[2];
    SYS(pipe(a));
    SYS(pipe(b));
    int keep = dup(a[0]); // so that the old pipe has a reader whatever happens
    struct blocked r = {.fd = a[0]};
    OK(sem_init(&r.ready, 0, 0));
    pthread_t t = start(read_and_report, &r);
    OK(sem_wait(&r.ready));
    pause_ms(20);
    EQ(dup2(b[0], a[0]), a[0]);
    write_byte(a[1]); // to a reader that blocked on the old pipe
    write_byte(b[1]); // to one that came later
    finish(t);
    EQ(r.result, 1);
    struct pollfd p[2] = {{.fd = keep, .events = POLLIN}, {.fd = b[0], .events = POLLIN}};
    EQ(poll(p, 2, 0), 1);
    seen = p[1].revents == POLLIN; // the old pipe's byte was taken
    close_pair(a);
    close_pair(b);
    SYS(close(keep));
  }
  CHECK(seen);
}

static _Atomic long bytes_read;
static int crowded;
static void* drain(void* argument) {
  char buffer[7];
  ssize_t n;
  while ((n = read(crowded, buffer, sizeof buffer)) > 0) bytes_read += n;
  EQ(n, 0);
  return argument;
}

CASE(many_readers_of_one_pipe) {
  int fd[2];
  SYS(pipe(fd));
  crowded = fd[0];
  bytes_read = 0;
  pthread_t t[50];
  for (int i = 0; i < 50; i++) t[i] = start(drain, NULL);
  char block[1000] = {0};
  for (int i = 0; i < 200; i++) EQ(write(fd[1], block, (size_t)(i * 5 + 1)), i * 5 + 1);
  SYS(close(fd[1])); // every reader sees the end
  for (int i = 0; i < 50; i++) finish(t[i]);
  EQ(bytes_read, 5 * (199 * 200 / 2) + 200);
  SYS(close(fd[0]));
}

static void* write_records(void* argument) {
  char record[100];
  memset(record, (int)(intptr_t)argument, sizeof record);
  for (int i = 0; i < 100; i++) EQ(write(crowded, record, sizeof record), (ssize_t)sizeof record);
  return NULL;
}

CASE(many_writers_to_one_pipe) {
  int fd[2];
  SYS(pipe(fd));
  crowded = fd[1];
  pthread_t t[26];
  for (int i = 0; i < 26; i++) t[i] = start(write_records, (void*)(intptr_t)('a' + i));
  long count[26] = {0};
  for (int i = 0; i < 2600; i++) {
    char record[100];
    size_t got = 0;
    while (got < sizeof record) {
      ssize_t n = read(fd[0], record + got, sizeof record - got);
      CHECK(n > 0);
      got += (size_t)n;
    }
    for (int k = 1; k < 100; k++) EQ(record[k], record[0]); // up to PIPE_BUF a write is whole
    count[record[0] - 'a']++;
  }
  for (int i = 0; i < 26; i++) {
    finish(t[i]);
    EQ(count[i], 100);
  }
  close_pair(fd);
}

static char fifo[64];
static void* fifo_writer(void* argument) {
  int fd = open(fifo, O_WRONLY); // blocks until a reader comes
  SYS(fd);
  for (int i = 0; i < 100; i++) write_byte(fd);
  SYS(close(fd));
  return argument;
}
static void* fifo_reader(void* argument) {
  int fd = open(fifo, O_RDONLY);
  SYS(fd);
  for (int i = 0; i < 100; i++) read_byte(fd);
  char c;
  EQ(read(fd, &c, 1), 0);
  SYS(close(fd));
  return argument;
}

CASE(fifo) {
  char folder[] = "/tmp/gmp-fifo-XXXXXX";
  CHECK(mkdtemp(folder));
  snprintf(fifo, sizeof fifo, "%s/f", folder);
  SYS(mkfifo(fifo, 0600));
  for (int i = 0; i < 10; i++) {
    pthread_t a = i % 2 ? start(fifo_writer, NULL) : start(fifo_reader, NULL);
    if (i % 3) pause_ms(1);
    pthread_t b = i % 2 ? start(fifo_reader, NULL) : start(fifo_writer, NULL);
    finish(a);
    finish(b);
  }
  ERRNO(open(fifo, O_WRONLY | O_NONBLOCK), ENXIO);
  SYS(unlink(fifo));
  SYS(rmdir(folder));
}

static int counter_fd;
static void* take_count(void* argument) {
  uint64_t value;
  EQ(read(counter_fd, &value, 8), 8);
  EQ(value, 1);
  return argument;
}

CASE(eventfds) {
  uint64_t value;
  int fd = eventfd(3, 0);
  SYS(fd);
  EQ(read(fd, &value, 8), 8);
  EQ(value, 3);
  SYS(close(fd));
  counter_fd = eventfd(0, EFD_SEMAPHORE);
  SYS(counter_fd);
  pthread_t t[20];
  for (int i = 0; i < 20; i++) t[i] = start(take_count, NULL);
  pause_ms(2);
  SYS(eventfd_write(counter_fd, 5)); // one write, five to be woken
  SYS(eventfd_write(counter_fd, 15));
  for (int i = 0; i < 20; i++) finish(t[i]);
  SYS(close(counter_fd));
  fd = eventfd(0, EFD_NONBLOCK);
  ERRNO(read(fd, &value, 8), EAGAIN);
  ERRNO(read(fd, &value, 4), EINVAL);
  SYS(close(fd));
}

static void* eventfd_writer(void* argument) {
  uint64_t huge = UINT64_MAX - 1;
  EQ(write(counter_fd, &huge, 8), 8);
  uint64_t one = 1;
  EQ(write(counter_fd, &one, 8), 8); // blocks until somebody has read
  return argument;
}

CASE(eventfd_full) {
  counter_fd = eventfd(0, 0);
  pthread_t t = start(eventfd_writer, NULL);
  pause_ms(5);
  uint64_t value, sum = 0;
  EQ(read(counter_fd, &value, 8), 8);
  sum = value;
  finish(t);
  CHECK(sum == UINT64_MAX - 1);
  EQ(read(counter_fd, &value, 8), 8);
  EQ(value, 1);
  SYS(close(counter_fd));
}

CASE(timerfds) {
  int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  SYS(fd);
  struct itimerspec when = {.it_value = {0, 10000000}, .it_interval = {0, 2000000}};
  int64_t before = now_ns(CLOCK_MONOTONIC);
  SYS(timerfd_settime(fd, 0, &when, NULL));
  uint64_t total = 0, n;
  while (total < 5) {
    EQ(read(fd, &n, 8), 8);
    CHECK(n >= 1);
    total += n;
  }
  CHECK(now_ns(CLOCK_MONOTONIC) - before >= 18000000);
  SYS(close(fd));
}
