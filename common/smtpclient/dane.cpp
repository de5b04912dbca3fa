#include "common/smtpclient/dane.h"

#include <fmt/format.h>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/tls/certificate.h"

namespace postern::smtpclient {

namespace {

constexpr std::size_t kMaxRecords = 100;

loop::Task<Tlsa> find_at(Questioner ask, std::string base, std::uint16_t port) {
  Tlsa found;
  found.base = base;
  ipc::resolver::Query question;
  question.name = fmt::format("_{}._tcp.{}", port, base);
  question.type = "TLSA";
  const auto answer = co_await ask(std::move(question));
  if (!answer || answer->status == ipc::resolver::Status::kTemporary) {
    found.status = TlsaStatus::kFailed;
    co_return found;
  }
  if (answer->status != ipc::resolver::Status::kFound || !answer->is_authenticated) {
    co_return found;
  }
  found.status = TlsaStatus::kUnusable;
  for (const auto& record : answer->records) {
    auto tlsa = parse_tlsa(record.data);
    if (!tlsa || !tls::is_usable(*tlsa) || found.records.size() >= kMaxRecords) continue;
    found.records.push_back(*std::move(tlsa));
    found.status = TlsaStatus::kUsable;
  }
  co_return found;
}

}  // namespace

std::optional<dns::Tlsa> parse_tlsa(std::string_view text) {
  const auto words = split_fields(text, ' ');
  if (words.size() != 4) return std::nullopt;
  const auto usage = parse_integer<std::uint8_t>(words[0]);
  const auto selector = parse_integer<std::uint8_t>(words[1]);
  const auto type = parse_integer<std::uint8_t>(words[2]);
  auto data = hex_decode(words[3]);
  if (!usage || !selector || !type || !data) return std::nullopt;
  return dns::Tlsa{*usage, *selector, *type, *std::move(data)};
}

loop::Task<Tlsa> find_tlsa(Questioner ask, Endpoint endpoint, bool is_forced) {
  const DnsTrust& trust = endpoint.trust;
  if (!trust.is_host_secure && !is_forced) co_return Tlsa{};
  // RFC 7672 2.2.2: where a signed alias leads first, then the name as it stood.
  if (trust.is_host_secure && !trust.canonical_name.empty()) {
    Tlsa found = co_await find_at(ask, trust.canonical_name, endpoint.port);
    if (found.status != TlsaStatus::kNone) co_return found;
  }
  Tlsa found = co_await find_at(ask, endpoint.name, endpoint.port);
  co_return found;
}

}  // namespace postern::smtpclient
