#include "common/policy/list.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "common/base/escape.h"
#include "common/base/text.h"
#include "common/config/param.h"

namespace postern::policy {

namespace {

enum class Form : unsigned char {
  kPlain,
  kTable,    // the next word is a table
  kZone,     // the next word is a DNS list
  kService,  // the next word is a policy service
  kSeconds,  // the next word is a time
};

struct Known {
  std::string_view name;
  Check check;
  Form form = Form::kPlain;
  AccessBy by = AccessBy::kClient;
  AccessVia via = AccessVia::kItself;
  DnsListBy list_by = DnsListBy::kClientAddress;
  bool is_allow_list = false;
  std::string_view now = {};  // an old spelling: the name it goes by today
};

constexpr Known plain(std::string_view name, Check check) { return {.name = name, .check = check}; }
constexpr Known old_name(std::string_view name, Check check, std::string_view now) {
  return {.name = name, .check = check, .now = now};
}
constexpr Known access_of(std::string_view name, AccessBy by, AccessVia via = AccessVia::kItself) {
  return {.name = name, .check = Check::kAccess, .form = Form::kTable, .by = by, .via = via};
}
constexpr Known zone(std::string_view name, DnsListBy by, bool is_allow_list = false,
                     std::string_view now = {}) {
  return {.name = name,
          .check = Check::kDnsList,
          .form = Form::kZone,
          .list_by = by,
          .is_allow_list = is_allow_list,
          .now = now};
}

// All that postconf(5) documents, with the old spellings.
constexpr std::array kKnown = {
    access_of("check_ccert_access", AccessBy::kClientCertificate),
    access_of("check_client_a_access", AccessBy::kClient, AccessVia::kAddress),
    access_of("check_client_access", AccessBy::kClient),
    access_of("check_client_mx_access", AccessBy::kClient, AccessVia::kMailHosts),
    access_of("check_client_ns_access", AccessBy::kClient, AccessVia::kNameServers),
    access_of("check_etrn_access", AccessBy::kEtrn),
    access_of("check_helo_a_access", AccessBy::kHelo, AccessVia::kAddress),
    access_of("check_helo_access", AccessBy::kHelo),
    access_of("check_helo_mx_access", AccessBy::kHelo, AccessVia::kMailHosts),
    access_of("check_helo_ns_access", AccessBy::kHelo, AccessVia::kNameServers),
    Known{.name = "check_policy_service", .check = Check::kPolicyService, .form = Form::kService},
    access_of("check_recipient_a_access", AccessBy::kRecipient, AccessVia::kAddress),
    access_of("check_recipient_access", AccessBy::kRecipient),
    old_name("check_recipient_maps", Check::kRejectUnlistedRecipient, "reject_unlisted_recipient"),
    access_of("check_recipient_mx_access", AccessBy::kRecipient, AccessVia::kMailHosts),
    access_of("check_recipient_ns_access", AccessBy::kRecipient, AccessVia::kNameServers),
    old_name("check_relay_domains", Check::kCheckRelayDomains,
             "permit_auth_destination, reject_unauth_destination"),
    access_of("check_reverse_client_hostname_a_access", AccessBy::kReverseClient,
              AccessVia::kAddress),
    access_of("check_reverse_client_hostname_access", AccessBy::kReverseClient),
    access_of("check_reverse_client_hostname_mx_access", AccessBy::kReverseClient,
              AccessVia::kMailHosts),
    access_of("check_reverse_client_hostname_ns_access", AccessBy::kReverseClient,
              AccessVia::kNameServers),
    access_of("check_sasl_access", AccessBy::kSaslUser),
    access_of("check_sender_a_access", AccessBy::kSender, AccessVia::kAddress),
    access_of("check_sender_access", AccessBy::kSender),
    access_of("check_sender_mx_access", AccessBy::kSender, AccessVia::kMailHosts),
    access_of("check_sender_ns_access", AccessBy::kSender, AccessVia::kNameServers),
    plain("defer", Check::kDefer),
    plain("defer_if_permit", Check::kDeferIfPermit),
    plain("defer_if_reject", Check::kDeferIfReject),
    plain("defer_spf_temperror", Check::kDeferSpfTemperror),
    plain("defer_unauth_destination", Check::kDeferUnauthDestination),
    plain("permit", Check::kPermit),
    plain("permit_auth_destination", Check::kPermitAuthDestination),
    zone("permit_dnswl_client", DnsListBy::kClientAddress, true),
    plain("permit_inet_interfaces", Check::kPermitInetInterfaces),
    plain("permit_mx_backup", Check::kPermitMxBackup),
    plain("permit_mynetworks", Check::kPermitMynetworks),
    old_name("permit_naked_ip_address", Check::kPermitNakedIpAddress,
             "permit_mynetworks or permit_sasl_authenticated"),
    zone("permit_rhswl_client", DnsListBy::kClientName, true),
    plain("permit_sasl_authenticated", Check::kPermitSaslAuthenticated),
    plain("permit_tls_all_clientcerts", Check::kPermitTlsAllClientcerts),
    plain("permit_tls_clientcerts", Check::kPermitTlsClientcerts),
    plain("reject", Check::kReject),
    plain("reject_authenticated_sender_login_mismatch",
          Check::kRejectAuthenticatedSenderLoginMismatch),
    plain("reject_invalid_helo_hostname", Check::kRejectInvalidHelo),
    old_name("reject_invalid_hostname", Check::kRejectInvalidHelo, "reject_invalid_helo_hostname"),
    plain("reject_known_sender_login_mismatch", Check::kRejectKnownSenderLoginMismatch),
    old_name("reject_maps_rbl", Check::kDnsList, "reject_rbl_client"),
    plain("reject_multi_recipient_bounce", Check::kRejectMultiRecipientBounce),
    plain("reject_non_fqdn_helo_hostname", Check::kRejectNonFqdnHelo),
    old_name("reject_non_fqdn_hostname", Check::kRejectNonFqdnHelo,
             "reject_non_fqdn_helo_hostname"),
    plain("reject_non_fqdn_recipient", Check::kRejectNonFqdnRecipient),
    plain("reject_non_fqdn_sender", Check::kRejectNonFqdnSender),
    plain("reject_plaintext_session", Check::kRejectPlaintextSession),
    zone("reject_rbl", DnsListBy::kClientAddress, false, "reject_rbl_client"),
    zone("reject_rbl_client", DnsListBy::kClientAddress),
    zone("reject_rhsbl_client", DnsListBy::kClientName),
    zone("reject_rhsbl_helo", DnsListBy::kHelo),
    zone("reject_rhsbl_recipient", DnsListBy::kRecipient),
    zone("reject_rhsbl_reverse_client", DnsListBy::kReverseName),
    zone("reject_rhsbl_sender", DnsListBy::kSender),
    plain("reject_sender_login_mismatch", Check::kRejectSenderLoginMismatch),
    plain("reject_spf_fail", Check::kRejectSpfFail),
    plain("reject_spf_helo_fail", Check::kRejectSpfHeloFail),
    plain("reject_spf_permerror", Check::kRejectSpfPermerror),
    plain("reject_spf_softfail", Check::kRejectSpfSoftfail),
    plain("reject_unauth_destination", Check::kRejectUnauthDestination),
    plain("reject_unauth_pipelining", Check::kRejectUnauthPipelining),
    plain("reject_unauthenticated_sender_login_mismatch",
          Check::kRejectUnauthenticatedSenderLoginMismatch),
    old_name("reject_unknown_address", Check::kRejectUnknownSenderDomain,
             "reject_unknown_sender_domain"),
    old_name("reject_unknown_client", Check::kRejectUnknownClient,
             "reject_unknown_client_hostname"),
    plain("reject_unknown_client_hostname", Check::kRejectUnknownClient),
    plain("reject_unknown_forward_client_hostname", Check::kRejectUnknownForwardClient),
    plain("reject_unknown_helo_hostname", Check::kRejectUnknownHelo),
    old_name("reject_unknown_hostname", Check::kRejectUnknownHelo, "reject_unknown_helo_hostname"),
    plain("reject_unknown_recipient_domain", Check::kRejectUnknownRecipientDomain),
    plain("reject_unknown_reverse_client_hostname", Check::kRejectUnknownReverseClient),
    plain("reject_unknown_sender_domain", Check::kRejectUnknownSenderDomain),
    plain("reject_unlisted_recipient", Check::kRejectUnlistedRecipient),
    plain("reject_unlisted_sender", Check::kRejectUnlistedSender),
    plain("reject_untagged_bounce", Check::kRejectUntaggedBounce),
    plain("reject_unverified_recipient", Check::kRejectUnverifiedRecipient),
    plain("reject_unverified_sender", Check::kRejectUnverifiedSender),
    Known{.name = "sleep", .check = Check::kSleep, .form = Form::kSeconds},
    plain("smtpd_greylist", Check::kGreylist),
    plain("warn_if_reject", Check::kWarnIfReject),
};
static_assert(std::ranges::is_sorted(kKnown, {}, &Known::name));

// The longest `sleep` of one restriction: a typo does not hold clients for days.
constexpr std::chrono::seconds kLongestSleep{3600};

const Known* find_known(std::string_view name) {
  const auto found = std::ranges::lower_bound(kKnown, name, {}, &Known::name);
  return found != kKnown.end() && found->name == name ? &*found : nullptr;
}

AccessBy bare_table_of(Stage stage) {
  switch (stage) {
    case Stage::kClient:
      return AccessBy::kClient;
    case Stage::kHelo:
      return AccessBy::kHelo;
    case Stage::kSender:
      return AccessBy::kSender;
    case Stage::kEtrn:
      return AccessBy::kEtrn;
    case Stage::kRecipient:
    case Stage::kData:
    case Stage::kEndOfData:
      break;
  }
  return AccessBy::kRecipient;
}

std::string_view name_of_bare_table(AccessBy by) {
  switch (by) {
    case AccessBy::kClient:
      return "check_client_access";
    case AccessBy::kHelo:
      return "check_helo_access";
    case AccessBy::kSender:
      return "check_sender_access";
    case AccessBy::kEtrn:
      return "check_etrn_access";
    default:
      return "check_recipient_access";
  }
}

std::string_view nearest_known(std::string_view word) {
  std::string_view best;
  std::size_t best_distance = 4;  // further away is another word
  for (const auto& known : kKnown) {
    // Edit distance in two rows; names are short.
    std::vector<std::size_t> row(word.size() + 1);
    for (std::size_t i = 0; i <= word.size(); ++i) row[i] = i;
    for (std::size_t j = 0; j < known.name.size(); ++j) {
      std::size_t diagonal = row[0];
      row[0] = j + 1;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const std::size_t above = row[i + 1];
        row[i + 1] =
            std::min({above + 1, row[i] + 1, diagonal + (word[i] == known.name[j] ? 0U : 1U)});
        diagonal = above;
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = known.name;
    }
  }
  return best;
}

// `cert_fingerprint, pubkey_fingerprint`, each at most once.
Result<std::vector<Fingerprint>> parse_search_order(std::string_view text) {
  std::vector<Fingerprint> order;
  for (const auto word : split_words(text)) {
    const bool is_certificate = equal_nocase(word, "cert_fingerprint");
    if (!is_certificate && !equal_nocase(word, "pubkey_fingerprint")) {
      return fail(Error::Kind::kConfig,
                  fmt::format("search_order: expected cert_fingerprint or pubkey_fingerprint, not "
                              "\"{}\"",
                              word));
    }
    const auto print = is_certificate ? Fingerprint::kCertificate : Fingerprint::kPublicKey;
    if (std::ranges::find(order, print) != order.end()) {
      return fail(Error::Kind::kConfig, fmt::format("search_order: {} stands there twice", word));
    }
    order.push_back(print);
  }
  if (order.empty()) return fail(Error::Kind::kConfig, "search_order is empty");
  return order;
}

std::string_view without_braces(std::string_view word) {
  if (word.size() < 2 || !word.starts_with('{') || !word.ends_with('}')) return trim(word);
  return trim(word.substr(1, word.size() - 2));
}

// `type:name`, or `{ type:name, { name = value } ... }`: the table becomes the argument.
Result<void> read_table(Restriction& restriction) {
  if (!restriction.argument.starts_with('{')) return {};
  const std::string whole = restriction.argument;
  if (!whole.ends_with('}')) {
    return fail(Error::Kind::kConfig, fmt::format("no closing brace in {:.120}", whole));
  }
  std::string_view rest = without_braces(whole);
  restriction.argument = next_word_braced(rest);
  if (restriction.argument.empty()) return fail(Error::Kind::kConfig, "no table in { }");
  for (auto word = next_word_braced(rest); !word.empty(); word = next_word_braced(rest)) {
    const std::string_view attribute = without_braces(word);
    const auto [name, value] = split_at_first(attribute, '=');
    if (attribute.find('=') == std::string_view::npos) {
      return fail(Error::Kind::kConfig,
                  fmt::format("expected {{ name = value }}, not \"{:.120}\"", word));
    }
    const bool is_known =
        restriction.by == AccessBy::kClientCertificate && equal_nocase(trim(name), "search_order");
    if (!is_known) {
      return fail(Error::Kind::kConfig,
                  fmt::format("attribute \"{}\" is not known here", trim(name)));
    }
    TRY(restriction.search_order, parse_search_order(value));
  }
  return {};
}

class Parser {
 public:
  Parser(Stage stage, std::string_view parameter, const ListContext& context,
         const config::Values& values, config::Problems& problems)
      : stage_(stage),
        parameter_(parameter),
        context_(context),
        values_(values),
        problems_(problems) {}

