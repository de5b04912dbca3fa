#include "smtpd/restrictions/list.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "common/base/text.h"

namespace postern::smtpd {

namespace {

enum class Form : unsigned char {
  kPlain,     // stands alone
  kArgument,  // the next word belongs to it
};
struct Known {
  std::string_view name;
  Form form;
  bool is_built;
};

// All that postconf(5) documents, with the old spellings.
constexpr std::array kKnown = {
    Known{"check_ccert_access", Form::kArgument, false},
    Known{"check_client_a_access", Form::kArgument, false},
    Known{"check_client_access", Form::kArgument, true},
    Known{"check_client_mx_access", Form::kArgument, false},
    Known{"check_client_ns_access", Form::kArgument, false},
    Known{"check_etrn_access", Form::kArgument, false},
    Known{"check_helo_a_access", Form::kArgument, false},
    Known{"check_helo_access", Form::kArgument, true},
    Known{"check_helo_mx_access", Form::kArgument, false},
    Known{"check_helo_ns_access", Form::kArgument, false},
    Known{"check_policy_service", Form::kArgument, false},
    Known{"check_recipient_a_access", Form::kArgument, false},
    Known{"check_recipient_access", Form::kArgument, true},
    Known{"check_recipient_maps", Form::kPlain, true},
    Known{"check_recipient_mx_access", Form::kArgument, false},
    Known{"check_recipient_ns_access", Form::kArgument, false},
    Known{"check_relay_domains", Form::kPlain, false},
    Known{"check_reverse_client_hostname_a_access", Form::kArgument, false},
    Known{"check_reverse_client_hostname_access", Form::kArgument, false},
    Known{"check_reverse_client_hostname_mx_access", Form::kArgument, false},
    Known{"check_reverse_client_hostname_ns_access", Form::kArgument, false},
    Known{"check_sasl_access", Form::kArgument, false},
    Known{"check_sender_a_access", Form::kArgument, false},
    Known{"check_sender_access", Form::kArgument, true},
    Known{"check_sender_mx_access", Form::kArgument, false},
    Known{"check_sender_ns_access", Form::kArgument, false},
    Known{"defer", Form::kPlain, true},
    Known{"defer_if_permit", Form::kPlain, false},
    Known{"defer_if_reject", Form::kPlain, false},
    Known{"defer_unauth_destination", Form::kPlain, true},
    Known{"permit", Form::kPlain, true},
    Known{"permit_auth_destination", Form::kPlain, true},
    Known{"permit_dnswl_client", Form::kArgument, false},
    Known{"permit_inet_interfaces", Form::kPlain, true},
    Known{"permit_mx_backup", Form::kPlain, false},
    Known{"permit_mynetworks", Form::kPlain, true},
    Known{"permit_naked_ip_address", Form::kPlain, false},
    Known{"permit_rhswl_client", Form::kArgument, false},
    Known{"permit_sasl_authenticated", Form::kPlain, true},
    Known{"permit_tls_all_clientcerts", Form::kPlain, false},
    Known{"permit_tls_clientcerts", Form::kPlain, false},
    Known{"reject", Form::kPlain, true},
    Known{"reject_authenticated_sender_login_mismatch", Form::kPlain, false},
    Known{"reject_invalid_helo_hostname", Form::kPlain, true},
    Known{"reject_invalid_hostname", Form::kPlain, true},
    Known{"reject_known_sender_login_mismatch", Form::kPlain, false},
    Known{"reject_maps_rbl", Form::kPlain, false},
    Known{"reject_multi_recipient_bounce", Form::kPlain, false},
    Known{"reject_non_fqdn_helo_hostname", Form::kPlain, true},
    Known{"reject_non_fqdn_hostname", Form::kPlain, true},
    Known{"reject_non_fqdn_recipient", Form::kPlain, true},
    Known{"reject_non_fqdn_sender", Form::kPlain, true},
    Known{"reject_plaintext_session", Form::kPlain, false},
    Known{"reject_rbl", Form::kArgument, false},
    Known{"reject_rbl_client", Form::kArgument, false},
    Known{"reject_rhsbl_client", Form::kArgument, false},
    Known{"reject_rhsbl_helo", Form::kArgument, false},
    Known{"reject_rhsbl_recipient", Form::kArgument, false},
    Known{"reject_rhsbl_reverse_client", Form::kArgument, false},
    Known{"reject_rhsbl_sender", Form::kArgument, false},
    Known{"reject_sender_login_mismatch", Form::kPlain, false},
    Known{"reject_unauth_destination", Form::kPlain, true},
    Known{"reject_unauth_pipelining", Form::kPlain, false},
    Known{"reject_unauthenticated_sender_login_mismatch", Form::kPlain, false},
    Known{"reject_unknown_address", Form::kPlain, false},
    Known{"reject_unknown_client", Form::kPlain, false},
    Known{"reject_unknown_client_hostname", Form::kPlain, false},
    Known{"reject_unknown_forward_client_hostname", Form::kPlain, false},
    Known{"reject_unknown_helo_hostname", Form::kPlain, false},
    Known{"reject_unknown_hostname", Form::kPlain, false},
    Known{"reject_unknown_recipient_domain", Form::kPlain, false},
    Known{"reject_unknown_reverse_client_hostname", Form::kPlain, false},
    Known{"reject_unknown_sender_domain", Form::kPlain, false},
    Known{"reject_unlisted_recipient", Form::kPlain, true},
    Known{"reject_unlisted_sender", Form::kPlain, true},
    Known{"reject_unverified_recipient", Form::kPlain, false},
    Known{"reject_unverified_sender", Form::kPlain, false},
    Known{"sleep", Form::kArgument, false},
    Known{"warn_if_reject", Form::kPlain, true},
};

const Known* find_known(std::string_view name) {
  const auto* found = std::find_if(kKnown.begin(), kKnown.end(),
                                   [&](const Known& known) { return known.name == name; });
  return found == kKnown.end() ? nullptr : found;
}

std::string_view access_check_of(Stage stage) {
  switch (stage) {
    case Stage::kClient:
      return "check_client_access";
    case Stage::kHelo:
      return "check_helo_access";
    case Stage::kSender:
      return "check_sender_access";
    case Stage::kRecipient:
    case Stage::kData:
    case Stage::kEndOfData:
      break;
  }
  return "check_recipient_access";
}

}  // namespace

RestrictionList parse_restrictions(const std::vector<std::string>& words, Stage stage,
                                   std::string_view parameter,
                                   const std::vector<std::string>& classes,
                                   const config::Values& values, config::Problems& problems) {
  RestrictionList list;
  const auto complain = [&](std::string text, config::Severity severity) {
    problems.push_back(values.problem(parameter, std::move(text), severity));
  };
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string name = to_lower(words[i]);
    if (const Known* known = find_known(name)) {
      std::string argument;
      if (known->form == Form::kArgument && i + 1 < words.size()) argument = words[++i];
      if (known->form == Form::kArgument && argument.empty()) {
        complain(fmt::format("{} needs an argument", name), config::Severity::kError);
        list.push_back({"config_error", name});
      } else if (!known->is_built) {
        complain(fmt::format("{} is not supported yet; it is left out", name),
                 config::Severity::kWarning);
      } else {
        list.push_back({name, std::move(argument)});
      }
    } else if (std::find(classes.begin(), classes.end(), words[i]) != classes.end()) {
      list.push_back({"class", words[i]});
    } else if (words[i].find(':') != std::string::npos) {
      list.push_back({std::string(access_check_of(stage)), words[i]});
    } else {
      // A typo must not open the door: everybody gets 451, as from Postfix.
      complain(fmt::format("unknown restriction: \"{}\"", words[i]), config::Severity::kError);
      list.push_back({"config_error", words[i]});
    }
  }
  return list;
}

RestrictionLists parse_restriction_lists(const config::SmtpdParams& params,
                                         const config::Values& values, config::Problems& problems) {
  RestrictionLists lists;
  const auto& classes = params.smtpd_restriction_classes;
  const auto parse = [&](const std::vector<std::string>& words, Stage stage,
                         std::string_view parameter) {
    return parse_restrictions(words, stage, parameter, classes, values, problems);
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
  for (const auto& name : classes) {
    lists.classes[name] = parse(values.list(name), Stage::kRecipient, name);
  }
  lists.is_relay_first = params.smtpd_relay_before_recipient_restrictions;
  return lists;
}

}  // namespace postern::smtpd
