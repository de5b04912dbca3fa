#include "common/mail/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "common/base/text.h"

namespace postern::mail {

namespace {

constexpr std::string_view kSpecials = "<>@,;:.%!";
constexpr std::string_view kAtomEnd = "<>@,;:.%!\"([ \t\r\n\v\f";
constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxHostname = 255;

// Reads a bracketed run whose opening character is already consumed: up to `close`, backslash
// quotes. Nested where `open` is given. Unclosed runs end with the text, inner ones are closed.
std::string scan_delimited(std::string_view text, std::size_t& at, char open, char close,
                           bool keep_backslash) {
  std::string out;
  std::size_t depth = 1;
  while (at < text.size()) {
    const char c = text[at++];
    if (c == '\\' && at < text.size()) {
      if (keep_backslash) out += c;
      out += text[at++];
      continue;
    }
    if (c == '\\' && keep_backslash) break;  // it would quote the bracket that is printed behind it
    if (c == close && --depth == 0) return out;
    if (open != 0 && c == open) ++depth;
    // Folding is white space, not content.
    if (c != '\r' && c != '\n') out += c;
  }
  out.append(depth - 1, close);
  return out;
}

Token scan_atom(std::string_view text, std::size_t& at) {
  Token token;
  bool escaped = false;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '\\') {
      escaped = true;
      token.text += text[std::min(at + 1, text.size() - 1)];  // at the end it stands for itself
      at = std::min(at + 2, text.size());
      continue;
    }
    if (kAtomEnd.find(c) != std::string_view::npos) break;
    token.text += c;
    ++at;
  }
  if (escaped) token.kind = Token::Kind::kQuoted;
  return token;
}

// What glues words to one address; a comma does where the parser left it, within a route.
bool is_operator(const Token& token) {
  return token.kind == Token::Kind::kSpecial && !token.is('<') && !token.is('>') && !token.is(';');
}

bool is_dot_string(std::string_view local_part) {
  if (local_part.empty() || local_part.front() == '.' || local_part.back() == '.') return false;
  constexpr std::string_view kNeedQuotes = "()<>@,;:\\\"[]";
  for (std::size_t i = 0; i < local_part.size(); ++i) {
    const char c = local_part[i];
    if (c == '.' && local_part[i + 1] == '.') return false;
    if (c == ' ' || is_control(c) || kNeedQuotes.find(c) != std::string_view::npos) return false;
  }
  return true;
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\' || c == '\r' || c == '\n') out += '\\';
    out += c;
  }
  out += '"';
}

// How long a source route in front of an internal address is, its colon included.
std::size_t route_length(std::string_view internal) {
  if (!internal.starts_with('@')) return 0;
  const auto colon = internal.find(':');
  return colon == std::string_view::npos ? 0 : colon + 1;
}

bool is_literal_ipv4(const std::string& text) {
  in_addr address{};
  return ::inet_pton(AF_INET, text.c_str(), &address) == 1;
}

bool is_literal_ipv6(const std::string& text) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

}  // namespace

// `user@sub.example.org` has so many.
constexpr std::size_t kUsualTokens = 8;

