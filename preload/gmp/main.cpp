#include "dump.hpp"
#include "env.hpp"
#include "fail.hpp"
#include "options.hpp"
#include "run.hpp"
#include <csignal>
#include <cstdio>
#include <exception>
#include <fmt/core.h>

using namespace gmpcmd;

namespace {

int act(Request request) {
  if (auto* wanted = std::get_if<RunCommand>(&request)) run(wanted->settings, wanted->command);
  if (auto* wanted = std::get_if<CompareOptions>(&request)) return compare(*wanted);
  if (auto* wanted = std::get_if<DumpOptions>(&request)) return dump(*wanted);
  if (auto* wanted = std::get_if<EnvCommand>(&request)) return print_env(wanted->lib);
  return 0;
}

// Ends by the signal itself, so that a shell script around us stops, too.
int die_by(int signal) {
  std::signal(signal, SIG_DFL);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  raise(signal);
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
  return 128 + signal;
}

} // namespace

int main(int argc, char** argv) {
  try {
    return act(read_command_line(argc, argv));
  } catch (const Interrupted& interrupted) {
    return die_by(interrupted.signal);
  } catch (const Failure& failure) {
    fmt::print(stderr, "gmp: {}\n", failure.what());
    return failure.status();
  } catch (const std::exception& error) {
    fmt::print(stderr, "gmp: {}\n", error.what());
    return kCannotMeasure;
  }
}
