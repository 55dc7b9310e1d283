// Looking at a tree of processes from outside, through /proc.
#pragma once
#include <chrono>
#include <map>
#include <sys/types.h>
#include <vector>

namespace gmpcmd {

// Every living process below us, but for `except` and what is below it. We are the subreaper of all of them, so
// a daemon that has cut itself loose is still here.
std::vector<pid_t> our_tree(pid_t except = 0);

struct CpuTime {
  double user = 0, system = 0; // in the kernel's ticks of 10 ms
  double total = 0;            // from the processes' CPU clocks, to the nanosecond
};
CpuTime cpu_time(const std::vector<pid_t>& processes);

// Follows the number of kernel threads of our tree. Cheap enough to be asked every few milliseconds beside a measured
// program: one pread a process; the list of processes is read anew ever more seldom.
class TreeSampler {
public:
  explicit TreeSampler(pid_t first);
  ~TreeSampler();
  TreeSampler(const TreeSampler&) = delete;
  TreeSampler& operator=(const TreeSampler&) = delete;

  void exclude(pid_t client) { client_ = client; }
  void sample();
  int peak_threads() const { return peak_threads_; }
  int peak_processes() const { return peak_processes_; }

private:
  using Clock = std::chrono::steady_clock;
  void add(pid_t process);
  void rescan();

  std::map<pid_t, int> status_files_; // kept open: opening costs more than reading
  pid_t client_ = 0;
  Clock::time_point next_scan_;
  Clock::duration scan_gap_;
  int peak_threads_ = 1;
  int peak_processes_ = 1;
};

} // namespace gmpcmd
