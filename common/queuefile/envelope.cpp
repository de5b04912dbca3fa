#include "common/queuefile/envelope.h"

#include <fmt/format.h>

#include <array>
#include <cassert>
#include <charconv>
#include <limits>

#include "common/queuefile/record.h"

namespace postern::queuefile {

namespace {

// Attributes that are a text of the envelope. The names are those of postcat(1)'s output.
struct TextAttribute {
  std::string_view name;
  std::string& (*of)(Envelope&);
};

constexpr std::array kTextAttributes = {
    TextAttribute{"log_client_name", [](Envelope& e) -> std::string& { return e.client.name; }},
    TextAttribute{"log_client_address",
                  [](Envelope& e) -> std::string& { return e.client.address; }},
    TextAttribute{"log_client_port", [](Envelope& e) -> std::string& { return e.client.port; }},
    TextAttribute{"reverse_client_name",
                  [](Envelope& e) -> std::string& { return e.client.reverse_name; }},
    TextAttribute{"log_helo_name", [](Envelope& e) -> std::string& { return e.client.helo; }},
    TextAttribute{"log_protocol_name",
                  [](Envelope& e) -> std::string& { return e.client.protocol; }},
    TextAttribute{"sasl_method", [](Envelope& e) -> std::string& { return e.sasl_method; }},
    TextAttribute{"sasl_username", [](Envelope& e) -> std::string& { return e.sasl_username; }},
    TextAttribute{"sasl_sender", [](Envelope& e) -> std::string& { return e.sasl_sender; }},
    TextAttribute{"rewrite_context", [](Envelope& e) -> std::string& { return e.rewrite_context; }},
    TextAttribute{"envelope_id", [](Envelope& e) -> std::string& { return e.dsn_envid; }},
    TextAttribute{"verp_delimiters", [](Envelope& e) -> std::string& { return e.verp_delims; }},
    TextAttribute{"content_filter", [](Envelope& e) -> std::string& { return e.content_filter; }},
    TextAttribute{"redirect_to", [](Envelope& e) -> std::string& { return e.redirect; }},
};

constexpr std::string_view kEncoding = "encoding";
constexpr std::string_view kSmtpUtf8 = "smtputf8";
constexpr std::string_view kRetFlags = "ret_flags";
constexpr std::string_view kOrigin = "mail_origin";
constexpr std::string_view kFlags = "flags";

constexpr char kHasResolved = 1;
constexpr char kMailboxExists = 2;

std::unexpected<Error> damage(std::string text) {
  return fail(Error::Kind::kDamaged, std::move(text));
}

template <typename Enum>
Result<Enum> one_of(char byte, std::string_view known, std::string_view what) {
  if (known.find(byte) == std::string_view::npos) return damage(fmt::format("unknown {}", what));
  return static_cast<Enum>(byte);
}

Result<std::uint32_t> parse_bits(std::string_view text, std::uint32_t max, std::string_view name) {
  std::uint32_t bits = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bits);
  if (error != std::errc() || end != text.data() + text.size() || bits > max) {
    return damage(fmt::format("bad value of {}", name));
  }
  return bits;
}

Result<char> parse_letter(std::string_view text, std::string_view name) {
  if (text.size() != 1) return damage(fmt::format("bad value of {}", name));
  return text.front();
}

std::string_view encoding_name(ContentEncoding encoding) {
  return encoding == ContentEncoding::k7bit ? "7bit" : "8bit";
}

Result<void> apply_attribute(std::string_view payload, Envelope& envelope) {
  const std::size_t equals = payload.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals > kMaxAttributeName) {
    return damage("attribute without a name");
  }
  const std::string_view name = payload.substr(0, equals);
  const std::string_view value = payload.substr(equals + 1);
  if (value.size() > kMaxAttributeValue) return damage("attribute too long");

