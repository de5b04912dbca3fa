#include "common/dns/wire.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ldns/ldns.h>

#include <algorithm>
#include <memory>

#include "common/base/text.h"

namespace postern::dns {

namespace {

constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxName = 255;  // on the wire
constexpr std::size_t kHeaderSize = 12;

struct FreePacket {
  void operator()(ldns_pkt* packet) const { ldns_pkt_free(packet); }
};
using Packet = std::unique_ptr<ldns_pkt, FreePacket>;

struct Name {
  std::string_view name;
  RecordType type;
};
constexpr std::array kTypes = {
    Name{"A", RecordType::kA},       Name{"AAAA", RecordType::kAaaa},
    Name{"MX", RecordType::kMx},     Name{"TXT", RecordType::kTxt},
    Name{"PTR", RecordType::kPtr},   Name{"CNAME", RecordType::kCname},
    Name{"TLSA", RecordType::kTlsa}, Name{"SRV", RecordType::kSrv},
    Name{"NS", RecordType::kNs},     Name{"SOA", RecordType::kSoa},
};

std::string_view bytes_of(const ldns_rdf* field) {
  return {static_cast<const char*>(static_cast<const void*>(ldns_rdf_data(field))),
          ldns_rdf_size(field)};
}

// Labels on the wire to text.
std::string name_text(std::string_view wire) {
  std::string text;
  while (!wire.empty() && wire.front() != 0) {
    const auto length = static_cast<unsigned char>(wire.front());
    if (length > kMaxLabel || length >= wire.size()) break;
    if (!text.empty()) text += '.';
    for (const char c : wire.substr(1, length)) {
      if (c == '.' || c == '\\') {
        text += '\\';
        text += c;
      } else if (is_control(c) || c == ' ') {
        text += fmt::format("\\{:03}", static_cast<unsigned char>(c));
      } else {
        text += c;
      }
    }
    wire.remove_prefix(1U + length);
  }
  return text;
}

std::string name_text(const ldns_rdf* field) { return name_text(bytes_of(field)); }

Result<std::string> name_wire(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string wire;
  for (const std::string_view label : split_fields(name, '.')) {
    if (label.empty() && name.empty()) break;  // the root
    if (label.empty() || label.size() > kMaxLabel || label.find('\\') != std::string_view::npos) {
      return fail(Error::Kind::kPermanent, "not a domain name");
    }
    wire += static_cast<char>(label.size());
    wire += label;
  }
  wire += '\0';
  if (wire.size() > kMaxName) return fail(Error::Kind::kPermanent, "domain name too long");
  return wire;
}

// The fields of one record, checked for number and kind: libldns has parsed them by type, but a
// record without data is possible (dynamic updates use it).
class Fields {
 public:
  explicit Fields(const ldns_rr* record) : record_(record) {}

  [[nodiscard]] bool are(std::initializer_list<ldns_rdf_type> kinds) const {
    if (ldns_rr_rd_count(record_) != kinds.size()) return false;
    std::size_t i = 0;
    return std::ranges::all_of(kinds, [&](ldns_rdf_type kind) {
      return ldns_rdf_get_type(ldns_rr_rdf(record_, i++)) == kind;
    });
  }
  [[nodiscard]] std::size_t count() const { return ldns_rr_rd_count(record_); }
  [[nodiscard]] std::string_view bytes(std::size_t i) const {
    return bytes_of(ldns_rr_rdf(record_, i));
  }
  [[nodiscard]] std::string name(std::size_t i) const { return name_text(bytes(i)); }
  [[nodiscard]] std::uint8_t int8(std::size_t i) const {
    return ldns_rdf2native_int8(ldns_rr_rdf(record_, i));
  }
  [[nodiscard]] std::uint16_t int16(std::size_t i) const {
    return ldns_rdf2native_int16(ldns_rr_rdf(record_, i));
  }
  [[nodiscard]] std::uint32_t int32(std::size_t i) const {
    return ldns_rdf2native_int32(ldns_rr_rdf(record_, i));
  }

