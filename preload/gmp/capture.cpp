#include "capture.hpp"
#include "fail.hpp"
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/core.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace gmpcmd {
namespace {

// The file's bytes for as long as this lives.
class View {
public:
  explicit View(const Capture& capture) : size_(capture.size()) {
    if (size_ == 0) return;
    bytes_ = mmap(nullptr, size_, PROT_READ, MAP_SHARED, capture.descriptor(), 0);
    if (bytes_ == MAP_FAILED) throw Failure(kCannotMeasure, fmt::format("mmap: {}", std::strerror(errno)));
  }
  ~View() {
    if (size_) munmap(bytes_, size_);
  }
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  std::string_view bytes() const { return {static_cast<const char*>(bytes_), size_}; }

private:
  std::uint64_t size_;
  void* bytes_ = nullptr;
};

constexpr std::size_t kShownOfALine = 160;

// One line from `start`, made harmless for a terminal.
std::string shown(std::string_view bytes, std::size_t start, std::size_t around) {
  if (start >= bytes.size()) return "(ends here)";
  auto end = std::min(bytes.find('\n', start), bytes.size());
  // In a long line show the part where it differs.
  std::size_t from = around > start + kShownOfALine / 2 ? around - kShownOfALine / 2 : start;
  std::string result = from > start ? "..." : "";
  for (std::size_t at = from; at < end; ++at) {
    if (result.size() > kShownOfALine) return result + "...";
    auto byte = static_cast<unsigned char>(bytes[at]);
    if (byte < 0x20 || byte == 0x7f)
      result += fmt::format("\\x{:02x}", byte);
    else
      result += bytes[at];
  }
  return end == bytes.size() ? result + " (no newline)" : result;
}

} // namespace

Capture::Capture() {
  const char* named = std::getenv("TMPDIR");
  std::string folder = named && *named ? named : "/tmp";
  file_ = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file_ < 0) { // a file system without O_TMPFILE
    std::string name = folder + "/gmp-output-XXXXXX";
    file_ = mkostemp(name.data(), O_CLOEXEC);
    if (file_ >= 0) unlink(name.c_str());
  }
  if (file_ < 0) throw Failure(kCannotMeasure, fmt::format("{}: no temporary file: {}", folder, std::strerror(errno)));
}

Capture::~Capture() {
  if (file_ >= 0) close(file_);
}

Capture& Capture::operator=(Capture&& other) noexcept {
  std::swap(file_, other.file_);
  return *this;
}

std::uint64_t Capture::size() const {
  struct stat info {};
  return fstat(file_, &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

std::uint64_t Capture::hash() const {
  View view(*this);
  std::uint64_t value = 0xcbf29ce484222325;
  for (char byte : view.bytes()) value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  return value;
}

bool Capture::same_as(const Capture& other) const { return View(*this).bytes() == View(other).bytes(); }

std::string Capture::text(std::uint64_t at_most) const {
  View view(*this);
  return std::string(view.bytes().substr(0, at_most));
}

void Capture::copy_to(int descriptor) const {
  View view(*this);
  auto rest = view.bytes();
  while (!rest.empty()) {
    ssize_t done = write(descriptor, rest.data(), rest.size());
    if (done < 0 && errno != EINTR) return;
    if (done > 0) rest.remove_prefix(static_cast<std::size_t>(done));
  }
}

Difference first_difference(const Capture& left_file, const Capture& right_file) {
  View left_view(left_file), right_view(right_file);
  auto left = left_view.bytes(), right = right_view.bytes();
  auto shorter = std::min(left.size(), right.size());
  auto at = static_cast<std::size_t>(
      std::mismatch(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(shorter), right.begin()).first -
      left.begin());
  Difference result;
  result.line =
      1 + static_cast<std::uint64_t>(std::count(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
  auto newline = at == 0 ? std::string_view::npos : left.rfind('\n', at - 1);
  auto start = newline == std::string_view::npos ? 0 : newline + 1;
  result.left = shown(left, start, at);
  result.right = shown(right, start, at);
  return result;
}

} // namespace gmpcmd
