// Sockets for the programs: loopback addresses chosen by the kernel, whole sends and receives.
#pragma once
#include "check.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static inline struct sockaddr_in address_of(int fd) {
  struct sockaddr_in a;
  socklen_t length = sizeof a;
  SYS(getsockname(fd, (struct sockaddr*)&a, &length));
  return a;
}

static inline int bound(int type) {
  int fd = socket(AF_INET, type, 0);
  SYS(fd);
  struct sockaddr_in a;
  memset(&a, 0, sizeof a);
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  SYS(bind(fd, (struct sockaddr*)&a, sizeof a));
  return fd;
}

static inline int listening(int backlog) {
  int fd = bound(SOCK_STREAM);
  SYS(listen(fd, backlog));
  return fd;
}

static inline int connected_to(int listener) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  SYS(fd);
  struct sockaddr_in a = address_of(listener);
  SYS(connect(fd, (struct sockaddr*)&a, sizeof a));
  return fd;
}

static inline void tcp_pair(int fd[2]) {
  int listener = listening(1);
  fd[0] = connected_to(listener);
  fd[1] = accept(listener, NULL, NULL);
  SYS(fd[1]);
  SYS(close(listener));
}

// Bytes that tell where in the stream they stand.
static inline unsigned char pattern(size_t at) { return (unsigned char)(at * 31 + (at >> 8) * 17 + (at >> 16)); }
static inline void fill_pattern(unsigned char* to, size_t from, size_t n) {
  for (size_t i = 0; i < n; i++) to[i] = pattern(from + i);
}
static inline void check_pattern(const unsigned char* bytes, size_t from, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (bytes[i] != pattern(from + i)) FAIL("byte %zu is wrong", from + i);
}

static inline void write_byte(int fd) { EQ(write(fd, "x", 1), 1); }
static inline void read_byte(int fd) {
  char c = 0;
  EQ(read(fd, &c, 1), 1);
  EQ(c, 'x');
}
static inline void close_pair(int fd[2]) {
  SYS(close(fd[0]));
  SYS(close(fd[1]));
}
