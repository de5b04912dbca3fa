#include "pipe/command_line.h"

#include <fmt/format.h>

#include <optional>

#include "common/base/escape.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/expand.h"
#include "common/mail/address.h"

namespace postern::pipe {

namespace {

constexpr std::string_view kFlags = "BDFORXhqu.>";
constexpr std::string_view kPerRecipient[] = {
    "recipient", "original_recipient", "extension", "mailbox", "user", "domain"};

std::unexpected<Error> wrong(std::string text) {
  return fail(Error::Kind::kConfig, std::move(text));
}

Result<void> check_flags(const std::string& flags) {
  for (const char c : flags) {
    if (kFlags.find(c) == std::string_view::npos) return wrong(fmt::format("unknown flag: {}", c));
  }
  return {};
}

// The words of `{ a b }` are one argument.
std::string unbraced(const std::string& word) {
  if (word.size() < 2 || word.front() != '{' || word.back() != '}') return word;
  return std::string(trim(std::string_view(word).substr(1, word.size() - 2)));
}

bool is_per_recipient(std::string_view argument) {
  for (const std::string& name : config::names_in(argument)) {
    for (const std::string_view each : kPerRecipient) {
      if (name == each) return true;
    }
  }
  return false;
}

// Arguments may be asked to come folded (h: domain, u: user) and quoted (q).
class Macros {
 public:
  Macros(const CommandLine& line, const MacroValues& values, const MacroRecipient* recipient)
      : line_(line), values_(values) {
    if (recipient == nullptr) return;
    const auto parts = mail::split_address(recipient->address);
    local_part_ = line.has('u') ? to_lower(parts.local_part) : std::string(parts.local_part);
    domain_ = line.has('h') ? to_lower(parts.domain) : std::string(parts.domain);
    has_domain_ = parts.has_domain;
    orig_to_ = folded(recipient->orig_to);
  }

  [[nodiscard]] std::optional<std::string> find(std::string_view name) {
    const auto value = raw(name);
    if (!value) unknown_ = name;
    if (!value) return std::nullopt;
    // A value is no text with names in it.
    return replace_all(*value, "$", "$$");
  }
  [[nodiscard]] const std::string& unknown() const { return unknown_; }

 private:
  [[nodiscard]] std::string folded(std::string_view address) const {
    const auto parts = mail::split_address(address);
    std::string out = line_.has('u') ? to_lower(parts.local_part) : std::string(parts.local_part);
    if (parts.has_domain) {
      out += '@';
      out += line_.has('h') ? to_lower(parts.domain) : std::string(parts.domain);
    }
    return out;
  }
  [[nodiscard]] std::string quoted(std::string_view address) const {
    return line_.has('q') ? mail::quote_address(address) : std::string(address);
  }
  [[nodiscard]] std::optional<std::string> raw(std::string_view name) const {
    const auto split = mail::split_extension(local_part_, values_.recipient_delimiter);
    if (name == "recipient") {
      return quoted(has_domain_ ? fmt::format("{}@{}", local_part_, domain_) : local_part_);
    }
    if (name == "original_recipient") return quoted(orig_to_);
    if (name == "mailbox") return local_part_;
    if (name == "user") return std::string(split.user);
    if (name == "extension") return std::string(split.extension);
    if (name == "domain") return domain_;
    if (name == "sender") {
      return values_.sender.empty() ? std::string() : quoted(values_.sender);
    }
    if (name == "nexthop") return values_.nexthop;
    if (name == "queue_id") return values_.queue_id;
    if (name == "size") return values_.size;
    if (name == "client_address") return values_.client_address;
    if (name == "client_helo") return values_.client_helo;
    if (name == "client_hostname") return values_.client_hostname;
    if (name == "client_port") return values_.client_port;
    if (name == "client_protocol") return values_.client_protocol;
    if (name == "sasl_method") return values_.sasl_method;
    if (name == "sasl_sender") return values_.sasl_sender;
    if (name == "sasl_username") return values_.sasl_username;
    if (name == "envid") return values_.envid;
    return std::nullopt;
  }

  const CommandLine& line_;
  const MacroValues& values_;
  std::string local_part_;
  std::string domain_;
  std::string orig_to_;
  std::string unknown_;
  bool has_domain_ = false;
};

Result<std::string> expand_one(const std::string& argument, const CommandLine& line,
                               const MacroValues& values, const MacroRecipient* recipient) {
  Macros macros(line, values, recipient);
  auto text = config::expand(argument, [&](std::string_view name) { return macros.find(name); });
  if (!text) return wrong(fmt::format("{}: {}", argument, text.error().text));
  if (!macros.unknown().empty()) {
    return wrong(fmt::format("{}: unknown macro {}", argument, macros.unknown()));
  }
  return *std::move(text);
}

}  // namespace

Result<CommandLine> parse_command_line(const std::vector<std::string>& words) {
  CommandLine line;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string word = unbraced(words[i]);
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string name = word.substr(0, equals);
    const std::string value = word.substr(std::min(equals + 1, word.size()));
    if (equals == word.size()) return wrong(fmt::format("unknown attribute \"{}\"", word));
    if (name == "user") {
      const std::size_t colon = value.find(':');
      line.user = value.substr(0, colon);
      if (colon != std::string::npos) line.group = value.substr(colon + 1);
    } else if (name == "flags") {
      DO(check_flags(value));
      line.flags = value;
    } else if (name == "null_sender") {
      line.null_sender = value;
    } else if (name == "eol") {
      line.eol = unescape_characters(value);
    } else if (name == "directory") {
      line.directory = value;
    } else if (name == "size") {
      const auto size = parse_integer<std::uint64_t>(value);
      if (!size) return wrong(fmt::format("bad size={}", value));
      line.size_limit = *size;
    } else if (name == "chroot") {
      return wrong("chroot= is not supported: commands run outside of any chroot");
    } else if (name == "argv") {
      if (!value.empty()) line.arguments.push_back(value);
      for (std::size_t k = i + 1; k < words.size(); ++k) {
        line.arguments.push_back(unbraced(words[k]));
      }
      break;
    } else {
      return wrong(fmt::format("unknown attribute \"{}\"", name));
    }
  }
  if (line.user.empty()) return wrong("user= is missing");
  if (line.arguments.empty()) return wrong("argv= is missing");
  return line;
}

Result<std::vector<std::string>> expand_arguments(const CommandLine& line,
                                                  const MacroValues& values) {
  std::vector<std::string> arguments;
  for (const std::string& argument : line.arguments) {
    if (!is_per_recipient(argument)) {
      TRY(std::string text, expand_one(argument, line, values, nullptr));
      arguments.push_back(std::move(text));
      continue;
    }
    for (const MacroRecipient& recipient : values.recipients) {
      TRY(std::string text, expand_one(argument, line, values, &recipient));
      arguments.push_back(std::move(text));
    }
  }
  return arguments;
}

}  // namespace postern::pipe