 private:
  const ldns_rr* record_;
};

std::optional<Address> address_of(std::string_view bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
  Address address{.is_ipv6 = bytes.size() == 16};
  std::ranges::transform(bytes, address.bytes.begin(),
                         [](char c) { return static_cast<std::uint8_t>(c); });
  return address;
}

std::optional<RecordData> data_of(const ldns_rr* record, RecordType type) {
  const Fields fields(record);
  switch (type) {
    case RecordType::kA:
      if (!fields.are({LDNS_RDF_TYPE_A})) return std::nullopt;
      return address_of(fields.bytes(0));
    case RecordType::kAaaa:
      if (!fields.are({LDNS_RDF_TYPE_AAAA})) return std::nullopt;
      return address_of(fields.bytes(0));
    case RecordType::kNs:
    case RecordType::kCname:
    case RecordType::kPtr:
      if (!fields.are({LDNS_RDF_TYPE_DNAME})) return std::nullopt;
      return Host{fields.name(0)};
    case RecordType::kMx:
      if (!fields.are({LDNS_RDF_TYPE_INT16, LDNS_RDF_TYPE_DNAME})) return std::nullopt;
      return Mx{fields.int16(0), fields.name(1)};
    case RecordType::kTxt: {
      Txt txt;
      for (std::size_t i = 0; i < fields.count(); ++i) {
        const std::string_view text = fields.bytes(i);
        if (!text.empty()) txt.text += text.substr(1);  // behind its length
      }
      return txt;
    }
    case RecordType::kSrv:
      if (!fields.are({LDNS_RDF_TYPE_INT16, LDNS_RDF_TYPE_INT16, LDNS_RDF_TYPE_INT16,
                       LDNS_RDF_TYPE_DNAME})) {
        return std::nullopt;
      }
      return Srv{fields.int16(0), fields.int16(1), fields.int16(2), fields.name(3)};
    case RecordType::kTlsa:
      if (fields.count() != 4 || fields.bytes(0).size() != 1 || fields.bytes(1).size() != 1 ||
          fields.bytes(2).size() != 1) {
        return std::nullopt;
      }
      return Tlsa{fields.int8(0), fields.int8(1), fields.int8(2), std::string(fields.bytes(3))};
    case RecordType::kSoa: {
      if (fields.count() != 7) return std::nullopt;
      for (std::size_t i = 2; i < 7; ++i) {
        if (fields.bytes(i).size() != 4) return std::nullopt;
      }
      return Soa{fields.name(0),  fields.name(1),  fields.int32(2), fields.int32(3),
                 fields.int32(4), fields.int32(5), fields.int32(6)};
    }
  }
  return std::nullopt;
}

// RFC 2181 8: with the top bit set it is zero.
std::uint32_t ttl_of(const ldns_rr* record) {
  const std::uint32_t ttl = ldns_rr_ttl(record);
  return ttl > 0x7fffffff ? 0 : std::min(ttl, kMaxTtl);
}

bool is_of(const ldns_rr* record, RecordType type) {
  return ldns_rr_get_class(record) == LDNS_RR_CLASS_IN &&
         static_cast<unsigned>(ldns_rr_get_type(record)) == static_cast<unsigned>(type);
}

// The records of a section that somebody may want, by the name they belong to.
struct Owned {
  std::string owner;
  const ldns_rr* record;
};

std::vector<Owned> owned_records(const ldns_rr_list* list, RecordType type) {
  std::vector<Owned> records;
  for (std::size_t i = 0; list != nullptr && i < ldns_rr_list_rr_count(list); ++i) {
    const ldns_rr* record = ldns_rr_list_rr(list, i);
    if (is_of(record, type))
      records.push_back({to_lower(name_text(ldns_rr_owner(record))), record});
  }
  return records;
}

// RFC 2308 5: the smaller of the SOA's own ttl and its last field.
std::uint32_t negative_ttl(const ldns_pkt* packet) {
  for (const auto& [owner, record] : owned_records(ldns_pkt_authority(packet), RecordType::kSoa)) {
    const auto data = data_of(record, RecordType::kSoa);
    if (!data) continue;
    return std::min({ttl_of(record), std::get<Soa>(*data).minimum, kMaxNegativeTtl});
  }
  return 0;
}

Result<void> check_question(const ldns_pkt* packet, std::uint16_t id, const Question& question) {
  if (!ldns_pkt_qr(packet) || ldns_pkt_get_opcode(packet) != LDNS_PACKET_QUERY) {
    return fail_temporary("DNS message is no answer");
  }
  if (ldns_pkt_id(packet) != id) return fail_temporary("DNS answer with another id");
  const ldns_rr_list* asked = ldns_pkt_question(packet);
  const std::size_t count = asked == nullptr ? 0 : ldns_rr_list_rr_count(asked);
  // A server that cannot read the question may leave it out (RFC 6891 7).
  if (count == 0 && ldns_pkt_get_rcode(packet) == LDNS_RCODE_FORMERR) return {};
  if (count != 1) return fail_temporary("DNS answer without its question");
  const ldns_rr* it = ldns_rr_list_rr(asked, 0);
  std::string_view name = question.name;
  if (name.ends_with('.')) name.remove_suffix(1);
  if (!is_of(it, question.type) || !equal_nocase(name_text(ldns_rr_owner(it)), name)) {
    return fail_temporary("DNS answer to another question");
  }
  return {};
}

}  // namespace

std::string_view type_name(RecordType type) {
  const auto* const found = std::ranges::find(kTypes, type, &Name::type);
  return found == kTypes.end() ? std::string_view() : found->name;
}

std::optional<RecordType> find_type(std::string_view name) {
  for (const Name& known : kTypes) {
    if (equal_nocase(known.name, name)) return known.type;
  }
  return std::nullopt;
}

std::string rcode_name(Rcode rcode) {
  switch (rcode) {
    case Rcode::kNoError:
      return "NOERROR";
    case Rcode::kFormatError:
      return "FORMERR";
    case Rcode::kServerFailure:
      return "SERVFAIL";
    case Rcode::kNoSuchName:
      return "NXDOMAIN";
    case Rcode::kNotImplemented:
      return "NOTIMP";
    case Rcode::kRefused:
      return "REFUSED";
  }
  return fmt::format("RCODE{}", static_cast<unsigned>(rcode));
}

Result<std::string> encode_query(std::uint16_t id, const Question& question, Edns edns) {
  TRY(const std::string name, name_wire(question.name));
  ldns_rdf* owner = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, name.size(), name.data());
  if (owner == nullptr) return fail_temporary("out of memory");
  // The packet takes the name over.
  const Packet packet(ldns_pkt_query_new(owner, static_cast<ldns_rr_type>(question.type),
                                         LDNS_RR_CLASS_IN, LDNS_RD | LDNS_AD));
  if (!packet) {
    ldns_rdf_deep_free(owner);
    return fail_temporary("out of memory");
  }
  ldns_pkt_set_id(packet.get(), id);
  if (edns != Edns::kNone) {
    ldns_pkt_set_edns_udp_size(packet.get(), kUdpPayload);
    ldns_pkt_set_edns_do(packet.get(), edns == Edns::kDnssec);
  }
  std::uint8_t* bytes = nullptr;
  std::size_t size = 0;
  if (ldns_pkt2wire(&bytes, packet.get(), &size) != LDNS_STATUS_OK) {
    return fail_temporary("DNS question cannot be encoded");
  }
  std::string message(static_cast<const char*>(static_cast<const void*>(bytes)), size);
  LDNS_FREE(bytes);
  return message;
}

