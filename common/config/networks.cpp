#include "common/config/networks.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::config {

namespace {

constexpr unsigned kMaxFileDepth = 10;  // a /file may name another one
constexpr std::size_t kMaxPatterns = 1'000'000;

bool agrees(const IpAddress& a, const IpAddress& b, unsigned prefix) {
  if (a.is_v6 != b.is_v6) return false;
  const std::size_t whole = prefix / 8;
  if (std::memcmp(a.bytes.data(), b.bytes.data(), whole) != 0) return false;
  const unsigned rest = prefix % 8;
  if (rest == 0) return true;
  const unsigned mask = 0xffU << (8 - rest) & 0xffU;
  return ((static_cast<unsigned>(a.bytes[whole]) ^ static_cast<unsigned>(b.bytes[whole])) & mask) ==
         0;
}

std::unexpected<Error> bad(std::string text) { return fail(Error::Kind::kConfig, std::move(text)); }

}  // namespace

std::optional<IpAddress> parse_ip_address(std::string_view text) {
  const bool is_bracketed = text.starts_with('[') && text.ends_with(']') && text.size() >= 2;
  if (is_bracketed) text = text.substr(1, text.size() - 2);
  if (starts_with_nocase(text, "IPv6:")) text.remove_prefix(5);
  if (text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
  const std::string terminated(text);
  IpAddress address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) return address;
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) != 1) return std::nullopt;
  static constexpr std::array<unsigned char, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(kMapped.begin(), kMapped.end(), address.bytes.begin())) {
    IpAddress v4;
    std::copy(address.bytes.begin() + 12, address.bytes.end(), v4.bytes.begin());
    return v4;
  }
  address.is_v6 = true;
  return address;
}

std::string to_string(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(address.is_v6 ? AF_INET6 : AF_INET, address.bytes.data(), text.data(), text.size());
  return text.data();
}

IpAddress network_of(const IpAddress& address, unsigned prefix) {
  IpAddress network = address;
  for (unsigned bit = prefix; bit < address.bits(); ++bit) {
    network.bytes[bit / 8] =
        static_cast<unsigned char>(network.bytes[bit / 8] & ~(0x80U >> bit % 8));
  }
  return network;
}

std::string to_string(const Network& network) {
  const std::string address = to_string(network.address);
  if (network.address.is_v6) return fmt::format("[{}]/{}", address, network.prefix);
  return fmt::format("{}/{}", address, network.prefix);
}

Result<Network> parse_network(std::string_view text) {
  const auto [place, length] = split_at_last(text, '/');
  const bool has_prefix = text.find('/') != std::string_view::npos;
  const auto address = parse_ip_address(has_prefix ? place : text);
  if (!address) return bad(fmt::format("bad network pattern: \"{:.80}\"", text));
  Network network{*address, address->bits()};
  if (!has_prefix) return network;
  // An IPv4 network that is written as part of IPv6: [::ffff:127.0.0.0]/104 in many a mynetworks.
  const bool is_mapped = !address->is_v6 && place.find(':') != std::string_view::npos;
  constexpr unsigned kMappedBits = 96;
  auto prefix = is_mapped ? parse_integer<unsigned>(length, kMappedBits, 128U)
                          : parse_integer<unsigned>(length, 0U, address->bits());
  if (prefix && is_mapped) *prefix -= kMappedBits;
  if (!prefix) return bad(fmt::format("bad prefix length in network pattern: \"{:.80}\"", text));
  network.prefix = *prefix;
  if (network_of(*address, *prefix) != *address) {
    return bad(fmt::format("host bits behind the prefix in \"{:.80}\"; did you mean \"{}\"?", text,
                           to_string(Network{network_of(*address, *prefix), *prefix})));
  }
  return network;
}

Networks Networks::parse(std::string_view text, const FileReader& read_file,
                         std::vector<std::string>& faults) {
  Networks networks;
  networks.add(text, false, read_file, 0, faults);
  return networks;
}

void Networks::add(std::string_view text, bool is_negated, const FileReader& read_file,
                   unsigned depth, std::vector<std::string>& faults) {
  while (true) {
    std::string_view word = next_word_braced(text);
    if (word.empty()) return;
    if (patterns_.size() >= kMaxPatterns) {
      faults.emplace_back("too many patterns");
      return;
    }
    bool negated = is_negated;
    while (word.starts_with('!')) {
      negated = !negated;
      word.remove_prefix(1);
    }
    if (word.starts_with('/')) {
      if (depth >= kMaxFileDepth) {
        faults.push_back(fmt::format("{}: files name each other too deeply", word));
        continue;
      }
      const auto content = read_file ? read_file(word) : std::nullopt;
      if (!content) {
        faults.push_back(fmt::format("{}: cannot be read", word));
        continue;
      }
      // Comments reach to the end of their line.
      std::string patterns;
      for (const std::string_view line : split_fields(*content, '\n')) {
        patterns += line.substr(0, line.find('#'));
        patterns += '\n';
      }
      add(patterns, negated, read_file, depth + 1, faults);
      continue;
    }
    Pattern pattern;
    pattern.is_negated = negated;
    if (auto network = parse_network(word)) {
      pattern.network = network->address;
      pattern.prefix = network->prefix;
    } else if (const std::size_t colon = word.find(':');
               colon != std::string_view::npos && word.front() != '[' && is_alpha(word.front()) &&
               !parse_ip_address(word.substr(0, word.find('/')))) {
      pattern.table = word;
    } else {
      faults.push_back(network.error().text);
      continue;
    }
    patterns_.push_back(std::move(pattern));
  }
}

Networks::Match Networks::match(const IpAddress& address, std::size_t from) const {
  using Kind = Match::Kind;
  for (std::size_t i = from; i < patterns_.size(); ++i) {
    const Pattern& pattern = patterns_[i];
    const Kind found = pattern.is_negated ? Kind::kNo : Kind::kYes;
    if (!pattern.table.empty()) return {Kind::kAskTable, pattern.table, found, i + 1};
    if (agrees(pattern.network, address, pattern.prefix)) return {found, {}, Kind::kNo, 0};
  }
  return {};
}

Result<bool> Networks::matches(const IpAddress& address, const HasKey& has_key) const {
  Match match = this->match(address);
  while (match.kind == Match::Kind::kAskTable) {
    TRY(const bool is_found, has_key(match.table, to_string(address)));
    if (is_found) return match.if_found == Match::Kind::kYes;
    match = this->match(address, match.next);
  }
  return match.kind == Match::Kind::kYes;
}

bool Networks::contains(const IpAddress& address) const {
  Match match = this->match(address);
  while (match.kind == Match::Kind::kAskTable) match = this->match(address, match.next);
  return match.kind == Match::Kind::kYes;
}

std::vector<std::string_view> Networks::tables() const {
  std::vector<std::string_view> tables;
  for (const Pattern& pattern : patterns_) {
    if (!pattern.table.empty()) tables.push_back(pattern.table);
  }
  return tables;
}

}  // namespace postern::config
