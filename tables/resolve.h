// resolve.h - address rewriting and resolution (trivial-rewrite(8)): from an address to its class,
// transport, next hop and recipient, and whether somebody is there.

#pragma once

#include <string>
#include <vector>

#include "common/base/keyed_hash.h"
#include "common/config/values.h"
#include "common/ipc/tables.h"
#include "common/mail/rewrite.h"
#include "tables/domain_list.h"
#include "tables/mapping.h"
#include "tables/registry.h"

namespace postern::tables {

// What resolution takes from main.cf; names are those of postconf(5).
struct ResolveSettings {
  mail::ResolveRules rules;
  DomainList mydestination;
  DomainList virtual_alias_domains;
  DomainList virtual_mailbox_domains;
  DomainList relay_domains;
  std::vector<std::string> own_addresses;  // interfaces and proxy_interfaces
  std::string local_transport, virtual_transport, relay_transport, default_transport;
  std::string relayhost;
  std::vector<std::string> transport_maps;
  std::vector<std::string> sender_dependent_relayhost_maps;
  std::vector<std::string> sender_dependent_default_transport_maps;
  std::vector<std::string> local_recipient_maps, virtual_mailbox_maps, relay_recipient_maps;
  std::vector<std::string> virtual_alias_maps;
  std::vector<std::string> relocated_maps;
  bool relocated_prefix_enable = true;
  std::string recipient_delimiter;
  bool owner_request_special = true;
  bool transport_matches_parents = false;
  std::vector<std::string> propagate_unmatched_extensions;
  MappingSettings mapping;
  bool virtual_alias_mailbox_first = false;
  std::size_t virtual_alias_expansion_limit = 1000;
  std::size_t virtual_alias_recursion_limit = 1000;
  std::size_t virtual_alias_address_length_limit = 1000;
  std::string empty_address_relayhost_key = "<>";
  std::string empty_address_transport_key = "<>";
  std::string address_verify_sender{};
  std::chrono::seconds address_verify_sender_ttl{0};
  std::string double_bounce_sender = "double-bounce";
};

[[nodiscard]] ResolveSettings read_resolve_settings(const config::Values& values,
                                                    config::Problems& problems);
// The same for probes of address verification: the address_verify_* transports and tables.
[[nodiscard]] ResolveSettings read_probe_settings(const config::Values& values,
                                                  config::Problems& problems);

class Resolver {
 public:
  Resolver(Registry& registry, ResolveSettings settings)
      : registry_(registry), settings_(std::move(settings)) {}

  // Errors of tables are in the answer (transport empty, existence kError): the caller decides.
  [[nodiscard]] ipc::tables::Resolved resolve(const ipc::tables::Resolve& question);
  [[nodiscard]] Result<ipc::tables::Expanded> expand(const ipc::tables::Expand& question);
  [[nodiscard]] Result<ipc::tables::Mapped> map(const ipc::tables::Map& question);

 private:
  struct Forms;
  [[nodiscard]] Result<ipc::tables::Resolved> route(const std::string& address,
                                                    const std::string& sender);
  [[nodiscard]] Result<void> apply_transport_maps(ipc::tables::Resolved& resolved,
                                                  const std::string& domain);
  [[nodiscard]] Result<bool> is_local_domain(const std::string& domain);
  [[nodiscard]] Result<ipc::tables::Existence> existence(const ipc::tables::Resolved& resolved,
                                                         bool& is_alias);
  struct Aliases {
    std::vector<std::string> addresses;
    bool is_aliased = false;
    std::string error;  // why it is too much
  };
  [[nodiscard]] Result<Aliases> expand_aliases(const std::string& recipient);
  [[nodiscard]] std::string alias_result(const std::string& external, const std::string& address,
                                         const std::string& extension) const;
  // The keys of one address in the order of virtual(5) and local_recipient_maps.
  struct Match {
    std::string value;
    std::string extension;  // what the key left out, with its delimiter
  };
  // Headers and envelopes are looked up as they are written (`"a..b"@x`); whether an address is
  // there, and where its mail goes, is asked for what it means, too.
  enum class KeyForm : unsigned char { kWritten, kBoth };
  [[nodiscard]] Result<std::optional<Match>> find_address(const std::vector<std::string>& tables,
                                                          const std::string& address,
                                                          KeyForm form = KeyForm::kBoth);
  // canonical_maps and kin, then masquerading (mapping.cpp).
  [[nodiscard]] Result<std::string> mapped(std::string address, ipc::tables::AddressRole role);
  // Again and again until the address maps to itself or to nothing; `name` is the parameter's.
  [[nodiscard]] Result<std::string> map_address(std::string_view name,
                                                const std::vector<std::string>& tables,
                                                std::string address, bool propagates,
                                                bool once = false);
  [[nodiscard]] Result<std::vector<std::string>> bcc_for(const std::vector<std::string>& tables,
                                                         const std::string& address);
  [[nodiscard]] Result<bool> is_canonical_alias(const std::string& address);
  // A domain that is in two lists is told once.
  void judge_domain(const std::string& domain, bool is_local);
  [[nodiscard]] bool propagates(std::string_view what) const;
  [[nodiscard]] std::string rewritten(const std::string& address, bool is_local_context) const;

  Registry& registry_;
  ResolveSettings settings_;
  StringSet judged_domains_;
};

}  // namespace postern::tables