Result<Answer> parse_answer(std::string_view message, std::uint16_t id, const Question& question) {
  if (message.size() < kHeaderSize || message.size() > kMaxMessage) {
    return fail_temporary("DNS answer of impossible size");
  }
  ldns_pkt* parsed = nullptr;
  const ldns_status status = ldns_wire2pkt(
      &parsed, static_cast<const std::uint8_t*>(static_cast<const void*>(message.data())),
      message.size());
  const Packet packet(status == LDNS_STATUS_OK ? parsed : nullptr);
  if (!packet) {
    return fail_temporary(fmt::format("bad DNS answer: {}", ldns_get_errorstr_by_id(status)));
  }
  DO(check_question(packet.get(), id, question));

  Answer answer;
  answer.rcode = static_cast<Rcode>(ldns_pkt_get_rcode(packet.get()));
  answer.is_truncated = ldns_pkt_tc(packet.get());
  answer.is_authenticated = ldns_pkt_ad(packet.get());
  answer.canonical_name = question.name;
  if (answer.canonical_name.ends_with('.')) answer.canonical_name.pop_back();
  answer.ttl = kMaxTtl;

  const ldns_rr_list* section = ldns_pkt_answer(packet.get());
  std::string owner = to_lower(answer.canonical_name);
  if (question.type != RecordType::kCname) {
    const std::vector<Owned> aliases = owned_records(section, RecordType::kCname);
    for (std::size_t followed = 0;; ++followed) {
      const auto alias = std::ranges::find(aliases, owner, &Owned::owner);
      if (alias == aliases.end()) break;
      if (followed == kMaxAliases) return fail_temporary("too many CNAME records in a row");
      const auto target = data_of(alias->record, RecordType::kCname);
      if (!target) return fail_temporary("CNAME record without data");
      answer.canonical_name = std::get<Host>(*target).name;
      owner = to_lower(answer.canonical_name);
      answer.ttl = std::min(answer.ttl, ttl_of(alias->record));
    }
  }
  for (const auto& [name, record] : owned_records(section, question.type)) {
    if (name != owner) continue;
    if (answer.records.size() == kMaxRecords) {
      answer.is_cut = true;
      break;
    }
    auto data = data_of(record, question.type);
    if (!data) return fail_temporary("DNS record without data");
    answer.records.push_back({ttl_of(record), *std::move(data)});
    answer.ttl = std::min(answer.ttl, answer.records.back().ttl);
  }
  if (answer.records.empty()) answer.ttl = std::min(answer.ttl, negative_ttl(packet.get()));
  return answer;
}

