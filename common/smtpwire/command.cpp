#include "common/smtpwire/command.h"

#include <fmt/format.h>

#include <array>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::smtpwire {

namespace {

struct NamedVerb {
  std::string_view name;
  Verb verb;
};

constexpr std::array kVerbs = {
    NamedVerb{"HELO", Verb::kHelo},         NamedVerb{"EHLO", Verb::kEhlo},
    NamedVerb{"LHLO", Verb::kLhlo},         NamedVerb{"MAIL", Verb::kMail},
    NamedVerb{"RCPT", Verb::kRcpt},         NamedVerb{"DATA", Verb::kData},
    NamedVerb{"BDAT", Verb::kBdat},         NamedVerb{"RSET", Verb::kRset},
    NamedVerb{"NOOP", Verb::kNoop},         NamedVerb{"VRFY", Verb::kVrfy},
    NamedVerb{"EXPN", Verb::kExpn},         NamedVerb{"ETRN", Verb::kEtrn},
    NamedVerb{"HELP", Verb::kHelp},         NamedVerb{"QUIT", Verb::kQuit},
    NamedVerb{"STARTTLS", Verb::kStarttls}, NamedVerb{"AUTH", Verb::kAuth},
    NamedVerb{"XCLIENT", Verb::kXclient},   NamedVerb{"XFORWARD", Verb::kXforward},
};

struct NamedNotify {
  std::string_view name;
  DsnNotify bit;
};

constexpr std::array kNotifyWords = {
    NamedNotify{"NEVER", kNotifyNever},
    NamedNotify{"SUCCESS", kNotifySuccess},
    NamedNotify{"FAILURE", kNotifyFailure},
    NamedNotify{"DELAY", kNotifyDelay},
};

constexpr std::size_t kMaxEnvid = 100;  // RFC 3461 4.4
constexpr std::size_t kMaxOrcpt = 500;  // RFC 3461 4.2

std::unexpected<mail::Reply> refuse(int code, std::string_view text) {
  return std::unexpected(mail::make_reply(code, text));
}

std::unexpected<mail::Reply> refuse_option(std::string_view word) {
  return refuse(555, fmt::format("5.5.4 Unsupported option: {}", word));
}

bool is_all_printable(std::string_view text) {
  for (const char c : text) {
    if (is_control(c)) return false;
  }
  return true;
}

// The value of "NAME=value" if the word has that name.
std::optional<std::string_view> value_of(std::string_view word, std::string_view name) {
  if (!starts_with_nocase(word, name) || word.size() == name.size()) return std::nullopt;
  if (word[name.size()] != '=') return std::nullopt;
  return word.substr(name.size() + 1);
}

// Takes "FROM:" or "TO:" off the front.
bool take_keyword(std::string_view& argument, std::string_view keyword) {
  if (!starts_with_nocase(argument, keyword)) return false;
  argument.remove_prefix(keyword.size());
  return true;
}

bool is_xtext(std::string_view text) {
  for (const char c : text) {
    if (c <= ' ' || c >= 0x7f || c == '=') return false;
  }
  return xtext_decode(text).has_value();
}

// RFC 6533 3: `\x{HEX}` stands for a character in utf-8-addr-xtext and -unitext.
std::optional<std::string> decode_utf8_orcpt(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (!text.starts_with("\\x{")) {
      out += text.front();
      text.remove_prefix(1);
      continue;
    }
    const auto end = text.find('}');
    if (end == std::string_view::npos) return std::nullopt;
    const auto code = parse_integer<std::uint32_t>(text.substr(3, end - 3), 0x10, 0x10ffff, 16);
    if (!code) return std::nullopt;
    if (*code < 0x80) {
      out += static_cast<char>(*code);
    } else if (*code < 0x800) {
      out += static_cast<char>(0xc0U | *code >> 6U);
      out += static_cast<char>(0x80U | (*code & 0x3fU));
    } else if (*code < 0x10000) {
      out += static_cast<char>(0xe0U | *code >> 12U);
      out += static_cast<char>(0x80U | (*code >> 6U & 0x3fU));
      out += static_cast<char>(0x80U | (*code & 0x3fU));
    } else {
      out += static_cast<char>(0xf0U | *code >> 18U);
      out += static_cast<char>(0x80U | (*code >> 12U & 0x3fU));
      out += static_cast<char>(0x80U | (*code >> 6U & 0x3fU));
      out += static_cast<char>(0x80U | (*code & 0x3fU));
    }
    text.remove_prefix(end + 1);
  }
  if (!is_valid_utf8(out)) return std::nullopt;
  return out;
}

