// Numbers and rows as people read them.
#pragma once
#include <string>
#include <vector>

namespace gmpcmd {

class Table {
public:
  explicit Table(std::vector<std::string> heading) { rows_.push_back(std::move(heading)); }
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::string text() const; // first column to the left, the others to the right

private:
  std::vector<std::vector<std::string>> rows_;
};

double median(std::vector<double> values); // NaN when there are none

std::string show_time(double seconds);
std::string show_count(double value);
std::string show_kilobytes(double kilobytes);
std::string show_bytes(double bytes);
std::string show_figure(double value, const std::string& unit);
std::string show_ratio(double native, double preloaded);

} // namespace gmpcmd
