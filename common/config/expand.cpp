#include "common/config/expand.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::config {

namespace {

bool is_name_char(char c) { return is_alnum(c) || c == '_'; }

std::string_view take_name(std::string_view& text) {
  std::size_t n = 0;
  while (n < text.size() && is_name_char(text[n])) ++n;
  const std::string_view name = text.substr(0, n);
  text.remove_prefix(n);
  return name;
}

// The length of a bracketed text from its opening bracket to behind its closing one; npos when it
// is never closed.
std::size_t bracketed_length(std::string_view text, char open, char close) {
  std::size_t depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == open) ++depth;
    if (text[i] == close && --depth == 0) return i + 1;
  }
  return std::string_view::npos;
}

std::unexpected<Error> malformed(std::string_view what, std::string_view where) {
  return fail(Error::Kind::kConfig, fmt::format("{}: \"{:.80}\"", what, where));
}

// What follows the name or the comparison in ${...}: text for yes and text for no.
struct Branches {
  bool has_any = false;
  std::string_view yes, no;
};

// `text` starts with ? or :, or is empty.
Result<Branches> parse_branches(std::string_view text, std::string_view whole) {
  Branches branches;
  if (text.empty()) return branches;
  branches.has_any = true;
  const char kind = text.front();
  if (kind != '?' && kind != ':') return malformed("bad character in ${...}", whole);
  text.remove_prefix(1);

  std::string_view rest = trim_left(text);
  const bool is_braced = rest.starts_with('{');
  std::string_view first = text;
  if (is_braced) {
    const auto inner = take_braced(rest);
    if (!inner) return malformed("missing } in ${...}", whole);
    first = *inner;
    rest = trim_left(rest);
  }
  if (kind == ':') {
    if (is_braced && !rest.empty()) return malformed("text after } in ${...}", whole);
    branches.no = first;
    return branches;
  }
  branches.yes = first;
  if (!is_braced || rest.empty()) return branches;

  if (rest.front() != ':') return malformed("text after } in ${...}", whole);
  std::string_view other = rest.substr(1);
  std::string_view other_rest = trim_left(other);
  if (other_rest.starts_with('{')) {
    const auto inner = take_braced(other_rest);
    if (!inner) return malformed("missing } in ${...}", whole);
    if (!trim(other_rest).empty()) return malformed("text after } in ${...}", whole);
    other = *inner;
  }
  branches.no = other;
  return branches;
}

struct Comparison {
  std::string_view left, right;
  enum class Op : unsigned char { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };
  Op op = Op::kEqual;
  bool is_level = false;
};

// Takes `{a} OP {b}` off the front of `text`.
Result<Comparison> take_comparison(std::string_view& text) {
  const std::string_view whole = text;
  using Op = Comparison::Op;
  static constexpr std::array<std::pair<std::string_view, Op>, 6> kOps{{{"==", Op::kEqual},
                                                                        {"!=", Op::kNotEqual},
                                                                        {"<=", Op::kLessEqual},
                                                                        {">=", Op::kGreaterEqual},
                                                                        {"<", Op::kLess},
                                                                        {">", Op::kGreater}}};
  Comparison comparison;
  const auto left = take_braced(text);
  if (!left) return malformed("missing } in ${...}", whole);
  comparison.left = *left;
  text = trim_left(text);
  bool is_known = false;
  for (const auto& [sign, op] : kOps) {
    if (!text.starts_with(sign)) continue;
    text.remove_prefix(sign.size());
    comparison.op = op;
    is_known = true;
    break;
  }
  if (!is_known) return malformed("comparison expected in ${...}", whole);
  if (text.starts_with("level")) {
    text.remove_prefix(5);
    comparison.is_level = true;
  }
  text = trim_left(text);
  const auto right = take_braced(text);
  if (!right) return malformed("{ expected after the comparison in ${...}", whole);
  comparison.right = *right;
  text = trim_left(text);
  return comparison;
}

bool holds(Comparison::Op op, int order) {
  switch (op) {
    case Comparison::Op::kEqual:
      return order == 0;
    case Comparison::Op::kNotEqual:
      return order != 0;
    case Comparison::Op::kLess:
      return order < 0;
    case Comparison::Op::kLessEqual:
      return order <= 0;
    case Comparison::Op::kGreater:
      return order > 0;
    case Comparison::Op::kGreaterEqual:
      return order >= 0;
  }
  return false;
}

