// postconf_request.h - what one run of postconf(1) is asked for, and how it answers.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postern::control::postconf {

enum class Target : unsigned char { kMain, kEntries, kFields, kServiceParams };
enum class Action : unsigned char { kShow, kEdit, kComment, kRemove };
enum NameClass : unsigned { kBuiltin = 1, kService = 2, kUser = 4, kAllClasses = 7 };

struct Request {
  Target target = Target::kMain;
  Action action = Action::kShow;
  bool defaults = false;     // -d
  bool only_set = false;     // -n
  bool expand = false;       // -x
  bool fold = false;         // -f
  bool hide_names = false;   // -h
  bool hide_values = false;  // -H
  bool quiet = false;        // -q
  unsigned classes = kAllClasses;
  std::string directory;
  bool directory_is_given = false;  // -c or MAIL_CONFIG: config_directory counts as set
  bool as_json = false;             // -j
  std::vector<std::pair<std::string, std::string>> overrides;  // -o
  std::vector<std::string> names;
};

// "postconf: warning: text" on standard error; fatal() returns the exit status.
void warn(std::string_view text);
[[nodiscard]] int fatal(std::string_view text);

// As -h, -H and -f want it.
void print_value(const Request& request, std::string_view name, std::string_view value);
// -j: one object a line, so that streams can be read.
void print_json(std::string_view name, std::string_view value);

}  // namespace postern::control::postconf