// "type;address" of an ORCPT.
bool parse_orcpt(std::string_view value, RcptArguments& out) {
  const auto [type, encoded] = split_at_first(value, ';');
  if (value.size() > kMaxOrcpt || type.empty() || encoded.empty()) return false;
  for (const char c : type) {
    if (!is_alnum(c) && c != '-') return false;
  }
  std::optional<std::string> address;
  if (equal_nocase(type, "utf-8")) {
    address = decode_utf8_orcpt(encoded);
  } else if (is_xtext(encoded)) {
    address = xtext_decode(encoded);
  }
  if (!address || address->empty() || !is_all_printable(*address)) return false;
  out.orcpt_type = type;
  out.orcpt_address = *std::move(address);
  return true;
}

// RET, ENVID, NOTIFY and ORCPT where DSN is not offered.
std::unexpected<mail::Reply> refuse_dsn() { return refuse(501, "5.7.1 DSN support is disabled"); }

// SIZE and BODY are understood also where the EHLO keyword is discarded: to announce them less is
// meant to make clients do less, not to refuse what they do.
Parsed<void> apply_mail_option(std::string_view word, const Extensions& extensions,
                               MailArguments& out) {
  if (const auto size = value_of(word, "SIZE")) {
    out.size = parse_integer<std::uint64_t>(*size, 0, INT64_MAX);
    if (out.size) return {};
    return is_all_digits(*size)
               ? refuse(552, "5.3.4 Message size exceeds file system imposed limit")
               : refuse(501, "5.5.4 Bad message size syntax");
  }
  if (const auto body = value_of(word, "BODY")) {
    if (equal_nocase(*body, "8BITMIME")) {
      out.body = BodyType::k8BitMime;
    } else if (equal_nocase(*body, "7BIT")) {
      out.body = BodyType::k7Bit;
    } else {
      return refuse_option(word);
    }
    return {};
  }
  if (extensions.smtputf8 && equal_nocase(word, "SMTPUTF8")) {
    out.smtputf8 = true;
    return {};
  }
  if (extensions.requiretls && equal_nocase(word, "REQUIRETLS")) {
    out.requires_tls = true;
    return {};
  }
  if (const auto ret = value_of(word, "RET")) {
    if (!extensions.dsn) return refuse_dsn();
    const bool again = out.ret != DsnReturn::kUnspecified;
    if (!again && equal_nocase(*ret, "FULL")) {
      out.ret = DsnReturn::kFull;
    } else if (!again && equal_nocase(*ret, "HDRS")) {
      out.ret = DsnReturn::kHeaders;
    } else {
      return refuse(501, "5.5.4 Bad RET parameter syntax");
    }
    return {};
  }
  if (const auto envid = value_of(word, "ENVID")) {
    if (!extensions.dsn) return refuse_dsn();
    const auto decoded = is_xtext(*envid) ? xtext_decode(*envid) : std::nullopt;
    if (!out.envid.empty() || envid->empty() || envid->size() > kMaxEnvid || !decoded ||
        !is_all_printable(*decoded)) {
      return refuse(501, "5.5.4 Bad ENVID parameter syntax");
    }
    out.envid = *envid;
    return {};
  }
  if (const auto auth = value_of(word, "AUTH")) {
    if (!extensions.auth) return {};  // nobody logs in here: it means nothing
    if (out.auth) return refuse(503, "5.5.4 Error: multiple AUTH= options");
    out.auth = is_xtext(*auth) ? xtext_decode(*auth) : std::nullopt;
    if (!out.auth || out.auth->empty()) return refuse(501, "5.5.4 Bad AUTH parameter syntax");
    return {};
  }
  if (extensions.verp && equal_nocase(word, "XVERP")) {
    out.verp_delimiters = extensions.default_verp_delimiters;
    return {};
  }
  if (const auto verp = value_of(word, "XVERP"); verp && extensions.verp) {
    const auto filter = extensions.verp_delimiter_filter;
    if (verp->size() != 2 || verp->find_first_not_of(filter) != std::string_view::npos) {
      return refuse(501, fmt::format("5.5.4 Error: XVERP needs two characters from {}", filter));
    }
    out.verp_delimiters = *verp;
    return {};
  }
  return refuse_option(word);
}

