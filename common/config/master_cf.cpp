#include "common/config/master_cf.h"

#include <fmt/format.h>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/expand.h"
#include "common/config/main_cf.h"
#include "common/log/clean.h"

namespace postern::config {

namespace {

constexpr std::array<std::pair<std::string_view, ServiceType>, 5> kTypes{
    {{"inet", ServiceType::kInet},
     {"unix", ServiceType::kUnix},
     {"fifo", ServiceType::kFifo},
     {"pass", ServiceType::kPass},
     {"unix-dgram", ServiceType::kUnixDgram}}};

// The other options of a daemon whose value may be the next argument.
constexpr std::string_view kOptionsWithValue = "cimnst";

constexpr unsigned kMaxWakeup = 1'000'000'000;
constexpr unsigned kMaxProcesses = 1'000'000;

constexpr std::array<std::size_t, kMasterColumns> kColumnGoals = {0, 11, 17, 25, 33, 41, 49, 57};
constexpr std::size_t kLineLimit = 80;
constexpr std::string_view kIndent = "    ";

template <typename... Args>
std::unexpected<Error> bad(fmt::format_string<Args...> format, Args&&... args) {
  return fail(Error::Kind::kConfig, fmt::format(format, std::forward<Args>(args)...));
}

constexpr std::string_view kFlagExpected = "y, n or - expected";

// In Postfix's words, behind which stands what it does not say.
std::unexpected<Error> bad_field(std::string_view column, std::string_view field,
                                 std::string_view entry, std::string_view expected) {
  return bad("invalid {} field \"{:.40}\" in \"{:.200}\"; {}", column, field, entry, expected);
}

std::optional<bool> parse_flag(std::string_view text, bool if_dash) {
  if (text == "-") return if_dash;
  if (text == "y" || text == "Y") return true;
  if (text == "n" || text == "N") return false;
  return std::nullopt;
}

// Whether each brace of a word has its partner. A word without an opening one may hold any `}`.
bool has_balanced_braces(std::string_view word) {
  if (word.find('{') == std::string_view::npos) return true;
  std::size_t depth = 0;
  for (const char c : word) {
    if (c == '{') ++depth;
    if (c == '}' && depth-- == 0) return false;
  }
  return depth == 0;
}

// An argument without its braces.
std::string bare(std::string_view raw) {
  if (!raw.starts_with('{')) {
    // One with blanks, which stand in braces within it, is put into its own as Postfix does it.
    const bool is_plain = raw.find_first_of(kBlanks) == std::string_view::npos;
    const std::string wrapped = fmt::format("{{{}}}", raw);
    const bool means_the_same = !is_plain && !raw.starts_with('-') && bare(wrapped) == raw;
    return means_the_same ? wrapped : std::string(raw);
  }
  std::string_view rest = raw;
  const auto inner = take_braced(rest);
  return std::string(inner && rest.empty() ? *inner : raw);
}

// An argument as it stands in the file, of which only braces that mean nothing are left out: a word
// that has some within it is no word in braces.
std::string print_argument(std::string_view raw) {
  if (!raw.starts_with('{')) return std::string(raw);
  const std::string argument = bare(raw);
  const bool needs_braces = argument.empty() || argument.starts_with('-') ||
                            argument.starts_with('{') ||
                            argument.find_first_of(kBlanks) != std::string::npos;
  return needs_braces ? fmt::format("{{{}}}", argument) : argument;
}

// Parts the arguments into -o values and the rest. Options end at the first argument that is none:
// what follows argv= in a pipe entry belongs to the command.
Result<void> read_arguments(Service& service) {
  bool in_options = true;
  for (std::size_t i = 0; i < service.raw_args.size(); ++i) {
    const std::string argument = bare(service.raw_args[i]);
    const bool is_option = is_option_argument(service.raw_args[i]);
    if (in_options && is_option && argument[1] == 'o') {
      std::string assignment = argument.substr(2);
      if (assignment.empty()) {
        if (++i == service.raw_args.size()) return bad("-o without a name=value");
        assignment = bare(service.raw_args[i]);
      }
      const auto setting = parse_setting(assignment);
      if (!setting) return bad("-o: {}", setting.error().text);
      if (!is_parameter_name(setting->first)) {
        return bad("-o: \"{:.60}\" cannot be a parameter's name", setting->first);
      }
      service.overrides.push_back(*setting);
      continue;
    }
    service.args.push_back(argument);
    if (!in_options) continue;
    if (!is_option) {
      in_options = false;
    } else if (argument.size() == 2 && kOptionsWithValue.find(argument[1]) != std::string::npos &&
               i + 1 < service.raw_args.size()) {
      service.args.push_back(bare(service.raw_args[++i]));
    }
  }
  return {};
}

}  // namespace

bool is_option_argument(std::string_view raw) {
  return raw.size() >= 2 && raw.front() == '-' && raw != "--";
}

std::string_view name_of(ServiceType type) {
  for (const auto& [name, value] : kTypes) {
    if (value == type) return name;
  }
  return "";
}

std::optional<ServiceType> parse_service_type(std::string_view text) {
  for (const auto& [name, value] : kTypes) {
    if (name == text) return value;
  }
  return std::nullopt;
}

Result<Service> parse_service(std::string_view text, std::string_view file, unsigned line) {
  const std::vector<std::string_view> words = split_words_braced(text, kBlanks);
  if (words.size() < kMasterColumns) {
    return bad("bad field count; {} in \"{:.60}\", an entry has at least {}", words.size(), text,
               kMasterColumns);
  }
  Service service;
  service.file = file;
  service.line = line;
  for (std::size_t i = 0; i < service.columns.size(); ++i) service.columns[i] = words[i];
  service.name = words[0];
  const auto type = parse_service_type(words[1]);
  if (!type) return bad_field("type", words[1], text, "inet, unix, fifo or pass expected");
  service.type = *type;
  const auto is_private = parse_flag(words[2], true);
  if (!is_private) return bad_field("private", words[2], text, kFlagExpected);
  service.is_private = *is_private;
  const auto is_unprivileged = parse_flag(words[3], true);
  if (!is_unprivileged) return bad_field("unprivileged", words[3], text, kFlagExpected);
  service.is_unprivileged = *is_unprivileged;
  const auto is_chroot = parse_flag(words[4], false);
  if (!is_chroot) return bad_field("chroot", words[4], text, kFlagExpected);
  service.is_chroot = *is_chroot;

  std::string_view wakeup = words[5];
  if (wakeup != "-") {
    if (wakeup.ends_with('?')) {
      service.wakeup_only_if_used = true;
      wakeup.remove_suffix(1);
    }
    const auto seconds = parse_integer<unsigned>(wakeup, 0U, kMaxWakeup);
    if (!seconds) return bad_field("wakeup", words[5], text, "a number of seconds expected");
    service.wakeup = std::chrono::seconds(*seconds);
  }
  if (words[6] != "-") {
    service.maxproc = parse_integer<unsigned>(words[6], 0U, kMaxProcesses);
    if (!service.maxproc) return bad_field("process_limit", words[6], text, "a number expected");
  }
  service.program = words[7];
  if (service.program.find_first_of("{}") != std::string::npos) {
    return bad("bad program name \"{:.60}\"", service.program);
  }
  for (std::size_t i = kMasterColumns; i < words.size(); ++i) {
    if (!has_balanced_braces(words[i])) {
      return bad("braces without a partner in \"{:.60}\"", words[i]);
    }
    service.raw_args.emplace_back(words[i]);
  }
  DO(read_arguments(service));

  const bool is_path = service.type != ServiceType::kInet;
  if (is_path && (service.name.find("..") != std::string::npos || service.name.starts_with('/'))) {
    return bad("service name \"{:.60}\" must be a path below the queue directory", service.name);
  }
  if (!is_path && service.is_private && words[2] != "-") {
    return bad("an inet service cannot be private");
  }
  if (!is_path) service.is_private = false;
  return service;
}

MasterCf parse_master_cf(std::string_view text, std::string_view file) {
  MasterCf result;
  const auto complain = [&](unsigned line, std::string what) {
    result.problems.push_back({std::string(file), line, "", std::move(what), Severity::kError});
  };
  if (text.size() > kMaxConfigFile) {
    complain(0, "file is too large");
    return result;
  }
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    complain(0, "file contains a NUL byte; the rest is not read");
    text = text.substr(0, nul);
  }
  for (const LogicalLine& line : split_logical_lines(text)) {
    if (is_space(line.text.front())) {
      complain(line.first, fmt::format("logical line must not start with whitespace: \"{}\"",
                                       log::clean(line.text, kMostShown)));
      continue;
    }
    auto service = parse_service(line.text, file, line.first);
    if (service) {
      result.services.push_back(std::move(*service));
    } else {
      complain(line.first, service.error().text);
    }
  }
  return result;
}

