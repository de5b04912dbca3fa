// address.h - mail addresses: the words they are made of, their quoted and plain forms, and lists.
//
// An address has two forms. The internal one is what it means: `odd name@example.org`, split at its
// last '@'; tables, queue and routing use it. The external one is how it is written, with RFC 822
// quoting: `"odd name"@example.org`; headers, SMTP and bounces use it.
//
// One tokeniser reads both SMTP paths and header lists, so that no two parts of the suite can
// disagree about where an address ends. It accepts every byte string: what makes no sense comes out
// as words that the callers refuse (SMTP) or leave as they are (headers). Nothing here recurses.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace postern::mail {

// --- words ---

struct Token {
  enum class Kind : unsigned char {
    kAtom,
    kQuoted,   // text without the quotes and backslashes
    kLiteral,  // text without the brackets
    kComment,  // text as written, without the outer parentheses
    kSpecial,  // one of < > @ , ; : . % !
  };
  Kind kind = Kind::kAtom;
  bool space_before = false;
  std::string text;

  [[nodiscard]] bool is(char special) const {
    return kind == Kind::kSpecial && text.front() == special;
  }
};

// Enough for any honest header (postconf(5) header_address_token_limit).
inline constexpr std::size_t kAddressTokenLimit = 10240;
// For one address, whose length its caller bounds: half an address would be another address.
inline constexpr std::size_t kNoTokenLimit = static_cast<std::size_t>(-1);

// The tokens of RFC 822 text; what lies behind `limit` tokens is dropped.
[[nodiscard]] std::vector<Token> scan_address(std::string_view text,
                                              std::size_t limit = kNoTokenLimit);

// Tokens of one address back to text, without white space.
[[nodiscard]] std::string print_external(std::span<const Token> tokens);
[[nodiscard]] std::string print_internal(std::span<const Token> tokens);

// --- the two forms ---

// Quotes the local part where it is no dot-string: `a b@x` becomes `"a b"@x`. A source route in
// front stays. Bytes above 127 need no quoting.
[[nodiscard]] std::string quote_address(std::string_view internal);
[[nodiscard]] std::string unquote_address(std::string_view external);
[[nodiscard]] std::string quote_local_part(std::string_view local_part);

// At the last '@' of the internal form. `domain` is empty and has_domain false without one.
struct AddressParts {
  std::string_view local_part;
  std::string_view domain;
  bool has_domain = false;
};
[[nodiscard]] AddressParts split_address(std::string_view internal);

// Where the extension of a local part starts: `user+ext` with delimiters "+" gives user and ext.
// The first of the delimiters that is not at the very start counts. Never split: postmaster,
// double-bounce, mailer-daemon; with `owner_request_special` also owner-... and ...-request when
// the delimiter is `-`.
struct LocalPart {
  std::string_view user;
  std::string_view extension;  // without the delimiter
  char delimiter = 0;          // 0: no extension
};
[[nodiscard]] LocalPart split_extension(std::string_view local_part, std::string_view delimiters,
                                        bool owner_request_special = true);

// user+ext@domain to user@domain, and the extension with its delimiter ("+ext", or empty).
struct StrippedAddress {
  std::string address;
  std::string extension;
};
[[nodiscard]] StrippedAddress strip_extension(std::string_view internal,
                                              std::string_view delimiters,
                                              bool owner_request_special = true);

// --- domains ---

// Host name rules of RFC 1123 as Postfix applies them: labels of up to 63 letters, digits, `-`
// (not at an end) and `_`, 255 in all, not all numeric, no empty label. Well-formed UTF-8 counts as
// letters. A trailing dot is refused: strip it first.
[[nodiscard]] bool is_valid_hostname(std::string_view name);
// `[192.0.2.1]` or `[IPv6:2001:db8::1]`, brackets included.
[[nodiscard]] bool is_address_literal(std::string_view domain);
// Either of the two.
[[nodiscard]] bool is_valid_domain(std::string_view domain);
// The IP address inside a literal: `[IPv6:::1]` gives `::1`. nullopt where it is no literal.
[[nodiscard]] std::optional<std::string_view> literal_address(std::string_view domain);

// --- SMTP paths ---

struct Path {
  std::string address;   // internal; empty for <>
  std::string original;  // as written, without the angle brackets (for ORCPT)
};

enum class PathError : unsigned char {
  kMissing,       // no text at all: a syntax error of the command
  kUnterminated,  // `<` or `"` that is not closed
  kNotOne,        // more than one address, one that has no external form, (strict) no <address>
  kEmpty,         // an empty address where none is allowed
};

struct PathRules {
  bool strict = false;  // strict_rfc821_envelopes
  bool allow_empty = false;
};

// Takes one path off the front of `text`, which starts behind `FROM:` or `TO:`; white space there
// is skipped. On success `text` is what follows, the ESMTP parameters.
[[nodiscard]] std::optional<Path> parse_path(std::string_view& text, const PathRules& rules,
                                             PathError& error);

// --- header lists ---

// The value of a To: or From: field, with everything that is not an address kept for printing.
class AddressList {
 public:
  struct Item {
    enum class Kind : unsigned char {
      kPhrase,
      kAddress,  // external form
      kComment,  // with its parentheses
      kComma,
      kOpen,   // <
      kClose,  // >
      kGroup,  // the ':' behind a group's name
      kGroupEnd,
    };
    Kind kind;
    std::string text;
  };

  [[nodiscard]] static AddressList parse(std::string_view body,
                                         std::size_t limit = kAddressTokenLimit);

  [[nodiscard]] const std::vector<Item>& items() const { return items_; }

  // The addresses in external form.
  [[nodiscard]] std::vector<std::string> addresses() const;

  // Puts what `rewrite` makes of each address (external form) in its place, with the quotes that it
  // needs and no others; true if one changed.
  bool rewrite(const std::function<std::string(const std::string&)>& rewrite);

  // One line, or one address a line (fold_header then fills the lines).
  [[nodiscard]] std::string print(std::string_view after_comma = " ") const;

 private:
  class Builder;
  std::vector<Item> items_;
};

}  // namespace postern::mail
