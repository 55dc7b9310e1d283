// What a dump from within prints, and where it gets stacks from.
#pragma once
#include "preload/look.hpp"

namespace gmp {

// All Gs on standard error: circles, states and waits first, by what needs no lock of the program's; then stacks.
void dump_print();

// What /proc says of a kernel thread that sits in a system call: its number (-1: it is in none), stack pointer and program counter.
struct InKernel {
  long call = -1;
  uintptr_t sp = 0, pc = 0;
  explicit InKernel(int tid);
};

inline constexpr size_t kDumpFrames = 32;
// The frames of a parked G, or of one whose kernel thread sleeps in a call; 0: it went on meanwhile, or can't be read. copy: kStackRoom bytes.
size_t dump_stack(const look::Memory&, const look::Layout&, const look::Thread&, char* copy, uintptr_t* pcs);

} // namespace gmp
