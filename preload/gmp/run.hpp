#pragma once
#include "settings.hpp"
#include <string>
#include <vector>

namespace gmpcmd {

// Becomes the command; returns only by throwing.
[[noreturn]] void run(Settings settings, const std::vector<std::string>& command);

} // namespace gmpcmd
