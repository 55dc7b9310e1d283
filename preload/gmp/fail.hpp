// The one way out for everything the user should hear about: a line for stderr and an exit status.
#pragma once
#include <stdexcept>
#include <string>

namespace gmpcmd {

// Exit statuses. 126 and 127 are env(1)'s, so that scripts that know env(1) know gmp run.
enum Exit : int { kAgree = 0, kDiffer = 1, kUsage = 2, kCannotMeasure = 3, kCannotExecute = 126, kNotFound = 127 };

class Failure : public std::runtime_error {
public:
  Failure(int status, const std::string& line) : std::runtime_error(line), status_(status) {}
  int status() const { return status_; }

private:
  int status_;
};

} // namespace gmpcmd
