// Stacks of another process, unwound here (elfutils' libdw) from a copy: nothing runs over there for it.
#pragma once
#include "dump_process.hpp"
#include <memory>

namespace gmpcmd {

using Stack = std::vector<unsigned long>; // program counters, innermost first; each points into the call

class Stacks {
public:
  Stacks(const Process&, int frames);
  ~Stacks();
  // Empty: it went on while it was read, or nothing could be found out.
  Stack of(const gmp::look::Thread&, const KernelThread&);
  // "function+0x12 (module)"; runtime: is it the library's inside?
  const std::string& describe(unsigned long pc);
  bool runtime(unsigned long pc);
  // The call that the program made and what led to it, without the library's own frames around.
  Stack programs(const Stack&);

private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

} // namespace gmpcmd
