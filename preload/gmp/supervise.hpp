// Owns every process that gmp starts, and what those leave behind: nothing survives it, whichever way gmp ends.
#pragma once
#include "spawn.hpp"
#include <csignal>
#include <map>
#include <optional>
#include <string>
#include <sys/resource.h>

namespace gmpcmd {

// How a process ended, as the shell would tell it.
struct Status {
  bool signalled = false;
  int value = 0;
  bool operator==(const Status&) const = default;
  std::string text() const; // "0", "SIGSEGV"
};

struct Usage {
  double user = 0, system = 0;
  long peak_rss_kb = 0; // of the largest process, as the kernel counts it
  long voluntary = 0, involuntary = 0;
  void add(const rusage& more);
};

struct Ended {
  Status status;
  double at = 0; // seconds of now()
  Usage usage;
};

double now(); // monotonic seconds

class Supervisor {
public:
  Supervisor();
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  pid_t start(const SpawnRequest& request) { return spawn(request); }
  // Waits until a child ends, a signal comes or `milliseconds` have passed, and reaps. Throws Interrupted.
  void step(int milliseconds);
  // How `process`, a child of ours, ended; it stays known until kill_all().
  const Ended* ended(pid_t process) const;
  // What was used by children that came to us because their own parent was gone, since the last kill_all().
  Usage of_adopted(pid_t root, pid_t client) const;
  // Kills whatever lives below us, waits for it, and forgets all that has ended. Returns how many were killed.
  int kill_all();

private:
  void reap();
  int signals_ = -1;
  std::map<pid_t, Ended> ended_;
  std::map<pid_t, rusage> usage_;
};

struct Interrupted {
  int signal;
};

} // namespace gmpcmd
