// gmp compare: what is asked for, what one run yields, and what all of them say together.
#pragma once
#include "capture.hpp"
#include "client_line.hpp"
#include "settings.hpp"
#include "supervise.hpp"
#include <optional>
#include <string>
#include <vector>

namespace gmpcmd {

struct CompareOptions {
  Settings settings;
  std::vector<std::string> command;
  int runs = 3;
  double timeout = 600; // seconds for one run
  std::string input;    // --stdin; empty: /dev/null
  std::string cpus, client_cpus;
  bool json = false, show_output = false, ignore_output = false, same_output = false;

  std::string load; // empty: no load mode
  int port = 0;
  std::string wait_for;
  double grace = 5; // seconds between SIGTERM and SIGKILL
};

struct Run {
  double wall = 0;             // of CMD; in load mode of the client
  double user = 0, system = 0; // in load mode: of the server while the client ran
  double cpu = 0;              // load mode: the same, both together, more exactly
  long peak_rss_kb = 0, voluntary = 0, involuntary = 0;
  int peak_threads = 0, peak_processes = 0;
  Status status;
  Capture output;
  bool timed_out = false;
  std::string trouble; // empty, or why this run's figures mean nothing

  std::optional<Status> client_status;
  ClientFigures client;
  std::string client_output; // kept for the reader when no figure could be found in it
};

struct Side {
  std::string name; // "native", "preloaded"
  Environment environment;
  std::vector<Run> runs;
};

struct Comparison {
  CompareOptions options;
  std::string library;
  Side native, preloaded;
  std::vector<std::string> notes;
  bool same_status = true;
  std::optional<bool> same_output; // unset: not compared
  std::optional<Difference> difference;
  std::string difference_between[2];
  bool ok = true; // no run with trouble
  bool agree() const { return ok && same_status && same_output.value_or(true); }
};

// measure.cpp and load.cpp
Run measure(Supervisor& supervisor, const CompareOptions& options, const Environment& environment, Comparison& result);
Run measure_load(Supervisor& supervisor, const CompareOptions& options, const Environment& environment,
                 Comparison& result);

// report.cpp, table.cpp, report_json.cpp
void report_table(const Comparison& comparison);
void report_json(const Comparison& comparison);

// Returns the command's exit status.
int compare(CompareOptions options);

} // namespace gmpcmd
