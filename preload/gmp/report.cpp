#include "report.hpp"
#include "table.hpp"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fmt/core.h>
#include <limits>
#include <unistd.h>

namespace gmpcmd {
namespace {

// The statuses or outputs of one side in a few words: "0", or "0, SIGSEGV" when its runs differ.
std::string statuses(const Side& side) {
  std::string result;
  std::vector<std::string> seen;
  for (auto& run : side.runs) {
    auto text = run.timed_out ? "timed out" : run.status.text();
    if (std::find(seen.begin(), seen.end(), text) != seen.end()) continue;
    seen.push_back(text);
    result += (result.empty() ? "" : ", ") + text;
  }
  return result.empty() ? "not run" : result;
}

std::string output_size(const Side& side) {
  return side.runs.empty() ? "-" : show_bytes(static_cast<double>(side.runs.front().output.size()));
}

void print_outputs(const Comparison& all) {
  std::fflush(stdout);
  for (auto* side : {&all.native, &all.preloaded}) {
    if (side->runs.empty()) continue;
    fmt::print("\n---- standard output, {} ----\n", side->name);
    std::fflush(stdout);
    side->runs.front().output.copy_to(STDOUT_FILENO);
  }
}

void print_troubles(const Comparison& all) {
  for (auto* side : {&all.native, &all.preloaded}) {
    for (std::size_t i = 0; i < side->runs.size(); ++i) {
      auto& run = side->runs[i];
      if (run.trouble.empty()) continue;
      fmt::print("{} run {}: {}\n", side->name, i + 1, run.trouble);
      if (run.client_output.empty()) continue;
      fmt::print("---- the client's output (its end) ----\n{}----\n",
                 run.client_output.back() == '\n' ? run.client_output : run.client_output + "\n");
    }
  }
}

bool without_figures(const Comparison& all) {
  for (auto* side : {&all.native, &all.preloaded})
    for (auto& run : side->runs)
      if (!run.client.figures.empty()) return false;
  return true;
}

} // namespace

std::vector<Measure> measures(const Comparison& all) {
  bool load = !all.options.load.empty();
  std::vector<Measure> list;
  if (load) {
    // In the order of the first run that has figures; all runs print the same ones.
    std::vector<Figure> figures;
    bool requests = false;
    for (auto* side : {&all.native, &all.preloaded})
      for (auto& run : side->runs) {
        requests |= run.client.requests && *run.client.requests > 0;
        for (auto& figure : run.client.figures)
          if (std::none_of(figures.begin(), figures.end(), [&](auto& other) { return other.name == figure.name; }))
            figures.push_back(figure);
      }
    for (auto& figure : figures)
      list.push_back({"client." + figure.name, "client: " + figure.name,
                      [name = figure.name](const Run& run) {
                        for (auto& other : run.client.figures)
                          if (other.name == name) return other.value;
                        return std::numeric_limits<double>::quiet_NaN();
                      },
                      [unit = figure.unit](double value) { return show_figure(value, unit); }});
    if (requests)
      list.push_back({"cpu_per_request_s", "server CPU per request",
                      [](const Run& run) {
                        return run.client.requests && *run.client.requests > 0
                                   ? run.cpu / *run.client.requests
                                   : std::numeric_limits<double>::quiet_NaN();
                      },
                      show_time});
  }
  list.push_back(
      {"wall_s", load ? "client's wall time" : "wall time", [](const Run& run) { return run.wall; }, show_time});
  list.push_back(
      {"user_s", load ? "server user, under load" : "user time", [](const Run& run) { return run.user; }, show_time});
  list.push_back({"system_s", load ? "server system, under load" : "system time",
                  [](const Run& run) { return run.system; }, show_time});
  list.push_back(
      {"peak_rss_kb", "peak RSS", [](const Run& run) { return static_cast<double>(run.peak_rss_kb); }, show_kilobytes});
  list.push_back({"peak_kernel_threads", "peak kernel threads",
                  [](const Run& run) { return static_cast<double>(run.peak_threads); }, show_count});
  list.push_back({"voluntary_switches", "voluntary switches",
                  [](const Run& run) { return static_cast<double>(run.voluntary); }, show_count});
  list.push_back({"involuntary_switches", "involuntary switches",
                  [](const Run& run) { return static_cast<double>(run.involuntary); }, show_count});
  return list;
}

// Runs in trouble don't count, unless there are no others: then their figures are better than none.
double median_of(const Side& side, const Measure& measure) {
  std::vector<double> good, all;
  for (auto& run : side.runs) {
    all.push_back(measure.value(run));
    if (run.trouble.empty()) good.push_back(all.back());
  }
  return median(good.empty() ? all : good);
}

std::string joined(const std::vector<std::string>& command) {
  std::string result;
  for (auto& word : command) result += (result.empty() ? "" : " ") + word;
  return result;
}

void report_table(const Comparison& all) {
  auto runs = std::max(all.native.runs.size(), all.preloaded.runs.size());
  fmt::print("{}\n", joined(all.options.command));
  if (!all.options.load.empty()) fmt::print("under load of: {}\n", all.options.load);
  fmt::print("{}\n\n", runs == 1 ? "one run each" : fmt::format("medians of {} runs each, in turn", runs));

  Table table({"", "native", "preloaded", "ratio"});
  for (auto& measure : measures(all)) {
    double native = median_of(all.native, measure), preloaded = median_of(all.preloaded, measure);
    table.row({measure.label, measure.show(native), measure.show(preloaded), show_ratio(native, preloaded)});
  }
  table.row({all.options.load.empty() ? "exit status" : "server's end", statuses(all.native), statuses(all.preloaded),
             all.same_status ? "same" : "DIFFERS"});
  if (all.same_output)
    table.row({"standard output", output_size(all.native), output_size(all.preloaded),
               *all.same_output ? "same" : "DIFFERS"});
  fmt::print("{}", table.text());

  if (all.difference) {
    fmt::print("\nthe outputs first differ at line {}:\n", all.difference->line);
    fmt::print("  {:<12} {}\n", all.difference_between[0], all.difference->left);
    fmt::print("  {:<12} {}\n", all.difference_between[1], all.difference->right);
  }
  int processes = 0;
  for (auto* side : {&all.native, &all.preloaded})
    for (auto& run : side->runs) processes = std::max(processes, run.peak_processes);
  auto notes = all.notes;
  if (processes > 1)
    notes.push_back(
        fmt::format("up to {} processes: peak RSS is the largest one's, threads are all of theirs", processes));
  if (!all.options.load.empty() && all.ok && without_figures(all))
    notes.push_back("no figures were found in the client's output (known: 'throughput: N req/s', 'p99 N ms', wrk, ab, "
                    "redis-benchmark, sysbench, hackbench)");
  std::vector<std::string> said;
  if (!notes.empty() || !all.ok) fmt::print("\n");
  for (auto& note : notes)
    if (std::find(said.begin(), said.end(), note) == said.end()) fmt::print("note: {}\n", note), said.push_back(note);
  print_troubles(all);
  if (all.options.show_output) print_outputs(all);
  std::fflush(stdout);
}

} // namespace gmpcmd
