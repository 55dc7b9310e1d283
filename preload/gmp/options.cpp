#include "options.hpp"
#include "fail.hpp"
#include <CLI/CLI.hpp>
#include <algorithm>
#include <fmt/core.h>

namespace gmpcmd {
namespace {

void add_settings(CLI::App& app, Settings& settings) {
  app.add_option("--maxprocs", settings.maxprocs,
                 "Number of Ps, that is of kernel threads that run the program's threads (GMP_MAXPROCS)")
      ->type_name("N");
  app.add_option("--stack", settings.stack, "Most memory for one thread's stack, such as 64K or 1M (GMP_STACK)")
      ->type_name("SIZE");
  app.add_option("--debug", settings.debug, "Such as schedtrace=1000 (GMP_DEBUG)")->type_name("KEY=VALUE,...");
  app.add_option("--lib", settings.lib,
                 "The library; else GMP_LIB, else libgmp.so beside gmp, else ../lib/gmp/libgmp.so from there")
      ->type_name("PATH");
}

const char* const kRunExamples = R"(
Examples:
  gmp run -- ./server 8080
  gmp run --maxprocs 2 --debug schedtrace=1000 -- python3 server.py
Exit status: the command's own; 127 if it is not found, 126 if it can't be executed, 2 for a bad setting.)";

const char* const kCompareExamples = R"(
Examples:
  gmp compare -n 5 -- pigz -kc big.tar
  gmp compare --load 'wrk -c 1000 -t 1 -d 5 http://127.0.0.1:{port}/' --cpus 0 --client-cpus 1 -- ./server {port}
  gmp compare --json --maxprocs 1 -- sysbench threads run
CMD runs natively and under the library in turn; the table shows medians and the ratio preloaded / native. CMD's input is
/dev/null unless --stdin is given, its standard output is compared byte for byte, its standard error is passed on.
Peak RSS is the kernel's figure (wait4) for the largest process; kernel threads are sampled every few ms, of all processes.
With --load CMD is a server: once it listens, the client runs (by /bin/sh, with PORT and SOCKET set), then the server gets
SIGTERM. User and system time are then the server's while the client ran. {port} in CMD stands for a free port.
Exit status: 0 if exit status and output agree, 1 if they differ or a run failed, 2 for a bad option, 126 or 127 if CMD
can't be executed.)";

const char* const kDumpExamples = R"(
Examples:
  gmp dump $(pidof server)
  gmp dump --stacks 0 --filter 'mutex' 4711
  gmp dump --each --frames 8 4711
Threads that wait with one stack for things of one kind are shown once, with their number. A circle of threads that wait for
each other for ever (mutexes, rwlocks held for writing, joins) is named first, as a deadlock. The times say for how long a
thread has waited. Nothing is stopped, but a thread that computes, for some microseconds to get its registers; the picture of
a process that goes on working is no snapshot of one moment. Who may debug a process may dump it.
Exit status: 0, or 127 if there is no such process (any more), 126 if it can't be read or has no threads of the library.)";

// CLI11 does not know that a prefix command takes a command.
class WithCommand : public CLI::Formatter {
public:
  std::string make_usage(const CLI::App* app, std::string) const override {
    return fmt::format("{}\nUsage: gmp {} [OPTIONS] [--] CMD [ARGS...]\n", app->get_description(), app->get_name());
  }
  std::string make_description(const CLI::App*) const override { return ""; }
};

// Where CMD begins: after "--", or at the first word that is neither an option nor an option's value. CLI11 would
// look for our options among CMD's own, or, with prefix_command() in a subcommand, give "--" back to the main one.
int command_start(int argc, char** argv, const CLI::App& app) {
  int at = 2;
  for (; at < argc; ++at) {
    std::string word = argv[at];
    if (word == "--" || word.size() < 2 || word[0] != '-') break;
    auto* option = app.get_option_no_throw(word);
    if (option && option->get_expected_max() > 0 && option->get_type_size_max() > 0) ++at;
  }
  return std::min(at, argc);
}

std::vector<std::string> words(int from, int argc, char** argv, const CLI::App& app) {
  if (from < argc && std::string(argv[from]) == "--") ++from;
  if (from >= argc)
    throw Failure(kUsage, fmt::format("{}: no command given (see gmp {} --help)", app.get_name(), app.get_name()));
  return {argv + from, argv + argc};
}

} // namespace

