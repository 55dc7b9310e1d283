// The command line, into one of the four things that gmp does.
#pragma once
#include "compare.hpp"
#include "dump.hpp"
#include <variant>

namespace gmpcmd {

struct RunCommand {
  Settings settings;
  std::vector<std::string> command;
};
struct EnvCommand {
  std::string lib;
};
struct Done {}; // help or version: printed already
using Request = std::variant<Done, RunCommand, CompareOptions, DumpOptions, EnvCommand>;

// Throws Failure (2) with one line for what can't be understood.
Request read_command_line(int argc, char** argv);

} // namespace gmpcmd
