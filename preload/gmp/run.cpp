// gmp run: sets the environment and becomes the command, so that signals, terminal and exit status are the command's
// own.
#include "run.hpp"
#include "fail.hpp"
#include "library.hpp"
#include "spawn.hpp"
#include <cerrno>
#include <cstring>
#include <fmt/core.h>
#include <unistd.h>

namespace gmpcmd {

void run(Settings settings, const std::vector<std::string>& command) {
  check(settings);
  auto environment = preloaded_environment(settings, find_library(settings.lib));
  auto argv = pointers(command);
  auto envp = pointers(environment);
  execvpe(argv[0], argv.data(), envp.data());
  throw cannot_execute(command[0], errno);
}

} // namespace gmpcmd
