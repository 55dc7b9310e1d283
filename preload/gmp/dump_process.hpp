// A process under the library, seen from outside: its memory, its Gs, its kernel threads.
#pragma once
#include "preload/look.hpp"
#include <map>
#include <string>
#include <vector>

namespace gmpcmd {

// What /proc says of a kernel thread.
struct KernelThread {
  bool known = false, running = false; // running: in program code, or about to be
  long call = -1;                      // system call it sits in
  unsigned long argument[6] = {};
  unsigned long sp = 0, pc = 0;
  int cpu = -1;
};

class Process {
public:
  explicit Process(int pid); // throws Failure: no such process, not permitted, not ours, native, without threads
  const gmp::look::Memory& memory() const { return memory_; }
  const gmp::look::Layout& layout() const { return layout_; }
  int pid() const { return memory_.pid; }
  unsigned long record() const { return record_; } // somewhere in the library
  std::string name() const;
  bool gone() const;

  // Reads the Gs anew, linked.
  std::vector<gmp::look::Thread> threads() const;
  // One of them anew. False: it can't be read.
  bool read(unsigned long at, gmp::look::Thread&) const;
  // First members of circles that were there at two looks.
  std::vector<int> deadlocks(const std::vector<gmp::look::Thread>&) const;
  std::string wait_of(const std::vector<gmp::look::Thread>&, const gmp::look::Thread&) const;
  std::string link_of(const std::vector<gmp::look::Thread>&, int i) const;
  KernelThread kernel_thread(int tid) const;
  const std::string& descriptor(int fd) const;
  template <class T> T value(unsigned long at, T otherwise) const {
    memory_.get(at, &otherwise);
    return otherwise;
  }

private:
  void learn_namespace();

  unsigned long record_ = 0;
  std::map<int, int> outside_; // our number of a kernel thread whose own namespace has another
  gmp::look::Memory memory_;
  gmp::look::Layout layout_;
  mutable std::map<int, std::string> descriptors_;
};

std::string call_name(long number);

} // namespace gmpcmd
