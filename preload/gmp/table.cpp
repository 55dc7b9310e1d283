#include "table.hpp"
#include <algorithm>
#include <cmath>
#include <fmt/core.h>
#include <limits>

namespace gmpcmd {
namespace {

// What a terminal shows, not bytes: "µs" is two columns wide.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

} // namespace

std::string Table::text() const {
  std::vector<std::size_t> widths;
  for (auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], width(row[i]));
    }
  std::string result;
  for (auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::string pad(widths[i] - width(row[i]), ' ');
      line += i == 0 ? "  " + row[i] + pad : "  " + pad + row[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
  }
  return result;
}

double median(std::vector<double> values) {
  std::erase_if(values, [](double value) { return std::isnan(value); });
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::sort(values.begin(), values.end());
  auto middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string show_time(double seconds) {
  if (std::isnan(seconds)) return "-";
  if (seconds >= 100) return fmt::format("{:.1f} s", seconds);
  if (seconds >= 1) return fmt::format("{:.3f} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.1f} ms", seconds * 1e3);
  if (seconds > 0) return fmt::format("{:.1f} µs", seconds * 1e6);
  return "0";
}

std::string show_count(double value) {
  if (std::isnan(value)) return "-";
  auto digits = fmt::format("{:.0f}", value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), 1, ',');
  return digits;
}

std::string show_kilobytes(double kilobytes) { return show_bytes(kilobytes * 1024); }

std::string show_bytes(double bytes) {
  if (std::isnan(bytes)) return "-";
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1024 * 1024) return fmt::format("{:.1f} KB", bytes / 1024);
  if (bytes < 1024.0 * 1024 * 1024) return fmt::format("{:.1f} MB", bytes / 1024 / 1024);
  return fmt::format("{:.2f} GB", bytes / 1024 / 1024 / 1024);
}

std::string show_figure(double value, const std::string& unit) {
  if (std::isnan(value)) return "-";
  if (unit == "us") return show_time(value * 1e-6);
  auto number = value >= 1000 || value == std::floor(value) ? show_count(value) : fmt::format("{:.2f}", value);
  if (unit.empty()) return number;
  return unit == "/s" ? number + "/s" : number + " " + unit;
}

std::string show_ratio(double native, double preloaded) {
  if (std::isnan(native) || std::isnan(preloaded) || native <= 0) return "-";
  double ratio = preloaded / native;
  return ratio >= 100                 ? fmt::format("{:.0f}x", ratio)
         : ratio >= 10                ? fmt::format("{:.1f}x", ratio)
         : ratio >= 0.1 || ratio == 0 ? fmt::format("{:.2f}x", ratio)
                                      : fmt::format("{:.4f}x", ratio);
}

} // namespace gmpcmd
