// What the user may set of the library from the command line, and the environments that follow from it.
#pragma once
#include <string>
#include <vector>

namespace gmpcmd {

// As typed; empty means not given. check() turns them into what the library reads.
struct Settings {
  std::string maxprocs;
  std::string stack;
  std::string debug;
  std::string lib;
};

// Refuses nonsense with one line (exit status 2), so that a typing error never shows as a strange measurement.
void check(Settings& settings);

using Environment = std::vector<std::string>; // "NAME=value"

// Ours without any libgmp.so in LD_PRELOAD: gmp itself may have been started under the library.
Environment native_environment();
// The same with `library` first in LD_PRELOAD and the settings as GMP_ variables.
Environment preloaded_environment(const Settings& settings, const std::string& library);

const std::string* find(const Environment& environment, const std::string& name);
void set(Environment& environment, const std::string& name, const std::string& value);

} // namespace gmpcmd
