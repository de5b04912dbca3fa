// state.h - what restrictions leave behind in a session: actions for the message to come, deferrals
// that are carried from one command to the next, and answers that are good for all recipients.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/loop/loop.h"
#include "common/mail/status.h"

namespace postern::smtpd {

// What access tables and policy services want done with the message (access(5)).
struct MessageActions {
  bool is_hold = false;
  bool is_discard = false;
  std::string filter;    // transport:nexthop; the last one counts
  std::string redirect;  // one address instead of all recipients
  std::vector<std::string> bcc;
  std::vector<std::string> prepend;  // whole header fields

  friend bool operator==(const MessageActions&, const MessageActions&) = default;
};

// defer_if_permit and defer_if_reject: the reply that counts in the end; the first one is kept.
struct Deferral {
  int code = 450;
  mail::Status status{4, 7, 0};
  std::string text;
};

// One list's answer.
struct DnsListResult {
  enum class Kind : unsigned char { kNotListed, kListed, kFailed };
  Kind kind = Kind::kNotListed;
  std::string reason;  // of the TXT record
  std::string error;
};

struct DnsListAnswers {
  std::map<std::string, std::optional<DnsListResult>, std::less<>> results;  // nothing: asked
  loop::Condition arrived;
};

// What SPF says of the sender or of the name that the client gave.
struct SpfResult {
  std::string sender, helo;  // that it was asked for
  std::string result;        // "pass", ...
  std::string domain;
  std::string explanation;
};

// kFiltered: smtpd_dns_reply_filter has left nothing; no reason to refuse.
enum class DomainState : unsigned char { kFound, kNotFound, kNullMx, kTemporary, kFiltered };

// A table that did not have what it was asked for.
struct KnownAccess {
  std::uint64_t standing = 0;  // TablesClient::standing() of the answer
  std::string subject;
};

struct RestrictionState {
  MessageActions actions;
  // With smtpd_delay_reject = no: what the lists of earlier commands have asked for, each with what
  // came before it.
  std::optional<Deferral> deferral_of_client, deferral_of_helo, deferral_of_sender;
  // Answers of DNS for this session, bounded: a client that names a thousand senders gets no more
  // memory than one that names ten.
  std::shared_ptr<DnsListAnswers> dns_lists;
  std::map<std::string, DomainState, std::less<>> domains;
  static constexpr std::size_t kMaxAnswers = 200;
  // By the restriction, where client, HELO name or sender were looked up: they come again with
  // every recipient.
  std::map<const void*, KnownAccess> absent;
  bool is_on_allow_list = false;  // a DNS allow list has the client
  std::optional<SpfResult> spf, spf_of_helo;
  // policy delegation: the same for all questions about one message
  std::string instance;

  void end_of_message() {
    actions = {};
    instance.clear();
    spf.reset();
  }
};

// Bounds of what one message may collect: a policy service is asked for each recipient.
inline constexpr std::size_t kMaxPrependedFields = 100;
inline constexpr std::size_t kMaxBccAddresses = 100;

}  // namespace postern::smtpd
