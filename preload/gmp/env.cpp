#include "env.hpp"
#include "fail.hpp"
#include "library.hpp"
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <fmt/core.h>
#include <fstream>
#include <gnu/libc-version.h>
#include <sched.h>
#include <sstream>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <thread>
#include <unistd.h>

namespace gmpcmd {
namespace {

void line(const std::string& name, const std::string& value) { fmt::print("{:<22}{}\n", name, value); }

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  return std::getline(file, text) ? text : "";
}

std::string field(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string text;
  while (std::getline(file, text))
    if (text.starts_with(name)) {
      auto colon = text.find(':');
      auto start = text.find_first_not_of(" \t", colon + 1);
      return start == std::string::npos ? "" : text.substr(start);
    }
  return "?";
}

std::string os_name() {
  std::ifstream file("/etc/os-release");
  std::string text;
  while (std::getline(file, text))
    if (text.starts_with("PRETTY_NAME=")) {
      auto name = text.substr(12);
      std::erase(name, '"');
      return name;
    }
  return "?";
}

std::string fsgsbase() {
  constexpr unsigned long kFsgsbase = 1ul << 1; // HWCAP2_FSGSBASE: the kernel lets programs write the thread pointer
  return getauxval(AT_HWCAP2) & kFsgsbase ? "yes" : "no (the thread pointer is switched by arch_prctl: slower)";
}

// The kernel's word is tried, not its version: distributions carry patches both ways.
std::string guard_install() {
  constexpr int kGuardInstall = 102; // MADV_GUARD_INSTALL, Linux 6.13; Debian 12's headers don't have it
  auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fmt::format("? (mmap: {})", std::strerror(errno));
  bool works = madvise(memory, page, kGuardInstall) == 0;
  int error = errno;
  munmap(memory, 2 * page);
  return works ? "yes"
               : fmt::format("no ({}): stacks are guarded by mprotect while mappings last", std::strerror(error));
}

std::string allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "?";
  return fmt::format("{} of {} ({})", CPU_COUNT(&set), sysconf(_SC_NPROCESSORS_CONF),
                     field("/proc/self/status", "Cpus_allowed_list"));
}

// The tightest quota on the way up from our own cgroup, version 2; else version 1's.
std::string cgroup_quota() {
  std::ifstream own("/proc/self/cgroup");
  std::string entry, path;
  while (std::getline(own, entry))
    if (entry.starts_with("0::")) path = entry.substr(3);
  double least = -1;
  for (auto at = path;; at = at.substr(0, at.find_last_of('/'))) {
    std::istringstream text(first_line("/sys/fs/cgroup" + at + "/cpu.max"));
    std::string quota;
    double period = 0;
    if (text >> quota >> period && quota != "max" && period > 0) {
      double cpus = std::atof(quota.c_str()) / period;
      if (least < 0 || cpus < least) least = cpus;
    }
    if (at.empty() || at.find('/') == std::string::npos) break;
  }
  auto quota = first_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
       period = first_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (least < 0 && !quota.empty() && std::atof(quota.c_str()) > 0)
    least = std::atof(quota.c_str()) / std::atof(period.c_str());
  return least < 0 ? "none" : fmt::format("{:.2f} CPUs", least);
}

std::string limit(int resource, bool kilobytes) {
  rlimit value{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &value) != 0) return "?";
  auto one = [&](rlim_t number) {
    if (number == RLIM_INFINITY) return std::string("unlimited");
    return kilobytes ? fmt::format("{} KB", number / 1024) : std::to_string(number);
  };
  return fmt::format("{} (hard: {})", one(value.rlim_cur), one(value.rlim_max));
}

std::string library_line(const std::string& lib) {
  try {
    return find_library(lib);
  } catch (const Failure& failure) {
    return fmt::format("not usable: {}", failure.what());
  }
}

} // namespace

int print_env(const std::string& lib) {
  utsname names{};
  uname(&names);
  line("gmp", GMP_VERSION);
  line("library", library_line(lib));
  line("system", os_name());
  line("kernel", fmt::format("{} {} {}", names.sysname, names.release, names.machine));
  line("glibc", gnu_get_libc_version());
  line("CPU", field("/proc/cpuinfo", "model name"));
  line("CPUs we may use", allowed_cpus());
  line("cgroup CPU quota", cgroup_quota());
  line("FSGSBASE", fsgsbase());
  line("MADV_GUARD_INSTALL", guard_install());
  line("signal frame", fmt::format("{} bytes at least", getauxval(AT_MINSIGSTKSZ)));
  line("huge pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  line("overcommit", first_line("/proc/sys/vm/overcommit_memory"));
  line("vm.max_map_count", first_line("/proc/sys/vm/max_map_count"));
  line("kernel.threads-max", first_line("/proc/sys/kernel/threads-max"));
  line("kernel.pid_max", first_line("/proc/sys/kernel/pid_max"));
  line("limit: stack", limit(RLIMIT_STACK, true));
  line("limit: open files", limit(RLIMIT_NOFILE, false));
  line("limit: processes", limit(RLIMIT_NPROC, false));
  for (char** entry = environ; *entry; ++entry) {
    std::string text = *entry;
    auto equals = text.find('=');
    if (text.starts_with("GMP_") || text.starts_with("LD_PRELOAD="))
      line("env " + text.substr(0, equals), text.substr(equals + 1));
  }
  return 0;
}

} // namespace gmpcmd
