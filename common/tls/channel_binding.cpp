#include <openssl/objects.h>

#include "common/tls/connection.h"
#include "common/tls/openssl.h"
#include "common/tls/session.h"

namespace postern::tls {

namespace {

std::string_view chars(const unsigned char* bytes, std::size_t size) {
  return {static_cast<const char*>(static_cast<const void*>(bytes)), size};
}

// RFC 5929 4.1: the hash of the certificate's own signature, but for MD5 and SHA-1 SHA-256.
std::optional<std::string> server_end_point(X509* certificate) {
  int digest = NID_undef;
  if (certificate == nullptr ||
      OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &digest, nullptr) != 1) {
    return std::nullopt;
  }
  if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
  const EVP_MD* const method = EVP_get_digestbynid(digest);
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  if (method == nullptr || X509_digest(certificate, method, hash, &length) != 1) {
    return std::nullopt;
  }
  return std::string(chars(hash, length));
}

std::optional<std::string> exporter(SSL& ssl) {
  constexpr std::string_view kLabel = "EXPORTER-Channel-Binding";
  // RFC 9266 3: without extended master secrets TLS 1.2 gives a value that is not unique.
  if (SSL_version(&ssl) < TLS1_3_VERSION && SSL_get_extms_support(&ssl) != 1) return std::nullopt;
  unsigned char value[32];
  static constexpr unsigned char kNoContext[1] = {};
  if (SSL_export_keying_material(&ssl, value, sizeof(value), kLabel.data(), kLabel.size(),
                                 kNoContext, 0, 1) != 1) {
    return std::nullopt;
  }
  return std::string(chars(value, sizeof(value)));
}

// The first Finished message: the client's, or, when the session is resumed, the server's.
std::optional<std::string> unique(SSL& ssl, bool is_server) {
  if (SSL_version(&ssl) >= TLS1_3_VERSION) return std::nullopt;
  // RFC 7627 6.1: without extended master secrets two sessions may have the same.
  if (SSL_get_extms_support(&ssl) != 1) return std::nullopt;
  const bool is_own = is_server == (SSL_session_reused(&ssl) == 1);
  unsigned char value[EVP_MAX_MD_SIZE];
  const std::size_t length = is_own ? SSL_get_finished(&ssl, value, sizeof(value))
                                    : SSL_get_peer_finished(&ssl, value, sizeof(value));
  if (length == 0) return std::nullopt;
  return std::string(chars(value, length));
}

}  // namespace

std::optional<std::string> channel_binding(const loop::Stream& stream, Binding binding) {
  const Connection* const connection = Connection::of(stream);
  if (connection == nullptr) return std::nullopt;
  SSL& ssl = connection->ssl();
  const bool is_server = connection->context().is_server();
  std::optional<std::string> value;
  switch (binding) {
    case Binding::kServerEndPoint:
      value =
          server_end_point(is_server ? SSL_get_certificate(&ssl) : SSL_get0_peer_certificate(&ssl));
      break;
    case Binding::kExporter:
      value = exporter(ssl);
      break;
    case Binding::kUnique:
      value = unique(ssl, is_server);
      break;
  }
  ERR_clear_error();
  return value;
}

}  // namespace postern::tls
