#include "postern/postconf_request.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/text.h"

namespace postern::control::postconf {

namespace {

constexpr std::size_t kFoldColumn = 80;

// One blank between words; with -f long lines are broken there.
std::string tidy(std::string_view line, bool fold) {
  std::string out;
  std::size_t column = 0;
  std::string_view rest = line;
  for (std::string_view word = next_word(rest, kBlanks); !word.empty();
       word = next_word(rest, kBlanks)) {
    if (fold && column > 0 && column + 1 + word.size() > kFoldColumn) {
      out += "\n    ";
      column = 4;
    } else if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += word.size();
  }
  return out;
}

}  // namespace

void warn(std::string_view text) { fmt::print(stderr, "postconf: warning: {}\n", text); }

int fatal(std::string_view text) {
  fmt::print(stderr, "postconf: fatal: {}\n", text);
  return 1;
}

void print_json(std::string_view name, std::string_view value) {
  const nlohmann::ordered_json line = {{"name", name}, {"value", value}};
  fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_value(const Request& request, std::string_view name, std::string_view value) {
  std::string line;
  if (request.hide_values) {
    line = name;
  } else if (request.hide_names) {
    line = value;
  } else {
    line = fmt::format("{} = {}", name, value);
  }
  fmt::print("{}\n", tidy(line, request.fold));
}

}  // namespace postern::control::postconf
