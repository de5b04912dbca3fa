// How check prints what it found: for people and for programs.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "postern/check.h"

namespace postern::control {

using namespace config;

namespace {

std::string short_place(const Problem& problem, const std::string& directory) {
  std::string place = place_of(problem);
  const std::string prefix = directory + "/";
  if (place.starts_with(prefix)) place.erase(0, prefix.size());
  return place;
}

std::string_view word_of(Severity severity) {
  return severity == Severity::kError ? "error" : "warning";
}

}  // namespace

std::string print_problems(const Problems& problems, const std::string& directory) {
  std::size_t width = 0;
  for (const Problem& problem : problems) {
    width = std::max(width, std::min<std::size_t>(short_place(problem, directory).size(), 40));
  }
  std::string out;
  std::size_t errors = 0;
  for (const Problem& problem : problems) {
    out += fmt::format("{:<{}}  {:<7}  {}\n", short_place(problem, directory), width,
                       word_of(problem.severity), problem.text);
    if (problem.severity == Severity::kError) ++errors;
  }
  if (problems.empty()) return out;
  const std::size_t warnings = problems.size() - errors;
  out += fmt::format("{} error{}, {} warning{}\n", errors, errors == 1 ? "" : "s", warnings,
                     warnings == 1 ? "" : "s");
  return out;
}

std::string print_problems_json(const Problems& problems) {
  auto list = nlohmann::ordered_json::array();
  for (const Problem& problem : problems) {
    nlohmann::ordered_json object;
    object["file"] = problem.file;
    object["line"] = problem.line;
    object["severity"] = word_of(problem.severity);
    object["parameter"] = problem.parameter;
    object["text"] = problem.text;
    list.push_back(std::move(object));
  }
  // Bytes that are not UTF-8 come out as U+FFFD: the library would throw otherwise.
  return list.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace postern::control
