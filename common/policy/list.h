// list.h - restriction lists as main.cf writes them: parsed once, run for each command.
//
// Parsing never drops a word: what is misspelt, lacks its argument or names a class that is not
// there becomes Check::kConfigError, which answers 451 to everybody, as Postfix does. A typo must
// not open the door. What is wrong is told once in `problems`, with file and line.

#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/params/smtpd.h"
#include "common/config/params/verify.h"
#include "common/config/values.h"
#include "common/policy/dns_list.h"
#include "common/policy/policy_settings.h"

namespace postern::policy {

// Where in the dialogue a list is run; it decides what `reject` and a bare table are about.
enum class Stage : unsigned char {
  kClient,
  kHelo,
  kSender,
  kRecipient,
  kData,
  kEndOfData,
  kEtrn,
};

enum class Check : unsigned char {
  kConfigError,  // argument: the word that is wrong
  kClass,        // argument: the name of the class
  kPermit,
  kReject,
  kDefer,
  kDeferIfPermit,
  kDeferIfReject,
  kSleep,
  kWarnIfReject,
  // client_checks.cpp
  kPermitMynetworks,
  kPermitInetInterfaces,
  kPermitSaslAuthenticated,
  kPermitTlsClientcerts,
  kPermitTlsAllClientcerts,
  kPermitNakedIpAddress,
  kRejectPlaintextSession,
  kRejectUnauthPipelining,
  kRejectUnknownClient,
  kRejectUnknownForwardClient,
  kRejectUnknownReverseClient,
  // helo_checks.cpp
  kRejectInvalidHelo,
  kRejectNonFqdnHelo,
  kRejectUnknownHelo,
  // address_checks.cpp
  kPermitAuthDestination,
  kPermitMxBackup,
  kRejectUnauthDestination,
  kDeferUnauthDestination,
  kCheckRelayDomains,
  kRejectMultiRecipientBounce,
  kRejectNonFqdnSender,
  kRejectNonFqdnRecipient,
  kRejectUnknownSenderDomain,
  kRejectUnknownRecipientDomain,
  kRejectUnlistedSender,
  kRejectUnlistedRecipient,
  kRejectUnverifiedSender,
  kRejectUnverifiedRecipient,
  kRejectSenderLoginMismatch,
  kRejectAuthenticatedSenderLoginMismatch,
  kRejectUnauthenticatedSenderLoginMismatch,
  kRejectKnownSenderLoginMismatch,
  // access_table.cpp; argument: the table
  kAccess,
  // dns_lists.cpp
  kDnsList,
  // policy_service.cpp
  kPolicyService,
  // greylist.cpp
  kGreylist,
  // spf_checks.cpp
  kRejectSpfFail,
  kRejectSpfSoftfail,
  kRejectSpfPermerror,
  kRejectSpfHeloFail,
  kDeferSpfTemperror,
  kRejectUntaggedBounce,
};

// What check_*_access looks up.
enum class AccessBy : unsigned char {
  kClient,
  kReverseClient,
  kHelo,
  kSender,
  kRecipient,
  kEtrn,
  kSaslUser,
  kClientCertificate,
};
// And whether that itself, or the hosts that DNS names for it.
enum class AccessVia : unsigned char { kItself, kAddress, kMailHosts, kNameServers };
// What check_ccert_access takes of a certificate.
enum class Fingerprint : unsigned char { kCertificate, kPublicKey };

struct Restriction {
  Check check = Check::kConfigError;
  std::string name{};      // as it is spelt today: "reject_unknown_client_hostname"
  std::string argument{};  // the table of check_*_access, the class, ...
  AccessBy by = AccessBy::kClient;
  AccessVia via = AccessVia::kItself;
  std::vector<Fingerprint> search_order{};    // check_ccert_access; empty: certificate, public key
  std::chrono::seconds pause{0};              // sleep
  std::shared_ptr<const DnsList> dns_list{};  // kDnsList
  std::shared_ptr<const PolicySettings> policy{};  // kPolicyService
  std::shared_ptr<const std::string> place{};      // "/etc/postern/main.cf, line 14"
};
using RestrictionList = std::vector<Restriction>;

// What the log lines of a process that `postern explain` started begin with; then come depth,
// restriction, verdict and place.
inline constexpr std::string_view kExplainMark = "explain: ";
inline constexpr std::string_view kExplainSeparator = " || ";
// Its service's name in the snapshot that it gets.
inline constexpr std::string_view kExplainService = "explain";

struct RestrictionLists {
  RestrictionList client, helo, sender, relay, recipient, data, end_of_data, etrn;
  std::map<std::string, RestrictionList, std::less<>> classes;  // smtpd_restriction_classes
  bool is_relay_first = true;  // smtpd_relay_before_recipient_restrictions

