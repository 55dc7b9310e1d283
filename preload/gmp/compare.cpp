#include "compare.hpp"
#include "library.hpp"
#include <algorithm>
#include <cstdio>
#include <fmt/core.h>
#include <unistd.h>

namespace gmpcmd {
namespace {

void check(const CompareOptions& options) {
  if (options.runs < 1 || options.runs > 10000)
    throw Failure(kUsage, fmt::format("-n {}: not a number of runs", options.runs));
  if (!(options.timeout > 0)) throw Failure(kUsage, "--timeout: not a number of seconds above 0");
  if (!(options.grace >= 0)) throw Failure(kUsage, "--grace: not a number of seconds");
  if (options.port < 0 || options.port > 65535)
    throw Failure(kUsage, fmt::format("--port {}: not a port", options.port));
  if (options.load.empty()) {
    if (options.port || !options.wait_for.empty() || !options.client_cpus.empty() || options.same_output)
      throw Failure(kUsage, "--port, --wait-for, --client-cpus and --same-output are for servers: they need --load");
  } else if (options.ignore_output && options.same_output) {
    throw Failure(kUsage, "--same-output and --ignore-output contradict each other");
  }
  if (!options.cpus.empty()) parse_cpus("--cpus", options.cpus);
  if (!options.client_cpus.empty()) parse_cpus("--client-cpus", options.client_cpus);
}

// Every run is held against the first native one: that also tells when the program doesn't agree with itself.
void judge(Comparison& all) {
  auto& reference = all.native.runs.front();
  bool outputs = all.options.load.empty() ? !all.options.ignore_output : all.options.same_output;
  if (outputs) all.same_output = true;
  for (auto* side : {&all.native, &all.preloaded})
    for (auto& run : side->runs) {
      if (!run.trouble.empty()) all.ok = false;
      if (run.timed_out) continue; // its status is that of our own SIGKILL
      if (!(run.status == reference.status)) all.same_status = false;
      if (!outputs || run.output.same_as(reference.output)) continue;
      all.same_output = false;
      if (all.difference) continue;
      all.difference = first_difference(reference.output, run.output);
      all.difference_between[0] = "native";
      all.difference_between[1] = side == &all.native ? "native again" : "preloaded";
      if (side == &all.native)
        all.notes.push_back("the native runs' outputs differ among themselves (--ignore-output leaves outputs out)");
    }
}

void progress(const Comparison& all, int round, const Side& side) {
  if (!isatty(2)) return;
  fmt::print(stderr, "\r\033[Krun {} of {}: {}", round + 1, all.options.runs, side.name);
  std::fflush(stderr);
}

void clear_progress() {
  if (isatty(2)) fmt::print(stderr, "\r\033[K");
}

} // namespace

int compare(CompareOptions options) {
  check(options);
  check(options.settings);
  Comparison all;
  all.library = find_library(options.settings.lib);
  all.native = {"native", native_environment(), {}};
  all.preloaded = {"preloaded", preloaded_environment(options.settings, all.library), {}};
  all.options = options;
  if (find(all.preloaded.environment, "GMP_DISABLE"))
    all.notes.push_back("GMP_DISABLE is set: both sides may have run natively");
  if (auto why = cannot_preload(options.command[0]); !why.empty()) all.notes.push_back(options.command[0] + " " + why);

  Supervisor supervisor;
  // Our own sampling belongs to the client's side of a pinned pair.
  if (!options.client_cpus.empty()) pin_self(parse_cpus("--client-cpus", options.client_cpus));
  bool go_on = true;
  for (int round = 0; round < options.runs && go_on; ++round)
    for (auto* side : {&all.native, &all.preloaded}) {
      progress(all, round, *side);
      side->runs.push_back(options.load.empty() ? measure(supervisor, options, side->environment, all)
                                                : measure_load(supervisor, options, side->environment, all));
      // A second wait for a time-out tells nothing new; but each side is run once, so that both are reported.
      if (side->runs.back().timed_out || (side == &all.native && !side->runs.back().trouble.empty())) go_on = false;
    }
  clear_progress();
  judge(all);
  options.json ? report_json(all) : report_table(all);
  return all.agree() ? kAgree : kDiffer;
}

} // namespace gmpcmd