Parsed<void> apply_rcpt_option(std::string_view word, const Extensions& extensions,
                               RcptArguments& out) {
  if (const auto notify = value_of(word, "NOTIFY")) {
    if (!extensions.dsn) return refuse_dsn();
    const auto mask = parse_notify(*notify);
    if (out.notify != 0 || !mask) {
      return refuse(501, "5.5.4 Error: Bad NOTIFY parameter syntax");
    }
    out.notify = *mask;
    return {};
  }
  if (const auto orcpt = value_of(word, "ORCPT")) {
    if (!extensions.dsn) return refuse_dsn();
    if (!out.orcpt_type.empty() || !parse_orcpt(*orcpt, out)) {
      return refuse(501, "5.5.4 Error: Bad ORCPT parameter syntax");
    }
    return {};
  }
  return refuse_option(word);
}

}  // namespace

std::string_view verb_name(Verb verb) {
  for (const auto& known : kVerbs) {
    if (known.verb == verb) return known.name;
  }
  return "UNKNOWN";
}

CommandLine split_command(std::string_view line) {
  CommandLine command;
  std::string_view rest = line;
  command.name = next_word(rest, kBlanks);
  command.argument = trim(rest);
  for (const auto& known : kVerbs) {
    if (equal_nocase(known.name, command.name)) command.verb = known.verb;
  }
  return command;
}

mail::Reply reply_unknown_command() {
  return mail::make_reply(500, "5.5.2 Error: command not recognized");
}
mail::Reply reply_bad_syntax() { return mail::make_reply(500, "5.5.2 Error: bad syntax"); }
mail::Reply reply_bad_sender() { return mail::make_reply(501, "5.1.7 Bad sender address syntax"); }
mail::Reply reply_bad_recipient() {
  return mail::make_reply(501, "5.1.3 Bad recipient address syntax");
}

Parsed<std::string> parse_helo(Verb verb, std::string_view argument) {
  if (argument.empty()) return refuse(501, fmt::format("Syntax: {} hostname", verb_name(verb)));
  // More than one word is accepted, as ever, and judged by the HELO restrictions. What has a
  // meaning in header fields and log lines is taken out of it first.
  constexpr std::string_view kNeutered = " <>()\\\";@";
  std::string name = join(split_words(argument, kBlanks), " ");
  for (char& c : name) {
    if (kNeutered.find(c) != std::string_view::npos) c = '?';
  }
  return name;
}

Parsed<MailArguments> parse_mail(std::string_view argument, const Extensions& extensions) {
  constexpr std::string_view kSyntax = "5.5.4 Syntax: MAIL FROM:<address>";
  MailArguments out;
  if (!take_keyword(argument, "FROM:")) return refuse(501, kSyntax);
  mail::PathError error{};
  auto path = mail::parse_path(
      argument, {.strict = extensions.strict_rfc821_envelopes, .allow_empty = true}, error);
  if (!path) {
    if (error == mail::PathError::kMissing) return refuse(501, kSyntax);
    return std::unexpected(reply_bad_sender());
  }
  out.sender = *std::move(path);
  for (const auto word : split_words(argument, kBlanks)) {
    if (auto done = apply_mail_option(word, extensions, out); !done) {
      return std::unexpected(std::move(done).error());
    }
  }
  if (!out.verp_delimiters.empty() && out.sender.address.empty()) {
    return refuse(503, "5.5.4 Error: XVERP requires non-null sender");
  }
  return out;
}

Parsed<RcptArguments> parse_rcpt(std::string_view argument, const Extensions& extensions) {
  constexpr std::string_view kSyntax = "5.5.4 Syntax: RCPT TO:<address>";
  RcptArguments out;
  if (!take_keyword(argument, "TO:")) return refuse(501, kSyntax);
  mail::PathError error{};
  auto path = mail::parse_path(
      argument, {.strict = extensions.strict_rfc821_envelopes, .allow_empty = false}, error);
  if (!path) {
    if (error == mail::PathError::kMissing) return refuse(501, kSyntax);
    return std::unexpected(reply_bad_recipient());
  }
  out.recipient = *std::move(path);
  for (const auto word : split_words(argument, kBlanks)) {
    if (auto done = apply_rcpt_option(word, extensions, out); !done) {
      return std::unexpected(std::move(done).error());
    }
  }
  return out;
}

