#define _GNU_SOURCE
// What the echo rows could reach at best: one thread, edge-triggered epoll, nothing but the calls that an echo takes. Prints "listening
// on PORT" like examples/echo_server, which it stands in for; a request is at most one read.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(int ok, const char* what) {
  if (ok >= 0) return;
  perror(what);
  exit(1);
}

static void watch(int poller, int fd) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
  must(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

int main(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), one = 1;
  must(listener, "socket");
  must(poller, "epoll_create1");
  must(bind(listener, (struct sockaddr*)&address, length), "bind");
  must(getsockname(listener, (struct sockaddr*)&address, &length), "getsockname");
  must(listen(listener, 4096), "listen");
  watch(poller, listener);
  printf("listening on %d\n", ntohs(address.sin_port));
  fflush(stdout);
  for (;;) {
    struct epoll_event events[128];
    int n = epoll_wait(poller, events, 128, -1);
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        for (int c; (c = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
          setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          watch(poller, c);
        }
        continue;
      }
      char buffer[4096];
      ssize_t got = read(fd, buffer, sizeof buffer);
      if (got <= 0 || write(fd, buffer, (size_t)got) != got) close(fd);
    }
  }
}
