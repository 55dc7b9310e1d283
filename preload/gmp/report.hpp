// The figures of a comparison in one list, which the table and the JSON object are both made from.
#pragma once
#include "compare.hpp"
#include <functional>

namespace gmpcmd {

struct Measure {
  std::string key;   // JSON
  std::string label; // table
  std::function<double(const Run&)> value;
  std::function<std::string(double)> show;
};

std::vector<Measure> measures(const Comparison& comparison);
double median_of(const Side& side, const Measure& measure);
std::string joined(const std::vector<std::string>& command);

} // namespace gmpcmd
