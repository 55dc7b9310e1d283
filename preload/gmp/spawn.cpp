#include "spawn.hpp"
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gmpcmd {
namespace {

struct Trouble {
  enum Step : int { kPin, kExec } step;
  int error;
};

cpu_set_t as_set(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu : cpus) CPU_SET(cpu, &set);
  return set;
}

[[noreturn]] void become(const SpawnRequest& request, char* const* argv, char* const* envp, int report) {
  auto give_up = [&](Trouble::Step step) {
    Trouble trouble{step, errno};
    if (write(report, &trouble, sizeof trouble) < 0) _exit(kCannotExecute);
    _exit(kNotFound);
  };
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL); // gmp killed by SIGKILL can't tidy up after itself: the kernel does
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (request.input >= 0) dup2(request.input, 0);
  if (request.output >= 0) dup2(request.output, 1);
  if (!request.cpus.empty()) {
    auto set = as_set(request.cpus);
    if (sched_setaffinity(0, sizeof set, &set) != 0) give_up(Trouble::kPin);
  }
  execvpe(argv[0], argv, envp);
  give_up(Trouble::kExec);
  __builtin_unreachable();
}

} // namespace

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& string : strings) result.push_back(const_cast<char*>(string.c_str()));
  result.push_back(nullptr);
  return result;
}

Failure cannot_execute(const std::string& command, int error) {
  return Failure(error == ENOENT ? kNotFound : kCannotExecute, fmt::format("{}: {}", command, std::strerror(error)));
}

// fork, not vfork or posix_spawn: the kernel counts the memory of the address space that exec leaves behind in the
// child's ru_maxrss, and of a forked one that is only our few written pages.
pid_t spawn(const SpawnRequest& request) {
  auto argv = pointers(request.command);
  auto envp = pointers(request.environment);
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0) throw Failure(kCannotMeasure, fmt::format("pipe: {}", std::strerror(errno)));
  pid_t child = fork();
  if (child == 0) become(request, argv.data(), envp.data(), report[1]);
  int error = errno;
  close(report[1]);
  if (child < 0) {
    close(report[0]);
    throw Failure(kCannotMeasure, fmt::format("fork: {}", std::strerror(error)));
  }
  setpgid(child, child); // both sides do it: whoever comes first, the group exists from here on
  Trouble trouble{};
  ssize_t got;
  while ((got = read(report[0], &trouble, sizeof trouble)) < 0 && errno == EINTR) {
  }
  close(report[0]);
  if (got == 0) return child;
  waitpid(child, nullptr, 0);
  if (trouble.step == Trouble::kPin)
    throw Failure(kUsage, fmt::format("can't pin to those CPUs: {}", std::strerror(trouble.error)));
  throw cannot_execute(request.command[0], trouble.error);
}

std::vector<int> parse_cpus(const std::string& option, const std::string& list) {
  std::vector<int> cpus;
  const char* at = list.data();
  const char* end = at + list.size();
  auto bad = [&] { return Failure(kUsage, fmt::format("{} {}: not a list of CPUs (0,2-3)", option, list)); };
  auto number = [&] {
    int value = -1;
    auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 0 || value >= CPU_SETSIZE) throw bad();
    at = next;
    return value;
  };
  while (true) {
    int first = number();
    int last = first;
    if (at < end && *at == '-') ++at, last = number();
    if (last < first) throw bad();
    for (int cpu = first; cpu <= last; ++cpu) cpus.push_back(cpu);
    if (at == end) return cpus;
    if (*at++ != ',') throw bad();
  }
}

void pin_self(const std::vector<int>& cpus) {
  auto set = as_set(cpus);
  if (sched_setaffinity(0, sizeof set, &set) != 0)
    throw Failure(kUsage, fmt::format("can't pin to those CPUs: {}", std::strerror(errno)));
}

} // namespace gmpcmd