  for (const TextAttribute& known : kTextAttributes) {
    if (known.name == name) {
      known.of(envelope) = value;
      return {};
    }
  }
  if (name == kEncoding) {
    if (value != "7bit" && value != "8bit") return damage("unknown encoding");
    envelope.encoding = value == "7bit" ? ContentEncoding::k7bit : ContentEncoding::k8bit;
  } else if (name == kSmtpUtf8) {
    TRY(const std::uint32_t bits, parse_bits(value, kUtf8All, name));
    envelope.smtputf8 = static_cast<std::uint8_t>(bits);
  } else if (name == kRetFlags) {
    TRY(const char letter, parse_letter(value, name));
    TRY(envelope.dsn_ret, one_of<DsnReturn>(letter, "-FH", name));
  } else if (name == kOrigin) {
    TRY(const char letter, parse_letter(value, name));
    TRY(envelope.origin, one_of<Origin>(letter, "nlfbv", name));
  } else if (name == kFlags) {
    TRY(envelope.flags, parse_bits(value, std::numeric_limits<std::uint32_t>::max(), name));
  } else {
    if (envelope.attributes.size() == kMaxAttributes) return damage("too many attributes");
    envelope.attributes.emplace_back(name, value);
  }
  return {};
}

// state  flags  notify  address  orig_to  dsn_orcpt
//     [class  transport  nexthop  recipient  generation]
std::string recipient_payload(const Recipient& recipient) {
  std::string out;
  out += static_cast<char>(recipient.state);
  const bool mailbox_exists = recipient.resolved && recipient.resolved->mailbox_exists;
  out += static_cast<char>((recipient.resolved ? kHasResolved : 0) |
                           (mailbox_exists ? kMailboxExists : 0));
  append_number(out, recipient.notify);
  append_text(out, recipient.address);
  append_text(out, recipient.orig_to);
  append_text(out, recipient.dsn_orcpt);
  if (recipient.resolved) {
    out += static_cast<char>(recipient.resolved->address_class);
    append_text(out, recipient.resolved->transport);
    append_text(out, recipient.resolved->nexthop);
    append_text(out, recipient.resolved->recipient);
    append_number(out, recipient.resolved->generation);
  }
  return out;
}

Result<Recipient> parse_recipient(std::string_view payload) {
  FieldReader fields(payload);
  Recipient recipient;
  TRY(const char state, fields.byte());
  recipient.state = parse_state(state);
  TRY(const char flags, fields.byte());
  if ((flags & ~(kHasResolved | kMailboxExists)) != 0) return damage("unknown recipient flag");
  TRY(const std::uint64_t notify, fields.number(kNotifyAll));
  recipient.notify = static_cast<std::uint8_t>(notify);
  TRY(recipient.address, fields.text(kMaxAddress));
  TRY(recipient.orig_to, fields.text(kMaxAddress));
  TRY(recipient.dsn_orcpt, fields.text(kMaxAddress));
  if ((flags & kHasResolved) != 0) {
    Resolved resolved;
    TRY(const char address_class, fields.byte());
    TRY(resolved.address_class, one_of<AddressClass>(address_class, "lavrd", "address class"));
    TRY(resolved.transport, fields.text(kMaxAddress));
    TRY(resolved.nexthop, fields.text(kMaxAddress));
    TRY(resolved.recipient, fields.text(kMaxAddress));
    TRY(resolved.generation, fields.number(std::numeric_limits<std::uint64_t>::max()));
    resolved.mailbox_exists = (flags & kMailboxExists) != 0;
    recipient.resolved = std::move(resolved);
  }
  if (!fields.at_end()) return damage("recipient record too long");
  return recipient;
}

Result<std::int64_t> parse_time(FieldReader& fields) {
  TRY(const std::uint64_t seconds, fields.number(std::numeric_limits<std::int64_t>::max()));
  return static_cast<std::int64_t>(seconds);
}

