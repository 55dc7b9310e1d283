// Streams between threads: echo over every kind, big transfers, vectors, flags of recv, errors.
#include "net.h"
#include <signal.h>
#include <stdatomic.h>
#include <sys/uio.h>

enum { BIG = 10 * 1000 * 1000 };

static void* echo_stream(void* argument) {
  int fd = *(int*)argument;
  char buffer[4096];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) EQ(write(fd, buffer, (size_t)n), n);
  EQ(n, 0);
  return NULL;
}

static void talk(int client) {
  unsigned char out[700], in[700];
  for (size_t i = 0; i < 30; i++) {
    fill_pattern(out, i, sizeof out);
    EQ(write(client, out, sizeof out), (ssize_t)sizeof out);
    size_t got = 0;
    while (got < sizeof in) {
      ssize_t n = read(client, in + got, sizeof in - got);
      SYS(n);
      CHECK(n > 0);
      got += (size_t)n;
    }
    check_pattern(in, i, sizeof in);
  }
  SYS(shutdown(client, SHUT_WR));
  char c;
  EQ(read(client, &c, 1), 0);
}
static void* talk_in_thread(void* fd) {
  talk(*(int*)fd);
  return NULL;
}

static void unix_pair(int fd[2]) { SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd)); }

// The echo side sees the end of the stream after the client's shutdown, then shuts down itself for the client to see.
static void* echo_and_shut(void* argument) {
  echo_stream(argument);
  SYS(shutdown(*(int*)argument, SHUT_WR));
  return NULL;
}
static void echo_over(void (*make)(int[2]), int pairs) {
  int fd[50][2];
  pthread_t server[50], client[50];
  for (int i = 0; i < pairs; i++) {
    make(fd[i]);
    server[i] = start(echo_and_shut, &fd[i][1]);
    client[i] = start(talk_in_thread, &fd[i][0]);
  }
  for (int i = 0; i < pairs; i++) {
    finish(client[i]);
    finish(server[i]);
    close_pair(fd[i]);
  }
}

CASE(socketpair_echo) { echo_over(unix_pair, 50); }
CASE(tcp_echo) { echo_over(tcp_pair, 50); }

struct transfer {
  int fd;
  bool vector;
};
static void* send_big(void* argument) {
  struct transfer* t = argument;
  unsigned char* bytes = malloc(BIG);
  fill_pattern(bytes, 0, BIG);
  if (t->vector) {
    struct iovec v[5];
    for (int i = 0; i < 5; i++) v[i] = (struct iovec){bytes + (size_t)i * (BIG / 5), BIG / 5};
    EQ(writev(t->fd, v, 5), BIG); // blocking: all of it, however long it takes
  } else
    EQ(write(t->fd, bytes, BIG), BIG);
  free(bytes);
  return NULL;
}

static void big_through(int in, int out, bool vector) {
  struct transfer t = {out, vector};
  pthread_t sender = start(send_big, &t);
  unsigned char* buffer = malloc(300000);
  size_t got = 0, step = 1;
  while (got < BIG) {
    step = step * 7 % 299993 + 1;
    size_t want = step < BIG - got ? step : BIG - got;
    ssize_t n;
    if (vector) {
      struct iovec v[2] = {{buffer, want / 2}, {buffer + want / 2, want - want / 2}};
      n = readv(in, v, 2);
    } else
      n = read(in, buffer, want);
    SYS(n);
    CHECK(n > 0);
    check_pattern(buffer, got, (size_t)n);
    got += (size_t)n;
  }
  finish(sender);
  free(buffer);
}

CASE(big_through_pipe) {
  int fd[2];
  SYS(pipe(fd));
  big_through(fd[0], fd[1], false);
  big_through(fd[0], fd[1], true);
  close_pair(fd);
}
CASE(big_through_tcp) {
  int fd[2];
  tcp_pair(fd);
  big_through(fd[0], fd[1], false);
  big_through(fd[1], fd[0], true);
  close_pair(fd);
}
CASE(big_through_unix) {
  int fd[2];
  unix_pair(fd);
  big_through(fd[0], fd[1], false);
  big_through(fd[1], fd[0], true);
  close_pair(fd);
}

