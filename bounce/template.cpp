#include "bounce/template.h"

#include <fmt/format.h>

#include <array>

#include "common/base/text.h"

namespace postern::bounce {

namespace {

constexpr std::string_view kFrom = "Mail Delivery System <MAILER-DAEMON>";
constexpr std::string_view kCharset = "us-ascii";

struct Named {
  std::string_view name;
  Template Templates::* part;
};
constexpr std::array kParts = {
    Named{"failure_template", &Templates::failure},
    Named{"delay_template", &Templates::delay},
    Named{"success_template", &Templates::success},
    Named{"verify_template", &Templates::verify},
};

Template built_in(std::string_view subject, std::string_view postmaster_subject,
                  std::string_view text) {
  return {.charset = std::string(kCharset),
          .from = std::string(kFrom),
          .subject = std::string(subject),
          .postmaster_subject = std::string(postmaster_subject),
          .text = std::string(text)};
}

// Takes one line off the front, without its LF.
std::string_view take_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
}

// An error says what is wrong "in" the template.
Result<void> set_header(Template& part, std::string_view line) {
  const auto bad = [](std::string text) { return fail(Error::Kind::kConfig, std::move(text)); };
  const auto [raw_name, raw_value] = split_at_first(line, ':');
  const std::string_view name = trim(raw_name);
  const std::string value(trim(raw_value));
  if (line.find(':') == std::string_view::npos) {
    return bad(fmt::format("bad header syntax: \"{}\"", line));
  }
  if (value.empty()) return bad(fmt::format("missing \"{}\" header value", name));
  if (!std::ranges::all_of(value, [](char c) { return static_cast<unsigned char>(c) < 0x80; })) {
    return bad(fmt::format("non-ASCII \"{}\" header value", name));
  }
  if (equal_nocase(name, "Charset")) {
    part.charset = value;
  } else if (equal_nocase(name, "From")) {
    part.from = value;
  } else if (equal_nocase(name, "Subject")) {
    part.subject = value;
  } else if (equal_nocase(name, "Postmaster-Subject")) {
    part.postmaster_subject = value;
  } else {
    return bad(fmt::format("unknown \"{}\" header label", name));
  }
  return {};
}

// Reads the lines of one template, headers first. An empty first line means: no headers.
Result<Template> parse_template(std::string_view body, Template base) {
  base.text.clear();
  while (!body.empty()) {
    const std::string_view line = take_line(body);
    if (line.empty()) break;
    DO(set_header(base, line));
  }
  if (body.empty()) return fail(Error::Kind::kConfig, "missing message text");
  while (!body.empty()) {
    base.text += take_line(body);
    base.text += '\n';
  }
  return base;
}

struct Unit {
  std::string_view suffix;
  std::chrono::seconds length;
};
constexpr std::array kUnits = {
    Unit{"_seconds", std::chrono::seconds(1)}, Unit{"_minutes", std::chrono::minutes(1)},
    Unit{"_hours", std::chrono::hours(1)},     Unit{"_days", std::chrono::days(1)},
    Unit{"_weeks", std::chrono::weeks(1)},
};
constexpr std::array<std::string_view, 3> kDurations = {
    "delay_warning_time", "bounce_queue_lifetime", "maximal_queue_lifetime"};

Result<std::string> value_of(std::string_view name, const TemplateValues& values) {
  for (const Unit& unit : kUnits) {
    if (!name.ends_with(unit.suffix)) continue;
    const std::string_view parameter = name.substr(0, name.size() - unit.suffix.size());
    if (std::ranges::find(kDurations, parameter) == kDurations.end()) continue;
    const auto duration = values.duration ? values.duration(parameter) : std::nullopt;
    if (!duration) continue;
    const auto count = *duration / unit.length;
    if (count == 0 && duration->count() > 0 && values.is_lost) {
      values.is_lost(name, unit.suffix.substr(1));
    }
    return std::to_string(count);
  }
  auto text = values.text ? values.text(name) : std::nullopt;
  if (!text) return fail(Error::Kind::kConfig, fmt::format("unknown parameter: {}", name));
  return *std::move(text);
}

bool is_name_char(char c) { return is_alnum(c) || c == '_'; }

// Takes a name behind a dollar sign; empty if there is none.
std::string_view take_name(std::string_view& rest) {
  const bool braced = rest.starts_with('{') || rest.starts_with('(');
  const char close = rest.starts_with('{') ? '}' : ')';
  std::size_t end = braced ? 1 : 0;
  const std::size_t begin = end;
  while (end < rest.size() && is_name_char(rest[end])) ++end;
  const std::string_view name = rest.substr(begin, end - begin);
  if (braced) {
    if (end == rest.size() || rest[end] != close) return {};
    ++end;
  }
  rest.remove_prefix(end);
  return name;
}

}  // namespace

