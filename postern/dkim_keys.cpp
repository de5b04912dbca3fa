#include "postern/dkim_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/config/load.h"
#include "common/mailauth/local_resolver.h"
#include "common/mailauth/tag_list.h"
#include "common/tls/signing_keys.h"

namespace postern::control {

using config::DkimKey;
using mailauth::PrivateKey;
using mailauth::SignAlgorithm;

namespace {

constexpr std::size_t kMaxFile = std::size_t{16} << 20;

// What stands between the fixed parts of the pattern, for a path that fits.
std::optional<DkimKey> key_at(std::string_view pattern, const std::string& path) {
  DkimKey key;
  key.path = path;
  std::string_view left = path;
  while (!pattern.empty()) {
    const std::size_t dollar = std::min(pattern.find('$'), pattern.size());
    if (!left.starts_with(pattern.substr(0, dollar))) return std::nullopt;
    left.remove_prefix(dollar);
    pattern.remove_prefix(dollar);
    if (pattern.empty()) break;
    std::string* place = nullptr;
    for (const auto& [name, member] :
         {std::pair{std::string_view("$domain"), &key.domain}, {"$selector", &key.selector}}) {
      if (!pattern.starts_with(name)) continue;
      place = member;
      pattern.remove_prefix(name.size());
      break;
    }
    if (place == nullptr) return std::nullopt;
    const std::string_view next = pattern.substr(0, pattern.find('$'));
    const std::size_t end = next.empty() ? left.size() : left.find(next);
    if (end == std::string_view::npos) return std::nullopt;
    *place = left.substr(0, end);
    left.remove_prefix(end);
  }
  if (!left.empty() || key.domain.empty() || key.selector.empty()) return std::nullopt;
  return key;
}

}  // namespace

std::string dkim_key_pattern(const config::Values& values) {
  return replace_all(values.text("dkim_key_path"), "$config_directory",
                     values.snapshot().config_directory);
}

std::string dkim_record_name(const DkimKey& key) {
  return fmt::format("{}._domainkey.{}", key.selector, key.domain);
}

std::string dkim_record(const PrivateKey& key) {
  const bool is_rsa = key.algorithm() == SignAlgorithm::kRsaSha256;
  return fmt::format("v=DKIM1; k={}; p={}", is_rsa ? "rsa" : "ed25519",
                     base64_encode(key.public_bytes()));
}

std::string dkim_zone_line(const DkimKey& key, std::string_view record) {
  constexpr std::size_t kPiece = 250;
  std::string line = dkim_record_name(key) + ". IN TXT (";
  for (std::size_t at = 0; at < record.size(); at += kPiece) {
    line += fmt::format(" \"{}\"", record.substr(at, kPiece));
  }
  return line + " )";
}

Result<PrivateKey> read_dkim_key(const std::string& path) {
  TRY(const std::string pem, config::read_file(path, kMaxFile));
  auto key = PrivateKey::parse_pem(pem);
  if (!key) return fail_in(path, key.error());
  return key;
}

std::vector<DkimKey> dkim_keys(const config::Values& values) {
  const std::string pattern = dkim_key_pattern(values);
  std::vector<DkimKey> found;
  if (const auto path = config::dkim_table_file(values.text("dkim_key_table"))) {
    std::vector<unsigned> wrong;
    const auto text = config::read_file(*path, kMaxFile);
    for (auto& [name, key] : config::parse_dkim_keys(text.value_or(""), wrong)) {
      found.push_back(std::move(key));
    }
  }
  for (const auto& path : tls::find_key_files(pattern)) {
    if (auto key = key_at(pattern, path)) found.push_back(*std::move(key));
  }
  return found;
}

Published find_published(const DkimKey& key, const PrivateKey& read) {
  const auto answer = mailauth::ask_dns(dkim_record_name(key), dns::RecordType::kTxt);
  if (answer.status == mailauth::DnsStatus::kTemporary) return Published::kUnknown;
  if (answer.records.empty()) return Published::kNo;
  const bool is_there = std::ranges::any_of(answer.records, [&](const std::string& text) {
    const auto tags = mailauth::TagList::parse(text);
    const auto bytes = tags ? base64_decode_folded(tags->value("p").value_or("")) : std::nullopt;
    return bytes && *bytes == read.public_bytes();
  });
  return is_there ? Published::kYes : Published::kOther;
}

std::string_view words_of(Published published) {
  switch (published) {
    case Published::kYes:
      return "published";
    case Published::kNo:
      return "not published";
    case Published::kOther:
      return "DNS has another key";
    case Published::kUnknown:
      return "DNS does not answer";
  }
  return "";
}

}  // namespace postern::control
