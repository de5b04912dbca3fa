// keyring.h - signatures by keys that nobody else has (private/keyring).
//
// A key is named by the SHA-256 of its public half (SubjectPublicKeyInfo), so that whoever has a
// certificate knows which key is meant, and a key of another certificate is never taken for it.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::ipc::keyring {

// What a signature is for. keyring looks whether the bytes are such, and the key for that.
enum class Purpose : std::uint8_t {
  kNone = 0,
  kTlsServer = 1,  // CertificateVerify of TLS 1.3, ServerKeyExchange before
  kTlsClient = 2,  // CertificateVerify
  kDkim = 3,
  kArc = 4,
  kSrs = 5,  // no key: secrets of rewritten senders (ipc/srs.h)
};

struct Signed {
  std::string signature;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("signature", self.signature);
  }
};

struct Sign {
  static constexpr std::uint16_t kType = 0x1101;
  static constexpr bool kRepeatable = true;
  using Reply = Signed;
  std::string key;          // 32 bytes
  std::int64_t scheme = 0;  // SignatureScheme, RFC 8446 4.2.3; see kRsaMd5Sha1
  Purpose purpose = Purpose::kNone;
  std::string bytes;  // what is signed, not its hash
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("key", self.key);
    field("scheme", self.scheme);
    field("purpose", self.purpose);
    field("bytes", self.bytes);
  }
};

// What TLS before 1.2 signs with RSA; it has no number of its own.
inline constexpr std::int64_t kRsaMd5Sha1 = 0xfe01;
// Larger texts are refused; a client's CertificateVerify of TLS 1.2 covers the whole handshake.
inline constexpr std::size_t kMaxSigned = std::size_t{256} << 10;

struct Present {
  std::vector<std::string> keys;  // those asked for that are there, and for the purpose
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("keys", self.keys);
  }
};

// Which of the keys are there.
struct Find {
  static constexpr std::uint16_t kType = 0x1102;
  static constexpr bool kRepeatable = true;
  using Reply = Present;
  std::vector<std::string> keys;
  Purpose purpose = Purpose::kNone;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("keys", self.keys);
    field("purpose", self.purpose);
  }
};

struct Tickets {
  std::vector<std::string> keys;  // tls::TicketKey, newest first
  std::chrono::seconds next{0};   // when to ask again
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("keys", self.keys);
    field("next", self.next);
  }
};

struct FileKey {
  std::string key;          // empty: there is no such file, or no key in it
  std::int64_t scheme = 0;  // how it signs mail: rsa_pkcs1_sha256 or ed25519
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("key", self.key);
    field("scheme", self.scheme);
  }
};

// The key that master has read from a file; for signatures of mail, where there is no certificate.
struct FindFile {
  static constexpr std::uint16_t kType = 0x1106;
  static constexpr bool kRepeatable = true;
  using Reply = FileKey;
  std::string path;
  Purpose purpose = Purpose::kNone;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("path", self.path);
    field("purpose", self.purpose);
  }
};

// What session tickets are sealed with now; all processes of a server share it.
struct GetTickets {
  static constexpr std::uint16_t kType = 0x1103;
  static constexpr bool kRepeatable = true;
  using Reply = Tickets;
  std::chrono::seconds lifetime{0};  // of a ticket
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("lifetime", self.lifetime);
  }
};

struct Chain {
  bool is_found = false;
  std::string pem;  // certificates, own first; the key stays where it is
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_found", self.is_found);
    field("pem", self.pem);
  }
};

// The certificate for a name that a client sent, out of tables whose values hold keys (postmap -F).
// The name is looked for first, then its parents with a dot in front.
struct FindNamed {
  static constexpr std::uint16_t kType = 0x1104;
  static constexpr bool kRepeatable = true;
  using Reply = Chain;
  std::string name;
  std::vector<std::string> tables;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("name", self.name);
    field("tables", self.tables);
  }
};

// One file with a key or a certificate in it, from master.
struct KeyFile {
  std::string path;
  Purpose purpose = Purpose::kNone;
  std::string pem;           // its private keys alone
  std::string certificates;  // its certificates, whose last day keyring watches
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("path", self.path);
    field("purpose", self.purpose);
    field("pem", self.pem);
    field("certificates", self.certificates);
  }
};

// master to keyring, over the control socket: the keys from now on. The ones before are kept until
// the next such notice, for those who have not heard of the new certificates.
struct Keys {
  static constexpr std::uint16_t kType = 0x1105;
  std::vector<KeyFile> files;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("files", self.files);
  }
};

}  // namespace postern::ipc::keyring
