// echo_load's command line.
#pragma once

#include <getopt.h>

#include <string>

#include "common.h"

inline constexpr char usage[] =
    "usage: echo_load --port P [--host ADDRESS] | --unix PATH\n"
    "                 [--connections N] [--seconds S | --requests R] [--size BYTES] [--connect-proxy PORT]\n"
    "                 [--retry S] [--timeout S]\n"
    "  --connections N       connections open at once (default 100); the clock starts when each has had one echo\n"
    "  --seconds S           how long to measure (default 5)\n"
    "  --requests R          measure this many requests instead\n"
    "  --size BYTES          bytes of a request (default 64)\n"
    "  --connect-proxy PORT  reach the server through the HTTP proxy at PORT of the same host, by CONNECT\n"
    "  --retry S             go on trying for S seconds while the first connection is refused (default 10)\n"
    "  --timeout S           give up when nothing at all arrives for S seconds (default 10)\n"
    "  The last lines are for machines: all requests answered; throughput, latency percentiles, connections, errors. "
    "Exits 1 on any error\n";

struct Options {
  long connections = 100, requests = 0, size = 64, port = -1, proxy_port = 0;
  double seconds = 5, retry = 10, timeout = 10;
  std::string host = "127.0.0.1", unix_path;
};

inline double seconds_of(const char* text, const char* what) {
  char* end = nullptr;
  double value = strtod(text, &end);
  if (end == text || *end || !(value >= 0 && value <= 1e6)) {
    fprintf(stderr, "echo_load: %s must be a number of seconds, not '%s'\n", what, text);
    exit(2);
  }
  return value;
}

inline Options parse_options(int argc, char** argv) {
  static const option table[] = {{"connections", required_argument, nullptr, 'c'},
                                 {"seconds", required_argument, nullptr, 's'},
                                 {"requests", required_argument, nullptr, 'r'},
                                 {"size", required_argument, nullptr, 'b'},
                                 {"port", required_argument, nullptr, 'p'},
                                 {"host", required_argument, nullptr, 'H'},
                                 {"unix", required_argument, nullptr, 'u'},
                                 {"connect-proxy", required_argument, nullptr, 'x'},
                                 {"retry", required_argument, nullptr, 'R'},
                                 {"timeout", required_argument, nullptr, 't'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  Options o;
  for (int c; (c = getopt_long(argc, argv, "", table, nullptr)) != -1;) {
    switch (c) {
    case 'c':
      o.connections = number(optarg, "--connections", 1, 4000000);
      break;
    case 's':
      o.seconds = seconds_of(optarg, "--seconds");
      break;
    case 'r':
      o.requests = number(optarg, "--requests", 1, 1L << 50);
      break;
    case 'b':
      o.size = number(optarg, "--size", 1, 1L << 30);
      break;
    case 'p':
      o.port = number(optarg, "--port", 1, 65535);
      break;
    case 'H':
      o.host = optarg;
      break;
    case 'u':
      o.unix_path = optarg;
      break;
    case 'x':
      o.proxy_port = number(optarg, "--connect-proxy", 1, 65535);
      break;
    case 'R':
      o.retry = seconds_of(optarg, "--retry");
      break;
    case 't':
      o.timeout = seconds_of(optarg, "--timeout");
      break;
    case 'h':
      fputs(usage, stdout);
      exit(0);
    default:
      bad_usage(usage);
    }
  }
  if (optind != argc || (o.port < 0) == o.unix_path.empty() || (o.proxy_port && o.port < 0)) bad_usage(usage);
  return o;
}
