// Stacks, by libunwind. It is loaded when first wanted, out of the program's sight: its library exports names that would take over the
// program's exceptions. It takes ld.so's locks: only for a thread that nobody waits for.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gmp {
// False: there is no libunwind.so.8 here (a line has said so, once).
bool traceback_load();
// The frames of a thread that sits still in the kernel, of which no more is known than pc and sp. The stack ends at stack_hi (0: unknown).
// Returns how many; one, pc itself, without libunwind.
size_t traceback(uintptr_t pc, uintptr_t sp, uintptr_t stack_hi, uintptr_t* pcs, size_t max);
// The same of a parked G, whose saved context is ctx. It must stay parked, or the result be thrown away.
size_t traceback_context(const void* ctx, uintptr_t* pcs, size_t max);
// "function+0x12 (libfoo.so.1+0x345)" into b.
const char* symbolize(uintptr_t pc, char* b, size_t size);
} // namespace gmp
