// Latencies counted in log-linear buckets: 64 to each power of two, so a percentile is off by 1.6 % at most and
// recording is a shift and an increment, whatever the number of requests.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

class Histogram {
public:
  void record(uint64_t nanoseconds) {
    ++buckets_[index(nanoseconds)];
    ++count_;
    max_ = std::max(max_, nanoseconds);
  }

  uint64_t count() const { return count_; }
  double max_ms() const { return static_cast<double>(max_) * 1e-6; }

  // The upper edge of the bucket that holds the request at this share of all, in milliseconds.
  double percentile_ms(double share) const {
    auto rank = static_cast<uint64_t>(share * static_cast<double>(count_));
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i)
      if ((seen += buckets_[i]) > rank) return static_cast<double>(std::min(upper_edge(i), max_)) * 1e-6;
    return max_ms();
  }

private:
  static constexpr int sub_bits = 6;
  static constexpr uint64_t subs = 1u << sub_bits;

  static size_t index(uint64_t v) {
    if (v < subs) return v;
    int shift = std::bit_width(v) - 1 - sub_bits;
    return (static_cast<size_t>(shift) + 1) * subs + ((v >> shift) - subs);
  }
  static uint64_t upper_edge(size_t i) {
    if (i < subs) return i;
    size_t shift = i / subs - 1;
    return ((i % subs + subs + 1) << shift) - 1;
  }

  std::vector<uint64_t> buckets_ = std::vector<uint64_t>((64 - sub_bits + 1) * subs);
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};