Request read_command_line(int argc, char** argv) {
  CLI::App app(
      "Runs unmodified programs with their threads on libgmp.so's scheduler, and compares that with a native run.",
      "gmp");
  app.set_version_flag("--version", "gmp " GMP_VERSION);
  app.require_subcommand(1);
  app.footer("\nExample:\n  gmp compare -- ./my_program\nEach command has its own help: gmp run --help");

  RunCommand run;
  auto* run_app = app.add_subcommand("run", "Run a command under the library");
  run_app->formatter(std::make_shared<WithCommand>());
  run_app->footer(kRunExamples);
  add_settings(*run_app, run.settings);

  CompareOptions compare;
  auto* compare_app = app.add_subcommand("compare", "Run a command natively and under the library, and compare");
  compare_app->formatter(std::make_shared<WithCommand>());
  compare_app->footer(kCompareExamples);
  add_settings(*compare_app, compare.settings);
  compare_app->add_option("-n,--runs", compare.runs, "Runs of each kind (3)")->type_name("RUNS");
  compare_app->add_flag("--json", compare.json, "Every run's figures and the medians as one JSON object, nothing else");
  compare_app->add_option("--timeout", compare.timeout, "Kill a run that takes longer (600)")->type_name("S");
  compare_app->add_option("--stdin", compare.input, "CMD's standard input (/dev/null)")->type_name("FILE");
  compare_app->add_option("--cpus", compare.cpus, "CPUs for CMD, such as 0,2-3")->type_name("LIST");
  compare_app->add_flag("--show-output", compare.show_output, "Show CMD's first standard output of each kind");
  compare_app->add_flag("--ignore-output", compare.ignore_output,
                        "Don't compare outputs, for programs that print times");
  compare_app->add_option("--load", compare.load, "Treat CMD as a server and run this client against it")
      ->type_name("'CLIENT CMD'");
  compare_app->add_option("--port", compare.port, "Wait until CMD listens here (any port)")->type_name("P");
  compare_app->add_option("--wait-for", compare.wait_for, "Wait for this Unix socket or file, too")->type_name("PATH");
  compare_app->add_option("--client-cpus", compare.client_cpus, "CPUs for the client (and for gmp itself)")
      ->type_name("LIST");
  compare_app->add_option("--grace", compare.grace, "Time between SIGTERM and SIGKILL for the server (5)")
      ->type_name("S");
  compare_app->add_flag("--same-output", compare.same_output, "With --load: the server's outputs must be the same");

  DumpOptions dump;
  auto* dump_app = app.add_subcommand("dump", "Print every thread of a process that runs under the library: state, wait, stack");
  dump_app->footer(kDumpExamples);
  dump_app->add_option("PID", dump.pid, "The process")->required()->check(CLI::PositiveNumber);
  dump_app->add_option("--stacks", dump.stacks, "Most different stacks to show; 0: none are taken (100)")
      ->type_name("N")->check(CLI::NonNegativeNumber);
  dump_app->add_option("--frames", dump.frames, "Most frames of a stack (32)")->type_name("N")->check(CLI::PositiveNumber);
  dump_app->add_option("--filter", dump.filter, "Only threads with this in name, state, wait or stack")->type_name("REGEX");
  dump_app->add_flag("--each", dump.each, "Every thread by itself, by number, instead of those with one stack together");

  EnvCommand env;
  auto* env_app = app.add_subcommand("env", "Print what this machine offers to the library, for bug reports");
  env_app->add_option("--lib", env.lib, "The library")->type_name("PATH");
  env_app->footer("\nExample:\n  gmp env");

  int ours = argc;
  for (auto* sub : {run_app, compare_app})
    if (argc > 1 && sub->get_name() == argv[1]) ours = command_start(argc, argv, *sub);
  try {
    app.parse(ours, argv);
  } catch (const CLI::Success& success) {
    app.exit(success); // prints help or version
    return Done{};
  } catch (const CLI::ParseError& error) {
    std::string first = argc > 1 ? error.what() : "no command given: run, compare, dump or env (see gmp --help)";
    throw Failure(kUsage, first.substr(0, first.find('\n')));
  }
  if (run_app->parsed()) {
    run.command = words(ours, argc, argv, *run_app);
    return run;
  }
  if (dump_app->parsed()) return dump;
  if (compare_app->parsed()) {
    compare.command = words(ours, argc, argv, *compare_app);
    return compare;
  }
  return env;
}

} // namespace gmpcmd
