// One plain run: start, watch, wait.
#include "measure.hpp"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

namespace gmpcmd {

Descriptor::~Descriptor() {
  if (file_ >= 0) close(file_);
}

int open_input(const std::string& path) {
  int file = open(path.empty() ? "/dev/null" : path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw Failure(kUsage, fmt::format("--stdin {}: {}", path, std::strerror(errno)));
  return file;
}

int sampling_gap(double since_start) { return since_start < 0.1 ? 1 : since_start < 1 ? 2 : 5; }

void take_usage(Run& run, const Usage& root, const Usage& adopted, const TreeSampler& sampler) {
  run.peak_rss_kb = std::max(root.peak_rss_kb, adopted.peak_rss_kb);
  run.voluntary = root.voluntary + adopted.voluntary;
  run.involuntary = root.involuntary + adopted.involuntary;
  run.peak_threads = sampler.peak_threads();
  run.peak_processes = sampler.peak_processes();
}

Run measure(Supervisor& supervisor, const CompareOptions& options, const Environment& environment, Comparison& result) {
  Run run;
  Descriptor input(open_input(options.input));
  SpawnRequest request{options.command, environment, {}, input.get(), run.output.descriptor()};
  if (!options.cpus.empty()) request.cpus = parse_cpus("--cpus", options.cpus);

  double start = now();
  pid_t child = supervisor.start(request);
  TreeSampler sampler(child);
  const Ended* ended = nullptr;
  while (!(ended = supervisor.ended(child))) {
    sampler.sample();
    double since_start = now() - start;
    if (since_start > options.timeout) break;
    supervisor.step(sampling_gap(since_start));
  }
  if (!ended) {
    run.timed_out = true;
    run.wall = now() - start;
    run.trouble = fmt::format("still running after {} s: killed", options.timeout);
    run.peak_threads = sampler.peak_threads();
    run.peak_processes = sampler.peak_processes();
    run.status = {true, SIGKILL};
    supervisor.kill_all();
    return run;
  }
  run.wall = ended->at - start;
  run.status = ended->status;
  auto used = ended->usage;

  // A pipeline's last writer may outlive the shell that was measured (bash's >(...)): let it write its end. What then
  // still lives is a daemon that nobody asked for.
  for (double patience = now() + 2; now() < patience && !our_tree().empty();) supervisor.step(10);
  supervisor.step(0);
  auto adopted = supervisor.of_adopted(child, 0);
  take_usage(run, used, adopted, sampler);
  run.user = used.user + adopted.user;
  run.system = used.system + adopted.system;
  if (int left = supervisor.kill_all())
    result.notes.push_back(fmt::format("a run left {} process{} behind: killed", left, left == 1 ? "" : "es"));
  return run;
}

} // namespace gmpcmd