Result<void> apply_record(const Record& record, std::uint64_t payload_offset, Envelope& envelope) {
  FieldReader fields(record.payload);
  switch (record.type) {
    case RecordType::kTime: {
      TRY(envelope.arrival.seconds, parse_time(fields));
      TRY(const std::uint64_t microseconds, fields.number(999'999));
      envelope.arrival.microseconds = static_cast<std::int32_t>(microseconds);
      break;
    }
    case RecordType::kSender:
      if (record.payload.size() > kMaxAddress) return damage("sender too long");
      envelope.sender = record.payload;
      break;
    case RecordType::kAttribute:
      return apply_attribute(record.payload, envelope);
    case RecordType::kWarning: {
      TRY(const char state, fields.byte());
      TRY(const std::int64_t time, parse_time(fields));
      envelope.delay_warning = DelayWarning{time, parse_state(state), payload_offset};
      break;
    }
    case RecordType::kRecipient: {
      if (envelope.recipients.size() == kMaxRecipients) return damage("too many recipients");
      TRY(Recipient recipient, parse_recipient(record.payload));
      recipient.state_offset = payload_offset;
      envelope.recipients.push_back(std::move(recipient));
      break;
    }
    case RecordType::kEnd:
      if (!record.payload.empty()) return damage("end record with a payload");
      break;
  }
  return {};
}

std::unexpected<Error> refuse(std::string text) {
  return fail(Error::Kind::kPermanent, std::move(text));
}

std::unexpected<Error> too_long(std::string_view what) {
  return refuse(fmt::format("{} too long", what));
}

using Attributes = std::vector<std::pair<std::string, std::string>>;

// Reads each attribute as the reader of the file will.
Result<void> check_attributes(const Attributes& attributes, Envelope& scratch) {
  if (attributes.size() > kMaxAttributes) return refuse("too many attributes");
  for (const auto& [name, value] : attributes) {
    if (name.contains('=')) return refuse("attribute name with '='");
    if (value.size() > kMaxAttributeValue) return too_long("attribute");
    if (auto read = apply_attribute(fmt::format("{}={}", name, value), scratch); !read) {
      return refuse(read.error().text);
    }
  }
  return {};
}

Result<void> check_recipients(const std::vector<Recipient>& recipients) {
  if (recipients.size() > kMaxRecipients) return refuse("too many recipients");
  constexpr std::uint64_t kOverhead = 64;
  std::uint64_t total = 0;
  for (const Recipient& r : recipients) {
    const Resolved none;
    const Resolved& resolved = r.resolved ? *r.resolved : none;
    for (const std::string* text : {&r.address, &r.orig_to, &r.dsn_orcpt, &resolved.transport,
                                    &resolved.nexthop, &resolved.recipient}) {
      if (text->size() > kMaxAddress) return too_long("recipient");
      total += text->size();
    }
    if (r.notify > kNotifyAll) return refuse("unknown notify bits");
    total += kOverhead;
  }
  // The rest is for the attributes and the other run.
  if (total > kMaxEnvelopeBytes / 3) return too_long("recipient list");
  return {};
}

void append_attributes(std::string& out, const Attributes& attributes) {
  std::string payload;
  for (const auto& [name, value] : attributes) {
    payload.assign(name).append(1, '=').append(value);
    append_record(out, {RecordType::kAttribute, payload});
  }
}

void append_recipients(std::string& out, std::vector<Recipient>& recipients,
                       std::uint64_t out_offset) {
  for (Recipient& recipient : recipients) {
    const std::string payload = recipient_payload(recipient);
    append_record(out, {RecordType::kRecipient, payload});
    recipient.state_offset = out_offset + out.size() - payload.size();
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> named_attributes(const Envelope& envelope) {
  std::vector<std::pair<std::string, std::string>> all;
  all.reserve(std::size(kTextAttributes) + envelope.attributes.size());
  const auto add = [&all](std::string_view name, std::string value) {
    if (!value.empty()) all.emplace_back(name, std::move(value));
  };
  // The accessors give references for the reader's sake; nothing is written here.
  auto& texts = const_cast<Envelope&>(envelope);
  for (const TextAttribute& known : kTextAttributes) add(known.name, known.of(texts));
  if (envelope.encoding != ContentEncoding::kUnknown) {
    add(kEncoding, std::string(encoding_name(envelope.encoding)));
  }
  if (envelope.smtputf8 != 0) add(kSmtpUtf8, std::to_string(envelope.smtputf8));
  if (envelope.dsn_ret != DsnReturn::kUnspecified) {
    add(kRetFlags, std::string(1, static_cast<char>(envelope.dsn_ret)));
  }
  add(kOrigin, std::string(1, static_cast<char>(envelope.origin)));
  if (envelope.flags != 0) add(kFlags, std::to_string(envelope.flags));
  all.insert(all.end(), envelope.attributes.begin(), envelope.attributes.end());
  return all;
}

Result<void> check_bounds(const Envelope& envelope) {
  if (envelope.sender.size() > kMaxAddress) return too_long("sender");
  if (envelope.arrival.seconds < 0 || envelope.arrival.microseconds < 0 ||
      envelope.arrival.microseconds > 999'999 ||
      (envelope.delay_warning && envelope.delay_warning->time < 0)) {
    return fail_temporary("time out of range");
  }
  // A free attribute may not carry the name of a member: it would be read back as that.
  Envelope scratch;
  DO(check_attributes(envelope.attributes, scratch));
  if (scratch.attributes.size() != envelope.attributes.size()) {
    return refuse("attribute with a reserved name");
  }
  for (const TextAttribute& known : kTextAttributes) {
    if (known.of(const_cast<Envelope&>(envelope)).size() > kMaxAttributeValue) {
      return too_long(known.name);
    }
  }
  return check_recipients(envelope.recipients);
}

Result<void> check_bounds(const Amendment& amendment) {
  if (amendment.sender && amendment.sender->size() > kMaxAddress) return too_long("sender");
  Envelope scratch;
  DO(check_attributes(amendment.attributes, scratch));
  return check_recipients(amendment.recipients);
}

void append_envelope(std::string& out, Envelope& envelope, std::uint64_t out_offset) {
  constexpr std::size_t kUsualSize = 512;
  out.reserve(out.size() + kUsualSize);
  std::string payload;
  append_number(payload, static_cast<std::uint64_t>(envelope.arrival.seconds));
  append_number(payload, static_cast<std::uint64_t>(envelope.arrival.microseconds));
  append_record(out, {RecordType::kTime, payload});
  append_attributes(out, named_attributes(envelope));
  append_record(out, {RecordType::kSender, envelope.sender});
  if (envelope.delay_warning) {
    payload.assign(1, static_cast<char>(envelope.delay_warning->state));
    append_number(payload, static_cast<std::uint64_t>(envelope.delay_warning->time));
    append_record(out, {RecordType::kWarning, payload});
    envelope.delay_warning->state_offset = out_offset + out.size() - payload.size();
  }
  append_recipients(out, envelope.recipients, out_offset);
  append_record(out, {RecordType::kEnd, ""});
}

void append_amendment(std::string& out, Amendment& amendment, std::uint64_t out_offset) {
  append_attributes(out, amendment.attributes);
  if (amendment.sender) append_record(out, {RecordType::kSender, *amendment.sender});
  append_recipients(out, amendment.recipients, out_offset);
  append_record(out, {RecordType::kEnd, ""});
}

Result<void> read_amendment(std::string_view run, std::uint64_t file_offset, Envelope& envelope,
                            Recipients recipients) {
  RecordReader reader(run);
  for (;;) {
    TRY(const std::optional<Record> record, reader.next());
    if (!record) break;
    if (record->type == RecordType::kRecipient) {
      if (recipients == Recipients::kStopThere) return {};
      if (recipients == Recipients::kSkip) continue;
    }
    const std::uint64_t payload_offset = file_offset + reader.payload_offset();
    if (auto applied = apply_record(*record, payload_offset, envelope); !applied) {
      return damage(fmt::format("{} at offset {}", applied.error().text, payload_offset));
    }
  }
  if (reader.offset() != run.size()) {
    return damage(
        fmt::format("bytes after the end record at offset {}", file_offset + reader.offset()));
  }
  return {};
}

Result<Envelope> read_envelope(std::string_view run, std::uint64_t file_offset,
                               Recipients recipients) {
  Envelope envelope;
  DO(read_amendment(run, file_offset, envelope, recipients));
  return envelope;
}

}  // namespace postern::queuefile
