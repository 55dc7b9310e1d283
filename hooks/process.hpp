// Processes made by fork and its relatives.
#pragma once
#include "hooks/hook.hpp"

namespace gmp {

// In the new process, whose memory is a copy and whose only thread this is, before anything else.
void process_in_child();
// From libgmp.so's constructor.
void process_start();

} // namespace gmp