int order_of(std::string_view a, std::string_view b) {
  const auto left = parse_integer<std::int64_t>(a);
  const auto right = parse_integer<std::int64_t>(b);
  if (left && right) return *left < *right ? -1 : *left > *right ? 1 : 0;
  const int order = a.compare(b);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

// Recursion follows the nesting of the text and of the values, and depth_ bounds both together.
class Expander {
 public:
  explicit Expander(const Lookup& lookup) : lookup_(lookup) {}

  Result<std::string> run(std::string_view text) {
    if (++depth_ > kMaxExpansionDepth) return malformed("too much nesting", text);
    std::string out;
    while (true) {
      if (++steps_ > kMaxExpansionSteps) return malformed("too many references", text);
      const std::size_t dollar = text.find('$');
      out += text.substr(0, dollar);
      if (out.size() > kMaxExpansion) return malformed("value is too long", text);
      if (dollar == std::string_view::npos) break;
      text.remove_prefix(dollar + 1);
      TRY(const std::string part, reference(text));
      out += part;
    }
    --depth_;
    return out;
  }

 private:
  // `text` stands behind a $; takes what belongs to it.
  Result<std::string> reference(std::string_view& text) {
    if (text.starts_with('$')) {
      text.remove_prefix(1);
      return std::string("$");
    }
    if (text.starts_with('{') || text.starts_with('(')) {
      const char close = text.front() == '{' ? '}' : ')';
      const std::size_t length = bracketed_length(text, text.front(), close);
      if (length == std::string_view::npos) {
        return malformed("missing closing bracket in reference to a parameter", text);
      }
      const std::string_view inner = text.substr(1, length - 2);
      text.remove_prefix(length);
      return bracketed(inner);
    }
    const std::string_view name = take_name(text);
    if (name.empty()) return malformed("missing name behind $", text);
    return value_of(name);
  }

  Result<std::string> bracketed(std::string_view inner) {
    const std::string_view whole = inner;
    inner = trim_left(inner);
    if (inner.starts_with('{')) {
      TRY(const Comparison comparison, take_comparison(inner));
      TRY(const Branches branches, parse_branches(inner, whole));
      TRY(const std::string left, run(comparison.left));
      TRY(const std::string right, run(comparison.right));
      int order = 0;
      if (comparison.is_level) {
        const auto levels = compare_levels(left, right);
        if (!levels) return malformed("no compatibility level", whole);
        order = *levels;
      } else {
        order = order_of(left, right);
      }
      const bool is_true = holds(comparison.op, order);
      if (!branches.has_any) return std::string(is_true ? "true" : "");
      return run(is_true ? branches.yes : branches.no);
    }
    const std::string_view name = take_name(inner);
    if (name.empty()) return malformed("missing name in ${...}", whole);
    const std::string_view rest = trim_left(inner);
    TRY(const Branches branches, parse_branches(rest, whole));
    TRY(std::string value, value_of(name));
    if (!branches.has_any) return value;
    // ${x?a}${x:b} is how a condition was written before there was ${x?{a}:{b}}: the form with a
    // colon is nothing where x has a value.
    return run(value.empty() ? branches.no : branches.yes);
  }

  Result<std::string> value_of(std::string_view name) {
    for (const std::string_view open : names_) {
      if (open == name) return malformed("the value needs itself", name);
    }
    const std::optional<std::string> value = lookup_(name);
    if (!value) return std::string();
    names_.push_back(name);
    auto expanded = run(*value);
    names_.pop_back();
    return expanded;
  }

  const Lookup& lookup_;
  std::vector<std::string_view> names_;  // whose values are being expanded
  unsigned depth_ = 0;
  std::size_t steps_ = 0;
};

}  // namespace

std::optional<std::string_view> take_braced(std::string_view& text) {
  if (!text.starts_with('{')) return std::nullopt;
  const std::size_t length = bracketed_length(text, '{', '}');
  if (length == std::string_view::npos) return std::nullopt;
  const std::string_view inner = trim(text.substr(1, length - 2));
  text.remove_prefix(length);
  return inner;
}

std::optional<int> compare_levels(std::string_view a, std::string_view b) {
  const auto parse = [](std::string_view text) -> std::optional<std::array<unsigned, 3>> {
    std::array<unsigned, 3> level{};
    const auto fields = split_fields(text, '.');
    if (fields.size() > level.size()) return std::nullopt;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const auto part = parse_integer<unsigned>(fields[i], 0U, 100'000U);
      if (!part) return std::nullopt;
      level[i] = *part;
    }
    return level;
  };
  const auto left = parse(trim(a));
  const auto right = parse(trim(b));
  if (!left || !right) return std::nullopt;
  return *left < *right ? -1 : *left > *right ? 1 : 0;
}

Result<std::string> expand(std::string_view text, const Lookup& lookup) {
  if (text.find('$') == std::string_view::npos) return std::string(text);
  return Expander(lookup).run(text);
}

std::vector<std::string> names_in(std::string_view text) {
  std::vector<std::string> names;
  // A look at every $ finds the references of all branches without following the nesting.
  for (std::size_t at = text.find('$'); at != std::string_view::npos; at = text.find('$', at)) {
    ++at;
    if (at < text.size() && text[at] == '$') {
      ++at;
      continue;
    }
    std::string_view rest = text.substr(at);
    if (rest.starts_with('{') || rest.starts_with('(')) rest = trim_left(rest.substr(1));
    const std::string_view name = take_name(rest);
    if (!name.empty()) names.emplace_back(name);
  }
  return names;
}

}  // namespace postern::config
