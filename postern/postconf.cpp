#include "postern/postconf.h"

#include <fmt/format.h>
#include <getopt.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/main_cf.h"
#include "postern/postconf_request.h"
#include "postern/postconf_verbs.h"

namespace postern::control {

namespace {

using namespace postconf;

struct CommandLine {
  Request request;
  std::string given;  // the letters
  std::string directory;
  std::string tls_mode;  // -T
  [[nodiscard]] bool has(char letter) const { return given.find(letter) != std::string::npos; }
};

std::optional<unsigned> parse_classes(std::string_view text) {
  unsigned classes = 0;
  for (const std::string_view word : split_words(text)) {
    if (word == "builtin")
      classes |= kBuiltin;
    else if (word == "service")
      classes |= kService;
    else if (word == "user")
      classes |= kUser;
    else if (word == "all")
      classes |= kAllClasses;
    else
      return std::nullopt;
  }
  return classes;
}

// What cannot be asked for at once.
std::optional<std::string> find_conflict(std::string_view given) {
  const auto given_of = [&](std::string_view letters) {
    std::string both;
    for (const char letter : letters) {
      if (given.find(letter) != std::string_view::npos) both += fmt::format(" -{}", letter);
    }
    return both;
  };
  constexpr std::string_view kOneOf[] = {"aAbFlmMpPtT", "deoX#", "denX#", "efX#",
                                         "ehHX#",       "hH",    "exX#"};
  for (const std::string_view group : kOneOf) {
    const std::string both = given_of(group);
    if (both == " -b -t") return "specify one of -b and -t";
    if (both.size() > 3) return "specify one of" + both;
  }
  struct Exclusion {
    std::string_view letters, never;
  };
  constexpr Exclusion kExclusions[] = {
      {"aAblmtT", "defhHnoxX#"}, {"F", "dnX#"}, {"M", "dhHn"}, {"P", "dn#"}};
  for (const auto& [letters, never] : kExclusions) {
    const std::string with = given_of(letters);
    const std::string without = given_of(never);
    if (!with.empty() && !without.empty()) {
      return fmt::format("with option{}, do not specify{}", with, without);
    }
  }
  return std::nullopt;
}

int usage() {
  return fatal(
      "usage: postconf [-a (server SASL types)] [-A (client SASL types)] [-c config_dir] "
      "[-C class] [-d (defaults)] [-e (edit)] [-f (fold)] [-F (master.cf fields)] [-h (values "
      "only)] "
      "[-H (names only)] [-l (lock types)] [-m (table types)] [-M (master.cf)] [-n (set only)] "
      "[-o name=value] [-p (main.cf)] [-P (master.cf parameters)] [-q (no warnings)] [-T mode] "
      "[-x (expand)] [-X (remove)] [-# (comment out)] [name...]");
}

// What a letter without an argument asks for; false for one that is none.
bool take_flag(int letter, Request& request) {
  switch (letter) {
    case 'd':
      request.defaults = true;
      break;
    case 'e':
      request.action = Action::kEdit;
      break;
    case 'f':
      request.fold = true;
      break;
    case 'F':
      request.target = Target::kFields;
      break;
    case 'h':
      request.hide_names = true;
      break;
    case 'H':
      request.hide_values = true;
      break;
    case 'j':
      request.as_json = true;
      break;
    case 'M':
      request.target = Target::kEntries;
      break;
    case 'n':
      request.only_set = true;
      break;
    case 'p':
      request.target = Target::kMain;
      break;
    case 'P':
      request.target = Target::kServiceParams;
      break;
    case 'q':
      request.quiet = true;
      break;
    case 'x':
      request.expand = true;
      break;
    case 'X':
      request.action = Action::kRemove;
      break;
    case '#':
      request.action = Action::kComment;
      break;
    case 'a':
    case 'A':
    case 'b':
    case 'l':
    case 'm':
    case 't':
    case 'E':
    case 'v':
      break;
    default:
      return false;
  }
  return true;
}

// The exit status where the line is wrong.
std::optional<int> read_options(int argc, char** argv, CommandLine& line) {
  Request& request = line.request;
  int letter = 0;
  while ((letter = getopt(argc, argv, "+aAbc:C:deEfFhHjlmMno:pPqtT:vxX#")) != -1) {
    line.given += static_cast<char>(letter);
    if (letter == 'c') {
      line.directory = optarg;
    } else if (letter == 'T') {
      line.tls_mode = optarg;
    } else if (letter == 'C') {
      const auto classes = parse_classes(optarg);
      if (!classes) {
        return fatal(fmt::format("unknown -C option value \"{}\" in \"{}\"", optarg, optarg));
      }
      request.classes = *classes;
    } else if (letter == 'o') {
      auto setting = config::parse_setting(optarg);
      if (!setting) {
        return fatal(fmt::format("invalid parameter override: {}: {}", optarg,
                                 split_at_first(setting.error().text, ':').first));
      }
      request.overrides.push_back(*std::move(setting));
    } else if (!take_flag(letter, request)) {
      return usage();
    }
  }
  for (int i = optind; i < argc; ++i) request.names.emplace_back(argv[i]);
  return std::nullopt;
}

std::optional<int> check_request(const CommandLine& line) {
  if (const auto conflict = find_conflict(line.given)) return fatal(*conflict);
  const Request& request = line.request;
  if (request.action == Action::kShow || !request.names.empty()) return std::nullopt;
  return fatal(request.action == Action::kEdit ? "-e requires name=value argument"
                                               : "missing service argument");
}

}  // namespace

int postconf_main(int argc, char** argv) {
  CommandLine line;
  if (const auto status = read_options(argc, argv, line)) return *status;
  Request& request = line.request;
  // `postconf name=value` edits, -e or not.
  if (request.action == Action::kShow && !request.names.empty() &&
      request.names.front().find('=') != std::string::npos) {
    request.action = Action::kEdit;
  }
  if (const auto status = check_request(line)) return *status;

  if (line.has('a')) return show_list({"cyrus", "dovecot"});
  if (line.has('A')) return show_list({"cyrus"});
  if (line.has('l')) return show_list({"flock", "fcntl", "dotlock"});
  if (line.has('m')) return show_table_types();
  if (line.has('T')) return show_tls(line.tls_mode);

  const auto directory =
      config::choose_config_directory(line.directory, config::find_install_paths());
  if (!directory) return fatal(directory.error().text);
  request.directory = directory->path;
  request.directory_is_given = !line.directory.empty() || getenv("MAIL_CONFIG") != nullptr;
  if (line.has('b') || line.has('t')) return show_templates(request, line.has('b'));
  const bool shows = request.action == Action::kShow;
  if (request.target == Target::kMain) return shows ? show_main(request) : edit_main(request);
  return shows ? show_master(request) : edit_master(request);
}

}  // namespace postern::control
