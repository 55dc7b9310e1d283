// Where libgmp.so is, and whether ld.so will take it.
#pragma once
#include <string>

namespace gmpcmd {

// `given` is --lib's value or empty. Throws Failure with the places looked at.
std::string find_library(const std::string& given);

// Empty, or the reason why a program started as `command` can't be reached by LD_PRELOAD (static, set-user-ID).
std::string cannot_preload(const std::string& command);

} // namespace gmpcmd