  RestrictionList parse(const std::vector<std::string>& words) {
    for (std::size_t i = 0; i < words.size(); ++i) {
      const std::string name = to_lower(words[i]);
      const bool is_class = std::ranges::find(context_.classes, words[i]) != context_.classes.end();
      if (is_class) {
        add({.check = Check::kClass, .name = words[i], .argument = words[i]});
      } else if (const Known* known = find_known(name)) {
        std::string argument;
        if (known->form != Form::kPlain && i + 1 < words.size()) argument = words[++i];
        add_known(*known, std::move(argument));
      } else if (words[i].find(':') != std::string::npos && !words[i].starts_with('{')) {
        const AccessBy by = bare_table_of(stage_);
        add({.check = Check::kAccess,
             .name = std::string(name_of_bare_table(by)),
             .argument = words[i],
             .by = by});
      } else {
        const auto near = nearest_known(name);
        complain(fmt::format("unknown restriction: \"{}\"{}", words[i],
                             near.empty() ? "" : fmt::format("; did you mean {}?", near)));
        add_error(words[i]);
      }
    }
    return std::move(list_);
  }

 private:
  void add(Restriction restriction) {
    if (place_ == nullptr) {
      const auto problem = values_.problem(parameter_, "");
      place_ = std::make_shared<const std::string>(
          problem.file.empty()
              ? std::string(parameter_)
              : fmt::format("{}, line {}: {}", problem.file, problem.line, parameter_));
    }
    restriction.place = place_;
    list_.push_back(std::move(restriction));
  }
  void add_error(std::string_view word) {
    add({.check = Check::kConfigError, .name = std::string(word), .argument = std::string(word)});
  }
  void complain(std::string text, config::Severity severity = config::Severity::kError) {
    problems_.push_back(values_.problem(parameter_, std::move(text), severity));
  }