const Templates& built_in_templates() {
  // The first sentence is the one by which programs that read bounces know them.
  static const Templates templates = {
      .failure =
          built_in("Undelivered Mail Returned to Sender", "Postmaster Copy: Undelivered Mail",
                   R"(This is the mail system at host $myhostname.

Your message did not reach everybody it was meant for. The recipients
that were not reached are listed below, each with the reason. Your
message comes back with this report.

If you cannot make sense of the reason, ask the postmaster of this
host for help, and send this report along. Your own text need not be
part of it.

                   The mail system
)"),
      .delay = built_in("Delayed Mail (still being retried)", "Postmaster Warning: Delayed Mail",
                        R"(This is the mail system at host $myhostname.

THIS IS ONLY A WARNING: THERE IS NO NEED TO SEND YOUR MESSAGE AGAIN.

For more than $delay_warning_time_hours hour(s) your message has been
waiting for the recipients below. Delivery will be tried for
$maximal_queue_lifetime_days day(s) in all.

If you cannot make sense of the reason, ask the postmaster of this
host for help, and send this report along. Your own text need not be
part of it.

                   The mail system
)"),
      .success = built_in("Successful Mail Delivery Report", "",
                          R"(This is the mail system at host $myhostname.

As you asked to be told: your message has been delivered to the
recipients below, or handed to a mail system that sends no such
reports.

                   The mail system
)"),
      .verify = built_in("Mail Delivery Status Report", "",
                         R"(This is the mail system at host $myhostname.

This is the delivery report that you asked for.

                   The mail system
)"),
  };
  return templates;
}

ParsedTemplates parse_templates(std::string_view file, Templates base) {
  ParsedTemplates out;
  out.templates = std::move(base);
  const auto problem = [&](std::size_t line, std::string_view what) {
    out.problems.push_back(fmt::format("line {}: {} -- ignoring this template", line, what));
  };
  if (file.size() > kMaxTemplateFile) {
    out.problems.emplace_back("template file too long");
    return out;
  }
  std::size_t number = 0;
  while (!file.empty()) {
    const std::string_view line = trim(take_line(file));
    ++number;
    if (line.empty() || line.starts_with('#')) continue;
    const auto [raw_name, value] = split_at_first(line, '=');
    const std::string_view name = trim(raw_name);
    std::string_view marker = trim(value);
    if (!marker.starts_with("<<") || trim(marker.substr(2)).empty()) {
      problem(number, fmt::format("expected \"<<\" and a last line behind \"{} =\"", name));
      continue;
    }
    marker = trim(marker.substr(2));

    const char* const begin = file.data();
    std::size_t size = 0;
    bool is_whole = false;
    while (!is_whole && !file.empty()) {
      size = static_cast<std::size_t>(file.data() - begin);
      is_whole = take_line(file) == marker;
      ++number;
    }
    const auto* const part = std::ranges::find(kParts, name, &Named::name);
    if (!is_whole) {
      problem(number, fmt::format("no line \"{}\" at the end", marker));
    } else if (part == kParts.end()) {
      problem(number, fmt::format("unknown template name: {}", name));
    } else {
      auto parsed = parse_template(std::string_view(begin, size), out.templates.*(part->part));
      if (parsed) {
        out.templates.*(part->part) = *std::move(parsed);
      } else {
        out.problems.push_back(fmt::format("{} in {} template -- ignoring this template",
                                           parsed.error().text, name.substr(0, name.find('_'))));
      }
    }
  }
  return out;
}

std::string print_templates(const Templates& templates) {
  std::string out;
  for (const Named& named : kParts) {
    const Template& part = templates.*(named.part);
    if (!out.empty()) out += '\n';
    out += fmt::format("{} = <<EOF\nCharset: {}\nFrom: {}\nSubject: {}\n", named.name, part.charset,
                       part.from, part.subject);
    if (!part.postmaster_subject.empty()) {
      out += fmt::format("Postmaster-Subject: {}\n", part.postmaster_subject);
    }
    out += fmt::format("\n{}EOF\n", part.text);
  }
  return out;
}

std::string lost_time(std::string_view title, std::string_view parameter, std::string_view unit) {
  return fmt::format(
      "zero result in {} template conversion of parameter \"{}\": please reduce time unit \"{}\"",
      title, parameter, unit);
}

Result<std::string> expand_template(std::string_view text, const TemplateValues& values) {
  std::string out;
  while (!text.empty()) {
    const std::size_t dollar = text.find('$');
    out += text.substr(0, dollar);
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar + 1);
    if (text.starts_with('$')) {
      out += '$';
      text.remove_prefix(1);
      continue;
    }
    const std::string_view name = take_name(text);
    if (name.empty()) return fail(Error::Kind::kConfig, "`$` without a name: write `$$`");
    TRY(const std::string value, value_of(name, values));
    out += value;
  }
  return out;
}

}  // namespace postern::bounce
