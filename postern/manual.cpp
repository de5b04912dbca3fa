#include "postern/manual.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <set>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/param.h"

namespace postern::control {

namespace {

using config::ParamInfo;
using config::ParamType;
using config::Standing;

constexpr std::string_view kMarker = ".\\\" parameters:";
constexpr std::size_t kMaxPage = std::size_t{1} << 20U;

// Any text as a text line of roff: nothing of it is a request, an escape or a soft hyphen.
std::string roff_text(std::string_view text) {
  std::string out;
  if (text.starts_with('.') || text.starts_with('\'')) out += "\\&";
  for (const char c : text) {
    switch (c) {
      case '\\':
        out += "\\e";
        break;
      case '"':
        out += "\\(dq";
        break;
      case '-':
        out += "\\-";
        break;
      case '\n':
        out += ' ';
        break;
      default:
        out += c;
    }
  }
  return out;
}

// Each sentence on a line of its own, as roff wants it for the space between them.
std::string roff_sentences(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(". "), text.size());
    const std::size_t size = std::min(end + 1, text.size());
    out += roff_text(text.substr(0, size));
    out += '\n';
    text = trim(text.substr(size));
  }
  return out;
}

std::string_view name_of_type(ParamType type) {
  switch (type) {
    case ParamType::kBool:
      return "yes or no";
    case ParamType::kCount:
      return "number";
    case ParamType::kSize:
      return "size";
    case ParamType::kDuration:
      return "time";
    case ParamType::kText:
    case ParamType::kRawText:
      return "text";
    case ParamType::kChoice:
      return "word";
    case ParamType::kList:
      return "list";
    case ParamType::kNetworks:
      return "networks";
    case ParamType::kTables:
      return "tables";
    case ParamType::kSecret:
      return "secret text";
  }
  return "text";
}

bool is_built(const ParamInfo& param) {
  return param.standing == Standing::kSame || param.standing == Standing::kOwn;
}

// Defaults that an installation or a machine gives are told as such: the page is made elsewhere.
const config::Snapshot::Texts& computed_defaults() {
  static const config::Snapshot::Texts computed = [] {
    config::Snapshot snapshot;
    snapshot.paths = config::paths_below("/usr");
    config::Problems ignored;
    config::complete_snapshot(snapshot, ignored, config::Extent::kWithoutNetwork);
    return snapshot.computed;
  }();
  return computed;
}

std::string print_default(const ParamInfo& param) {
  // Found out only where the network is looked at.
  const bool is_computed = param.name == "mynetworks" || computed_defaults().contains(param.name);
  if (is_computed && (param.initial.empty() || !param.initial.starts_with('$'))) {
    return "; the default is that of the machine or installation";
  }
  return param.initial.empty() ? "; empty by default" : fmt::format("; default: {}", param.initial);
}

}  // namespace

std::string parameter_facts(const ParamInfo& param) {
  std::string facts(name_of_type(param.type));
  if (param.type == ParamType::kChoice) {
    std::string words;
    for (const std::string_view word : split_words(config::choices_of(param.name))) {
      words += fmt::format("{}{}", words.empty() ? "" : ", ", word);
    }
    if (!words.empty()) facts = fmt::format("one of {}", words);
  }
  facts += print_default(param);
  if (param.standing == Standing::kOwn) facts += "; not a parameter of Postfix";
  if (param.standing == Standing::kNotYet) facts += "; not supported yet";
  if (param.standing == Standing::kNoEffect) facts += "; without effect here";
  return facts;
}

namespace {

std::string print_entry(const ParamInfo& param) {
  // Not as arguments of a macro: a default may be a word that is one itself.
  std::string out = fmt::format(".It Sy {}\n", param.name);
  out += roff_sentences(param.doc);
  out += fmt::format("({})\n", roff_text(parameter_facts(param)));
  return out;
}

std::string print_list(const std::set<std::string_view>& names) {
  if (names.empty()) return {};
  std::string out = ".Bl -tag -width Ds\n";
  for (const std::string_view name : names) out += print_entry(*config::find_param(name));
  return out + ".El\n";
}

std::string print_standing(Standing standing) {
  std::set<std::string_view> names;
  for (const ParamInfo param : config::all_params()) {
    if (param.standing == standing) names.insert(param.name);
  }
  return names.empty() ? "None.\n" : print_list(names);
}

Result<std::string> print_parameters(std::string_view wanted) {
  if (wanted == "no-effect") return print_standing(Standing::kNoEffect);
  if (wanted == "not-yet") return print_standing(Standing::kNotYet);
  std::set<std::string_view> names;
  for (const std::string_view word : split_words(wanted)) {
    bool is_known = false;
    for (const ParamInfo param : config::all_params()) {
      const bool is_meant = word == "all" || word == param.area || word == param.name;
      if (!is_meant || !is_built(param)) continue;
      names.insert(param.name);
      is_known = true;
    }
    if (!is_known) {
      return fail(Error::Kind::kConfig, fmt::format("no parameter that is built: {}", word));
    }
  }
  return print_list(names);
}

}  // namespace

Result<std::string> fill_manual_page(std::string_view page) {
  std::string out;
  while (!page.empty()) {
    const std::size_t end = std::min(page.find('\n'), page.size());
    const std::string_view line = page.substr(0, end);
    page.remove_prefix(std::min(end + 1, page.size()));
    if (line.starts_with(kMarker)) {
      TRY(const std::string list, print_parameters(trim(line.substr(kMarker.size()))));
      out += list;
    } else {
      out += line;
      out += '\n';
    }
  }
  return out;
}

int config_man_main(int /*argc*/, char** /*argv*/) {
  std::string page;
  std::array<char, 65536> buffer{};
  for (std::size_t got = 0; (got = std::fread(buffer.data(), 1, buffer.size(), stdin)) > 0;) {
    page.append(buffer.data(), got);
    if (page.size() > kMaxPage) break;
  }
  if (std::ferror(stdin) != 0 || page.size() > kMaxPage) {
    fmt::print(stderr, "postern: fatal: cannot read a manual page from standard input\n");
    return 1;
  }
  const auto filled = fill_manual_page(page);
  if (!filled) {
    fmt::print(stderr, "postern: fatal: {}\n", filled.error().text);
    return 1;
  }
  fmt::print("{}", *filled);
  return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace postern::control