static void* send_call(void* argument) {
  unsigned char* bytes = malloc(BIG);
  fill_pattern(bytes, 0, BIG);
  EQ(send(*(int*)argument, bytes, BIG, MSG_NOSIGNAL), BIG);
  free(bytes);
  return NULL;
}

CASE(waitall_gets_all) {
  int fd[2];
  for (int kind = 0; kind < 2; kind++) {
    if (kind)
      tcp_pair(fd);
    else
      unix_pair(fd);
    pthread_t sender = start(send_call, &fd[1]);
    unsigned char* bytes = malloc(BIG);
    size_t got = 0;
    while (got < BIG) {
      size_t want = BIG - got < 777777 ? BIG - got : 777777;
      EQ(recv(fd[0], bytes, want, MSG_WAITALL), (ssize_t)want);
      check_pattern(bytes, got, want);
      got += want;
    }
    finish(sender);
    // the stream ends before the count is reached: what there is
    EQ(send(fd[1], "abc", 3, 0), 3);
    SYS(shutdown(fd[1], SHUT_WR));
    EQ(recv(fd[0], bytes, 100, MSG_WAITALL), 3);
    EQ(recv(fd[0], bytes, 100, MSG_WAITALL), 0);
    free(bytes);
    close_pair(fd);
  }
}

CASE(peek_and_dontwait) {
  int fd[2];
  char buffer[10];
  unix_pair(fd);
  ERRNO(recv(fd[0], buffer, 10, MSG_DONTWAIT), EAGAIN);
  ERRNO(recv(fd[0], buffer, 10, MSG_DONTWAIT | MSG_PEEK), EAGAIN);
  EQ(send(fd[1], "hello", 5, 0), 5);
  EQ(recv(fd[0], buffer, 10, MSG_PEEK), 5);
  EQ(recv(fd[0], buffer, 3, MSG_PEEK), 3);
  EQ(recv(fd[0], buffer, 10, 0), 5);
  CHECK(memcmp(buffer, "hello", 5) == 0);
  ERRNO(recv(fd[0], buffer, 10, MSG_DONTWAIT), EAGAIN);
  ssize_t n;
  char* block = calloc(1, 65536);
  while ((n = send(fd[1], block, 65536, MSG_DONTWAIT)) > 0) {
  }
  EQ(errno, EAGAIN);
  free(block);
  close_pair(fd);
}

static void* peek_blocked(void* fd) {
  char c = 0;
  EQ(recv(*(int*)fd, &c, 1, MSG_PEEK), 1);
  EQ(c, 'x');
  EQ(recv(*(int*)fd, &c, 1, 0), 1);
  return NULL;
}

CASE(peek_blocks) {
  int fd[2];
  unix_pair(fd);
  pthread_t t = start(peek_blocked, &fd[0]);
  pause_ms(5);
  write_byte(fd[1]);
  finish(t);
  close_pair(fd);
}

CASE(broken_pipe) {
  int fd[2];
  signal(SIGPIPE, SIG_IGN);
  SYS(pipe(fd));
  SYS(close(fd[0]));
  ERRNO(write(fd[1], "x", 1), EPIPE);
  SYS(close(fd[1]));
  unix_pair(fd);
  SYS(close(fd[0]));
  ERRNO(send(fd[1], "x", 1, 0), EPIPE);
  SYS(close(fd[1]));
  signal(SIGPIPE, SIG_DFL);
  unix_pair(fd);
  SYS(shutdown(fd[1], SHUT_WR));
  ERRNO(send(fd[1], "x", 1, MSG_NOSIGNAL), EPIPE); // would kill us otherwise
  close_pair(fd);
}

static void* write_until_broken(void* argument) {
  char* block = calloc(1, 100000);
  ssize_t n;
  while ((n = write(*(int*)argument, block, 100000)) > 0) {
  }
  EQ(n, -1);
  EQ(errno, EPIPE);
  free(block);
  return NULL;
}

CASE(reader_goes_while_writer_blocks) {
  int fd[2];
  signal(SIGPIPE, SIG_IGN);
  SYS(pipe(fd));
  pthread_t t = start(write_until_broken, &fd[1]);
  pause_ms(10);
  SYS(close(fd[0]));
  finish(t);
  SYS(close(fd[1]));
  signal(SIGPIPE, SIG_DFL);
}