  void add_known(const Known& known, std::string argument) {
    Restriction restriction{.check = known.check,
                            .name = std::string(known.name),
                            .argument = std::move(argument),
                            .by = known.by,
                            .via = known.via};
    if (known.form != Form::kPlain && restriction.argument.empty()) {
      complain(fmt::format("{} needs an argument", known.name));
      return add_error(known.name);
    }
    if (!known.now.empty()) {
      complain(fmt::format("{} is an old name; use {}", known.name, known.now),
               config::Severity::kWarning);
    }
    if (known.name == "reject_maps_rbl") {
      for (const auto& domain : context_.maps_rbl_domains) {
        add_zone({.check = Check::kDnsList, .name = "reject_rbl_client", .argument = domain},
                 DnsListBy::kClientAddress, false);
      }
      return;
    }
    switch (known.form) {
      case Form::kPlain:
        break;
      case Form::kTable:
        if (auto read = read_table(restriction); !read) {
          complain(fmt::format("{}: {}", known.name, read.error().text));
          return add_error(restriction.argument);
        }
        if (restriction.argument.find(':') == std::string::npos) {
          complain(fmt::format("{}: \"{}\" is no table: a type and a colon are missing", known.name,
                               restriction.argument));
          return add_error(restriction.argument);
        }
        break;
      case Form::kZone:
        return add_zone(std::move(restriction), known.list_by, known.is_allow_list);
      case Form::kService: {
        auto policy = parse_policy_service(restriction.argument, context_.policy_defaults);
        if (!policy) {
          complain(fmt::format("{}: {}", known.name, policy.error().text));
          return add_error(restriction.argument);
        }
        restriction.policy = std::make_shared<const PolicySettings>(*std::move(policy));
        break;
      }
      case Form::kSeconds: {
        const auto pause = config::parse_duration(restriction.argument);
        if (!pause) {
          complain(fmt::format("{}: {}", known.name, pause.error().text));
          return add_error(restriction.argument);
        }
        restriction.pause = std::min(*pause, kLongestSleep);
        break;
      }
    }
    add(std::move(restriction));
  }

