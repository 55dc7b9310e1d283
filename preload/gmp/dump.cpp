#include "dump.hpp"
#include "dump_stacks.hpp"
#include "fail.hpp"
#include <algorithm>
#include <fmt/core.h>
#include <map>
#include <optional>
#include <regex>

namespace look = gmp::look;
namespace gmpcmd {
namespace {

struct Shown {
  int at; // in all
  std::string state, detail;
  long for_ns; // -1: unknown
  Stack stack;
};

std::string duration(long ns) {
  char text[40];
  look::describe_time(ns, text, sizeof text);
  return text;
}

std::string name_of(const look::Thread& thread) {
  char text[48];
  look::describe_name(thread, text, sizeof text);
  return text;
}

std::string thousands(std::size_t n) {
  return n < 1000 ? std::to_string(n) : fmt::format("{},{:03}", thousands(n / 1000), n % 1000);
}

class Dump {
public:
  explicit Dump(const DumpOptions& options) : options_(options), process_(options.pid), stacks_(process_, options.frames) {
    if (!options.filter.empty()) try {
        filter_ = std::regex(options.filter);
      } catch (const std::regex_error&) {
        throw Failure(kUsage, fmt::format("--filter {}: not a regular expression", options.filter));
      }
  }

  void print() {
    all_ = process_.threads();
    heading();
    for (int start : process_.deadlocks(all_)) deadlock(start);
    std::fflush(stdout);
    std::vector<Shown> shown;
    for (int i = 0; i < int(all_.size()); ++i) {
      Shown one = look_at(i);
      if (filter_ && !wanted(one)) continue;
      if (options_.each) one_by_one(one);
      else shown.push_back(std::move(one));
    }
    if (!options_.each) groups(shown);
    if (process_.gone()) throw Failure(kNotFound, fmt::format("process {} has ended meanwhile", process_.pid()));
  }

private:
  void heading() {
    std::map<gmp::GStatus, std::size_t> count;
    for (auto& thread : all_) ++count[thread.status];
    auto& layout = process_.layout();
    fmt::print("process {} ({}): {} thread{} on {} P{}: {} running, {} runnable, {} in a call, {} waiting\n", process_.pid(), process_.name(),
               thousands(all_.size()), all_.size() == 1 ? "" : "s", process_.value<int>(layout.nprocs, 0), process_.value<int>(layout.nprocs, 0) == 1 ? "" : "s",
               thousands(count[gmp::GStatus::Running]), thousands(count[gmp::GStatus::Runnable]), thousands(count[gmp::GStatus::Syscall]),
               thousands(count[gmp::GStatus::Waiting]));
  }

  void deadlock(int start) {
    fmt::print("\ndeadlock:\n");
    int i = start;
    do {
      fmt::print("  {}\n", process_.link_of(all_, i));
      i = all_[std::size_t(i)].blocker;
    } while (i != start);
  }

  // State and stack belong together: when the stack could not be had in peace, both are read again.
  Shown look_at(int i) {
    auto& thread = all_[std::size_t(i)];
    for (int round = 0;; ++round) {
      Shown one{i, "", "", -1, {}};
      KernelThread kernel;
      if (thread.kernel_tid) kernel = process_.kernel_thread(thread.kernel_tid);
      if (options_.stacks > 0) {
        one.stack = stacks_.of(thread, kernel);
        if (one.stack.empty() && round < 3 && read_again(thread)) continue;
        one.stack = stacks_.programs(one.stack);
      }
      describe(one, thread, kernel);
      char own[64];
      look::describe_own(thread, own, sizeof own);
      one.detail += own;
      return one;
    }
  }

  bool read_again(look::Thread& thread) {
    look::Thread now;
    if (!process_.read(thread.at, now) || now.goid != thread.goid || !look::alive(now)) return false;
    thread = now; // what it waits for is told without the holder then
    return true;
  }

  void describe(Shown& one, const look::Thread& thread, const KernelThread& kernel) {
    auto& layout = process_.layout();
    if (thread.status == gmp::GStatus::Waiting) {
      one.state = "waiting";
      one.detail = process_.wait_of(all_, thread);
      if (layout.per_ms && thread.since) {
        const auto since = long(gmp::arch::cycles() - thread.since);
        one.for_ns = since < 0 ? 0 : long(double(since) * 1e6 / double(layout.per_ms));
      }
      if (thread.until) {
        const long left = thread.until - gmp::nanotime();
        if (left < 100l * 365 * 24 * 3600 * 1000000000) one.detail += fmt::format(", at most {} more", duration(left));
      }
      return;
    }
    if (thread.status == gmp::GStatus::Runnable) {
      one.state = "runnable";
      return;
    }
    const auto where = fmt::format("on M{} (tid {}{}{})", thread.m_id, thread.kernel_tid, thread.p_id >= 0 ? fmt::format(", P{}", thread.p_id) : "",
                                   kernel.cpu >= 0 ? fmt::format(", CPU {}", kernel.cpu) : "");
    one.state = thread.status == gmp::GStatus::Syscall ? "in a call" : "running";
    if (kernel.call >= 0) {
      one.state = "in a call";
      one.detail = call_name(kernel.call) + call_argument(kernel) + " " + where;
    } else {
      one.detail = where;
    }
    if (thread.robbed) one.detail += ", its P taken meanwhile";
  }