  // What single restrictions take from parameters of other areas.
  config::VerifyParams verify{};
  std::int64_t plaintext_reject_code = 450;
  bool access_matches_parents = true;  // parent_domain_matches_subdomains
  bool use_ipv4 = true, use_ipv6 = true;
  // For reply templates, with smtpd_expansion_filter.
  std::shared_ptr<const config::Values> values{};
  std::string expansion_filter{};
  // A parameter's value.
  [[nodiscard]] std::optional<std::string> text_of(std::string_view name) const;
};

// Each list with the parameter that has it, classes too.
template <typename Visitor>
void visit_lists(const RestrictionLists& lists, const Visitor& visit) {
  visit("smtpd_client_restrictions", lists.client, Stage::kClient);
  visit("smtpd_helo_restrictions", lists.helo, Stage::kHelo);
  visit("smtpd_sender_restrictions", lists.sender, Stage::kSender);
  visit("smtpd_relay_restrictions", lists.relay, Stage::kRecipient);
  visit("smtpd_recipient_restrictions", lists.recipient, Stage::kRecipient);
  visit("smtpd_data_restrictions", lists.data, Stage::kData);
  visit("smtpd_end_of_data_restrictions", lists.end_of_data, Stage::kEndOfData);
  visit("smtpd_etrn_restrictions", lists.etrn, Stage::kEtrn);
  for (const auto& [name, list] : lists.classes) visit(name, list, Stage::kRecipient);
}

// What a list may be made of besides the names of restrictions.
struct ListContext {
  const std::vector<std::string>& classes;
  const std::vector<std::string>& maps_rbl_domains;
  const PolicySettings& policy_defaults;
};

// The words of one list.
[[nodiscard]] RestrictionList parse_restrictions(const std::vector<std::string>& words, Stage stage,
                                                 std::string_view parameter,
                                                 const ListContext& context,
                                                 const config::Values& values,
                                                 config::Problems& problems);

[[nodiscard]] RestrictionLists parse_restriction_lists(const config::SmtpdParams& params,
                                                       const config::Values& values,
                                                       config::Problems& problems);

// The list of an access table's action: names of restrictions and classes, no tables.
[[nodiscard]] std::optional<RestrictionList> parse_action_list(
    std::string_view action, const std::vector<std::string>& classes, std::string_view& wrong_word);

// Whether some list keeps strangers from relaying (SMTPD_ACCESS_README), also through a class.
[[nodiscard]] bool has_relay_guard(const RestrictionLists& lists);

// What looks wrong though it parses: restrictions behind one that decides always, classes that name
// each other in a circle, restrictions that have nothing to look at in their list. For `check`.
void find_odd_restrictions(const RestrictionLists& lists, const config::Values& values,
                           config::Problems& problems);

// Of restrictions that are documented but judge what this version does not do yet, none is left
// out silently: the names of all that are known, for completion and the nearest name.
[[nodiscard]] std::vector<std::string_view> known_restrictions();

}  // namespace postern::policy
