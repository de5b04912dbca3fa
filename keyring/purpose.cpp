#include "keyring/purpose.h"

#include <cstddef>

#include "common/base/text.h"

namespace postern::keyring {

namespace {

using ipc::keyring::Purpose;

// Takes numbers and sized fields off the front of bytes.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}

  // Big-endian, of `size` bytes; 0 and not good() where they are not there.
  std::size_t number(std::size_t size) {
    if (left_.size() < size) return lose();
    std::size_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value = value << 8U | static_cast<unsigned char>(left_[i]);
    }
    left_.remove_prefix(size);
    return value;
  }
  std::string_view field(std::size_t size) {
    if (left_.size() < size) {
      lose();
      return {};
    }
    const auto found = left_.substr(0, size);
    left_.remove_prefix(size);
    return found;
  }
  [[nodiscard]] bool is_at_end() const { return is_good_ && left_.empty(); }
  [[nodiscard]] bool good() const { return is_good_; }

 private:
  std::size_t lose() {
    is_good_ = false;
    left_ = {};
    return 0;
  }
  std::string_view left_;
  bool is_good_ = true;
};

// RFC 8446 4.4.3: 64 spaces, what it is, a zero byte, the hash of the handshake so far.
bool is_certificate_verify(std::string_view bytes, std::string_view context) {
  constexpr std::size_t kSpaces = 64;
  Reader reader(bytes);
  if (reader.field(kSpaces).find_first_not_of(' ') != std::string_view::npos) return false;
  if (reader.field(context.size()) != context || reader.field(1) != std::string_view("\0", 1)) {
    return false;
  }
  const std::size_t hash = bytes.size() - kSpaces - context.size() - 1;
  return reader.good() && (hash == 32 || hash == 48);
}

// RFC 8422 5.4 and RFC 5246 7.4.3: both sides' random bytes, then the server's half of the key
// exchange: a named curve and a point, or p, g and Ys.
bool is_key_exchange(std::string_view bytes) {
  constexpr std::size_t kRandom = 64;
  constexpr std::size_t kNamedCurve = 3;
  Reader curve(bytes);
  (void)curve.field(kRandom);
  if (curve.number(1) == kNamedCurve) {
    (void)curve.number(2);
    const std::string_view point = curve.field(curve.number(1));
    if (curve.is_at_end() && !point.empty()) return true;
  }
  Reader group(bytes);
  (void)group.field(kRandom);
  for (int i = 0; i < 3; ++i) {
    if (group.field(group.number(2)).empty()) return false;
  }
  return group.is_at_end();
}

// RFC 5246 7.4.8: all handshake messages so far, beginning with ClientHello and ServerHello.
bool is_transcript(std::string_view bytes) {
  constexpr std::size_t kClientHello = 1;
  constexpr std::size_t kServerHello = 2;
  Reader reader(bytes);
  for (std::size_t i = 0; reader.good() && !reader.is_at_end(); ++i) {
    const std::size_t type = reader.number(1);
    if ((i == 0 && type != kClientHello) || (i == 1 && type != kServerHello)) return false;
    (void)reader.field(reader.number(3));
  }
  return reader.is_at_end() && bytes.size() > 64;
}

// RFC 6376 3.7: header fields, each with CRLF, and last the signature's own with nothing behind b=.
// `name` in lower case and with its colon.
bool ends_with_open_signature(std::string_view bytes, std::string_view name) {
  if (!bytes.ends_with("b=")) return false;
  const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
  // Where the last field begins: its other lines begin with a blank.
  std::size_t start = bytes.size();
  do {
    start = bytes.substr(0, start).rfind("\r\n");
    if (start == std::string_view::npos) break;
  } while (is_blank(bytes[start + 2]));
  const std::string_view field = start == std::string_view::npos ? bytes : bytes.substr(start + 2);
  return starts_with_nocase(field, name) && bytes.find('\0') == std::string_view::npos;
}

// RSA with the older padding is no signature of TLS 1.3 (RFC 8446 4.2.3).
bool is_old_rsa(std::int64_t scheme) { return (scheme & 0xff) == 0x01 && scheme != 0x0801; }

}  // namespace

bool is_for_purpose(Purpose purpose, std::int64_t scheme, std::string_view bytes) {
  if (bytes.size() > ipc::keyring::kMaxSigned) return false;
  switch (purpose) {
    case Purpose::kTlsServer:
      return is_key_exchange(bytes) ||
             (!is_old_rsa(scheme) &&
              is_certificate_verify(bytes, "TLS 1.3, server CertificateVerify"));
    case Purpose::kTlsClient:
      return is_transcript(bytes) ||
             (!is_old_rsa(scheme) &&
              is_certificate_verify(bytes, "TLS 1.3, client CertificateVerify"));
    case Purpose::kDkim:
      return ends_with_open_signature(bytes, "dkim-signature:");
    case Purpose::kArc:
      return ends_with_open_signature(bytes, "arc-message-signature:") ||
             ends_with_open_signature(bytes, "arc-seal:");
    case Purpose::kSrs:
    case Purpose::kNone:
      return false;
  }
  return false;
}

}  // namespace postern::keyring
