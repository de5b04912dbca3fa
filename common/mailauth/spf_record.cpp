#include "common/mailauth/spf_record.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::mailauth {

namespace {

constexpr std::string_view kVersion = "v=spf1";
constexpr std::string_view kMacroDelimiters = ".-+,/_=";

std::unexpected<Error> refuse(std::string_view what, std::string_view term) {
  return fail(Error::Kind::kPermanent, std::string(what) + ": " + std::string(term));
}

bool is_name_char(char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; }

// Takes the inside of one %{...} apart.
std::optional<SpfMacro> parse_macro(std::string_view inside, SpfMacroUse use) {
  constexpr unsigned kMostParts = 128;
  if (inside.empty()) return std::nullopt;
  SpfMacro macro;
  macro.letter = to_lower(inside.front());
  macro.is_escaped = is_upper(inside.front());
  const std::string_view letters = use == SpfMacroUse::kText ? "slodiphvcrt" : "slodiphv";
  if (letters.find(macro.letter) == std::string_view::npos) return std::nullopt;
  inside.remove_prefix(1);
  const std::size_t digits = std::min(inside.find_first_not_of("0123456789"), inside.size());
  if (digits > 0) {
    const auto parts = parse_integer<unsigned>(inside.substr(0, digits));
    if (!parts || *parts == 0) return std::nullopt;
    macro.parts = std::min(*parts, kMostParts);
    inside.remove_prefix(digits);
  }
  if (!inside.empty() && to_lower(inside.front()) == 'r') {
    macro.is_reversed = true;
    inside.remove_prefix(1);
  }
  if (inside.find_first_not_of(kMacroDelimiters) != std::string_view::npos) return std::nullopt;
  macro.delimiters = inside.empty() ? "." : std::string(inside);
  return macro;
}

// Calls `literal` for plain text and `macro` for each %{...}; false at the first syntax error.
bool walk_macros(std::string_view text, SpfMacroUse use,
                 const std::function<void(std::string_view)>& literal,
                 const std::function<void(const SpfMacro&)>& macro) {
  while (!text.empty()) {
    const std::size_t percent = std::min(text.find('%'), text.size());
    const std::string_view plain = text.substr(0, percent);
    const bool is_good = std::ranges::all_of(plain, [use](char c) {
      return is_printable(c) && (c != ' ' || use == SpfMacroUse::kText);
    });
    if (!is_good) return false;
    literal(plain);
    text.remove_prefix(percent);
    if (text.empty()) return true;
    if (text.size() < 2) return false;
    const char kind = text[1];
    if (kind != '{') {
      if (kind == '%') {
        literal("%");
      } else if (kind == '_') {
        literal(" ");
      } else if (kind == '-') {
        literal("%20");
      } else {
        return false;
      }
      text.remove_prefix(2);
      continue;
    }
    const std::size_t end = text.find('}');
    if (end == std::string_view::npos) return false;
    const auto parsed = parse_macro(text.substr(2, end - 2), use);
    if (!parsed) return false;
    macro(*parsed);
    text.remove_prefix(end + 1);
  }
  return true;
}

std::string url_escape(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += '%';
      out += kHex[byte >> 4U];
      out += kHex[byte & 0xfU];
    }
  }
  return out;
}

std::string transform(std::string_view value, const SpfMacro& macro) {
  std::string out;
  if (macro.parts == 0 && !macro.is_reversed && macro.delimiters == ".") {
    out = value;
  } else {
    std::vector<std::string_view> parts;
    for (;;) {
      const std::size_t end = value.find_first_of(macro.delimiters);
      parts.push_back(value.substr(0, end));
      if (end == std::string_view::npos) break;
      value.remove_prefix(end + 1);
    }
    if (macro.is_reversed) std::ranges::reverse(parts);
    if (macro.parts > 0 && macro.parts < parts.size()) {
      parts.erase(parts.begin(), parts.end() - static_cast<std::ptrdiff_t>(macro.parts));
    }
    out = join(parts, ".");
  }
  return macro.is_escaped ? url_escape(out) : out;
}

