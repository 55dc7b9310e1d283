// One run under load: CMD as a server, a client against it, and the server's end.
#include "listen.hpp"
#include "measure.hpp"
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gmpcmd {
namespace {

constexpr double kListenPatience = 30;

std::string with_places(std::string text, const std::string& port, const std::string& socket) {
  for (auto& [place, value] : {std::pair<std::string, std::string>{"{port}", port}, {"{socket}", socket}})
    for (std::size_t at = 0; !value.empty() && (at = text.find(place, at)) != std::string::npos; at += value.size())
      text.replace(at, place.size(), value);
  return text;
}

// Tells a file made by this run from one that an earlier run left.
struct FileMark {
  explicit FileMark(const std::string& path) {
    struct stat info {};
    if (!path.empty() && stat(path.c_str(), &info) == 0) there = true, inode = info.st_ino, time = info.st_ctim;
  }
  bool operator==(const FileMark& other) const {
    return there == other.there && inode == other.inode && time.tv_sec == other.time.tv_sec &&
           time.tv_nsec == other.time.tv_nsec;
  }
  bool there = false;
  ino_t inode = 0;
  timespec time{};
};

class LoadRun {
public:
  LoadRun(Supervisor& supervisor, const CompareOptions& options, const Environment& environment, Comparison& result)
      : supervisor_(supervisor), options_(options), environment_(environment), result_(result),
        input_(open_input(options.input)) {}

  Run go() {
    // {port} in CMD: every run gets a port of its own, so that no run meets the last one's dying connections.
    auto command = options_.command;
    bool wants_port = std::any_of(command.begin(), command.end(),
                                  [](auto& word) { return word.find("{port}") != std::string::npos; });
    port_ = options_.port ? options_.port : wants_port ? free_port() : 0;
    if (port_)
      for (auto& word : command) word = with_places(word, std::to_string(port_), "");
    if (port_ && anybody_listens_on(port_)) {
      run_.trouble = fmt::format("port {} is already in use", port_);
      return std::move(run_);
    }
    FileMark before(options_.wait_for);

    start_ = now();
    SpawnRequest request{command, environment_, {}, input_.get(), run_.output.descriptor()};
    if (!options_.cpus.empty()) request.cpus = parse_cpus("--cpus", options_.cpus);
    server_ = root_ = supervisor_.start(request);
    TreeSampler sampler(server_);
    sampler_ = &sampler;
    if (wait_until_it_listens(before)) load();
    stop();
    Usage root;
    if (auto* ended = supervisor_.ended(root_)) root = ended->usage;
    take_usage(run_, root, supervisor_.of_adopted(root_, client_), sampler);
    supervisor_.kill_all();
    return std::move(run_);
  }

private:
  bool out_of_time() {
    if (now() - start_ <= options_.timeout) return false;
    run_.timed_out = true;
    run_.trouble = fmt::format("not finished after {} s: killed", options_.timeout);
    return true;
  }

  void watch() {
    sampler_->sample();
    supervisor_.step(sampling_gap(now() - start_));
  }

  // The process that was started may end while the server goes on: a daemon that forked away from it.
  bool server_gone() {
    follow();
    if (!supervisor_.ended(server_)) return false;
    auto* ended = supervisor_.ended(server_);
    return ended->status != Status{} || our_tree(client_).empty();
  }

  std::string how_it_ended() {
    auto& status = supervisor_.ended(server_)->status;
    return status.signalled ? status.text() : fmt::format("exit status {}", status.text());
  }

  // True when what was asked for (a port, a path, or just any listening socket) is there.
  bool listens(const FileMark& before) {
    bool readable = true;
    auto found = listeners_of(our_tree(), readable);
    if (!options_.wait_for.empty()) {
      auto at = std::find_if(found.begin(), found.end(), [&](auto& one) { return one.path == options_.wait_for; });
      FileMark after(options_.wait_for);
      struct stat info {};
      bool is_socket = stat(options_.wait_for.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
      // A socket's file is there from bind(), before listen(): only the socket itself tells.
      bool there = is_socket ? at != found.end() : after.there && !(after == before);
      if (!there) return false;
      socket_ = options_.wait_for;
    }
    if (port_) {
      auto at = std::find_if(found.begin(), found.end(), [&](auto& one) { return one.port == port_; });
      if (at != found.end()) return owner_ = at->process, true;
      return !readable && anybody_listens_on(port_);
    }
    if (found.empty()) return !options_.wait_for.empty();
    if (found.front().port) port_ = found.front().port;
    for (auto& one : found)
      if (socket_.empty() && !one.port) socket_ = one.path;
    owner_ = found.front().process;
    return true;
  }

  // Once its starter has ended, which may come after it listens, the daemon's end is the server's end.
  void follow() {
    auto* ended = owner_ ? supervisor_.ended(server_) : nullptr;
    if (ended && ended->status == Status{}) server_ = owner_;
  }

  bool wait_until_it_listens(const FileMark& before) {
    double next_look = now() + 0.005;
    while (true) {
      if (server_gone()) {
        run_.trouble = fmt::format("the server ended before it listened ({})", how_it_ended());
        return false;
      }
      if (now() - start_ > kListenPatience || out_of_time()) {
        run_.timed_out = true;
        run_.trouble = fmt::format("the server did not listen within {:.0f} s: killed", now() - start_);
        return false;
      }
      if (now() >= next_look) {
        if (listens(before)) return true;
        next_look = now() + 0.02;
      }
      watch();
    }
  }

  void load() {
    auto port = port_ ? std::to_string(port_) : "";
    auto environment = native_environment(); // a client under the library would measure two things at once
    set(environment, "PORT", port);
    set(environment, "SOCKET", socket_);
    Capture output;
    SpawnRequest request{{"/bin/sh", "-c", with_places(options_.load, port, socket_)},
                         environment,
                         {},
                         input_.get(),
                         output.descriptor()};
    if (!options_.client_cpus.empty()) request.cpus = parse_cpus("--client-cpus", options_.client_cpus);

    auto cpu_before = cpu_time(our_tree());
    double began = now();
    client_ = supervisor_.start(request);
    sampler_->exclude(client_);
    const Ended* ended = nullptr;
    while (!(ended = supervisor_.ended(client_))) {
      if (server_gone()) {
        run_.trouble = fmt::format("the server ended under load ({})", how_it_ended());
        return;
      }
      if (out_of_time()) return;
      watch();
    }
    run_.wall = ended->at - began;
    run_.client_status = ended->status;
    auto cpu = cpu_time(our_tree(client_));
    run_.user = std::max(0.0, cpu.user - cpu_before.user);
    run_.system = std::max(0.0, cpu.system - cpu_before.system);
    run_.cpu = std::max(0.0, cpu.total - cpu_before.total);

    constexpr std::uint64_t kEnough = 1 << 20;
    auto text = output.text(kEnough);
    run_.client = read_client_output(text);
    if (run_.client.figures.empty() || ended->status != Status{})
      run_.client_output = text.substr(text.size() - std::min<std::size_t>(text.size(), 2000));
    if (ended->status != Status{})
      run_.trouble = fmt::format("the client ended with {}{}", ended->status.signalled ? "" : "exit status ",
                                 ended->status.text());
    else if (server_gone())
      run_.trouble = fmt::format("the server ended under load ({})", how_it_ended());
  }

  // SIGTERM to the server's group and to what has left the group, SIGKILL to what is left after the grace.
  void stop() {
    follow();
    if (!supervisor_.ended(server_) && !run_.timed_out) {
      kill(-root_, SIGTERM);
      for (pid_t process : our_tree(client_))
        if (getpgid(process) != root_) kill(process, SIGTERM);
      double patience = now() + options_.grace;
      while (now() < patience && (!supervisor_.ended(server_) || !our_tree(client_).empty())) supervisor_.step(20);
      if (!supervisor_.ended(server_) && run_.trouble.empty())
        result_.notes.push_back(fmt::format("the server did not end within {} s of SIGTERM: killed", options_.grace));
    }
    if (!supervisor_.ended(server_)) {
      for (pid_t process : our_tree(client_)) kill(process, SIGKILL);
      for (double patience = now() + 10; now() < patience && !supervisor_.ended(server_);) supervisor_.step(20);
    }
    follow();
    if (auto* ended = supervisor_.ended(server_)) run_.status = ended->status;
  }

  Supervisor& supervisor_;
  const CompareOptions& options_;
  const Environment& environment_;
  Comparison& result_;
  Descriptor input_;
  TreeSampler* sampler_ = nullptr;
  Run run_;
  pid_t root_ = 0, server_ = 0, client_ = 0, owner_ = 0; // owner_: of the socket that was seen
  int port_ = 0;
  std::string socket_;
  double start_ = 0;
};

} // namespace

Run measure_load(Supervisor& supervisor, const CompareOptions& options, const Environment& environment,
                 Comparison& result) {
  return LoadRun(supervisor, options, environment, result).go();
}

} // namespace gmpcmd
