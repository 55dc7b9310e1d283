// The address that the kernel clears and wakes when a thread has ended: set_tid_address(2), PR_GET_TID_ADDRESS.
#pragma once
#include "hooks/thread.hpp"

namespace gmp {

// In a G. What the calling thread set, or libc's own word.
int* tid_address();
void set_tid_address(int*);
// In on_dead, on g0: the thread is gone.
void tid_address_clear(Thread*);

} // namespace gmp
