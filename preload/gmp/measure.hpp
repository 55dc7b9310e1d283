// What the two kinds of runs have in common.
#pragma once
#include "compare.hpp"
#include "proc_sample.hpp"

namespace gmpcmd {

class Descriptor {
public:
  explicit Descriptor(int file) : file_(file) {}
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return file_; }

private:
  int file_;
};

int open_input(const std::string& path); // empty: /dev/null

// Milliseconds until the next sample: often at first, when threads are made, then every five.
int sampling_gap(double since_start);

// Fills in what is known of the process and all it left to us.
void take_usage(Run& run, const Usage& root, const Usage& adopted, const TreeSampler& sampler);

} // namespace gmpcmd
