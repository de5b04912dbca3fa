#include "common/tls/trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "common/log/log.h"

namespace postern::tls {

namespace {

constexpr unsigned kMaxMessages = 100;
constexpr std::size_t kMaxBytes = 8192;  // of one message
constexpr std::size_t kLine = 16;

// RFC 8446 B.3, RFC 5246 7.4.
std::string_view message_name(int type) {
  switch (type) {
    case SSL3_MT_HELLO_REQUEST:
      return "HelloRequest";
    case SSL3_MT_CLIENT_HELLO:
      return "ClientHello";
    case SSL3_MT_SERVER_HELLO:
      return "ServerHello";
    case SSL3_MT_NEWSESSION_TICKET:
      return "NewSessionTicket";
    case SSL3_MT_END_OF_EARLY_DATA:
      return "EndOfEarlyData";
    case SSL3_MT_ENCRYPTED_EXTENSIONS:
      return "EncryptedExtensions";
    case SSL3_MT_CERTIFICATE:
      return "Certificate";
    case SSL3_MT_SERVER_KEY_EXCHANGE:
      return "ServerKeyExchange";
    case SSL3_MT_CERTIFICATE_REQUEST:
      return "CertificateRequest";
    case SSL3_MT_SERVER_DONE:
      return "ServerHelloDone";
    case SSL3_MT_CERTIFICATE_VERIFY:
      return "CertificateVerify";
    case SSL3_MT_CLIENT_KEY_EXCHANGE:
      return "ClientKeyExchange";
    case SSL3_MT_FINISHED:
      return "Finished";
    case SSL3_MT_CERTIFICATE_STATUS:
      return "CertificateStatus";
    case SSL3_MT_KEY_UPDATE:
      return "KeyUpdate";
    default:
      return "handshake message";
  }
}

std::string_view version_name(int version) {
  switch (version) {
    case TLS1_3_VERSION:
      return "TLSv1.3";
    case TLS1_2_VERSION:
      return "TLSv1.2";
    case TLS1_1_VERSION:
      return "TLSv1.1";
    case TLS1_VERSION:
      return "TLSv1";
    default:
      return "TLS";
  }
}

// "0010 16 03 01 ... |...|"
std::string dump_line(std::string_view bytes, std::size_t at) {
  const std::string_view line = bytes.substr(at, kLine);
  std::string hex;
  std::string text;
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    fmt::format_to(std::back_inserter(hex), "{:02x} ", byte);
    text += byte >= 0x20 && byte < 0x7f ? c : '.';
  }
  return fmt::format("{:04x} {:<{}}|{}|", at, hex, kLine * 3, text);
}

}  // namespace

HandshakeTrace::HandshakeTrace(SSL& ssl, std::string peer, int level)
    : ssl_(ssl), peer_(std::move(peer)), level_(level) {
  if (level_ < kTraceMessages) return;
  SSL_set_msg_callback(&ssl_, &take);
  SSL_set_msg_callback_arg(&ssl_, this);
}

HandshakeTrace::~HandshakeTrace() {
  if (level_ >= kTraceMessages) SSL_set_msg_callback(&ssl_, nullptr);
}

void HandshakeTrace::take(int is_sent, int version, int content_type, const void* bytes,
                          std::size_t length, SSL* /*ssl*/, void* self) {
  static_cast<HandshakeTrace*>(self)->show(is_sent != 0, version, content_type,
                                           {static_cast<const char*>(bytes), length});
}

void HandshakeTrace::show(bool is_sent, int version, int content_type, std::string_view bytes) {
  const bool is_message = content_type == SSL3_RT_HANDSHAKE && !bytes.empty();
  if ((!is_message && level_ < kTraceRecords) || shown_ == kMaxMessages) return;
  ++shown_;
  const int type = is_message ? static_cast<unsigned char>(bytes.front()) : -1;
  std::string what;
  if (is_message) {
    what = message_name(type);
  } else if (content_type == SSL3_RT_ALERT && bytes.size() == 2) {
    const int alert =
        static_cast<unsigned char>(bytes[0]) << 8 | static_cast<unsigned char>(bytes[1]);
    what = fmt::format("alert: {} {}", SSL_alert_type_string_long(alert),
                       SSL_alert_desc_string_long(alert));
  } else if (content_type == SSL3_RT_CHANGE_CIPHER_SPEC) {
    what = "ChangeCipherSpec";
  } else if (content_type == SSL3_RT_HEADER) {
    what = "record";
  } else {
    return;
  }
  log::info("{}: {} {} {} ({} bytes)", peer_, is_sent ? "sent" : "received", version_name(version),
            what, bytes.size());
  // Who has a ticket can go on with the session.
  if (!is_message || type == SSL3_MT_NEWSESSION_TICKET) return;
  const std::string_view shown = bytes.substr(0, kMaxBytes);
  for (std::size_t at = 0; at < shown.size(); at += kLine) {
    log::info("{}: {}", peer_, dump_line(shown, at));
  }
}

}  // namespace postern::tls
