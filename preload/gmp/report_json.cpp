#include "report.hpp"
#include <cmath>
#include <cstdio>
#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace gmpcmd {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isnan(value) ? Json(nullptr) : Json(value); }

Json of_status(const Status& status) {
  return status.signalled ? Json{{"signal", status.text()}} : Json{{"exit", status.value}};
}

Json of_run(const Run& run, const CompareOptions& options) {
  Json result;
  bool load = !options.load.empty();
  result["wall_s"] = run.wall;
  result["user_s"] = run.user;
  result["system_s"] = run.system;
  if (load) result["cpu_s"] = run.cpu;
  result["peak_rss_kb"] = run.peak_rss_kb;
  result["peak_kernel_threads"] = run.peak_threads;
  result["peak_processes"] = run.peak_processes;
  result["voluntary_switches"] = run.voluntary;
  result["involuntary_switches"] = run.involuntary;
  result["status"] = of_status(run.status);
  result["timed_out"] = run.timed_out;
  result["trouble"] = run.trouble.empty() ? Json(nullptr) : Json(run.trouble);
  result["stdout_bytes"] = run.output.size();
  result["stdout_hash"] = fmt::format("{:016x}", run.output.hash());
  if (options.show_output) result["stdout"] = run.output.text(1 << 20);
  if (!load) return result;
  Json client;
  client["status"] = run.client_status ? of_status(*run.client_status) : Json(nullptr);
  client["requests"] = run.client.requests ? Json(*run.client.requests) : Json(nullptr);
  client["figures"] = Json::object();
  for (auto& figure : run.client.figures)
    client["figures"][figure.name] = {{"value", figure.value}, {"unit", figure.unit}};
  if (!run.client_output.empty()) client["output"] = run.client_output;
  result["client"] = client;
  return result;
}

Json of_side(const Side& side, const Comparison& all) {
  Json result;
  result["runs"] = Json::array();
  for (auto& run : side.runs) result["runs"].push_back(of_run(run, all.options));
  result["median"] = Json::object();
  for (auto& measure : measures(all)) result["median"][measure.key] = number(median_of(side, measure));
  return result;
}

} // namespace

void report_json(const Comparison& all) {
  auto& settings = all.options.settings;
  auto given = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  Json result;
  result["command"] = all.options.command;
  result["load"] = given(all.options.load);
  result["library"] = all.library;
  result["settings"] = {
      {"maxprocs", given(settings.maxprocs)}, {"stack", given(settings.stack)}, {"debug", given(settings.debug)}};
  result["native"] = of_side(all.native, all);
  result["preloaded"] = of_side(all.preloaded, all);
  result["ratio"] = Json::object();
  for (auto& measure : measures(all)) {
    double native = median_of(all.native, measure), preloaded = median_of(all.preloaded, measure);
    result["ratio"][measure.key] = native > 0 ? number(preloaded / native) : Json(nullptr);
  }
  result["same_status"] = all.same_status;
  result["same_output"] = all.same_output ? Json(*all.same_output) : Json(nullptr);
  if (all.difference)
    result["first_difference"] = {{"line", all.difference->line},
                                  {"between", {all.difference_between[0], all.difference_between[1]}},
                                  {"left", all.difference->left},
                                  {"right", all.difference->right}};
  else
    result["first_difference"] = nullptr;
  result["notes"] = all.notes;
  result["agree"] = all.agree();
  // Programs print what they like: bytes that are not UTF-8 must not make the object invalid.
  fmt::print("{}\n", result.dump(2, ' ', false, Json::error_handler_t::replace));
  std::fflush(stdout);
}

} // namespace gmpcmd
