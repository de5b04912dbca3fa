#include "common/config/problem.h"

#include <fmt/format.h>

#include <algorithm>

namespace postern::config {

std::string place_of(const Problem& problem) {
  if (problem.file.empty() || problem.line == 0) return problem.file;
  return fmt::format("{}:{}", problem.file, problem.line);
}

std::string log_text(const Problem& problem) {
  if (problem.file.empty()) return problem.text;
  if (problem.line == 0) return fmt::format("{}: {}", problem.file, problem.text);
  return fmt::format("{}, line {}: {}", problem.file, problem.line, problem.text);
}

bool has_error(const Problems& problems) {
  return std::ranges::any_of(problems,
                             [](const Problem& p) { return p.severity == Severity::kError; });
}

}  // namespace postern::config
