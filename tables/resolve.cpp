#include "tables/resolve.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/config/params/address.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/local.h"
#include "common/config/params/smtpd.h"
#include "common/config/params/verify.h"
#include "common/config/params/virtual.h"
#include "common/config/snapshot.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/policy/probe_sender.h"

namespace postern::tables {

namespace {

using ipc::tables::AddressClass;
using ipc::tables::Existence;
using ipc::tables::Resolved;

bool contains(const std::vector<std::string>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// "transport:nexthop" into its parts; a value without colon is a transport alone.
struct Route {
  std::string transport, nexthop;
};
Route split_route(std::string_view text) {
  const auto [transport, nexthop] = split_at_first(text, ':');
  Route route{std::string(trim(transport)), std::string(trim(nexthop))};
  // error(8): the next hop is the reason.
  const bool is_reason = route.transport == "error" || route.transport == "retry";
  if (is_reason && route.nexthop.empty()) route.nexthop = "Address is undeliverable";
  return route;
}

// Domain next hops are the same in any case of letters; a path or a text for `error` is not.
std::string tidy_nexthop(const std::string& transport, std::string nexthop) {
  if (transport == "error" || transport == "retry" || transport == "discard") return nexthop;
  if (nexthop.find('/') != std::string::npos) return nexthop;
  return to_lower(nexthop);
}

// Probes have a sender that changes with time.
bool is_prober(std::string_view local_part, const ResolveSettings& settings) {
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch());
  const std::string_view sender = settings.address_verify_sender;
  return policy::is_probe_sender(local_part, sender.substr(0, sender.rfind('@')),
                                 settings.address_verify_sender_ttl, now.count());
}

}  // namespace

ResolveSettings read_resolve_settings(const config::Values& values, config::Problems& problems) {
  const auto address = config::load<config::AddressParams>(values, problems);
  const auto cleanup = config::load<config::CleanupParams>(values, problems);
  const auto smtpd = config::load<config::SmtpdParams>(values, problems);
  const auto boxes = config::load<config::VirtualParams>(values, problems);
  const auto local = config::load<config::LocalParams>(values, problems);
  const auto& parents = smtpd.parent_domain_matches_subdomains;
  ResolveSettings s;
  s.rules.rewrite = {.append_at_myorigin = address.append_at_myorigin,
                     .append_dot_mydomain = address.append_dot_mydomain,
                     .swap_bangpath = address.swap_bangpath,
                     .allow_percent_hack = address.allow_percent_hack,
                     .myorigin = address.myorigin,
                     .mydomain = address.mydomain,
                     .remote_header_rewrite_domain = address.remote_header_rewrite_domain};
  s.rules.resolve_dequoted_address = address.resolve_dequoted_address;
  s.rules.resolve_null_domain = address.resolve_null_domain;
  s.rules.resolve_numeric_domain = address.resolve_numeric_domain;
  s.rules.allow_min_user = local.allow_min_user;
  s.rules.empty_address_recipient = address.empty_address_recipient;
  s.mydestination = DomainList(address.mydestination, contains(parents, "mydestination"), values);
  s.virtual_alias_domains =
      DomainList(cleanup.virtual_alias_domains, contains(parents, "virtual_alias_domains"), values);
  s.virtual_mailbox_domains = DomainList(address.virtual_mailbox_domains,
                                         contains(parents, "virtual_mailbox_domains"), values);
  s.relay_domains = DomainList(address.relay_domains, contains(parents, "relay_domains"), values);
  s.own_addresses = values.snapshot().own_addresses;
  for (const auto& extra : values.list("proxy_interfaces")) s.own_addresses.push_back(extra);
  s.local_transport = address.local_transport;
  s.virtual_transport = address.virtual_transport;
  s.relay_transport = address.relay_transport;
  s.default_transport = address.default_transport;
  s.relayhost = address.relayhost;
  s.transport_maps = address.transport_maps;
  s.sender_dependent_relayhost_maps = address.sender_dependent_relayhost_maps;
  s.sender_dependent_default_transport_maps = address.sender_dependent_default_transport_maps;
  s.local_recipient_maps = address.local_recipient_maps;
  s.relay_recipient_maps = address.relay_recipient_maps;
  s.virtual_mailbox_maps = boxes.virtual_mailbox_maps;
  s.virtual_alias_maps = cleanup.virtual_alias_maps;
  s.recipient_delimiter = address.recipient_delimiter;
  s.owner_request_special = local.owner_request_special;
  s.transport_matches_parents = contains(parents, "transport_maps");
  s.propagate_unmatched_extensions = address.propagate_unmatched_extensions;
  s.relocated_maps = address.relocated_maps;
  s.relocated_prefix_enable = address.relocated_prefix_enable;
  s.mapping = {.canonical_maps = address.canonical_maps,
               .sender_canonical_maps = address.sender_canonical_maps,
               .recipient_canonical_maps = address.recipient_canonical_maps,
               .canonical_classes = address.canonical_classes,
               .sender_canonical_classes = address.sender_canonical_classes,
               .recipient_canonical_classes = address.recipient_canonical_classes,
               .masquerade_domains = address.masquerade_domains,
               .masquerade_classes = address.masquerade_classes,
               .masquerade_exceptions = address.masquerade_exceptions,
               .sender_bcc_maps = cleanup.sender_bcc_maps,
               .recipient_bcc_maps = cleanup.recipient_bcc_maps};
  s.virtual_alias_mailbox_first = boxes.virtual_alias_mailbox_first;
  s.virtual_alias_expansion_limit = static_cast<std::size_t>(cleanup.virtual_alias_expansion_limit);
  s.virtual_alias_recursion_limit = static_cast<std::size_t>(cleanup.virtual_alias_recursion_limit);
  s.virtual_alias_address_length_limit =
      static_cast<std::size_t>(cleanup.virtual_alias_address_length_limit);
  s.empty_address_relayhost_key = address.empty_address_relayhost_maps_lookup_key;
  s.empty_address_transport_key = address.empty_address_default_transport_maps_lookup_key;
  s.double_bounce_sender = values.text("double_bounce_sender");
  s.address_verify_sender = values.text("address_verify_sender");
  s.address_verify_sender_ttl = values.duration("address_verify_sender_ttl");
  return s;
}

ResolveSettings read_probe_settings(const config::Values& values, config::Problems& problems) {
  ResolveSettings s = read_resolve_settings(values, problems);
  auto verify = config::load<config::VerifyParams>(values, problems);
  s.local_transport = std::move(verify.address_verify_local_transport);
  s.virtual_transport = std::move(verify.address_verify_virtual_transport);
  s.relay_transport = std::move(verify.address_verify_relay_transport);
  s.default_transport = std::move(verify.address_verify_default_transport);
  s.relayhost = std::move(verify.address_verify_relayhost);
  s.transport_maps = std::move(verify.address_verify_transport_maps);
  s.sender_dependent_relayhost_maps =
      std::move(verify.address_verify_sender_dependent_relayhost_maps);
  s.sender_dependent_default_transport_maps =
      std::move(verify.address_verify_sender_dependent_default_transport_maps);
  return s;
}

std::string Resolver::rewritten(const std::string& address, bool is_local_context) const {
  return mail::rewrite_address(
      settings_.rules.rewrite,
      is_local_context ? mail::RewriteContext::kLocal : mail::RewriteContext::kRemote, address);
}

Result<bool> Resolver::is_local_domain(const std::string& domain) {
  if (const auto literal = mail::literal_address(domain)) {
    if (contains(settings_.own_addresses, *literal)) return true;
  }
  return settings_.mydestination.matches(registry_, domain);
}

Resolved Resolver::resolve(const ipc::tables::Resolve& question) {
  const std::string address = rewritten(question.address, question.is_local_context);
  auto routed = route(address, question.sender);
  if (!routed) {
    Resolved failed;
    failed.address = address;
    failed.existence = Existence::kError;
    failed.error = routed.error().text;
    return failed;
  }
  Resolved resolved = *std::move(routed);
  if (question.check_existence && resolved.is_valid) {
    bool is_alias = false;
    auto exists = existence(resolved, is_alias);
    resolved.is_virtual_alias = is_alias;
    if (exists) {
      resolved.existence = *exists;
    } else {
      resolved.existence = Existence::kError;
      resolved.error = exists.error().text;
    }
  }
  resolved.generation = registry_.generation().value();
  return resolved;
}

void Resolver::judge_domain(const std::string& domain, bool is_local) {
  constexpr std::size_t kMaxJudged = 1000;
  if (domain.empty() || judged_domains_.size() >= kMaxJudged ||
      !judged_domains_.insert(domain).second) {
    return;
  }
  // What cannot be looked up now is told where the mail needs it.
  const auto is_in = [&](const DomainList& list) {
    return list.matches(registry_, domain).value_or(false);
  };
  const auto tell = [&](std::string_view first, std::string_view second) {
    log::warning("do not list domain {} in BOTH {} and {}", domain, first, second);
  };
  const bool is_alias = is_in(settings_.virtual_alias_domains);
  const bool is_mailbox = is_in(settings_.virtual_mailbox_domains);
  if (is_local) {
    if (is_alias) tell("mydestination", "virtual_alias_domains");
    if (is_mailbox) tell("mydestination", "virtual_mailbox_domains");
    return;
  }
  if (is_alias && is_mailbox) tell("virtual_alias_domains", "virtual_mailbox_domains");
  if ((is_alias || is_mailbox) && is_in(settings_.relay_domains)) {
    tell(is_alias ? "virtual_alias_domains" : "virtual_mailbox_domains", "relay_domains");
  }
}

Result<Resolved> Resolver::route(const std::string& address, const std::string& sender) {
  Resolved resolved;
  resolved.address = address;
  TRY(const auto form,
      mail::resolve_form(settings_.rules, address,
                         [this](const std::string& domain) { return is_local_domain(domain); }));
  resolved.is_valid = !form.is_error;
  resolved.has_sender_routing = form.is_routed;
  resolved.recipient = form.recipient;
  if (form.is_error) {
    resolved.transport = "error";
    resolved.nexthop = "5.1.3 bad address syntax";
    resolved.error = "bad address syntax";
    return resolved;
  }

  judge_domain(form.domain, form.is_local);
  std::string transport;
  std::string nexthop;
  if (form.is_local) {
    resolved.address_class = AddressClass::kLocal;
    const Route route = split_route(settings_.local_transport);
    transport = route.transport;
    nexthop = route.nexthop;
    // A local address has a domain of ours, whichever it was written with.
    if (resolved.recipient.find('@') == std::string::npos) {
      resolved.recipient += "@" + settings_.rules.rewrite.myorigin;
    }
  } else {
    TRY(const bool is_alias, settings_.virtual_alias_domains.matches(registry_, form.domain));
    TRY(const bool is_mailbox,
        is_alias ? Result<bool>(false)
                 : settings_.virtual_mailbox_domains.matches(registry_, form.domain));
    TRY(const bool is_relay, is_alias || is_mailbox
                                 ? Result<bool>(false)
                                 : settings_.relay_domains.matches(registry_, form.domain));
    if (is_alias) {
      resolved.address_class = AddressClass::kVirtualAlias;
      transport = "error";
      nexthop = "5.1.1 User unknown in virtual alias table";
    } else if (is_mailbox) {
      resolved.address_class = AddressClass::kVirtualMailbox;
      const Route route = split_route(settings_.virtual_transport);
      transport = route.transport;
      nexthop = route.nexthop.empty() ? form.domain : route.nexthop;
    } else {
      resolved.address_class = is_relay ? AddressClass::kRelay : AddressClass::kDefault;
      std::string configured = is_relay ? settings_.relay_transport : settings_.default_transport;
      std::string relay = settings_.relayhost;
      if (!is_relay && !settings_.sender_dependent_default_transport_maps.empty()) {
        resolved.depends_on_sender = true;
        const std::string key = sender.empty() ? settings_.empty_address_transport_key : sender;
        TRY(const auto own, find_address(settings_.sender_dependent_default_transport_maps, key));
        if (own && !equal_nocase(own->value, "DUNNO")) configured = own->value;
      }
      if (!settings_.sender_dependent_relayhost_maps.empty()) {
        resolved.depends_on_sender = true;
        const std::string key = sender.empty() ? settings_.empty_address_relayhost_key : sender;
        TRY(const auto own, find_address(settings_.sender_dependent_relayhost_maps, key));
        if (own && !equal_nocase(own->value, "DUNNO")) relay = own->value;
      }
      const Route route = split_route(configured);
      transport = route.transport;
      nexthop = !route.nexthop.empty() ? route.nexthop : !relay.empty() ? relay : form.domain;
    }
  }
  resolved.transport = transport;
  resolved.nexthop = nexthop;
  if (resolved.address_class != AddressClass::kVirtualAlias) {
    DO(apply_transport_maps(resolved, form.domain));
  }
  if (!settings_.relocated_maps.empty()) {
    // Whatever the class: an address that has moved is told so.
    TRY(const auto moved, find_address(settings_.relocated_maps, resolved.recipient));
    if (moved) {
      resolved.relocated = settings_.relocated_prefix_enable
                               ? "5.1.6 User has moved to " + moved->value
                               : moved->value;
      resolved.transport = "error";
      resolved.nexthop = resolved.relocated;
    }
  }
  resolved.nexthop = tidy_nexthop(resolved.transport, std::move(resolved.nexthop));
  return resolved;
}

Result<void> Resolver::apply_transport_maps(Resolved& resolved, const std::string& domain) {
  const auto& maps = settings_.transport_maps;
  if (maps.empty()) return {};
  std::string value;
  const auto try_key = [&](std::string_view key, bool is_partial) -> Result<bool> {
    TRY(auto hit, registry_.find_key(maps, key, is_partial));
    if (!hit) return false;
    value = std::move(hit->value);
    return true;
  };
  bool found = false;
  const std::string& recipient = resolved.recipient;
  // As it is written, then as it is meant.
  const auto try_address = [&](const std::string& address, bool is_partial) -> Result<bool> {
    const std::string written = mail::quote_address(address);
    TRY(const bool is_found, try_key(written, is_partial));
    if (is_found || written == address) return is_found;
    return try_key(address, is_partial);
  };
  TRY(found, try_address(recipient, false));
  if (!found && !settings_.recipient_delimiter.empty()) {
    const auto stripped = mail::strip_extension(recipient, settings_.recipient_delimiter,
                                                settings_.owner_request_special);
    if (!stripped.extension.empty()) {
      TRY(found, try_address(stripped.address, true));
    }
  }
  std::string_view rest = domain;
  for (bool is_whole = true; !found && !rest.empty(); is_whole = false) {
    TRY(found, try_key(rest, true));
    if (found) break;
    // Then the parents: .example.org, or example.org where parents match.
    const auto dot =
        is_whole || settings_.transport_matches_parents ? rest.find('.') : rest.find('.', 1);
    if (dot == std::string_view::npos || rest.starts_with('[')) break;
    rest.remove_prefix(settings_.transport_matches_parents ? dot + 1 : dot);
  }
  if (!found) {
    TRY(found, try_key("*", true));
  }
  if (!found) return {};
  const Route route = split_route(value);
  if (!route.transport.empty()) {
    resolved.transport = route.transport;
    resolved.nexthop = route.nexthop.empty() ? domain : route.nexthop;
  } else if (!route.nexthop.empty()) {
    resolved.nexthop = route.nexthop;
  }
  return {};
}

Result<std::optional<Resolver::Match>> Resolver::find_address(
    const std::vector<std::string>& tables, const std::string& address, KeyForm form) {
  if (tables.empty()) return std::nullopt;
  const auto parts = mail::split_address(address);
  const auto local = mail::split_extension(parts.local_part, settings_.recipient_delimiter,
                                           settings_.owner_request_special);
  const std::string extension =
      local.delimiter == 0 ? std::string() : local.delimiter + std::string(local.extension);
  const std::string domain = parts.has_domain ? "@" + std::string(parts.domain) : std::string();
  // The name alone stands for an address of this machine.
  bool is_ours = !parts.has_domain;
  if (parts.has_domain) {
    const std::string name(parts.domain);
    if (equal_nocase(name, settings_.rules.rewrite.myorigin)) {
      is_ours = true;
    } else {
      TRY(is_ours, is_local_domain(name));
    }
  }
  struct Attempt {
    std::string key;
    bool is_partial;
    std::string unmatched;
  };
  std::vector<Attempt> attempts;
  // As it is written (`"a..b"@x`), then as it is meant.
  const auto try_local_part = [&](std::string_view local_part, std::string_view rest,
                                  bool is_partial, const std::string& unmatched) {
    const std::string written = mail::quote_local_part(local_part);
    attempts.push_back({fmt::format("{}{}", written, rest), is_partial, unmatched});
    if (form == KeyForm::kBoth && written != local_part) {
      attempts.push_back({fmt::format("{}{}", local_part, rest), is_partial, unmatched});
    }
  };
  try_local_part(parts.local_part, domain, false, {});
  if (!extension.empty()) try_local_part(local.user, domain, true, extension);
  if (is_ours && parts.has_domain) {
    try_local_part(parts.local_part, {}, true, {});
    if (!extension.empty()) try_local_part(local.user, {}, true, extension);
  }
  if (parts.has_domain) attempts.push_back({domain, true, {}});
  for (auto& attempt : attempts) {
    if (attempt.key.empty()) continue;
    TRY(auto hit, registry_.find_key(tables, attempt.key, attempt.is_partial));
    if (hit) return Match{std::move(hit->value), std::move(attempt.unmatched)};
  }
  return std::nullopt;
}

Result<Existence> Resolver::existence(const Resolved& resolved, bool& is_alias) {
  const auto parts = mail::split_address(resolved.recipient);
  TRY(const auto alias, find_address(settings_.virtual_alias_maps, resolved.recipient));
  is_alias = alias.has_value();
  if (is_alias) return Existence::kKnown;
  TRY(const bool is_canonical, is_canonical_alias(resolved.recipient));
  if (is_canonical) return Existence::kKnown;
  if (!resolved.relocated.empty()) return Existence::kUnknown;
  const std::vector<std::string>* list = nullptr;
  switch (resolved.address_class) {
    case AddressClass::kLocal:
      // Always there, whoever reads it (RFC 5321 4.5.1); and the address that probes come from.
      if (equal_nocase(parts.local_part, "postmaster") ||
          equal_nocase(parts.local_part, settings_.double_bounce_sender) ||
          is_prober(parts.local_part, settings_) ||
          equal_nocase(parts.local_part, settings_.rules.empty_address_recipient)) {
        return Existence::kKnown;
      }
      list = &settings_.local_recipient_maps;
      break;
    case AddressClass::kVirtualAlias:
      return Existence::kUnknown;
    case AddressClass::kVirtualMailbox:
      list = &settings_.virtual_mailbox_maps;
      break;
    case AddressClass::kRelay:
      list = &settings_.relay_recipient_maps;
      break;
    case AddressClass::kDefault:
    case AddressClass::kNone:
      return Existence::kUnchecked;
  }
  if (list->empty()) return Existence::kUnchecked;
  TRY(const auto match, find_address(*list, resolved.recipient));
  return match ? Existence::kKnown : Existence::kUnknown;
}

}  // namespace postern::tables