  void add_zone(Restriction restriction, DnsListBy by, bool is_allow_list) {
    auto list = parse_dns_list(restriction.argument, by, is_allow_list);
    if (!list) {
      complain(fmt::format("{}: {}", restriction.name, list.error().text));
      return add_error(restriction.argument);
    }
    restriction.dns_list = std::make_shared<const DnsList>(*std::move(list));
    add(std::move(restriction));
  }

  Stage stage_;
  std::string_view parameter_;
  const ListContext& context_;
  const config::Values& values_;
  config::Problems& problems_;
  std::shared_ptr<const std::string> place_;
  RestrictionList list_;
};

bool guards_relay(const RestrictionList& list, const RestrictionLists& all,
                  std::set<std::string_view>& seen) {
  bool is_warning_only = false;
  for (const Restriction& restriction : list) {
    const bool counts = !std::exchange(is_warning_only, false);
    switch (restriction.check) {
      case Check::kWarnIfReject:
        is_warning_only = true;
        break;
      case Check::kReject:
      case Check::kDefer:
      case Check::kDeferIfPermit:
      case Check::kRejectUnauthDestination:
      case Check::kDeferUnauthDestination:
      case Check::kCheckRelayDomains:
        if (counts) return true;
        break;
      case Check::kClass: {
        const auto found = all.classes.find(restriction.argument);
        // Classes name each other at most as deep as there are classes.
        if (counts && found != all.classes.end() && seen.insert(found->first).second &&
            guards_relay(found->second, all, seen)) {
          return true;
        }
        break;
      }
      default:
        break;
    }
  }
  return false;
}

}  // namespace

RestrictionList parse_restrictions(const std::vector<std::string>& words, Stage stage,
                                   std::string_view parameter, const ListContext& context,
                                   const config::Values& values, config::Problems& problems) {
  return Parser(stage, parameter, context, values, problems).parse(words);
}

RestrictionLists parse_restriction_lists(const config::SmtpdParams& params,
                                         const config::Values& values, config::Problems& problems) {
  RestrictionLists lists;
  const auto& classes = params.smtpd_restriction_classes;
  const auto rbl_domains = values.list("maps_rbl_domains");
  const PolicySettings policy = policy_defaults(params);
  const ListContext context{classes, rbl_domains, policy};
  const auto parse = [&](const std::vector<std::string>& words, Stage stage,
                         std::string_view parameter) {
    return parse_restrictions(words, stage, parameter, context, values, problems);
  };
  lists.client =
      parse(params.smtpd_client_restrictions, Stage::kClient, "smtpd_client_restrictions");
  lists.helo = parse(params.smtpd_helo_restrictions, Stage::kHelo, "smtpd_helo_restrictions");
  lists.sender =
      parse(params.smtpd_sender_restrictions, Stage::kSender, "smtpd_sender_restrictions");
  lists.relay =
      parse(params.smtpd_relay_restrictions, Stage::kRecipient, "smtpd_relay_restrictions");
  lists.recipient =
      parse(params.smtpd_recipient_restrictions, Stage::kRecipient, "smtpd_recipient_restrictions");
  lists.data = parse(params.smtpd_data_restrictions, Stage::kData, "smtpd_data_restrictions");
  lists.end_of_data = parse(params.smtpd_end_of_data_restrictions, Stage::kEndOfData,
                            "smtpd_end_of_data_restrictions");
  lists.etrn = parse(params.smtpd_etrn_restrictions, Stage::kEtrn, "smtpd_etrn_restrictions");
  for (const auto& name : classes) {
    lists.classes[name] = parse(values.list(name), Stage::kRecipient, name);
  }
  lists.is_relay_first = params.smtpd_relay_before_recipient_restrictions;
  lists.verify = config::load<config::VerifyParams>(values, problems);
  lists.plaintext_reject_code = values.count("plaintext_reject_code");
  lists.access_matches_parents =
      std::ranges::find(params.parent_domain_matches_subdomains, "smtpd_access_maps") !=
      params.parent_domain_matches_subdomains.end();
  const auto protocols = values.list("inet_protocols");
  const auto speaks = [&](std::string_view word) {
    return std::ranges::find(protocols, word) != protocols.end() ||
           std::ranges::find(protocols, "all") != protocols.end();
  };
  lists.use_ipv4 = speaks("ipv4");
  lists.use_ipv6 = speaks("ipv6");
  lists.values = std::make_shared<const config::Values>(values);
  lists.expansion_filter = unescape_characters(params.smtpd_expansion_filter);
  return lists;
}

std::optional<std::string> RestrictionLists::text_of(std::string_view name) const {
  if (values == nullptr || !values->raw(name)) return std::nullopt;
  return values->text(name);
}

std::optional<RestrictionList> parse_action_list(std::string_view action,
                                                 const std::vector<std::string>& classes,
                                                 std::string_view& wrong_word) {
  RestrictionList list;
  const auto words = split_words_braced(action);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string name = to_lower(words[i]);
    Restriction restriction;
    restriction.argument = words[i];
    if (std::ranges::find(classes, words[i]) != classes.end()) {
      restriction.check = Check::kClass;
      restriction.name = words[i];
    } else if (const Known* known = find_known(name)) {
      restriction.check = known->check;
      restriction.name = name;
      restriction.argument.clear();
      switch (known->form) {
        case Form::kPlain:
          break;
        case Form::kZone: {
          auto parsed = i + 1 < words.size()
                            ? parse_dns_list(words[i + 1], known->list_by, known->is_allow_list)
                            : fail(Error::Kind::kConfig, "no zone");
          wrong_word = words[i];
          if (!parsed) return std::nullopt;
          restriction.dns_list = std::make_shared<const DnsList>(*std::move(parsed));
          restriction.argument = words[++i];
          break;
        }
        case Form::kSeconds: {
          const auto pause = i + 1 < words.size() ? config::parse_duration(words[i + 1])
                                                  : fail(Error::Kind::kConfig, "no time");
          wrong_word = words[i];
          if (!pause) return std::nullopt;
          restriction.pause = std::min(*pause, kLongestSleep);
          ++i;
          break;
        }
        case Form::kTable:
        case Form::kService:
          wrong_word = words[i];
          return std::nullopt;
      }
    } else {
      wrong_word = words[i];
      return std::nullopt;
    }
    list.push_back(std::move(restriction));
  }
  return list;
}

