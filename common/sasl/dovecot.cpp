#include "common/sasl/dovecot.h"

#include <fmt/format.h>

#include "common/base/encode.h"
#include "common/base/number.h"
#include "common/base/text.h"

namespace postern::sasl {

namespace {

constexpr char kEscape = '\001';

std::string unescape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != kEscape || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 't':
        out += '\t';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case '0':
        out += '\0';
        break;
      case '1':
        out += kEscape;
        break;
      default:
        out += text[i];
    }
  }
  return out;
}

std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '\t':
        out += "\001t";
        break;
      case '\n':
        out += "\001n";
        break;
      case '\r':
        out += "\001r";
        break;
      case '\0':
        out += "\0010";
        break;
      case kEscape:
        out += "\0011";
        break;
      default:
        out += c;
    }
  }
  return out;
}

DovecotLine parse_mechanism(const std::vector<std::string_view>& fields) {
  DovecotLine out;
  if (fields.size() < 2) return out;
  out.kind = DovecotLine::Kind::kMechanism;
  out.mechanism.name = to_upper(fields[1]);
  // A name that no client could send is not offered.
  if (!is_mechanism_name(out.mechanism.name)) out.kind = DovecotLine::Kind::kOther;
  for (std::size_t i = 2; i < fields.size(); ++i) {
    if (fields[i] == "plaintext") out.mechanism.traits |= kPlaintext;
    if (fields[i] == "active") out.mechanism.traits |= kActive;
    if (fields[i] == "dictionary") out.mechanism.traits |= kDictionary;
    if (fields[i] == "anonymous") out.mechanism.traits |= kAnonymous;
    if (fields[i] == "forward-secrecy") out.mechanism.traits |= kForwardSecrecy;
    if (fields[i] == "mutual-auth") out.mechanism.traits |= kMutualAuth;
    if (fields[i] == "private") out.is_private = true;
  }
  return out;
}

DovecotLine parse_reply(DovecotLine::Kind kind, const std::vector<std::string_view>& fields) {
  DovecotLine out;
  const auto id = fields.size() < 2 ? std::nullopt : parse_integer<std::uint32_t>(fields[1]);
  if (!id) return out;
  out.id = *id;
  if (kind == DovecotLine::Kind::kContinue) {
    auto challenge = base64_decode(fields.size() > 2 ? fields[2] : std::string_view());
    if (!challenge) return out;
    out.challenge = *std::move(challenge);
  } else {
    for (std::size_t i = 2; i < fields.size(); ++i) {
      if (fields[i].starts_with("user=")) out.user = unescape(fields[i].substr(5));
      if (fields[i].starts_with("reason=")) out.reason = unescape(fields[i].substr(7));
      if (fields[i] == "temp") out.is_temporary = true;
    }
  }
  out.kind = kind;
  return out;
}

DovecotLine parse_version(const std::vector<std::string_view>& fields) {
  DovecotLine out;
  if (fields.size() < 3) return out;
  const auto major = parse_integer<unsigned>(fields[1]);
  const auto minor = parse_integer<unsigned>(fields[2]);
  if (!major || !minor) return out;
  out.kind = DovecotLine::Kind::kVersion;
  out.version_major = *major;
  out.version_minor = *minor;
  return out;
}

}  // namespace

DovecotLine parse_dovecot_line(std::string_view line) {
  const auto fields = split_fields(line, '\t');
  const std::string_view word = fields.front();
  if (word == "VERSION") return parse_version(fields);
  if (word == "MECH") return parse_mechanism(fields);
  if (word == "OK") return parse_reply(DovecotLine::Kind::kOk, fields);
  if (word == "CONT") return parse_reply(DovecotLine::Kind::kContinue, fields);
  if (word == "FAIL") return parse_reply(DovecotLine::Kind::kFail, fields);
  DovecotLine out;
  out.kind = word == "DONE" ? DovecotLine::Kind::kDone : DovecotLine::Kind::kOther;
  return out;
}

std::string dovecot_hello(std::uint32_t pid) {
  return fmt::format("VERSION\t1\t1\nCPID\t{}\n", pid);
}

std::string dovecot_auth(const DovecotRequest& request) {
  std::string out = fmt::format("AUTH\t{}\t{}\tservice={}\tnologin", request.id, request.mechanism,
                                escape(request.service));
  if (!request.local_address.empty()) out += fmt::format("\tlip={}", escape(request.local_address));
  if (!request.remote_address.empty()) {
    out += fmt::format("\trip={}", escape(request.remote_address));
  }
  if (request.is_secured) out += "\tsecured";
  // Must be the last one.
  if (request.initial_response) {
    out += fmt::format("\tresp={}", base64_encode(*request.initial_response));
  }
  return out + '\n';
}

std::string dovecot_continue(std::uint32_t id, std::string_view response) {
  return fmt::format("CONT\t{}\t{}\n", id, base64_encode(response));
}

std::string dovecot_cancel(std::uint32_t id) { return fmt::format("CANCEL\t{}\n", id); }

}  // namespace postern::sasl
