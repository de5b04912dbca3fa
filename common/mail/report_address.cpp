#include "common/mail/report_address.h"

#include <algorithm>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/mail/address.h"

namespace postern::mail {

namespace {

constexpr std::size_t kMaxUri = 1000;
constexpr std::string_view kMailto = "mailto:";
constexpr std::string_view kHttps = "https://";
constexpr std::string_view kTlsrptVersion = "TLSRPTv1";

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const auto byte = i + 2 < text.size() ? hex_decode(text.substr(i + 1, 2)) : std::nullopt;
    if (!byte) return std::nullopt;
    out += *byte;
    i += 2;
  }
  return out;
}

// RFC 3986 2: what a URI has to encode, and a header field must not have.
bool is_plain(std::string_view text) {
  constexpr std::string_view kExcluded = "\"<>\\";
  return std::ranges::all_of(text, [&](char c) {
    return c > ' ' && c < '\x7f' && kExcluded.find(c) == std::string_view::npos;
  });
}

// "10m": units of 1024. Nothing where it is no size.
std::optional<std::uint64_t> parse_size(std::string_view text) {
  unsigned shift = 0;
  if (!text.empty()) {
    const auto unit = std::string_view("kmgt").find(static_cast<char>(text.back() | 0x20));
    if (unit != std::string_view::npos) {
      shift = 10 * static_cast<unsigned>(unit + 1);
      text.remove_suffix(1);
    }
  }
  const auto number = parse_integer<std::uint64_t>(text, 1, std::uint64_t{1} << 20);
  if (!number) return std::nullopt;
  return *number << shift;
}

std::optional<ReportAddress> parse_mail(std::string_view rest) {
  ReportAddress found;
  // Header fields of mailto: are none of ours to set.
  rest = split_at_first(rest, '?').first;
  const auto address = percent_decode(rest);
  if (!address || !is_plain(*address)) return std::nullopt;
  const auto at = address->rfind('@');
  if (at == std::string::npos || at == 0) return std::nullopt;
  if (address->find_first_of("@<>,;:()[]") != at) return std::nullopt;
  found.host = to_lower(address->substr(at + 1));
  if (!is_valid_hostname(found.host)) return std::nullopt;
  found.target = *address;
  return found;
}

std::optional<ReportAddress> parse_https(std::string_view rest) {
  ReportAddress found;
  found.kind = ReportAddress::Kind::kHttps;
  if (!is_plain(rest)) return std::nullopt;
  const auto end = std::min(rest.find_first_of("/?#"), rest.size());
  std::string_view authority = rest.substr(0, end);
  if (authority.ends_with(":443")) authority.remove_suffix(4);
  found.host = to_lower(authority);
  if (!is_valid_hostname(found.host)) return std::nullopt;
  found.target = std::string(kHttps) + found.host;
  const std::string_view path = split_at_first(rest.substr(end), '#').first;
  if (!path.starts_with('/')) found.target += '/';
  found.target += path;
  return found;
}

}  // namespace

std::optional<ReportAddress> parse_report_address(std::string_view uri) {
  uri = trim(uri);
  if (uri.size() > kMaxUri) return std::nullopt;
  std::uint64_t max_size = 0;
  // A `!` of the address itself has to be written %21.
  if (const auto mark = uri.rfind('!'); mark != std::string_view::npos) {
    const auto size = parse_size(uri.substr(mark + 1));
    if (!size) return std::nullopt;
    max_size = *size;
    uri = uri.substr(0, mark);
  }
  std::optional<ReportAddress> found;
  if (starts_with_nocase(uri, kMailto)) found = parse_mail(uri.substr(kMailto.size()));
  if (starts_with_nocase(uri, kHttps)) found = parse_https(uri.substr(kHttps.size()));
  if (found) found->max_size = max_size;
  return found;
}

std::vector<ReportAddress> parse_report_addresses(std::string_view list) {
  std::vector<ReportAddress> found;
  for (const auto uri : split_fields(list, ',')) {
    if (found.size() >= kMaxReportAddresses) break;
    auto address = parse_report_address(uri);
    if (address && std::ranges::find(found, *address) == found.end()) {
      found.push_back(*std::move(address));
    }
  }
  return found;
}

std::optional<std::vector<ReportAddress>> parse_tlsrpt_record(std::string_view text) {
  const auto fields = split_fields(text, ';');
  const auto [version_name, version] = split_at_first(fields.front(), '=');
  if (trim(version_name) != "v" || trim(version) != kTlsrptVersion) return std::nullopt;
  std::vector<ReportAddress> found;
  for (std::size_t i = 1; i < fields.size(); ++i) {
    const auto [name, value] = split_at_first(fields[i], '=');
    if (trim(name) == "rua" && found.empty()) found = parse_report_addresses(value);
  }
  return found;
}

std::vector<ReportAddress> find_tlsrpt_addresses(const std::vector<std::string>& texts) {
  std::vector<std::vector<ReportAddress>> records;
  for (const auto& text : texts) {
    if (auto record = parse_tlsrpt_record(text)) records.push_back(*std::move(record));
  }
  return records.size() == 1 ? std::move(records.front()) : std::vector<ReportAddress>{};
}

}  // namespace postern::mail
