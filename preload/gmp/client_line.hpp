// Reads the figures out of what a load generator prints: wrk, ab, redis-benchmark, sysbench, hackbench, and anything
// that says things like "throughput: 1234 req/s" or "p99 1.2 ms".
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gmpcmd {

struct Figure {
  std::string name; // "throughput", "p99", "SET throughput"
  double value;
  std::string unit; // "/s" for rates, "us" for times, "MB/s", "" for counts
};

struct ClientFigures {
  std::vector<Figure> figures; // in the order printed; of equal names the last one counts
  std::optional<double> requests;
};

ClientFigures read_client_output(std::string_view text);

} // namespace gmpcmd
