#include "settings.hpp"
#include "fail.hpp"
#include <charconv>
#include <fmt/core.h>
#include <regex>
#include <unistd.h>

namespace gmpcmd {
namespace {

constexpr unsigned long long kMostProcs = 1024;   // preload/settings.cpp has the same
constexpr unsigned long long kLeastStack = 16384; // PTHREAD_STACK_MIN: what POSIX lets a program ask for
constexpr unsigned long long kMostStack = 1ull << 40;

bool whole_number(const std::string& text, unsigned long long& value) {
  if (text.empty()) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string stack_bytes(const std::string& text) {
  std::string digits = text;
  unsigned shift = 0;
  // 256k, 256K, 256kb, 256KiB: all are what people type, and all mean powers of two for a stack.
  static const std::regex form("([0-9]+)([kKmMgG]?)(i?[bB])?");
  std::smatch part;
  unsigned long long value = 0;
  if (!std::regex_match(text, part, form) || !whole_number(part[1].str(), value))
    throw Failure(kUsage, fmt::format("--stack {}: not a size (256K, 1M, 65536 ...)", text));
  switch (part[2].str().empty() ? ' ' : part[2].str()[0]) {
  case 'k':
  case 'K':
    shift = 10;
    break;
  case 'm':
  case 'M':
    shift = 20;
    break;
  case 'g':
  case 'G':
    shift = 30;
    break;
  }
  if (value > (kMostStack >> shift)) throw Failure(kUsage, fmt::format("--stack {}: too big", text));
  value <<= shift;
  if (value < kLeastStack)
    throw Failure(kUsage, fmt::format("--stack {}: a stack needs at least {} bytes", text, kLeastStack));
  return std::to_string(value);
}

// LD_PRELOAD is a list separated by colons or blanks.
std::string without_our_library(const std::string& list) {
  std::string kept;
  for (std::size_t at = 0; at < list.size();) {
    auto end = list.find_first_of(": ", at);
    if (end == std::string::npos) end = list.size();
    auto item = list.substr(at, end - at);
    auto slash = item.rfind('/');
    auto name = slash == std::string::npos ? item : item.substr(slash + 1);
    if (!item.empty() && name != "libgmp.so") kept += (kept.empty() ? "" : ":") + item;
    at = end + 1;
  }
  return kept;
}

void remove(Environment& environment, const std::string& name) {
  std::erase_if(environment, [&](const std::string& entry) { return entry.starts_with(name + "="); });
}

} // namespace

void check(Settings& settings) {
  if (!settings.maxprocs.empty()) {
    unsigned long long procs = 0;
    if (!whole_number(settings.maxprocs, procs) || procs < 1 || procs > kMostProcs)
      throw Failure(kUsage, fmt::format("--maxprocs {}: not a number from 1 to {}", settings.maxprocs, kMostProcs));
  }
  if (!settings.stack.empty()) settings.stack = stack_bytes(settings.stack);
  static const std::regex pairs("[A-Za-z_][A-Za-z0-9_]*=[^,=]+(,[A-Za-z_][A-Za-z0-9_]*=[^,=]+)*");
  if (!settings.debug.empty() && !std::regex_match(settings.debug, pairs))
    throw Failure(kUsage, fmt::format("--debug {}: not of the form key=value,...", settings.debug));
}

const std::string* find(const Environment& environment, const std::string& name) {
  for (auto& entry : environment)
    if (entry.starts_with(name + "=")) return &entry;
  return nullptr;
}

void set(Environment& environment, const std::string& name, const std::string& value) {
  remove(environment, name);
  environment.push_back(name + "=" + value);
}

Environment native_environment() {
  Environment result;
  for (char** entry = environ; *entry; ++entry) result.emplace_back(*entry);
  if (auto* preload = find(result, "LD_PRELOAD")) {
    auto kept = without_our_library(preload->substr(sizeof "LD_PRELOAD"));
    if (kept.empty())
      remove(result, "LD_PRELOAD");
    else
      set(result, "LD_PRELOAD", kept);
  }
  return result;
}

Environment preloaded_environment(const Settings& settings, const std::string& library) {
  auto result = native_environment();
  auto* others = find(result, "LD_PRELOAD");
  // First: a symbol is taken from the first library that has it, and the hooks must win over, say, a preloaded
  // malloc's.
  set(result, "LD_PRELOAD", others ? library + ":" + others->substr(sizeof "LD_PRELOAD") : library);
  if (!settings.maxprocs.empty()) set(result, "GMP_MAXPROCS", settings.maxprocs);
  if (!settings.stack.empty()) set(result, "GMP_STACK", settings.stack);
  if (!settings.debug.empty()) set(result, "GMP_DEBUG", settings.debug);
  return result;
}

} // namespace gmpcmd