Parsed<BdatArguments> parse_bdat(std::string_view argument) {
  // The client's bytes follow whatever we say: without a count there is no way to skip them, so
  // the session ends with this reply.
  constexpr std::string_view kSyntax = "5.5.4 Syntax: BDAT count [LAST]";
  const auto words = split_words(argument, kBlanks);
  if (words.empty() || words.size() > 2) return refuse(521, kSyntax);
  const auto size = parse_integer<std::uint64_t>(words[0], 0, INT64_MAX);
  const bool last = words.size() == 2;
  if (!size || (last && !equal_nocase(words[1], "LAST"))) return refuse(521, kSyntax);
  return BdatArguments{*size, last};
}

Parsed<std::string> parse_vrfy(std::string_view argument) {
  if (argument.empty()) return refuse(501, "5.5.4 Syntax: VRFY address");
  mail::PathError error{};
  const auto path = mail::parse_path(argument, {.strict = false, .allow_empty = false}, error);
  if (!path || !trim(argument).empty()) return std::unexpected(reply_bad_recipient());
  return path->address;
}

Parsed<std::string> parse_etrn(std::string_view argument) {
  const auto words = split_words(argument, kBlanks);
  if (words.size() != 1) return refuse(500, "Syntax: ETRN domain");
  std::string_view domain = words[0];
  if (domain.starts_with('@') || domain.starts_with('#')) domain.remove_prefix(1);
  if (!mail::is_valid_domain(domain)) return refuse(501, "Error: invalid parameter syntax");
  return std::string(words[0]);
}

Parsed<AuthArguments> parse_auth(std::string_view argument) {
  const auto words = split_words(argument, kBlanks);
  if (words.empty() || words.size() > 2) return refuse(501, "5.5.4 Syntax: AUTH mechanism");
  AuthArguments out{to_upper(words[0]), std::nullopt};
  if (words.size() == 2) out.initial_response = words[1];
  return out;
}

Parsed<Attributes> parse_attributes(Verb verb, std::string_view argument) {
  const auto name = verb_name(verb);
  const auto words = split_words(argument, kBlanks);
  if (words.empty()) {
    return refuse(501, fmt::format("5.5.4 Syntax: {} attribute=value...", name));
  }
  Attributes out;
  for (const auto word : words) {
    const auto equals = word.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == word.size()) {
      return refuse(501, "5.5.4 Error: attribute=value expected");
    }
    auto value = xtext_decode(word.substr(equals + 1));
    if (!value || !is_all_printable(*value)) {
      return refuse(501, fmt::format("5.5.4 Bad {} attribute value: {}", name, word));
    }
    out.emplace_back(to_upper(word.substr(0, equals)), *std::move(value));
  }
  return out;
}

Parsed<void> parse_no_argument(Verb verb, std::string_view argument) {
  const bool strict = verb == Verb::kData || verb == Verb::kRset || verb == Verb::kStarttls;
  if (!strict || argument.empty()) return {};
  return refuse(501, fmt::format("5.5.4 Syntax: {}", verb_name(verb)));
}

std::optional<NotifyMask> parse_notify(std::string_view text) {
  NotifyMask mask = 0;
  for (const auto word : split_fields(text, ',')) {
    bool known = false;
    for (const auto& notify : kNotifyWords) {
      if (!equal_nocase(word, notify.name)) continue;
      mask = static_cast<NotifyMask>(mask | notify.bit);
      known = true;
    }
    if (!known) return std::nullopt;
  }
  // NEVER stands alone (RFC 3461 4.1).
  if ((mask & kNotifyNever) != 0 && mask != kNotifyNever) return std::nullopt;
  return mask;
}

std::string print_notify(NotifyMask mask) {
  std::string out;
  for (const auto& notify : kNotifyWords) {
    if ((mask & notify.bit) == 0) continue;
    if (!out.empty()) out += ',';
    out += notify.name;
  }
  return out;
}

}  // namespace postern::smtpwire
