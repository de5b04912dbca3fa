// envelope.h - who sent a message, to whom, and everything else that is not its content.
//
// A queue file has an envelope run before the content, and may have a second one after it (the
// extra run), for what became known only when the content had passed: recipients added by a
// milter, a changed sender, a filter named by header_checks. Reading is the same for both: the
// second is applied to the result of the first, a later value replaces an earlier one, recipients
// add up.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.h"
#include "common/queuefile/state.h"

namespace postern::queuefile {

// What one message may make us hold.
inline constexpr std::size_t kMaxAddress = 4096;
inline constexpr std::size_t kMaxAttributeName = 128;
inline constexpr std::size_t kMaxAttributeValue = std::size_t{16} << 10;
inline constexpr std::size_t kMaxAttributes = 1000;
inline constexpr std::size_t kMaxRecipients = 200'000;
inline constexpr std::uint64_t kMaxEnvelopeBytes = std::uint64_t{64} << 20;

enum class ContentEncoding : char { kUnknown = '-', k7bit = '7', k8bit = '8' };

// RFC 3461 4.3: what a failure notice returns of the message.
enum class DsnReturn : char { kUnspecified = '-', kFull = 'F', kHeaders = 'H' };

// RFC 3461 4.1, as bits; 0 is "not said".
enum Notify : std::uint8_t {
  kNotifyNever = 1,
  kNotifySuccess = 2,
  kNotifyFailure = 4,
  kNotifyDelay = 8,
  kNotifyAll = 15,
};

// RFC 6531: where internationalised text was asked for or seen, as bits.
enum SmtpUtf8 : std::uint8_t {
  kUtf8Requested = 1,  // SMTPUTF8 in MAIL, or sendmail -O
  kUtf8Header = 2,
  kUtf8Sender = 4,
  kUtf8Recipient = 8,
  kUtf8All = 15,
};

// By which way the message came to us.
enum class Origin : char {
  kNetwork = 'n',  // smtpd
  kLocal = 'l',    // sendmail and pickup
  kForward = 'f',  // local: alias or .forward
  kNotice = 'b',   // bounce: to a sender, or to the postmaster
  kProbe = 'v',    // address verification: delivered to nobody
};

// Properties that decide on treatment, as bits.
enum Flag : std::uint32_t {
  kFlagInternal = 1,         // made by the mail system itself: internal_mail_filter_classes rules
  kFlagNoFilter = 2,         // header and body checks and content_filter are not for this one
  kFlagNoMilter = 4,         // milters are not for this one
  kFlagTrace = 8,            // sendmail -v: report every delivery
  kFlagProbe = 16,           // sendmail -bv: report what would happen, deliver nothing
  kFlagVerp = 32,            // one sender address per recipient
  kFlagNoDelayWarning = 64,  // the sender is not told that it waits
};

enum class AddressClass : char {
  kLocal = 'l',
  kVirtualAlias = 'a',
  kVirtualMailbox = 'v',
  kRelay = 'r',
  kDefault = 'd',
};

// What `tables` said about a recipient, and as of which generation of the tables.
struct Resolved {
  AddressClass address_class = AddressClass::kDefault;
  std::string transport{};
  std::string nexthop{};
  std::string recipient{};  // the address as the delivery agent gets it
  bool mailbox_exists = false;
  std::uint64_t generation = 0;

  friend bool operator==(const Resolved&, const Resolved&) = default;
};

struct Recipient {
  std::string address{};
  std::string orig_to{};    // before aliases and rewriting, as received; may be empty
  std::string dsn_orcpt{};  // "rfc822;...", RFC 3461 4.2; may be empty
  std::uint8_t notify = 0;
  std::optional<Resolved> resolved{};
  State state = State::kPending;
  std::uint64_t state_offset = 0;  // in the file

