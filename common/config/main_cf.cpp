#include "common/config/main_cf.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "common/base/text.h"
#include "common/log/clean.h"

namespace postern::config {

std::vector<LogicalLine> split_logical_lines(std::string_view text) {
  std::vector<LogicalLine> lines;
  unsigned number = 0;
  bool is_open = false;  // a logical line that may go on
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;

    const std::string_view content = trim(line);
    if (content.empty() || content.front() == '#') continue;
    if (is_space(line.front()) && is_open) {
      lines.back().text += ' ';
      lines.back().text += content;
      lines.back().last = number;
    } else {
      // A first line that is indented keeps its blank, so that the parser can complain.
      lines.push_back({std::string(trim_right(line)), number, number});
      is_open = true;
    }
  }
  return lines;
}

bool is_parameter_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return is_alnum(c) || c == '_' || c == '-' || c == '.';
  });
}

Result<std::pair<std::string, std::string>> parse_setting(std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::string_view name = trim(text.substr(0, equals));
  if (equals == std::string_view::npos || name.find_first_of(kBlanks) != std::string_view::npos) {
    return fail(Error::Kind::kConfig,
                fmt::format("missing '=' after attribute name: \"{:.60}\"", trim(text)));
  }
  if (name.empty()) {
    return fail(Error::Kind::kConfig, fmt::format("missing attribute name: \"{:.60}\"", text));
  }
  return std::pair(std::string(name), std::string(trim(text.substr(equals + 1))));
}

MainCf parse_main_cf(std::string_view text, std::string_view file) {
  MainCf result;
  const auto complain = [&](unsigned line, std::string name, std::string what, Severity severity) {
    result.problems.push_back(
        {std::string(file), line, std::move(name), std::move(what), severity});
  };
  if (text.size() > kMaxConfigFile) {
    complain(0, "", "file is too large", Severity::kError);
    return result;
  }
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    complain(0, "", "file contains a NUL byte; the rest is not read", Severity::kError);
    text = text.substr(0, nul);
  }

  std::unordered_map<std::string, std::size_t> place_of_name;
  for (const LogicalLine& line : split_logical_lines(text)) {
    if (is_space(line.text.front())) {
      complain(line.first, "",
               fmt::format("logical line must not start with whitespace: \"{}\"",
                           log::clean(line.text, kMostShown)),
               Severity::kError);
      continue;
    }
    auto setting = parse_setting(line.text);
    if (!setting) {
      complain(line.first, "", setting.error().text, Severity::kError);
      continue;
    }
    auto& [name, value] = *setting;
    if (!is_parameter_name(name)) {
      complain(line.first, name, fmt::format("\"{:.60}\" cannot be a parameter's name", name),
               Severity::kError);
      continue;
    }
    const auto [known, is_new] = place_of_name.try_emplace(name, result.settings.size());
    if (!is_new) {
      Setting& earlier = result.settings[known->second];
      // The same once more says nothing new.
      if (earlier.value != value) {
        complain(line.first, name,
                 fmt::format("overriding earlier entry: {}={}", name, earlier.value),
                 Severity::kWarning);
      }
      earlier.value = std::move(value);
      earlier.line = line.first;
    } else {
      result.settings.push_back({std::move(name), std::move(value), std::string(file), line.first});
    }
  }
  return result;
}

}  // namespace postern::config