bool has_relay_guard(const RestrictionLists& lists) {
  std::set<std::string_view> seen;
  return guards_relay(lists.relay, lists, seen) || guards_relay(lists.recipient, lists, seen);
}

namespace {

// Whether the list can turn anybody away. Who passes its end is let through, so that one that only
// permits decides nothing.
bool can_refuse(const RestrictionList& list) {
  for (const Restriction& restriction : list) {
    switch (restriction.check) {
      case Check::kPermit:
      case Check::kPermitMynetworks:
      case Check::kPermitInetInterfaces:
      case Check::kPermitSaslAuthenticated:
      case Check::kPermitTlsClientcerts:
      case Check::kPermitTlsAllClientcerts:
      case Check::kPermitNakedIpAddress:
      case Check::kPermitAuthDestination:
      case Check::kPermitMxBackup:
      case Check::kSleep:
        break;
      default:
        return true;
    }
  }
  return false;
}

}  // namespace

void find_odd_restrictions(const RestrictionLists& lists, const config::Values& values,
                           config::Problems& problems) {
  const auto always_decides = [](const Restriction& restriction) {
    return restriction.check == Check::kPermit || restriction.check == Check::kReject ||
           restriction.check == Check::kDefer || restriction.check == Check::kCheckRelayDomains;
  };
  const auto look = [&](std::string_view parameter, const RestrictionList& list, Stage stage) {
    const auto complain = [&](std::string text) {
      problems.push_back(values.problem(parameter, std::move(text), config::Severity::kWarning));
    };
    for (std::size_t i = 0; i < list.size(); ++i) {
      const bool is_warning_only = i > 0 && list[i - 1].check == Check::kWarnIfReject;
      if (always_decides(list[i]) && !is_warning_only && i + 1 < list.size()) {
        complain(fmt::format("\"{}\" and what follows is never reached: \"{}\" stands before it",
                             list[i + 1].name, list[i].name));
        break;
      }
      if (list[i].check == Check::kWarnIfReject && i + 1 == list.size()) {
        complain("warn_if_reject at the end has nothing to stand before");
      }
      const bool needs_recipient = list[i].check == Check::kRejectUnauthDestination ||
                                   list[i].check == Check::kDeferUnauthDestination ||
                                   list[i].check == Check::kRejectUnlistedRecipient ||
                                   list[i].check == Check::kRejectNonFqdnRecipient ||
                                   list[i].check == Check::kRejectUnknownRecipientDomain ||
                                   list[i].check == Check::kRejectUnverifiedRecipient;
      if (needs_recipient && stage == Stage::kEtrn) {
        complain(fmt::format("{} has no recipient to look at here", list[i].name));
      }
    }
    // That nothing guards the relay is an error of its own.
    const bool is_class = lists.classes.contains(std::string(parameter));
    if (list.empty() || is_class || parameter == "smtpd_relay_restrictions" || can_refuse(list)) {
      return;
    }
    if (parameter == "smtpd_recipient_restrictions" && !has_relay_guard(lists)) return;
    complain(
        "nothing in the list refuses, and who comes to its end is let through: it decides nothing");
  };
  visit_lists(lists, look);

  // A class that leads back to itself answers 451 when it is run.
  for (const auto& [name, list] : lists.classes) {
    std::set<std::string_view> seen;
    std::vector<std::string_view> todo{name};
    bool is_circle = false;
    while (!todo.empty() && !is_circle) {
      const auto found = lists.classes.find(todo.back());
      todo.pop_back();
      if (found == lists.classes.end()) continue;
      for (const auto& restriction : found->second) {
        if (restriction.check != Check::kClass) continue;
        is_circle = is_circle || restriction.argument == name;
        if (seen.insert(restriction.argument).second) todo.push_back(restriction.argument);
      }
    }
    if (is_circle) {
      problems.push_back(
          values.problem(name, fmt::format("restriction class {} leads back to itself", name)));
    }
  }
}

std::vector<std::string_view> known_restrictions() {
  std::vector<std::string_view> names;
  for (const auto& known : kKnown) names.push_back(known.name);
  return names;
}

}  // namespace postern::policy
