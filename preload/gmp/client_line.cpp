#include "client_line.hpp"
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <regex>

namespace gmpcmd {
namespace {

// A number with thousands separators, a fraction, and the k or M that wrk and others put behind it.
#define NUM "([0-9][0-9,]*(?:\\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
#define NUMK NUM "\\s*([kKM](?=[\\s/]|$))?"
#define TIME_UNIT "(ns|us|\xc2\xb5s|\xce\xbcs|usec|ms|msec|s|sec)"

constexpr auto kFlags = std::regex::ECMAScript | std::regex::optimize;
constexpr auto kNoCase = kFlags | std::regex::icase;

double number(std::string text, const std::string& suffix = "") {
  std::erase(text, ',');
  double value = std::strtod(text.c_str(), nullptr);
  if (suffix == "k" || suffix == "K") value *= 1e3;
  if (suffix == "M") value *= 1e6;
  return value;
}

double microseconds(double value, const std::string& unit) {
  if (unit == "ns") return value / 1e3;
  if (unit.starts_with("ms")) return value * 1e3;
  if (unit.starts_with("s")) return value * 1e6;
  return value;
}

std::string trimmed(std::string text) {
  auto blank = [](char c) { return std::isspace(static_cast<unsigned char>(c)) || c == ':' || c == '='; };
  while (!text.empty() && blank(text.back())) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), blank));
  return text;
}

class Reader {
public:
  void line(const std::string& text) {
    // The order matters: the exact forms of known tools first, the guesses after.
    if (counts(text) || known_rates(text)) {
      percentiles(text, "us"); // redis-benchmark has both on a line, and says its unit
      return;
    }
    found_ = false;
    generic_rates(text);
    percentiles(text, "us");
    if (found_) alongside(text);
    columns(text);
  }
  ClientFigures result;

private:
  void put(const std::string& name, double value, const std::string& unit) {
    found_ = true;
    for (auto& figure : result.figures)
      if (figure.name == name) return void(figure = {name, value, unit}); // progress lines: the last one is the total
    result.figures.push_back({name, value, unit});
  }

  bool counts(const std::string& text) {
    static const std::regex wrk("^\\s*" NUM " requests in ", kFlags);
    static const std::regex redis("^\\s*" NUM " requests completed in ", kFlags);
    static const std::regex plain("^\\s*(?:complete |total )?(?:requests|number of events)\\s*[:=]\\s*" NUM "\\s*$",
                                  kNoCase);
    static const std::regex errors("^\\s*((?:failed requests|errors|failures|timeouts))\\s*[:=]\\s*" NUM "\\s*$",
                                   kNoCase);
    static const std::regex sysbench(
        "^\\s*(transactions|queries|events)\\s*:\\s*" NUM "\\s*\\(" NUM "\\s*per sec\\.\\)", kFlags);
    std::smatch part;
    if (std::regex_search(text, part, wrk) || std::regex_search(text, part, redis) ||
        std::regex_search(text, part, plain)) {
      result.requests = number(part[1]);
      return true;
    }
    if (std::regex_search(text, part, errors)) return put("errors", number(part[2]), ""), true;
    if (std::regex_search(text, part, sysbench)) {
      if (part[1] != "queries") result.requests = number(part[2]);
      put(part[1], number(part[3]), "/s");
      return true;
    }
    return false;
  }

  bool known_rates(const std::string& text) {
    static const std::regex per_second("^\\s*(.*?)\\s*" NUM "\\s+requests per second", kFlags);
    static const std::regex requests("^\\s*Requests(?:/sec| per second):\\s*" NUMK, kFlags);
    static const std::regex transfer("^\\s*Transfer(?:/sec| rate):\\s*" NUM "\\s*\\[?([KMG]?)(?:B|bytes)", kNoCase);
    static const std::regex events("^\\s*(?:events per second|events/s \\(eps\\))\\s*:\\s*" NUM, kFlags);
    std::smatch part;
    if (std::regex_search(text, part, requests)) return put("throughput", number(part[1], part[2]), "/s"), true;
    if (std::regex_search(text, part, events)) return put("throughput", number(part[1]), "/s"), true;
    if (std::regex_search(text, part, transfer)) {
      char scale =
          part[2].length() ? static_cast<char>(std::toupper(static_cast<unsigned char>(part[2].str()[0]))) : ' ';
      double megabytes = number(part[1]) * (scale == 'K' ? 1e-3 : scale == 'M' ? 1 : scale == 'G' ? 1e3 : 1e-6);
      return put("transfer", megabytes, "MB/s"), true;
    }
    if (std::regex_search(text, part,
                          per_second)) { // redis-benchmark: "SET: 1 requests per second", "throughput summary: ..."
      auto label = trimmed(part[1]);
      label_ = label.empty() || label == "throughput summary" ? "" : label + " ";
      put(label_ + "throughput", number(part[2]), "/s");
      return true;
    }
    return false;
  }