std::vector<Token> scan_address(std::string_view text, std::size_t limit) {
  std::vector<Token> tokens;
  tokens.reserve(std::min(limit, kUsualTokens));
  std::size_t at = 0;
  bool space = false;
  while (at < text.size() && tokens.size() < limit) {
    const char c = text[at];
    if (is_space(c)) {
      space = true;
      ++at;
      continue;
    }
    Token token;
    if (c == '(') {
      token.kind = Token::Kind::kComment;
      token.text = scan_delimited(text, ++at, '(', ')', true);
    } else if (c == '"') {
      token.kind = Token::Kind::kQuoted;
      token.text = scan_delimited(text, ++at, 0, '"', false);
    } else if (c == '[') {
      token.kind = Token::Kind::kLiteral;
      token.text = scan_delimited(text, ++at, 0, ']', false);
    } else if (kSpecials.find(c) != std::string_view::npos) {
      token.kind = Token::Kind::kSpecial;
      token.text = c;
      ++at;
    } else {
      token = scan_atom(text, at);
    }
    token.space_before = std::exchange(space, false);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

std::string print_external(std::span<const Token> tokens) {
  std::string out;
  for (const Token& token : tokens) {
    switch (token.kind) {
      case Token::Kind::kAtom:
      case Token::Kind::kSpecial:
        out += token.text;
        break;
      case Token::Kind::kQuoted:
        append_quoted(out, token.text);
        break;
      case Token::Kind::kLiteral:
        out += '[';
        for (const char c : token.text) {
          if (c == '[' || c == ']' || c == '\\') out += '\\';
          out += c;
        }
        out += ']';
        break;
      case Token::Kind::kComment:
        out.append("(").append(token.text).append(")");
        break;
    }
  }
  return out;
}

std::string print_internal(std::span<const Token> tokens) {
  std::string out;
  for (const Token& token : tokens) {
    switch (token.kind) {
      case Token::Kind::kLiteral:
        out.append("[").append(token.text).append("]");
        break;
      case Token::Kind::kComment:
        break;
      default:
        out += token.text;
    }
  }
  return out;
}

std::string quote_local_part(std::string_view local_part) {
  if (is_dot_string(local_part)) return std::string(local_part);
  std::string out;
  append_quoted(out, local_part);
  return out;
}

std::string quote_address(std::string_view internal) {
  if (internal.empty()) return {};
  const std::size_t route = route_length(internal);
  std::string out(internal.substr(0, route));
  internal.remove_prefix(route);
  const auto at = std::min(internal.rfind('@'), internal.size());
  out += quote_local_part(internal.substr(0, at));
  out += internal.substr(at);
  return out;
}

std::string unquote_address(std::string_view external) {
  return print_internal(scan_address(external));
}

AddressParts split_address(std::string_view internal) {
  const auto at = internal.rfind('@');
  if (at == std::string_view::npos) return {internal, {}, false};
  return {internal.substr(0, at), internal.substr(at + 1), true};
}

LocalPart split_extension(std::string_view local_part, std::string_view delimiters,
                          bool owner_request_special) {
  const LocalPart whole{local_part, {}, 0};
  constexpr std::array<std::string_view, 3> kNeverSplit = {"postmaster", "mailer-daemon",
                                                           "double-bounce"};
  for (const auto name : kNeverSplit) {
    if (equal_nocase(local_part, name)) return whole;
  }
  if (owner_request_special && delimiters.find('-') != std::string_view::npos) {
    if (starts_with_nocase(local_part, "owner-")) return whole;
    if (ends_with_nocase(local_part, "-request")) return whole;
  }
  const auto at = local_part.find_first_of(delimiters);
  if (at == std::string_view::npos || at == 0) return whole;
  return {local_part.substr(0, at), local_part.substr(at + 1), local_part[at]};
}

StrippedAddress strip_extension(std::string_view internal, std::string_view delimiters,
                                bool owner_request_special) {
  const AddressParts parts = split_address(internal);
  const LocalPart local = split_extension(parts.local_part, delimiters, owner_request_special);
  if (local.delimiter == 0) return {std::string(internal), {}};
  StrippedAddress out;
  out.address = local.user;
  out.address += internal.substr(parts.local_part.size());
  out.extension = local.delimiter;
  out.extension += local.extension;
  return out;
}

bool is_valid_hostname(std::string_view name) {
  if (name.empty() || name.size() > kMaxHostname || !is_valid_utf8(name)) return false;
  bool numeric = true;
  for (const auto label : split_fields(name, '.')) {
    if (label.empty() || label.size() > kMaxLabel) return false;
    if (label.front() == '-' || label.back() == '-') return false;
    for (const char c : label) {
      if (!is_digit(c)) numeric = false;
      if (!is_alnum(c) && c != '-' && c != '_' && is_ascii(c)) return false;
    }
  }
  return !numeric;
}

std::optional<std::string_view> literal_address(std::string_view domain) {
  if (domain.size() < 3 || domain.front() != '[' || domain.back() != ']') return std::nullopt;
  std::string_view inside = domain.substr(1, domain.size() - 2);
  if (inside.find('\0') != std::string_view::npos) return std::nullopt;  // inet_pton stops there
  constexpr std::string_view kTag = "IPv6:";
  if (starts_with_nocase(inside, kTag)) {
    inside.remove_prefix(kTag.size());
    if (is_literal_ipv6(std::string(inside))) return inside;
    return std::nullopt;
  }
  if (is_literal_ipv4(std::string(inside))) return inside;
  return std::nullopt;
}

bool is_address_literal(std::string_view domain) { return literal_address(domain).has_value(); }

bool is_valid_domain(std::string_view domain) {
  return domain.starts_with('[') ? is_address_literal(domain) : is_valid_hostname(domain);
}

// --- SMTP paths ---

namespace {

// The length of the word at the start of `text`: up to white space outside <>, [] and "".
// npos when one of them is not closed.
std::size_t path_word_length(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size() && !is_space(text[i])) {
    const char c = text[i++];
    if (c == '\\' && i < text.size()) {
      ++i;
      continue;
    }
    if (c != '<' && c != '[' && c != '"') continue;
    // At most two deep: a quoted string within brackets.
    const char close = c == '<' ? '>' : c == '[' ? ']' : '"';
    bool quoted = false;
    bool closed = false;
    while (i < text.size() && !closed) {
      const char d = text[i++];
      if (d == '\\' && i < text.size()) {
        ++i;
      } else if (quoted) {
        quoted = d != '"';
      } else if (d == close) {
        closed = true;
      } else if (d == '"') {
        quoted = true;
      }
    }
    if (!closed) return std::string_view::npos;
  }
  return i;
}

// Atoms and dots (RFC 5321 4.1.2 Dot-string).
constexpr std::string_view kPlain =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.";

// The mailbox of a path that needs no reading as a header would: `<dot-string@domain>` of plain
// characters, with nothing but an end or a space after it. Nearly every client sends nothing else.
std::optional<std::string_view> plain_mailbox(std::string_view text) {
  const auto close = text.find('>');
  if (!text.starts_with('<') || close == std::string_view::npos) return std::nullopt;
  if (close + 1 < text.size() && !is_space(text[close + 1])) return std::nullopt;
  const std::string_view mailbox = text.substr(1, close - 1);
  const auto at = mailbox.find_first_not_of(kPlain);
  if (at == std::string_view::npos || mailbox[at] != '@') return std::nullopt;
  const std::string_view domain = mailbox.substr(at + 1);
  if (!is_dot_string(mailbox.substr(0, at)) || !is_dot_string(domain)) return std::nullopt;
  if (domain.find_first_not_of(kPlain) != std::string_view::npos) return std::nullopt;
  return mailbox;
}

// Whether the last '@' of the internal form is not the one that was written as such.
bool has_ambiguous_domain(const Path& path) {
  const auto tokens = scan_address(path.original);
  for (std::size_t i = tokens.size(); i-- > 0;) {
    if (!tokens[i].is('@')) continue;
    const auto domain = print_internal(std::span(tokens).subspan(i + 1));
    return domain.find('@') != std::string::npos;
  }
  return false;
}

}  // namespace

std::optional<Path> parse_path(std::string_view& text, const PathRules& rules, PathError& error) {
  const std::string_view start = trim_left(text);
  if (start.empty()) {
    error = PathError::kMissing;
    return std::nullopt;
  }
  if (const auto mailbox = plain_mailbox(start)) {
    Path path;
    path.address = *mailbox;
    path.original = *mailbox;
    text = start.substr(mailbox->size() + 2);
    return path;
  }
  const std::size_t length = path_word_length(start);
  if (length == std::string_view::npos) {
    error = PathError::kUnterminated;
    return std::nullopt;
  }
  const std::string_view word = start.substr(0, length);

  Path path;
  std::size_t addresses = 0;
  std::size_t others = 0;
  const AddressList list = AddressList::parse(word, kNoTokenLimit);
  for (const auto& item : list.items()) {
    using Kind = AddressList::Item::Kind;
    if (item.kind == Kind::kAddress) {
      path.address = unquote_address(item.text);
      path.original = item.text;
      ++addresses;
    } else if (item.kind != Kind::kOpen && item.kind != Kind::kClose) {
      ++others;
    }
  }
  const bool bracketed = word.front() == '<' && word.back() == '>';
  if (addresses > 1 || (rules.strict && (others > 0 || !bracketed))) {
    error = PathError::kNotOne;
    return std::nullopt;
  }
  // What reads back as another address when it is printed (`u@"a b"`), or has an '@' in its domain
  // (`u@[a@b]`), would mean one thing here and another at the next hop.
  if (unquote_address(quote_address(path.address)) != path.address || has_ambiguous_domain(path)) {
    error = PathError::kNotOne;
    return std::nullopt;
  }
  // A source route is obsolete: accept it and ignore it (RFC 5321 4.1.1.3).
  const std::size_t route = route_length(path.address);
  if (route < path.address.size()) path.address.erase(0, route);
  if ((path.address.empty() && !rules.allow_empty) ||
      (rules.strict && path.address.starts_with('@'))) {
    error = PathError::kEmpty;
    return std::nullopt;
  }
  path.original = bracketed ? word.substr(1, word.size() - 2) : word;
  text = start.substr(length);
  return path;
}

// --- header lists ---

// Builds the items from left to right. `pending_` holds the words since the last separator: they
// are a phrase if `<` or the ':' of a group follows, and addresses if not.
class AddressList::Builder {
 public:
  explicit Builder(std::vector<Item>& items) : items_(items) {}

  void run(std::vector<Token> tokens) {
    find_groups(tokens);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      Token& token = tokens[i];
      if (token.is('<')) {
        flush_phrase();
        i = bracket(tokens, i + 1);
      } else if (token.is(',')) {
        flush_addresses();
        add(Item::Kind::kComma);
      } else if (token.is(';')) {
        flush_addresses();
        add(Item::Kind::kGroupEnd);
      } else if (token.is(':') && is_group_[i] && starts_group()) {
        flush_phrase();
        add(Item::Kind::kGroup);
      } else if (!token.is('>')) {
        pending_.push_back(std::move(token));
      }
    }
    flush_addresses();
  }

 private:
  void add(Item::Kind kind, std::string text = {}) { items_.push_back({kind, std::move(text)}); }

  // A group is one by its end: the ':' of `Name: a, b` without `;` belongs to an address.
  void find_groups(const std::vector<Token>& tokens) {
    is_group_.assign(tokens.size(), false);
    bool is_in_group = false;
    bool is_in_brackets = false;
    for (std::size_t i = tokens.size(); i-- > 0;) {
      if (tokens[i].is('>')) is_in_brackets = true;
      if (tokens[i].is('<')) is_in_brackets = false;
      if (is_in_brackets) continue;
      if (tokens[i].is(';')) is_in_group = true;
      if (tokens[i].is(':')) is_group_[i] = std::exchange(is_in_group, false);
    }
  }

  // A ':' behind words ends a group's name, but in a route (`@a:b@c`) it does not.
  [[nodiscard]] bool starts_group() const {
    for (const Token& token : pending_) {
      if (token.kind != Token::Kind::kComment) return !token.is('@');
    }
    return false;
  }

  // The tokens from `i` up to '>' are one address, route and all. Returns the last index used.
  std::size_t bracket(std::vector<Token>& tokens, std::size_t i) {
    add(Item::Kind::kOpen);
    bool route = i < tokens.size() && tokens[i].is('@');
    for (; i < tokens.size() && !tokens[i].is('>'); ++i) {
      if (tokens[i].is(':')) route = false;
      // `<a@b, c@d`: the bracket was forgotten; do not swallow the rest of the list.
      if ((tokens[i].is(',') && !route) || tokens[i].is('<') || tokens[i].is(';')) {
        --i;
        break;
      }
      pending_.push_back(std::move(tokens[i]));
    }
    const auto comments = flush_addresses(false);
    add(Item::Kind::kClose);
    for (const auto& comment : comments) add(Item::Kind::kComment, "(" + comment + ")");
    return i;
  }

  void flush_phrase() {
    std::string phrase;
    const auto end_phrase = [&] {
      if (!phrase.empty()) add(Item::Kind::kPhrase, std::exchange(phrase, {}));
    };
    const Token* previous = nullptr;
    for (const Token& token : pending_) {
      if (token.kind == Token::Kind::kComment) {
        end_phrase();
        add(Item::Kind::kComment, "(" + token.text + ")");
        continue;
      }
      const bool words = previous != nullptr && !is_operator(*previous) && !is_operator(token);
      if (!phrase.empty() && (token.space_before || words)) phrase += ' ';
      phrase += print_external({&token, 1});
      previous = &token;
    }
    end_phrase();
    pending_.clear();
  }

  // Words side by side without an operator between them are addresses whose comma was forgotten.
  // A comment goes behind the address it stands at. Inside brackets the comments are returned.
  std::vector<std::string> flush_addresses(bool print_comments = true) {
    std::vector<std::string> comments;
    std::vector<Token> address;
    bool first = true;
    const auto end_address = [&] {
      if (!address.empty()) {
        if (!first && print_comments) add(Item::Kind::kComma);
        first = false;
        add(Item::Kind::kAddress, print_external(address));
        address.clear();
      }
      if (first || !print_comments) return;
      for (const auto& comment : comments) add(Item::Kind::kComment, "(" + comment + ")");
      comments.clear();
    };
    for (Token& token : pending_) {
      if (token.kind == Token::Kind::kComment) {
        comments.push_back(std::move(token.text));
        continue;
      }
      if (!address.empty() && !is_operator(address.back()) && !is_operator(token)) end_address();
      address.push_back(std::move(token));
    }
    end_address();
    pending_.clear();
    if (!print_comments) return comments;
    for (const auto& comment : comments) add(Item::Kind::kComment, "(" + comment + ")");
    return {};
  }

  std::vector<Item>& items_;
  std::vector<Token> pending_;
  std::vector<bool> is_group_;  // whether the token with this index is the ':' of a group
};

