#include "proc_sample.hpp"
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <set>
#include <unistd.h>

namespace gmpcmd {
namespace {

using namespace std::chrono_literals;

// /proc/PID/stat after the command's name, which may hold anything, blanks and parentheses too. Field 3 is first.
bool read_stat(pid_t process, char (&text)[1024], const char*& after_name) {
  int file = open(fmt::format("/proc/{}/stat", process).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  ssize_t got = read(file, text, sizeof text - 1);
  close(file);
  if (got <= 0) return false;
  text[got] = 0;
  const char* close_paren = std::strrchr(text, ')');
  if (!close_paren) return false;
  after_name = close_paren + 2;
  return true;
}

} // namespace

std::vector<pid_t> our_tree(pid_t except) {
  std::multimap<pid_t, pid_t> children;
  DIR* proc = opendir("/proc");
  if (!proc) return {};
  while (auto* entry = readdir(proc)) {
    if (!std::isdigit(static_cast<unsigned char>(entry->d_name[0]))) continue;
    pid_t process = std::atoi(entry->d_name);
    char text[1024];
    const char* fields;
    char state = 0;
    int parent = 0;
    if (read_stat(process, text, fields) && std::sscanf(fields, "%c %d", &state, &parent) == 2 && state != 'Z')
      children.emplace(parent, process);
  }
  closedir(proc);
  std::vector<pid_t> tree;
  std::vector<pid_t> parents{getpid()};
  while (!parents.empty()) {
    pid_t parent = parents.back();
    parents.pop_back();
    for (auto [at, end] = children.equal_range(parent); at != end; ++at)
      if (at->second != except) tree.push_back(at->second), parents.push_back(at->second);
  }
  std::sort(tree.begin(), tree.end());
  return tree;
}

CpuTime cpu_time(const std::vector<pid_t>& processes) {
  CpuTime sum;
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  for (pid_t process : processes) {
    char text[1024];
    const char* fields;
    unsigned long user = 0, system = 0;
    long reaped_user = 0, reaped_system = 0;
    if (!read_stat(process, text, fields) ||
        std::sscanf(fields, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &user, &system, &reaped_user,
                    &reaped_system) != 4)
      continue;
    sum.user += static_cast<double>(user + static_cast<unsigned long>(reaped_user)) * tick;
    sum.system += static_cast<double>(system + static_cast<unsigned long>(reaped_system)) * tick;
    sum.total += static_cast<double>(reaped_user + reaped_system) * tick;
    clockid_t clock;
    timespec used{};
    if (clock_getcpuclockid(process, &clock) == 0 && clock_gettime(clock, &used) == 0)
      sum.total += static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
  }
  return sum;
}

TreeSampler::TreeSampler(pid_t first) : next_scan_(Clock::now() + 5ms), scan_gap_(5ms) { add(first); }

TreeSampler::~TreeSampler() {
  for (auto [process, file] : status_files_) close(file);
}

void TreeSampler::add(pid_t process) {
  // status, not stat: stat adds up the times of all threads, and some programs here have thirty thousand.
  int file = open(fmt::format("/proc/{}/status", process).c_str(), O_RDONLY | O_CLOEXEC);
  if (file >= 0) status_files_.emplace(process, file);
}

void TreeSampler::rescan() {
  auto tree = our_tree(client_);
  for (pid_t process : tree)
    if (!status_files_.contains(process)) add(process);
  // A scan reads all of /proc. Children mostly come early, so look often at first and a few times a second later.
  scan_gap_ = std::min<Clock::duration>(scan_gap_ * 2, 250ms);
  next_scan_ = Clock::now() + scan_gap_;
}

void TreeSampler::sample() {
  if (Clock::now() >= next_scan_) rescan();
  int threads = 0;
  int processes = 0;
  for (auto at = status_files_.begin(); at != status_files_.end();) {
    char text[4096];
    ssize_t got = pread(at->second, text, sizeof text - 1, 0);
    if (got <= 0) {
      close(at->second);
      at = status_files_.erase(at);
      continue;
    }
    text[got] = 0;
    if (const char* line = std::strstr(text, "\nThreads:")) threads += std::atoi(line + 9), ++processes;
    ++at;
  }
  peak_threads_ = std::max(peak_threads_, threads);
  peak_processes_ = std::max(peak_processes_, processes);
}

} // namespace gmpcmd
