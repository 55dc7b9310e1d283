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

// Stacks that may change while they are read: a copy is taken, found to be of one moment (by the caller), and unwound; what was read of two
// minds could lead anywhere. The copy begins at rsp, at the start of kStackRoom bytes that are zero behind it, and is changed: words that
// point into the stack point into the copy then.
struct Registers { uintptr_t rip, rsp, rbx, rbp, r12, r13, r14, r15; }; // rbp 0: unknown
inline constexpr size_t kStackCopy = 64 << 10, kStackRoom = 64 << 20;
Registers saved_registers(const char* context); // of a parked G; rsp is context + arch::context::size
size_t traceback_copy(const Registers&, char* copy, size_t n, uintptr_t stack_hi, uintptr_t* pcs, size_t max);
// "function+0x12 (libfoo.so.1+0x345)" into b.
const char* symbolize(uintptr_t pc, char* b, size_t size);
} // namespace gmp
