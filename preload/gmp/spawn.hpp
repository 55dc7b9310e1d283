// Starting one child of ours with everything about it said in one place.
#pragma once
#include "fail.hpp"
#include "settings.hpp"
#include <string>
#include <sys/types.h>
#include <vector>

namespace gmpcmd {

struct SpawnRequest {
  std::vector<std::string> command;
  Environment environment;
  std::vector<int> cpus; // empty: as ours
  int input = -1;        // descriptors for 0 and 1; 2 is passed on
  int output = -1;
};

// The child leads a process group of its own and dies with us. Throws Failure (127, 126) when it can't be executed.
pid_t spawn(const SpawnRequest& request);

// "0,2-3" to {0, 2, 3}; `option` is for the error line.
std::vector<int> parse_cpus(const std::string& option, const std::string& list);
// Pins ourselves, for what we do beside a measured program.
void pin_self(const std::vector<int>& cpus);

std::vector<char*> pointers(const std::vector<std::string>& strings);
Failure cannot_execute(const std::string& command, int error);

} // namespace gmpcmd
