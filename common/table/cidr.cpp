#include "common/table/cidr.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <utility>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/table/pattern_file.h"
#include "common/table/table.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

unsigned width(const IpAddress& address) { return address.family == AF_INET ? 32 : 128; }

unsigned char mask_byte(unsigned prefix, unsigned index) {
  const unsigned bits = prefix > index * 8 ? std::min(prefix - index * 8, 8U) : 0;
  return static_cast<unsigned char>(0xff00U >> bits);
}

std::string print_ip(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(address.family, address.bytes.data(), text.data(), text.size());
  return text.data();
}

// A rule's network that is none, in the words of this type of table.
std::string trouble_of(std::string_view pattern, const Error& error) {
  std::string_view inside = pattern;
  if (inside.starts_with('[')) inside.remove_prefix(1);
  if (inside.ends_with(']')) inside.remove_suffix(1);
  const auto [address, length] = split_at_first(inside, '/');
  const auto ip = parse_ip(address);
  std::string what = error.text;
  if (!ip) {
    what = fmt::format("bad address pattern: \"{}\"", pattern);
  } else if (address.size() != inside.size() && !is_all_digits(length)) {
    what = fmt::format("bad mask value in \"{}\"", pattern);
  } else if (!parse_integer<unsigned>(length, 0, width(*ip))) {
    what = fmt::format("bad mask length in \"{}\"", pattern);
  }
  return what + ": skipping this rule";
}

class CidrTable final : public Table {
 public:
  explicit CidrTable(std::string_view name) : Table("cidr", name, false) {}

  Result<void> open(const std::string& path, const OpenOptions& options) {
    watch(path);
    auto text = read_rules(path, options.max_file_size);
    if (!text) return std::unexpected(std::move(text).error());
    TRY(auto file, parse_pattern_file(*text, PatternSyntax::kWord, options.bad_rules, name()));
    for (auto& warning : file.warnings) warn(std::move(warning));
    rules_ = std::move(file.rules);
    for (auto& rule : rules_) {
      if (auto content = content_of(rule.result, options)) {
        rule.result = *std::move(content);
      } else {
        warn(at_line(name(), rule.line, content.error().text));
        networks_.emplace_back();
        continue;
      }
      auto network = parse_network(rule.pattern);
      if (!network) {
        std::string what = at_line(name(), rule.line, trouble_of(rule.pattern, network.error()));
        if (options.bad_rules == BadRules::kFail) return fail(Error::Kind::kConfig, what);
        warn(std::move(what));
      }
      networks_.push_back(network ? std::optional(*network) : std::nullopt);
    }
    return {};
  }

 private:
  Found do_find(std::string_view key) override {
    const auto address = key.starts_with('[') ? std::nullopt : parse_ip(key);
    if (!address) return std::nullopt;  // a host name or the like: no key of this table
    const auto matches = [&](std::size_t i) -> Result<bool> {
      // A rule that was skipped, or is about the other family, matches in neither sense.
      const auto& network = networks_[i];
      if (!network || network->address.family != address->family) return rules_[i].negated;
      return network->contains(*address);
    };
    TRY(const auto hit, first_match(rules_, matches));
    if (!hit) return std::nullopt;
    return rules_[*hit].result;
  }

  std::vector<PatternRule> rules_;
  std::vector<std::optional<Network>> networks_;  // one for each rule
};

}  // namespace

std::optional<IpAddress> parse_ip(std::string_view text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  // inet_pton() would stop at a NUL and take what is in front of it.
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != text.npos) return std::nullopt;
  const std::string copy(text);
  IpAddress out;
  out.family = text.find(':') == std::string_view::npos ? AF_INET : AF_INET6;
  if (::inet_pton(out.family, copy.c_str(), out.bytes.data()) != 1) return std::nullopt;
  return out;
}

bool Network::contains(const IpAddress& other) const {
  if (other.family != address.family) return false;
  for (unsigned i = 0; i * 8 < prefix; ++i) {
    if (((other.bytes.at(i) ^ address.bytes.at(i)) & mask_byte(prefix, i)) != 0) return false;
  }
  return true;
}

Result<Network> parse_network(std::string_view text) {
  const auto bad = [&](std::string_view what) {
    return fail(Error::Kind::kConfig, fmt::format("bad net/mask pattern: \"{}\": {}", text, what));
  };
  // The prefix may stand outside or, as some write it, inside the brackets.
  std::string_view inside = text;
  if (inside.starts_with('[') && inside.ends_with(']'))
    inside = inside.substr(1, inside.size() - 2);
  const auto [address, length] = split_at_first(inside, '/');
  const auto ip = parse_ip(address);
  if (!ip) return bad("no address");
  Network out{*ip, width(*ip)};
  if (address.size() != inside.size()) {
    const auto prefix = parse_integer<unsigned>(length, 0, width(*ip));
    if (!prefix) return bad("bad prefix length");
    out.prefix = *prefix;
  }
  IpAddress base = *ip;
  for (unsigned i = 0; i * 8 < width(base); ++i) {
    base.bytes.at(i) = static_cast<unsigned char>(base.bytes.at(i) & mask_byte(out.prefix, i));
  }
  if (base != *ip) {
    return fail(
        Error::Kind::kConfig,
        fmt::format("non-null host address bits in \"{}\", perhaps you should use \"{}/{}\" "
                    "instead",
                    text, print_ip(base), out.prefix));
  }
  return out;
}

OpenedTable open_cidr(std::string_view name, const OpenOptions& options) {
  auto table = std::make_unique<CidrTable>(name);
  DO(table->open(std::string(name), options));
  return table;
}

}  // namespace postern::table
