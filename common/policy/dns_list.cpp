#include "common/policy/dns_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "common/base/number.h"
#include "common/dns/wire.h"

namespace postern::policy {

namespace {

// Parts in one pair of brackets.
constexpr std::size_t kMaxParts = 256;

std::optional<std::uint8_t> take_octet(std::string_view& text) {
  unsigned value = 0;
  std::size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9' && digits < 4) {
    value = value * 10 + static_cast<unsigned>(text[digits++] - '0');
  }
  if (digits == 0 || digits > 3 || value > 255) return std::nullopt;
  text.remove_prefix(digits);
  return static_cast<std::uint8_t>(value);
}

bool take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

}  // namespace

Result<DnsListFilter> DnsListFilter::parse(std::string_view text) {
  const auto bad = [whole = std::string(text)](std::string_view why) {
    return fail(Error::Kind::kConfig, fmt::format("bad address filter \"{}\": {}", whole, why));
  };
  DnsListFilter filter;
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0 && !take(text, ".")) return bad("need four numbers with dots");
    auto& ranges = filter.octets_[i];
    if (!take(text, "[")) {
      const auto octet = take_octet(text);
      if (!octet) return bad("need a number from 0 to 255");
      ranges.push_back({*octet, *octet});
      continue;
    }
    do {
      const auto from = take_octet(text);
      if (!from) return bad("need a number from 0 to 255");
      auto to = from;
      if (take(text, "..")) to = take_octet(text);
      if (!to) return bad("need a number from 0 to 255");
      if (*to < *from) return bad("a range runs backwards");
      if (ranges.size() == kMaxParts) return bad("too many parts");
      ranges.push_back({*from, *to});
    } while (take(text, ";"));
    if (!take(text, "]")) return bad("missing ]");
  }
  if (!text.empty()) return bad("unexpected text at the end");
  return filter;
}

bool DnsListFilter::matches(const std::array<std::uint8_t, 4>& address) const {
  for (std::size_t i = 0; i < 4; ++i) {
    const auto fits = [octet = address[i]](const Range& range) {
      return range.from <= octet && octet <= range.to;
    };
    if (!std::any_of(octets_[i].begin(), octets_[i].end(), fits)) return false;
  }
  return true;
}

Result<DnsList> parse_dns_list(std::string_view text, DnsListBy by, bool is_allow_list) {
  DnsList list;
  list.by = by;
  list.is_allow_list = is_allow_list;
  const auto equals = text.find('=');
  list.zone = text.substr(0, equals);
  while (list.zone.ends_with('.')) list.zone.pop_back();
  if (!dns::is_host_name(list.zone)) {
    return fail(Error::Kind::kConfig, fmt::format("\"{}\" is no domain name", list.zone));
  }
  if (equals != std::string_view::npos) {
    list.filter_text = text.substr(equals + 1);
    TRY(auto filter, DnsListFilter::parse(list.filter_text));
    list.filter.push_back(std::move(filter));
  }
  return list;
}

DnsListAnswer judge_dns_list_answer(const DnsList& list, std::string_view address) {
  const auto parsed = dns::parse_address(address);
  if (!parsed || parsed->is_ipv6 || parsed->bytes[0] != 127) return DnsListAnswer::kNoListCode;
  const std::array<std::uint8_t, 4> octets = {parsed->bytes[0], parsed->bytes[1], parsed->bytes[2],
                                              parsed->bytes[3]};
  if (octets[1] == 255 && octets[2] == 255) return DnsListAnswer::kNotServed;
  if (!list.filter.empty() && !list.filter.front().matches(octets)) {
    return DnsListAnswer::kOtherCode;
  }
  return DnsListAnswer::kListed;
}

}  // namespace postern::policy