static void* read_end(void* fd) {
  char c;
  return (void*)(intptr_t)read(*(int*)fd, &c, 1);
}

CASE(writer_goes_while_reader_blocks) {
  for (int i = 0; i < 20; i++) {
    int fd[2];
    SYS(pipe(fd));
    pthread_t t = start(read_end, &fd[0]);
    if (i % 2) pause_ms(1);
    SYS(close(fd[1]));
    EQ((intptr_t)finish(t), 0);
    SYS(close(fd[0]));
  }
}

CASE(bad_arguments) {
  char c;
  struct iovec v = {&c, 1};
  ERRNO(read(-1, &c, 1), EBADF);
  ERRNO(write(9999, &c, 1), EBADF);
  ERRNO(readv(-1, &v, 1), EBADF);
  int fd[2];
  SYS(pipe(fd));
  ERRNO(recv(fd[0], &c, 1, 0), ENOTSOCK);
  ERRNO(send(fd[1], &c, 1, 0), ENOTSOCK);
  ERRNO(accept(fd[0], NULL, NULL), ENOTSOCK);
  ERRNO(write(fd[0], &c, 1), EBADF); // open for reading only
  EQ(read(fd[0], &c, 0), 0);
  static volatile int minus_one = -1; // unknown to the compiler, which would warn
  ERRNO(writev(fd[1], &v, minus_one), EINVAL);
  ERRNO(lseek(fd[0], 0, SEEK_SET), ESPIPE);
  ERRNO(pread(fd[0], &c, 1, 0), ESPIPE);
  write_byte(fd[1]);
  static void* volatile nowhere = (void*)8;
  ERRNO(read(fd[0], nowhere, 1), EFAULT);
  close_pair(fd);
  ERRNO(close(fd[0]), EBADF);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  SYS(s);
  ERRNO(recv(s, &c, 1, 0), ENOTCONN);
  ERRNO(accept(s, NULL, NULL), EINVAL);
  SYS(close(s));
}

CASE(regular_file) {
  char name[] = "/tmp/gmp-io-XXXXXX", buffer[16] = "";
  int fd = mkstemp(name);
  SYS(fd);
  unlink(name);
  EQ(pwrite(fd, "0123456789", 10, 5), 10);
  EQ(pread(fd, buffer, 4, 7), 4);
  CHECK(memcmp(buffer, "2345", 4) == 0);
  EQ(lseek(fd, 0, SEEK_CUR), 0);
  EQ(pread(fd, buffer, 16, 100), 0);
  struct iovec v[2] = {{buffer, 2}, {buffer + 8, 3}};
  EQ(preadv(fd, v, 2, 5), 5);
  CHECK(memcmp(buffer, "01", 2) == 0 && memcmp(buffer + 8, "234", 3) == 0);
  EQ(pwritev(fd, v, 2, 0), 5);
  EQ(read(fd, buffer, 5), 5);
  CHECK(memcmp(buffer, "01234", 5) == 0);
  EQ(lseek(fd, 0, SEEK_CUR), 5);
  SYS(close(fd));
}

static void* line_reader(void* file) {
  char line[100];
  long n = 0;
  while (fgets(line, sizeof line, file)) {
    char expected[100];
    snprintf(expected, sizeof expected, "line %ld\n", n);
    CHECK(strcmp(line, expected) == 0);
    n++;
  }
  return (void*)n;
}

CASE(stdio_on_a_pipe) {
  int fd[2];
  SYS(pipe(fd));
  FILE *in = fdopen(fd[0], "r"), *out = fdopen(fd[1], "w");
  CHECK(in && out);
  pthread_t t = start(line_reader, in);
  for (int i = 0; i < 3000; i++) {
    fprintf(out, "line %d\n", i);
    if (i % 100 == 0) {
      fflush(out);
      sched_yield();
    }
  }
  EQ(fclose(out), 0);
  EQ((intptr_t)finish(t), 3000);
  EQ(fclose(in), 0);
}