bool is_top_label(std::string_view label) {
  if (label.empty() || label.front() == '-' || label.back() == '-') return false;
  return !is_all_digits(label) &&
         std::ranges::all_of(label, [](char c) { return is_alnum(c) || c == '-'; });
}

// domain-spec = macro-string domain-end (RFC 7208 7.1)
bool is_domain_spec(std::string_view spec) {
  if (spec.empty()) return false;
  bool ends_in_macro = false;
  const bool is_good = walk_macros(
      spec, SpfMacroUse::kDomain,
      [&](std::string_view text) { ends_in_macro = ends_in_macro && text.empty(); },
      [&](const SpfMacro&) { ends_in_macro = true; });
  if (!is_good) return false;
  if (ends_in_macro) return true;
  if (spec.ends_with('.')) spec.remove_suffix(1);
  const auto [before, label] = split_at_last(spec, '.');
  // A name of one label is no domain; `%-` and its like cannot be in the last label.
  return spec.find('.') != std::string_view::npos && is_top_label(label);
}

// "24" with no zero in front.
std::optional<unsigned> parse_prefix(std::string_view text, unsigned most) {
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  if (!is_all_digits(text)) return std::nullopt;
  return parse_integer<unsigned>(text, 0, most);
}

// Takes "/24", "//64" or "/24//64" off the end. False where what looks like one is wrong.
bool take_prefixes(std::string_view& spec, SpfTerm& term) {
  const auto digits_behind = [](std::string_view text, std::size_t at) {
    const std::string_view rest = text.substr(at);
    return std::ranges::all_of(rest, is_digit);
  };
  if (const std::size_t six = spec.rfind("//");
      six != std::string_view::npos && digits_behind(spec, six + 2)) {
    const auto prefix = parse_prefix(spec.substr(six + 2), 128);
    if (!prefix) return false;
    term.prefix6 = *prefix;
    spec = spec.substr(0, six);
  }
  if (const std::size_t four = spec.rfind('/');
      four != std::string_view::npos && digits_behind(spec, four + 1)) {
    const auto prefix = parse_prefix(spec.substr(four + 1), 32);
    if (!prefix) return false;
    term.prefix4 = *prefix;
    spec = spec.substr(0, four);
  }
  return true;
}

std::optional<SpfMechanism> find_mechanism(std::string_view name) {
  using enum SpfMechanism;
  constexpr std::array kNames = {
      std::pair{std::string_view("all"), kAll}, std::pair{std::string_view("include"), kInclude},
      std::pair{std::string_view("a"), kA},     std::pair{std::string_view("mx"), kMx},
      std::pair{std::string_view("ptr"), kPtr}, std::pair{std::string_view("ip4"), kIp4},
      std::pair{std::string_view("ip6"), kIp6}, std::pair{std::string_view("exists"), kExists},
  };
  const auto* found =
      std::ranges::find_if(kNames, [&](const auto& n) { return equal_nocase(n.first, name); });
  if (found == kNames.end()) return std::nullopt;
  return found->second;
}

bool parse_network(std::string_view value, SpfTerm& term) {
  const bool is_six = term.mechanism == SpfMechanism::kIp6;
  const std::size_t slash = value.find('/');
  const auto address = dns::parse_address(value.substr(0, slash));
  if (!address || address->is_ipv6 != is_six) return false;
  term.address = *address;
  if (slash == std::string_view::npos) return true;
  const auto prefix = parse_prefix(value.substr(slash + 1), is_six ? 128 : 32);
  if (!prefix) return false;
  (is_six ? term.prefix6 : term.prefix4) = *prefix;
  return true;
}

