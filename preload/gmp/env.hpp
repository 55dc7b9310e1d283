#pragma once
#include <string>

namespace gmpcmd {

// gmp env: what this machine offers to the library, for bug reports.
int print_env(const std::string& lib);

} // namespace gmpcmd
