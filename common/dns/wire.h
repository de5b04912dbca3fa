// wire.h - DNS messages: a question to bytes, bytes to a typed answer. Pure; libldns takes the
// packets apart.
//
// Trusts nothing: an answer counts only for the question it was made for (id, name, type, class).
// Of its records only those count that belong to the name asked for, or to where CNAMEs within the
// answer lead; all others are ignored, as are authority and additional records but for the SOA that
// says how long "there is none" may be kept. Garbage is an Error, always temporary.
//
// Names are text without the dot at the end, in the case they came in. A byte that could be taken
// for something else (dot within a label, control, backslash) is escaped as in a zone file; no such
// name is a host name, and none of them is ever asked for again: encode_query refuses backslashes.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/result.h"

namespace postern::dns {

// IANA's numbers.
enum class RecordType : std::uint16_t {
  kA = 1,
  kNs = 2,
  kCname = 5,
  kSoa = 6,
  kPtr = 12,
  kMx = 15,
  kTxt = 16,
  kAaaa = 28,
  kSrv = 33,
  kTlsa = 52,
};

// "A", "MX", ... in any case.
[[nodiscard]] std::string_view type_name(RecordType type);
[[nodiscard]] std::optional<RecordType> find_type(std::string_view name);

enum class Rcode : std::uint8_t {
  kNoError = 0,
  kFormatError = 1,
  kServerFailure = 2,
  kNoSuchName = 3,
  kNotImplemented = 4,
  kRefused = 5,
};
// "NOERROR", "SERVFAIL", ...; "RCODE11" for those without a name here.
[[nodiscard]] std::string rcode_name(Rcode rcode);

inline constexpr std::size_t kMaxMessage = 65'535;
inline constexpr std::uint16_t kUdpPayload = 1232;  // fits one packet on every path
inline constexpr std::size_t kMaxRecords = 1000;    // of one answer; the others are ignored
inline constexpr std::size_t kMaxAliases = 10;      // CNAMEs in a row
inline constexpr std::uint32_t kMaxTtl = 7 * 86'400;
inline constexpr std::uint32_t kMaxNegativeTtl = 3 * 3600;  // RFC 2308 5

struct Question {
  std::string name{};
  RecordType type = RecordType::kA;

  friend bool operator==(const Question&, const Question&) = default;
};

enum class Edns {
  kNone,    // for servers that answered FORMERR
  kPlain,   // a larger payload
  kDnssec,  // and the DO bit, so that the resolver validates and tells
};

// Asks for recursion, and sets AD so that a validating resolver says whether it has validated
// (RFC 6840 5.7). Refuses what is no domain name (kPermanent).
[[nodiscard]] Result<std::string> encode_query(std::uint16_t id, const Question& question,
                                               Edns edns);

struct Address {
  std::array<std::uint8_t, 16> bytes{};  // the first 4 for IPv4
  bool is_ipv6 = false;

  [[nodiscard]] std::string to_text() const;
  friend bool operator==(const Address&, const Address&) = default;
};

struct Host {  // NS, CNAME, PTR
  std::string name{};
  friend bool operator==(const Host&, const Host&) = default;
};

struct Mx {
  std::uint16_t preference = 0;
  std::string host{};  // empty: the root, RFC 7505 null MX
  friend bool operator==(const Mx&, const Mx&) = default;
};

struct Txt {
  std::string text{};  // all strings of the record, one behind the other (RFC 7208 3.3)
  friend bool operator==(const Txt&, const Txt&) = default;
};

struct Srv {
  std::uint16_t priority = 0, weight = 0, port = 0;
  std::string target{};  // empty: the root, "not offered"
  friend bool operator==(const Srv&, const Srv&) = default;
};

struct Tlsa {
  std::uint8_t usage = 0, selector = 0, matching_type = 0;
  std::string data{};  // bytes
  friend bool operator==(const Tlsa&, const Tlsa&) = default;
};

struct Soa {
  std::string primary{}, mailbox{};
  std::uint32_t serial = 0, refresh = 0, retry = 0, expire = 0, minimum = 0;
  friend bool operator==(const Soa&, const Soa&) = default;
};

using RecordData = std::variant<Address, Host, Mx, Txt, Srv, Tlsa, Soa>;

struct Record {
  std::uint32_t ttl = 0;  // seconds, at most kMaxTtl
  RecordData data{};

  friend bool operator==(const Record&, const Record&) = default;
};

struct Answer {
  Rcode rcode = Rcode::kNoError;
  bool is_authenticated = false;  // AD: worth as much as the path to the resolver is
  bool is_truncated = false;      // TC: ask again over TCP
  bool is_cut = false;            // there were more than kMaxRecords
  std::string canonical_name{};   // where the CNAMEs lead; the question's name without any
  std::vector<Record> records{};  // all of the type asked for
  // How long the answer may be kept: the smallest ttl on the way, or for "no such name" and "no
  // such record" what the SOA says (0 without one).
  std::uint32_t ttl = 0;

  [[nodiscard]] bool is_alias(const Question& question) const {
    return canonical_name != question.name;
  }
};

// The answer to `question` asked with `id`. An Error means that these bytes are none: wait on for
// the right ones until the time is over.
[[nodiscard]] Result<Answer> parse_answer(std::string_view message, std::uint16_t id,
                                          const Question& question);

// The id at the front, to find the question; nothing if the message is too short to be one.
[[nodiscard]] std::optional<std::uint16_t> message_id(std::string_view message);

// "4.3.2.1.in-addr.arpa", "1.0...8.b.d.0.1.0.0.2.ip6.arpa"; with another suffix for DNS lists.
[[nodiscard]] std::string reverse_name(const Address& address);
[[nodiscard]] std::string reverse_labels(const Address& address);

// "192.0.2.1", "2001:db8::1".
[[nodiscard]] std::optional<Address> parse_address(std::string_view text);

// Letters, digits, hyphens and underscores in labels of 1 to 63, 253 in all: what an MX, PTR or
// CNAME must lead to before it is connected to or shown as a host name.
[[nodiscard]] bool is_host_name(std::string_view name);

}  // namespace postern::dns