Result<SpfTerm> parse_mechanism(std::string_view text) {
  SpfTerm term;
  term.text = text;
  std::string_view rest = text;
  if (std::string_view("+-~?").find(rest.front()) != std::string_view::npos) {
    term.qualifier = rest.front();
    rest.remove_prefix(1);
  }
  const std::size_t end = std::min(rest.find_first_of(":/"), rest.size());
  const auto mechanism = find_mechanism(rest.substr(0, end));
  if (!mechanism) return refuse("unknown mechanism", text);
  term.mechanism = *mechanism;
  const bool has_colon = end < rest.size() && rest[end] == ':';
  std::string_view value = rest.substr(has_colon ? end + 1 : end);
  if (term.mechanism == SpfMechanism::kIp4 || term.mechanism == SpfMechanism::kIp6) {
    if (!has_colon || !parse_network(value, term)) return refuse("bad network", text);
    return term;
  }
  if (term.mechanism == SpfMechanism::kA || term.mechanism == SpfMechanism::kMx) {
    if (!take_prefixes(value, term)) return refuse("bad prefix length", text);
  }
  const bool needs_domain =
      term.mechanism == SpfMechanism::kInclude || term.mechanism == SpfMechanism::kExists;
  const bool takes_domain = term.mechanism != SpfMechanism::kAll;
  if (has_colon ? !takes_domain || !is_domain_spec(value) : needs_domain || !value.empty()) {
    return refuse("bad domain", text);
  }
  term.domain_spec = value;
  return term;
}

Result<void> parse_modifier(std::string_view name, std::string_view value, SpfRecord& record) {
  const bool is_redirect = equal_nocase(name, "redirect");
  if (is_redirect || equal_nocase(name, "exp")) {
    auto& place = is_redirect ? record.redirect : record.explanation;
    if (place) return refuse("given twice", name);
    if (!is_domain_spec(value)) return refuse("bad domain", name);
    place = std::string(value);
    return {};
  }
  const auto ignore = [](const auto&) {};
  if (!walk_macros(value, SpfMacroUse::kDomain, ignore, ignore)) {
    return refuse("bad macro", name);
  }
  return {};
}

}  // namespace

bool is_spf_record(std::string_view text) {
  return starts_with_nocase(text, kVersion) &&
         (text.size() == kVersion.size() || text[kVersion.size()] == ' ');
}

Result<SpfRecord> parse_spf_record(std::string_view text) {
  if (!is_spf_record(text)) return refuse("no SPF record", "v=");
  if (text.size() > kMaxSpfRecord) return refuse("record is too long", "v=");
  text.remove_prefix(kVersion.size());
  const auto words = split_words(text, " ");
  if (words.size() > kMaxSpfTerms) return refuse("too many terms", "v=");
  SpfRecord record;
  for (const std::string_view word : words) {
    const std::size_t end = std::min(
        static_cast<std::size_t>(std::ranges::find_if_not(word, is_name_char) - word.begin()),
        word.size());
    if (end > 0 && end < word.size() && word[end] == '=' && is_alpha(word.front())) {
      DO(parse_modifier(word.substr(0, end), word.substr(end + 1), record));
      continue;
    }
    TRY(SpfTerm term, parse_mechanism(word));
    record.terms.push_back(std::move(term));
  }
  return record;
}

bool is_in_network(const dns::Address& address, const dns::Address& network, unsigned prefix) {
  if (address.is_ipv6 != network.is_ipv6) return false;
  const std::size_t whole = prefix / 8;
  if (!std::equal(address.bytes.begin(), address.bytes.begin() + static_cast<int>(whole),
                  network.bytes.begin())) {
    return false;
  }
  if (prefix % 8 == 0) return true;
  const unsigned mask = 0xff00U >> (prefix % 8);
  return ((address.bytes[whole] ^ network.bytes[whole]) & mask & 0xffU) == 0;
}

Result<std::string> expand_spf_macros(std::string_view text, SpfMacroUse use,
                                      const std::function<std::string(char letter)>& value) {
  std::string out;
  const bool is_good = walk_macros(
      text, use, [&](std::string_view plain) { out += plain; },
      [&](const SpfMacro& macro) { out += transform(value(macro.letter), macro); });
  if (!is_good) return refuse("bad macro", text);
  return out;
}

bool spf_text_uses(std::string_view text, char letter) {
  bool is_used = false;
  const bool is_good = walk_macros(
      text, SpfMacroUse::kText, [](std::string_view) {},
      [&](const SpfMacro& macro) { is_used = is_used || macro.letter == letter; });
  return is_used || !is_good;
}

}  // namespace postern::mailauth