AddressList AddressList::parse(std::string_view body, std::size_t limit) {
  AddressList list;
  Builder(list.items_).run(scan_address(body, limit));
  return list;
}

std::vector<std::string> AddressList::addresses() const {
  std::vector<std::string> out;
  for (const Item& item : items_) {
    if (item.kind == Item::Kind::kAddress) out.push_back(item.text);
  }
  return out;
}

bool AddressList::rewrite(const std::function<std::string(const std::string&)>& rewrite) {
  bool changed = false;
  for (Item& item : items_) {
    if (item.kind != Item::Kind::kAddress) continue;
    // With the quotes that it needs, and no others.
    std::string text = quote_address(unquote_address(rewrite(item.text)));
    changed = changed || text != item.text;
    item.text = std::move(text);
  }
  return changed;
}

std::string AddressList::print(std::string_view after_comma) const {
  using Kind = Item::Kind;
  const auto is_word = [](Kind kind) {
    return kind == Kind::kPhrase || kind == Kind::kAddress || kind == Kind::kComment;
  };
  std::string out;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const Item& item = items_[i];
    switch (item.kind) {
      case Kind::kComma:
        out += ',';
        break;
      case Kind::kOpen:
        out += '<';
        break;
      case Kind::kClose:
        out += '>';
        break;
      case Kind::kGroup:
        out += ':';
        break;
      case Kind::kGroupEnd:
        out += ';';
        break;
      case Kind::kAddress:
        out += item.text.empty() ? std::string_view("\"\"") : std::string_view(item.text);
        break;
      default:
        out += item.text;
    }
    if (i + 1 == items_.size()) break;
    const Kind next = items_[i + 1].kind;
    if (item.kind == Kind::kComma) {
      out += after_comma;
    } else if (item.kind == Kind::kGroup || next == Kind::kOpen ||
               (is_word(item.kind) && is_word(next)) ||
               (item.kind == Kind::kClose && is_word(next))) {
      out += ' ';
    }
  }
  return out;
}

}  // namespace postern::mail
