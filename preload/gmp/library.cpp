#include "library.hpp"
#include "fail.hpp"
#include <cstdlib>
#include <cstring>
#include <elf.h>
#include <filesystem>
#include <fmt/core.h>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

namespace fs = std::filesystem;
namespace gmpcmd {
namespace {

bool read_header(std::ifstream& file, Elf64_Ehdr& header) {
  return file.read(reinterpret_cast<char*>(&header), sizeof header) &&
         std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 && header.e_ident[EI_CLASS] == ELFCLASS64;
}

// ld.so only warns about a library that it can't preload and runs the program natively: then every comparison would
// be of the native run with itself. So what it would refuse is refused here.
void must_be_loadable(const std::string& path) {
  if (path.find_first_of(": \t\n") != std::string::npos)
    throw Failure(kUsage, fmt::format("{}: LD_PRELOAD can't hold a path with a blank or a colon", path));
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Failure(kNotFound, fmt::format("{}: {}", path, std::strerror(errno)));
  Elf64_Ehdr header{};
  if (!read_header(file, header) || header.e_type != ET_DYN || header.e_machine != EM_X86_64)
    throw Failure(kCannotExecute, fmt::format("{}: not a shared library of this machine", path));
}

std::string in_path(const std::string& command) {
  if (command.find('/') != std::string::npos) return command;
  const char* path = std::getenv("PATH");
  std::string list = path ? path : "/bin:/usr/bin";
  for (std::size_t at = 0; at <= list.size();) {
    auto end = std::min(list.find(':', at), list.size());
    auto candidate = (end == at ? "." : list.substr(at, end - at)) + "/" + command;
    if (access(candidate.c_str(), X_OK) == 0 && !fs::is_directory(candidate)) return candidate;
    at = end + 1;
  }
  return "";
}

} // namespace

std::string find_library(const std::string& given) {
  if (!given.empty()) {
    // An absolute path: the program may change its directory and then start others.
    std::error_code error;
    auto absolute = fs::absolute(given, error);
    must_be_loadable(absolute);
    return absolute;
  }
  if (const char* named = std::getenv("GMP_LIB"); named && *named) return find_library(named);

  std::error_code error;
  auto here = fs::read_symlink("/proc/self/exe", error).parent_path();
  std::vector<fs::path> places{here / "libgmp.so", (here / "../lib/gmp/libgmp.so").lexically_normal(),
                               (here / ".." / GMP_LIBDIR / "gmp/libgmp.so").lexically_normal()};
  for (auto& place : places)
    if (fs::exists(place, error)) {
      must_be_loadable(place);
      return place;
    }
  throw Failure(kNotFound, fmt::format("libgmp.so is neither {} nor {}: name it with --lib PATH or GMP_LIB",
                                       places[0].string(), places[1].string()));
}

std::string cannot_preload(const std::string& command) {
  auto path = in_path(command);
  struct stat info {};
  if (path.empty() || stat(path.c_str(), &info) != 0) return "";
  if (((info.st_mode & S_ISUID) && info.st_uid != geteuid()) || ((info.st_mode & S_ISGID) && info.st_gid != getegid()))
    return "is set-user-ID or set-group-ID: ld.so preloads nothing from our directory into it";
  std::ifstream file(path, std::ios::binary);
  Elf64_Ehdr header{};
  if (!file || !read_header(file, header)) return ""; // a script: its interpreter is what counts
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    file.seekg(header.e_phoff + std::streamoff(i) * header.e_phentsize);
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof segment)) return "";
    if (segment.p_type == PT_INTERP) return "";
  }
  return "is statically linked: nothing can be preloaded into it";
}

} // namespace gmpcmd
