// gmp dump: every thread of a process that runs under the library, read from outside.
#pragma once
#include <string>

namespace gmpcmd {

struct DumpOptions {
  int pid = 0;
  int stacks = 100; // different ones at most; 0: none
  int frames = 32;
  std::string filter;
  bool each = false;
};

int dump(const DumpOptions&);

} // namespace gmpcmd