std::optional<std::uint16_t> message_id(std::string_view message) {
  if (message.size() < kHeaderSize) return std::nullopt;
  return static_cast<std::uint16_t>(static_cast<unsigned char>(message[0]) << 8 |
                                    static_cast<unsigned char>(message[1]));
}

std::string Address::to_text() const {
  char text[INET6_ADDRSTRLEN];
  ::inet_ntop(is_ipv6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text);
  return text;
}

std::optional<Address> parse_address(std::string_view text) {
  const std::string copy(text);  // for its NUL; a NUL inside is refused
  if (copy.find('\0') != std::string::npos) return std::nullopt;
  Address address;
  if (::inet_pton(AF_INET, copy.c_str(), address.bytes.data()) == 1) return address;
  address.is_ipv6 = true;
  if (::inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) == 1) return address;
  return std::nullopt;
}

std::string reverse_labels(const Address& address) {
  std::string labels;
  const auto add = [&labels](std::string_view label) {
    if (!labels.empty()) labels += '.';
    labels += label;
  };
  if (!address.is_ipv6) {
    for (std::size_t i = 4; i-- > 0;) add(std::to_string(address.bytes[i]));
  } else {
    for (std::size_t i = address.bytes.size(); i-- > 0;) {
      add(fmt::format("{:x}.{:x}", address.bytes[i] & 15, address.bytes[i] >> 4));
    }
  }
  return labels;
}

std::string reverse_name(const Address& address) {
  return reverse_labels(address) + (address.is_ipv6 ? ".ip6.arpa" : ".in-addr.arpa");
}

bool is_host_name(std::string_view name) {
  constexpr std::size_t kMaxText = 253;
  if (name.empty() || name.size() > kMaxText) return false;
  return std::ranges::all_of(split_fields(name, '.'), [](std::string_view label) {
    return !label.empty() && label.size() <= kMaxLabel && label.front() != '-' &&
           label.back() != '-' &&
           std::ranges::all_of(label, [](char c) { return is_alnum(c) || c == '-' || c == '_'; });
  });
}

}  // namespace postern::dns
