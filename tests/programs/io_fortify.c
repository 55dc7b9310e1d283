// Built with -D_FORTIFY_SOURCE=2: sizes the compiler cannot see make it call __read_chk, __recv_chk, __poll_chk ... .
#include "net.h"
#include <sys/uio.h>

static volatile size_t one = 1; // unknown to the compiler, so that the check is made at run time
static void* byte_soon(void* fd) {
  pause_ms(3);
  write_byte(*(int*)fd);
  return NULL;
}

CASE(read_checked) {
  int fd[2];
  SYS(pipe(fd));
  for (int i = 0; i < 5; i++) {
    char buffer[8];
    pthread_t t = start(byte_soon, &fd[1]);
    EQ(read(fd[0], buffer, one), 1);
    finish(t);
  }
  close_pair(fd);
}

CASE(recv_checked) {
  int fd[2];
  SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
  for (int i = 0; i < 6; i++) {
    char buffer[8];
    pthread_t t = start(byte_soon, &fd[1]);
    EQ(i % 2 ? recv(fd[0], buffer, one, 0) : recvfrom(fd[0], buffer, one, 0, NULL, NULL), 1);
    EQ(buffer[0], 'x');
    finish(t);
  }
  close_pair(fd);
}

CASE(poll_checked) {
  int fd[2];
  SYS(pipe(fd));
  struct timespec minute = {60, 0};
  for (int i = 0; i < 6; i++) {
    struct pollfd p[3];
    p[0] = (struct pollfd){.fd = fd[0], .events = POLLIN};
    pthread_t t = start(byte_soon, &fd[1]);
    EQ(i % 2 ? poll(p, one, -1) : ppoll(p, one, &minute, NULL), 1);
    EQ(p[0].revents, POLLIN);
    read_byte(fd[0]);
    finish(t);
  }
  close_pair(fd);
}

CASE(pread_checked) {
  char name[] = "/tmp/gmp-chk-XXXXXX", buffer[8];
  int fd = mkstemp(name);
  SYS(fd);
  unlink(name);
  EQ(write(fd, "abc", 3), 3);
  EQ(pread(fd, buffer, one, 1), 1);
  EQ(buffer[0], 'b');
  SYS(close(fd));
}

CASE(fgets_checked) {
  int fd[2];
  char line[16];
  SYS(pipe(fd));
  FILE* f = fdopen(fd[0], "r");
  EQ(write(fd[1], "line\n", 5), 5);
  CHECK(fgets(line, (int)(one * 16), f));
  CHECK(strcmp(line, "line\n") == 0);
  EQ(fclose(f), 0);
  SYS(close(fd[1]));
}