  void generic_rates(const std::string& text) {
    static const std::regex rate(
        "([A-Za-z][A-Za-z0-9 _.-]*?)?\\s*[:=]?\\s*" NUM "\\s*([kKM])?\\s*"
        "(req|reqs|requests?|rps|ops|operations|conns?|connections?|msgs?|messages?|transactions|events|echoes|"
        "round ?trips|[kKMG]i?B|[kKMG]?bits?|bytes)(?:/s(?:ec(?:ond)?)?|\\s+per\\s+sec(?:ond)?|(?=\\s|$))",
        kFlags);
    for (std::sregex_iterator at(text.begin(), text.end(), rate), end; at != end; ++at) {
      auto& part = *at;
      auto unit = part[4].str();
      bool is_rate = part[0].str().find("/s") != std::string::npos || part[0].str().find("per") != std::string::npos ||
                     unit == "rps";
      if (!is_rate) continue;
      auto label = trimmed(part[1]);
      if (label.empty()) label = "throughput";
      put(label, number(part[2], part[3]),
          unit == "rps"                                                ? "/s"
          : unit.find("it") != std::string::npos || unit.back() == 'B' ? unit + "/s"
                                                                       : "/s");
    }
  }

  void percentiles(const std::string& text, const std::string& default_unit) {
    static const std::regex percentile(
        "\\bp(50|75|90|95|99(?:\\.9+)?|999+|100)\\b\\s*[:=]?\\s*" NUM "\\s*" TIME_UNIT "?(?![A-Za-z])", kFlags);
    static const std::regex sysbench("^\\s*([0-9.]+)th percentile:\\s*" NUM "\\s*$", kFlags);
    std::smatch whole;
    if (std::regex_search(text, whole, sysbench)) return put("p" + whole[1].str(), number(whole[2]) * 1e3, "us");
    // A unit said once at a line's end, or in its head ("latency (us): p50 12 p99 40"), is meant for all its figures.
    static const std::regex headed("\\(" TIME_UNIT "\\)|\\b(?:in|unit)\\s+" TIME_UNIT "\\b", kFlags);
    std::string unit = default_unit;
    if (std::regex_search(text, whole, headed)) unit = whole[1].length() ? whole[1].str() : whole[2].str();
    for (std::sregex_iterator at(text.begin(), text.end(), percentile), end; at != end; ++at) {
      auto& part = *at;
      put(label_ + "p" + part[1].str(), microseconds(number(part[2]), part[3].length() ? part[3].str() : unit), "us");
    }
    label_.clear();
  }

  // What a line with a rate or percentiles says besides: "throughput: 10 req/s  p50 1 ms  max 9 ms  requests 50  errors
  // 0".
  void alongside(const std::string& text) {
    static const std::regex longest("\\bmax\\s*[:=]?\\s*" NUM "\\s*" TIME_UNIT "(?![A-Za-z])", kFlags);
    static const std::regex errors("\\berrors\\s*[:=]?\\s*" NUM "(?![A-Za-z/])", kFlags);
    static const std::regex requests("\\brequests\\s*[:=]?\\s*" NUM "(?![A-Za-z/])", kFlags);
    std::smatch part;
    if (std::regex_search(text, part, longest)) put("max", microseconds(number(part[1]), part[2]), "us");
    if (std::regex_search(text, part, errors)) put("errors", number(part[1]), "");
    if (std::regex_search(text, part, requests)) result.requests = number(part[1]);
  }

  // "  50%  1.20ms" (wrk) and "  50%  1" (ab, which means milliseconds); hackbench's "Time: 0.123" (seconds).
  void columns(const std::string& text) {
    static const std::regex percent("^\\s*([0-9.]+)%\\s+" NUM "\\s*" TIME_UNIT "?(?:\\s+\\(longest request\\))?\\s*$",
                                    kFlags);
    static const std::regex time("^\\s*Time:\\s*" NUM "\\s*$", kFlags);
    std::smatch part;
    if (std::regex_search(text, part, percent))
      put("p" + part[1].str(), microseconds(number(part[2]), part[3].length() ? part[3].str() : "ms"), "us");
    else if (std::regex_search(text, part, time))
      put("Time", number(part[1]) * 1e6, "us");
  }

  std::string label_; // redis-benchmark's, for the percentile on the same line
  bool found_ = false;
};

} // namespace

ClientFigures read_client_output(std::string_view text) {
  Reader reader;
  for (std::size_t at = 0; at < text.size();) {
    auto end = std::min(text.find_first_of("\r\n", at), text.size()); // \r: redis-benchmark's progress on one line
    // std::regex recurses: a line of megabytes would take its stack.
    if (end > at) reader.line(std::string(text.substr(at, std::min<std::size_t>(end - at, 500))));
    at = end + 1;
  }
  return reader.result;
}

} // namespace gmpcmd
