#include "listen.hpp"
#include "fail.hpp"
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fmt/core.h>
#include <fstream>
#include <map>
#include <netinet/in.h>
#include <sstream>
#include <sys/socket.h>
#include <unistd.h>

namespace gmpcmd {
namespace {

using Inode = unsigned long;

struct Owned {
  Inode inode;
  pid_t process;
};

std::vector<Owned> sockets_of(pid_t process, bool& readable) {
  std::vector<Owned> found;
  auto folder = fmt::format("/proc/{}/fd", process);
  DIR* descriptors = opendir(folder.c_str());
  if (!descriptors) {
    if (errno == EACCES || errno == EPERM) readable = false;
    return found;
  }
  std::map<int, Inode> by_number;
  while (auto* entry = readdir(descriptors)) {
    char target[64];
    ssize_t length = readlinkat(dirfd(descriptors), entry->d_name, target, sizeof target - 1);
    if (length <= 0) continue;
    target[length] = 0;
    Inode inode = 0;
    if (std::sscanf(target, "socket:[%lu]", &inode) == 1) by_number[std::atoi(entry->d_name)] = inode;
  }
  closedir(descriptors);
  for (auto [number, inode] : by_number) found.push_back({inode, process});
  return found;
}

// Calls with (port, inode) for each listening TCP socket.
template <typename F> void each_tcp_listener(F&& call) {
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line); // the heading
    while (std::getline(file, line)) {
      unsigned port = 0, state = 0;
      Inode inode = 0;
      constexpr unsigned kListen = 0x0a;
      if (std::sscanf(line.c_str(), " %*d: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*d %*d %lu", &port, &state, &inode) ==
              3 &&
          state == kListen)
        call(static_cast<int>(port), inode);
    }
  }
}

template <typename F> void each_unix_listener(F&& call) {
  std::ifstream file("/proc/net/unix");
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    unsigned flags = 0;
    Inode inode = 0;
    int path = 0;
    constexpr unsigned kAccepts = 1 << 16; // __SO_ACCEPTCON
    if (std::sscanf(line.c_str(), "%*s %*x %*x %x %*x %*x %lu %n", &flags, &inode, &path) == 2 && (flags & kAccepts))
      call(path > 0 && static_cast<std::size_t>(path) < line.size() ? line.substr(static_cast<std::size_t>(path)) : "",
           inode);
  }
}

} // namespace

std::vector<Listener> listeners_of(const std::vector<pid_t>& processes, bool& all_readable) {
  std::vector<Owned> sockets;
  for (pid_t process : processes)
    for (auto& socket : sockets_of(process, all_readable)) sockets.push_back(socket);
  // Without any socket there is no need for the tables, which are long when ten thousand connections wait to expire.
  if (sockets.empty()) return {};

  std::map<Inode, Listener> listening;
  each_tcp_listener([&](int port, Inode inode) { listening[inode] = {port, "", 0}; });
  each_unix_listener([&](const std::string& path, Inode inode) { listening[inode] = {0, path, 0}; });
  std::vector<Listener> found;
  for (auto& socket : sockets)
    if (auto at = listening.find(socket.inode); at != listening.end()) {
      found.push_back(at->second);
      found.back().process = socket.process;
    }
  std::stable_partition(found.begin(), found.end(), [](const Listener& listener) { return listener.port != 0; });
  return found;
}

bool anybody_listens_on(int port) {
  bool found = false;
  each_tcp_listener([&](int other, Inode) { found |= other == port; });
  return found;
}

int free_port() {
  int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  bool ok = file >= 0 && bind(file, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
            getsockname(file, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  int error = errno;
  if (file >= 0) close(file);
  if (!ok) throw Failure(kCannotMeasure, fmt::format("no free port: {}", std::strerror(error)));
  return ntohs(address.sin_port);
}

} // namespace gmpcmd
