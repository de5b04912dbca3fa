#include "tables/mapping.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "tables/resolve.h"

namespace postern::tables {

namespace {

using ipc::tables::AddressRole;

// An address that is still another one after so many look-ups goes round in circles.
constexpr unsigned kMaxMappings = 1000;

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool is_sender(AddressRole role) {
  return role == AddressRole::kEnvelopeSender || role == AddressRole::kHeaderSender;
}

}  // namespace

std::string_view class_name(AddressRole role) {
  switch (role) {
    case AddressRole::kEnvelopeSender:
      return "envelope_sender";
    case AddressRole::kEnvelopeRecipient:
      return "envelope_recipient";
    case AddressRole::kHeaderSender:
      return "header_sender";
    case AddressRole::kHeaderRecipient:
      return "header_recipient";
    case AddressRole::kGeneric:
    case AddressRole::kNone:
      break;
  }
  return {};
}

std::string masquerade(const std::vector<std::string>& domains,
                       const std::vector<std::string>& exceptions, std::string_view address) {
  const auto parts = mail::split_address(address);
  if (!parts.has_domain) return std::string(address);
  for (const auto& name : exceptions) {
    if (equal_nocase(name, parts.local_part)) return std::string(address);
  }
  for (const std::string_view word : domains) {
    const std::string_view domain = trim_left(word, "!");
    if (domain.empty()) continue;
    const bool is_kept = (word.size() - domain.size()) % 2 == 1;
    if (equal_nocase(domain, parts.domain)) break;
    if (parts.domain.size() <= domain.size() || !ends_with_nocase(parts.domain, domain) ||
        parts.domain[parts.domain.size() - domain.size() - 1] != '.') {
      continue;
    }
    if (is_kept) break;
    return fmt::format("{}@{}", parts.local_part, domain);
  }
  return std::string(address);
}

std::vector<std::string> addresses_of(std::string_view value) {
  using Kind = mail::AddressList::Item::Kind;
  const auto list = mail::AddressList::parse(value);
  std::vector<std::string> addresses;
  Kind previous = Kind::kComma;
  for (const auto& item : list.items()) {
    if (item.kind == Kind::kAddress) addresses.push_back(item.text);
    if (item.kind == Kind::kClose && previous == Kind::kOpen) addresses.emplace_back();
    previous = item.kind;
  }
  return addresses;
}

std::string apply_value(std::string_view address, std::string_view value,
                        std::string_view extension) {
  if (value.starts_with('@')) {
    return fmt::format("{}{}", mail::split_address(address).local_part, value);
  }
  if (extension.empty()) return std::string(value);
  const auto parts = mail::split_address(value);
  return fmt::format("{}{}{}{}", parts.local_part, extension, parts.has_domain ? "@" : "",
                     parts.domain);
}

bool Resolver::propagates(std::string_view what) const {
  return contains(settings_.propagate_unmatched_extensions, what);
}

Result<std::string> Resolver::map_address(std::string_view name,
                                          const std::vector<std::string>& tables,
                                          std::string address, bool propagates, bool once) {
  for (unsigned i = 0; i < kMaxMappings; ++i) {
    if (address.empty()) return address;
    TRY(const auto match, find_address(tables, address, KeyForm::kWritten));
    if (!match) return address;
    const auto values = addresses_of(match->value);
    if (values.empty()) {
      log::warning("{}: empty or malformed result for \"{}\"", join(tables, " "), address);
      return address;
    }
    if (values.size() > 1) {
      log::warning("{}: multi-valued entry for \"{}\": the first address is used",
                   join(tables, " "), address);
    }
    std::string next = apply_value(address, mail::unquote_address(values.front()),
                                   propagates ? match->extension : std::string());
    next = rewritten(next, true);
    if (once || equal_nocase(next, address)) return next;
    address = std::move(next);
  }
  // As Postfix does: the mail is not held up by a circle, it has some address of it.
  log::warning("unreasonable {} map nesting for {}", name, address);
  return address;
}

Result<std::string> Resolver::mapped(std::string address, AddressRole role) {
  const MappingSettings& maps = settings_.mapping;
  if (address.empty()) return address;
  const std::string_view name = class_name(role);
  const bool keeps_extension = propagates("canonical");
  const std::string_view own_name =
      is_sender(role) ? "sender_canonical_maps" : "recipient_canonical_maps";
  const auto& own_maps =
      is_sender(role) ? maps.sender_canonical_maps : maps.recipient_canonical_maps;
  const auto& own_classes =
      is_sender(role) ? maps.sender_canonical_classes : maps.recipient_canonical_classes;
  if (!own_maps.empty() && contains(own_classes, name)) {
    TRY(address, map_address(own_name, own_maps, std::move(address), keeps_extension));
  }
  if (!maps.canonical_maps.empty() && contains(maps.canonical_classes, name)) {
    TRY(address,
        map_address("canonical_maps", maps.canonical_maps, std::move(address), keeps_extension));
  }
  if (!maps.masquerade_domains.empty() && contains(maps.masquerade_classes, name)) {
    address = masquerade(maps.masquerade_domains, maps.masquerade_exceptions, address);
  }
  return address;
}

Result<std::vector<std::string>> Resolver::bcc_for(const std::vector<std::string>& tables,
                                                   const std::string& address) {
  if (tables.empty() || address.empty()) return std::vector<std::string>();
  TRY(const auto match, find_address(tables, address));
  if (!match) return std::vector<std::string>();
  std::vector<std::string> result;
  for (const auto& each : addresses_of(match->value)) {
    result.push_back(apply_value(address, mail::unquote_address(each), {}));
  }
  return result;
}

Result<bool> Resolver::is_canonical_alias(const std::string& address) {
  for (const auto* tables :
       {&settings_.mapping.recipient_canonical_maps, &settings_.mapping.canonical_maps}) {
    TRY(const auto match, find_address(*tables, address));
    if (match) return true;
  }
  return false;
}

Result<ipc::tables::Mapped> Resolver::map(const ipc::tables::Map& question) {
  ipc::tables::Mapped answer;
  for (const auto& item : question.items) {
    std::string address = item.address;
    if (item.role == AddressRole::kGeneric) {
      if (!address.empty()) {
        TRY(address, map_address("smtp_generic_maps", question.generic_maps, std::move(address),
                                 propagates("generic"), true));
      }
    } else {
      TRY(address, mapped(std::move(address), item.role));
    }
    if (item.role == AddressRole::kEnvelopeSender) {
      TRY(answer.sender_bcc, bcc_for(settings_.mapping.sender_bcc_maps, address));
    }
    answer.addresses.push_back(std::move(address));
  }
  return answer;
}

}  // namespace postern::tables
