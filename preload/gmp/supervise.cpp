#include "supervise.hpp"
#include "proc_sample.hpp"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gmpcmd {
namespace {

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

constexpr int kEnders[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

} // namespace

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

std::string Status::text() const {
  if (!signalled) return std::to_string(value);
  const char* name = sigabbrev_np(value);
  return name ? fmt::format("SIG{}", name) : fmt::format("signal {}", value);
}

void Usage::add(const rusage& more) {
  user += seconds(more.ru_utime);
  system += seconds(more.ru_stime);
  peak_rss_kb = std::max(peak_rss_kb, more.ru_maxrss);
  voluntary += more.ru_nvcsw;
  involuntary += more.ru_nivcsw;
}

Supervisor::Supervisor() {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  for (int ender : kEnders) {
    struct sigaction action {};
    sigaction(ender, nullptr, &action);
    // nohup's SIGHUP, and a background job's SIGINT, stay ignored.
    if (action.sa_handler != SIG_IGN) sigaddset(&set, ender);
  }
  signal(SIGCHLD, SIG_DFL); // when ignored, as some starters leave it, the kernel would throw the statuses away
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0) throw Failure(kCannotMeasure, fmt::format("signalfd: {}", std::strerror(errno)));
}

Supervisor::~Supervisor() {
  kill_all();
  close(signals_);
}

void Supervisor::reap() {
  int raw;
  rusage usage{};
  pid_t child;
  while ((child = wait4(-1, &raw, WNOHANG, &usage)) > 0) {
    Ended ended;
    ended.status = WIFSIGNALED(raw) ? Status{true, WTERMSIG(raw)} : Status{false, WEXITSTATUS(raw)};
    ended.at = now();
    ended.usage.add(usage);
    ended_[child] = ended;
    usage_[child] = usage;
  }
}

void Supervisor::step(int milliseconds) {
  pollfd waited{signals_, POLLIN, 0};
  poll(&waited, 1, milliseconds);
  signalfd_siginfo info;
  int ender = 0;
  while (read(signals_, &info, sizeof info) == static_cast<ssize_t>(sizeof info))
    if (info.ssi_signo != SIGCHLD) ender = static_cast<int>(info.ssi_signo);
  reap();
  if (ender) throw Interrupted{ender};
}

const Ended* Supervisor::ended(pid_t process) const {
  auto found = ended_.find(process);
  return found == ended_.end() ? nullptr : &found->second;
}

Usage Supervisor::of_adopted(pid_t root, pid_t client) const {
  Usage adopted;
  for (auto& [process, usage] : usage_)
    if (process != root && process != client) adopted.add(usage);
  return adopted;
}

int Supervisor::kill_all() {
  int killed = 0;
  // Again and again, because a process may fork between our look and our blow; bounded, because one in an
  // uninterruptible sleep can't be waited for.
  for (double give_up = now() + 10; now() < give_up;) {
    auto tree = our_tree();
    killed = std::max(killed, static_cast<int>(tree.size()));
    for (pid_t process : tree) kill(process, SIGKILL);
    reap();
    if (waitid(P_ALL, 0, nullptr, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD)
      break; // waitpid does not take WNOWAIT
    usleep(1000);
  }
  ended_.clear();
  usage_.clear();
  return killed;
}

} // namespace gmpcmd