  // The descriptor, where the call's first argument is one.
  std::string call_argument(const KernelThread& kernel) const {
    static const std::regex of_descriptor("p?(read|write)(v|64)?2?|close|f(data)?sync|flock|fcntl|ioctl|accept4?|connect|(send|recv).*|fallocate|ftruncate|getdents64|epoll_.*");
    const auto name = call_name(kernel.call);
    if (name == "futex") return fmt::format(" 0x{:x}", kernel.argument[0]);
    if (!std::regex_match(name, of_descriptor)) return "";
    auto& what = process_.descriptor(int(kernel.argument[0]));
    return fmt::format(" of descriptor {}{}{}", int(kernel.argument[0]), what.empty() ? "" : " ", what);
  }

  bool wanted(const Shown& one) {
    auto& thread = all_[std::size_t(one.at)];
    if (std::regex_search(fmt::format("{} tid {}: {} {}", name_of(thread), thread.tid, one.state, one.detail), *filter_)) return true;
    return std::any_of(one.stack.begin(), one.stack.end(), [&](unsigned long pc) { return std::regex_search(stacks_.describe(pc), *filter_); });
  }

  void frames(const Stack& stack) {
    if (options_.stacks <= 0) return;
    int n = 0;
    for (auto pc : stack) fmt::print("    #{:<2} {}\n", n++, stacks_.describe(pc));
    if (stack.empty()) fmt::print("    (no stack: it went on while it was read)\n");
  }

  void one_by_one(const Shown& one) {
    auto& thread = all_[std::size_t(one.at)];
    fmt::print("\n{} tid {}: {}{}{}{}\n", name_of(thread), thread.tid, one.state, one.for_ns >= 0 ? " " + duration(one.for_ns) : "",
               one.detail.empty() ? "" : ": ", one.detail);
    frames(one.stack);
  }

  void groups(const std::vector<Shown>& shown) {
    std::map<std::tuple<std::string, int, Stack>, std::vector<const Shown*>> by;
    for (auto& one : shown) {
      auto& thread = all_[std::size_t(one.at)];
      // Those that run are told apart: each is somewhere else the next moment.
      const bool alone = one.state == "running" || one.state == "in a call";
      by[{one.state, alone ? -1 - one.at : thread.status == gmp::GStatus::Waiting ? int(thread.reason) : 0, one.stack}].push_back(&one);
    }
    std::vector<const std::vector<const Shown*>*> order;
    for (auto& [key, members] : by) order.push_back(&members);
    std::stable_sort(order.begin(), order.end(), [](auto* a, auto* b) {
      return a->size() != b->size() ? a->size() > b->size() : a->front()->at < b->front()->at;
    });
    int left = options_.stacks;
    for (auto* members : order) {
      if (members->size() == 1) {
        auto one = *members->front();
        if (left-- <= 0) one.stack.clear(), headline(one);
        else one_by_one(one);
      } else {
        together(*members, left-- > 0);
      }
    }
    if (left < 0 && options_.stacks > 0)
      fmt::print("\n({} of {} different stacks shown: --stacks N)\n", options_.stacks, order.size());
  }

  void headline(const Shown& one) {
    const int stacks = options_.stacks;
    options_.stacks = 0;
    one_by_one(one);
    options_.stacks = stacks;
  }

  void together(const std::vector<const Shown*>& members, bool with_stack) {
    long least = -1, most = -1;
    std::map<std::string, std::size_t> details;
    for (auto* one : members) {
      if (one->for_ns >= 0 && (least < 0 || one->for_ns < least)) least = one->for_ns;
      most = std::max(most, one->for_ns);
      ++details[one->detail];
    }
    std::string since, who;
    if (least >= 0) since = duration(least) == duration(most) ? " " + duration(least) : fmt::format(" {} to {}", duration(least), duration(most));
    constexpr std::size_t kNamed = 4;
    for (std::size_t i = 0; i < members.size() && i < kNamed; ++i) who += (i ? ", " : "") + name_of(all_[std::size_t(members[i]->at)]);
    if (members.size() > kNamed) who += fmt::format(" ... {}", name_of(all_[std::size_t(members.back()->at)]));
    fmt::print("\n{} threads: {}{}", thousands(members.size()), members.front()->state, since);
    if (details.size() == 1) fmt::print("{}{}\n", details.begin()->first.empty() ? "" : ": ", details.begin()->first);
    else fmt::print(" for {} different things\n", thousands(details.size()));
    fmt::print("    {}\n", who);
    if (details.size() > 1) {
      std::vector<std::pair<std::string, std::size_t>> often(details.begin(), details.end());
      std::stable_sort(often.begin(), often.end(), [](auto& a, auto& b) { return a.second > b.second; });
      for (std::size_t i = 0; i < often.size() && i < 3; ++i) fmt::print("    {:>6} {}\n", thousands(often[i].second), often[i].first);
      if (often.size() > 3) fmt::print("       ...\n");
    }
    if (with_stack) frames(members.front()->stack);
  }

  DumpOptions options_;
  Process process_;
  Stacks stacks_;
  std::optional<std::regex> filter_;
  std::vector<look::Thread> all_;
};

} // namespace

int dump(const DumpOptions& options) {
  Dump(options).print();
  return 0;
}

} // namespace gmpcmd
