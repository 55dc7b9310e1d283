// Processes made by fork and its relatives.
#pragma once
#include "hooks/hook.hpp"
#include "hooks/thread.hpp"

namespace gmp {

// In the new process, whose memory is a copy and whose only thread this is, before anything else.
void process_in_child();
// This thread's TLS is no longer lent to the child of a vfork (vfork.cpp).
void vfork_forget(Thread*);
// From libgmp.so's constructor.
void process_start();

} // namespace gmp