std::string print_override(std::string_view name, std::string_view value) {
  const bool needs_braces = value.find_first_of(kBlanks) != std::string_view::npos ||
                            value.starts_with('{') || value.empty();
  if (!needs_braces || value.empty()) return fmt::format("{}={}", name, value);
  return fmt::format("{{{}={}}}", name, value);
}

std::string print_service(const Service& service, MasterStyle style) {
  std::string out;
  std::size_t column = 0;
  const auto add = [&](std::string_view text) {
    out += text;
    column += text.size();
  };
  for (std::size_t i = 0; i < kMasterColumns; ++i) {
    if (i > 0) {
      do add(" ");
      while (column < kColumnGoals[i]);
    }
    add(i < service.columns.size() ? std::string_view(service.columns[i]) : service.program);
  }

  bool in_options = true;
  bool after_override = false;
  for (std::size_t i = 0; i < service.raw_args.size(); ++i) {
    const bool is_option = is_option_argument(service.raw_args[i]);
    if (!is_option) in_options = false;
    std::string text = print_argument(service.raw_args[i]);
    bool is_override = false;
    if (in_options && text.starts_with("-o")) {
      std::string assignment = text.substr(2);
      if (assignment.empty() && i + 1 < service.raw_args.size()) {
        assignment = bare(service.raw_args[++i]);
      }
      const auto setting = parse_setting(assignment);
      text = "-o " + (setting ? print_override(setting->first, setting->second) : assignment);
      is_override = true;
    } else if (in_options && text.size() == 2 &&
               kOptionsWithValue.find(text[1]) != std::string_view::npos &&
               i + 1 < service.raw_args.size()) {
      text += ' ';
      text += print_argument(service.raw_args[++i]);
    }
    // Each -o stands on a line of its own.
    const bool wraps = style == MasterStyle::kFolded && column > kIndent.size() &&
                       (is_override || after_override || column + 1 + text.size() >= kLineLimit);
    after_override = is_override;
    if (wraps) {
      out += '\n';
      column = 0;
      add(kIndent);
    } else {
      add(" ");
    }
    add(text);
  }
  return out;
}

}  // namespace postern::config
