// A program's standard output, kept in an unlinked temporary file: nothing to drain while the program is measured,
// nothing left behind however we end, and outputs of gigabytes cost no memory.
#pragma once
#include <cstdint>
#include <string>

namespace gmpcmd {

class Capture {
public:
  Capture();
  ~Capture();
  Capture(Capture&& other) noexcept : file_(other.file_) { other.file_ = -1; }
  Capture& operator=(Capture&& other) noexcept;

  int descriptor() const { return file_; }
  std::uint64_t size() const;
  std::uint64_t hash() const; // FNV-1a, for the eye and for JSON; equality is decided by the bytes
  bool same_as(const Capture& other) const;
  std::string text(std::uint64_t at_most = UINT64_MAX) const;
  void copy_to(int descriptor) const;

private:
  int file_ = -1;
};

struct Difference {
  std::uint64_t line = 0;  // from 1
  std::string left, right; // printable, shortened; "(ends here)" where one side has no such line
};
Difference first_difference(const Capture& left, const Capture& right);

} // namespace gmpcmd
