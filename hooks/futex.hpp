// futex(2) for one process: private waits and wakes meet in the parking lot, for Gs and foreign threads alike.
#pragma once
#include "hooks/hook.hpp"

namespace gmp {
// The system call's arguments and its raw result. Shared and priority-inheriting operations go to the kernel, with the P handed off.
long hook_futex(uint32_t* addr, int op, uint32_t val, long val2, uint32_t* addr2, uint32_t val3);
// Somebody is about to wait in the kernel for private words (futex_waitv): from now on wakes go there too.
void futex_kernel_too();
} // namespace gmp
