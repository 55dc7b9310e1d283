// A byte to another thread and back, through the kernel.
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "crew.hpp"

namespace {

void send_byte(int fd) {
  const char byte = 'x';
  if (write(fd, &byte, 1) != 1) must(errno, "write");
}

void receive_byte(int fd) {
  char byte;
  if (read(fd, &byte, 1) != 1) must(errno ? errno : EPIPE, "read");
}

void pipe_round_trip(benchmark::State& state) {
  int there[2], back[2];
  if (pipe(there) || pipe(back)) must(errno, "pipe");
  ping_pong(
      state,
      [&] {
        send_byte(there[1]);
        receive_byte(back[0]);
      },
      [&] {
        receive_byte(there[0]);
        send_byte(back[1]);
      });
  for (int fd : {there[0], there[1], back[0], back[1]}) close(fd);
}
BENCHMARK(pipe_round_trip)->UseManualTime();

void socketpair_round_trip(benchmark::State& state) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) must(errno, "socketpair");
  ping_pong(
      state,
      [&] {
        send_byte(ends[0]);
        receive_byte(ends[0]);
      },
      [&] {
        receive_byte(ends[1]);
        send_byte(ends[1]);
      });
  for (int fd : ends) close(fd);
}
BENCHMARK(socketpair_round_trip)->UseManualTime();

} // namespace
