// template.h - what notifications say: built in, or from bounce_template_file. Pure.
//
// The format of bounce(5). A file holds up to four templates, each
//
//     failure_template = <<EOF
//     Charset: us-ascii
//     From: Mail Delivery System <MAILER-DAEMON>
//     Subject: Undelivered Mail Returned to Sender
//     Postmaster-Subject: Postmaster Copy: Undelivered Mail
//
//     Text, with $name for parameters.
//     EOF
//
// The other names are delay_template, success_template and verify_template; those missing keep
// the built-in text. $name, ${name} and $(name) stand for a parameter, $$ for a dollar sign;
// delay_warning_time, bounce_queue_lifetime and maximal_queue_lifetime take a unit behind the
// name: $maximal_queue_lifetime_days.

#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::bounce {

inline constexpr std::size_t kMaxTemplateFile = std::size_t{256} << 10;

struct Template {
  std::string charset{};
  std::string from{};
  std::string subject{};
  std::string postmaster_subject{};  // empty: as subject
  std::string text{};                // whole lines

  friend bool operator==(const Template&, const Template&) = default;
};

struct Templates {
  Template failure{};
  Template delay{};
  Template success{};
  Template verify{};

  friend bool operator==(const Templates&, const Templates&) = default;
};

[[nodiscard]] const Templates& built_in_templates();

struct ParsedTemplates {
  Templates templates{};
  // What is wrong with the file, "line N: ..." or "...", each about a template that keeps what
  // `base` says: one that is wrong is no reason to leave out the others.
  std::vector<std::string> problems{};
};

// The templates of a file over `base`.
[[nodiscard]] ParsedTemplates parse_templates(std::string_view file, Templates base);

// The file that parse_templates reads these from: postconf -t.
[[nodiscard]] std::string print_templates(const Templates& templates);

// Where the values of $names come from; nothing for a name that is none.
struct TemplateValues {
  std::function<std::optional<std::string>(std::string_view name)> text{};
  std::function<std::optional<std::chrono::seconds>(std::string_view name)> duration{};
  // A time that its unit makes 0, although it is not.
  std::function<void(std::string_view parameter, std::string_view unit)> is_lost{};
};

// What there is to say of is_lost: `title` is "delay", "failure", ...
[[nodiscard]] std::string lost_time(std::string_view title, std::string_view parameter,
                                    std::string_view unit);

// The text with its values: postconf -b. kConfig for a name that is not known.
[[nodiscard]] Result<std::string> expand_template(std::string_view text,
                                                  const TemplateValues& values);

}  // namespace postern::bounce
