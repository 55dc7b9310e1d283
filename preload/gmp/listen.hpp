// Finds out where a server listens, without asking it.
#pragma once
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace gmpcmd {

struct Listener {
  int port = 0;     // of TCP, 0 for a Unix socket
  std::string path; // of a Unix socket
  pid_t process = 0;
};

// The listening sockets that these processes have open: TCP ones first, in the order of the processes and their
// descriptors. `all_readable` becomes false when a process's descriptors can't be looked at (another user's).
std::vector<Listener> listeners_of(const std::vector<pid_t>& processes, bool& all_readable);

bool anybody_listens_on(int port);
// A port nobody has at this moment.
int free_port();

} // namespace gmpcmd