  friend bool operator==(const Recipient&, const Recipient&) = default;
};

// An attribute: the author wants delivery more than TLS (RFC 8689 5, TLS-Required: no).
inline constexpr const char* kTlsOptional = "tls_optional";
// An attribute: the sender asked for REQUIRETLS (RFC 8689 2).
inline constexpr const char* kRequireTls = "require_tls";
// An attribute, for each recipient that was expanded to several while its sender wanted to hear of
// success: that is what he hears (RFC 3461 5.2.7.3). Address, the one it was sent to, and ORCPT, as
// xtext.
inline constexpr const char* kAliasExpanded = "alias_expanded";
// An attribute of local mail that a check has refused: "5.7.1 why" for all its recipients. It is
// returned at once, without an attempt to deliver it.
inline constexpr const char* kRefused = "refused";
// An attribute: deliveries are in no TLS report, for they carry one (RFC 8460 3).
inline constexpr const char* kNoTlsReport = "no_tls_report";

struct ArrivalTime {
  std::int64_t seconds = 0;
  std::int32_t microseconds = 0;

  friend bool operator==(const ArrivalTime&, const ArrivalTime&) = default;
};

// The remote client, or the one that XFORWARD speaks of.
struct Client {
  std::string name{};
  std::string address{};
  std::string port{};
  std::string reverse_name{};
  std::string helo{};
  std::string protocol{};

  friend bool operator==(const Client&, const Client&) = default;
};

// When the sender is to be told that the message waits; kDone once that was done.
struct DelayWarning {
  std::int64_t time = 0;
  State state = State::kPending;
  std::uint64_t state_offset = 0;

  friend bool operator==(const DelayWarning&, const DelayWarning&) = default;
};

struct Envelope {
  std::string sender{};
  ArrivalTime arrival{};
  std::uint64_t message_size = 0;  // from the trailer; not part of the envelope run
  ContentEncoding encoding = ContentEncoding::kUnknown;
  std::uint8_t smtputf8 = 0;
  DsnReturn dsn_ret = DsnReturn::kUnspecified;
  std::string dsn_envid{};
  Client client{};
  std::string sasl_method{};
  std::string sasl_username{};
  std::string sasl_sender{};
  std::string rewrite_context{};  // "local", "remote"
  Origin origin = Origin::kNetwork;
  std::uint32_t flags = 0;
  std::string verp_delims{};
  std::string content_filter{};  // transport:nexthop
  std::string redirect{};        // one address instead of all recipients
  std::vector<std::pair<std::string, std::string>> attributes{};  // all others, in their order
  std::optional<DelayWarning> delay_warning{};
  std::vector<Recipient> recipients{};

  friend bool operator==(const Envelope&, const Envelope&) = default;
};

// What became known after the envelope had been written: the extra run.
struct Amendment {
  std::optional<std::string> sender{};
  // May carry the names that Envelope has members for ("redirect_to"): those then change.
  std::vector<std::pair<std::string, std::string>> attributes{};
  std::vector<Recipient> recipients{};

  [[nodiscard]] bool empty() const { return !sender && attributes.empty() && recipients.empty(); }
};

// Says why an envelope could not be read back as it is. What comes from outside is checked with
// it before append_envelope is called.
[[nodiscard]] Result<void> check_bounds(const Envelope& envelope);
[[nodiscard]] Result<void> check_bounds(const Amendment& amendment);

// Appends the run of `envelope` to `out` and notes in it where the state bytes are, `out` being
// the file from `out_offset` on. Precondition: check_bounds() has nothing to say.
void append_envelope(std::string& out, Envelope& envelope, std::uint64_t out_offset = 0);

// The same for the extra run.
void append_amendment(std::string& out, Amendment& amendment, std::uint64_t out_offset);

// Reads one whole run: it must end with the view. `file_offset` is where the run starts in the
// file. Any bytes give an envelope or kDamaged. kStopThere ends at the first recipient: they are
// the last records, so that the rest of the run need not even be read.
enum class Recipients { kRead, kSkip, kStopThere };
[[nodiscard]] Result<Envelope> read_envelope(std::string_view run, std::uint64_t file_offset = 0,
                                             Recipients recipients = Recipients::kRead);

// The same for the extra run, applied to what the first one gave.
[[nodiscard]] Result<void> read_amendment(std::string_view run, std::uint64_t file_offset,
                                          Envelope& envelope,
                                          Recipients recipients = Recipients::kRead);

// Every attribute of the envelope by the name postcat(1) shows it under, in file order.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> named_attributes(
    const Envelope& envelope);

}  // namespace postern::queuefile
