// session.h - one connection becomes secret: handshakes as server and as client, and what they
// found.
//
//     const auto session = co_await tls::accept(stream, context, options, deadline);
//     if (!session) ...                    // session.error(): what to log; close the stream
//     co_await stream.fill(...)            // reads and writes go on as before, encrypted
//
// A handshake replaces nothing but the stream's transport. Nobody may wait on the stream while it
// is under way; output put() before has been flushed, and input read before is thrown away, so that
// nothing said in the clear counts as said in secret (CVE-2011-0411).
//
// At most kMaxHandshakes are worked at in a thread: they hold most of what TLS needs of memory and
// processor time. The others wait unbegun, within their deadline. A peer that is slow loses its
// place soon, and goes on without one.
//
// No handshake fails because of a certificate: Session::trust says what it is worth, and the caller
// knows what it needs. Renegotiation is refused. Closing a stream sends close_notify and waits for
// nobody.

#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/dns/wire.h"
#include "common/loop/stream.h"
#include "common/loop/task.h"
#include "common/tls/context.h"

namespace postern::tls {

inline constexpr unsigned kMaxHandshakes = 64;

// What a certificate turned out to be worth, in the words of Postfix's log lines.
enum class Worth : unsigned char {
  kAnonymous,  // none was shown
  kUntrusted,  // nobody whom we trust vouches for it
  kTrusted,    // a trusted authority does
  kVerified,   // and it is the one that was asked for: by name, fingerprint or TLSA record
};
[[nodiscard]] std::string_view worth_name(Worth worth);  // "Anonymous"

// How a handshake went. Texts of the peer's certificate have passed log::clean().
struct Session {
  std::string protocol{};  // "TLSv1.3"
  std::string cipher{};    // "TLS_AES_256_GCM_SHA384"
  int used_bits = 0;
  int algorithm_bits = 0;
  // " key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA256", in the words
  // of Postfix's log lines and Received fields, each part as `key_exchange` and so on; TLS 1.3
  // only. Empty where it does not apply.
  std::string key_exchange{};      // "X25519", "ECDHE (P-256)"
  std::string server_signature{};  // "RSA-PSS (2048 bits)"
  std::string server_digest{};     // "SHA256"
  std::string client_signature{};
  std::string client_digest{};

  Worth worth = Worth::kAnonymous;
  bool has_peer_certificate = false;
  bool is_reused = false;  // resumed from an earlier session
  // Why the certificate is not trusted or not verified: "self-signed certificate", "untrusted
  // issuer Example CA", "certificate has expired", "no name in it matches". Empty when it is.
  std::string distrust{};
  std::string peer_subject{};          // CN
  std::string peer_issuer{};           // CN, or O
  std::string peer_fingerprint{};      // "AB:CD:…" in the digest asked for
  std::string peer_key_fingerprint{};  // of the public key
  // Client: the name or record that matched; for the log.
  std::string matched{};
  // Server: the name that the client sent, when a certificate was found for it.
  std::string server_name{};
  std::string application_protocol{};  // ALPN; empty: none agreed on

  // "TLSv1.3 with cipher X (256/256 bits) key-exchange ...", as log lines end.
  [[nodiscard]] std::string describe() const;
};

// A handshake that did not come to its end.
struct Failure {
  loop::Io io = loop::Io::kError;
  // In Postfix's words, behind "SSL_accept error from name[address]: ": "lost connection",
  // "Connection timed out", "-1" (see library_errors).
  std::string text{};
  std::vector<std::string> library_errors{};  // "error:0A00010B:SSL routines::…", each a warning
  // We could not show a certificate, or could not look one up: ours to mend, not the peer's.
  bool is_ours = false;
};
template <typename T>
using Handshake = std::expected<T, Failure>;

// Where a server finds the certificate for a name that a client sends (SNI).
class NamedIdentities {
 public:
  // `name` is a valid host name in lower case. Nothing: the default certificate is shown. An error
  // ends the handshake.
  [[nodiscard]] virtual loop::Task<Result<IdentityPtr>> find(std::string name,
                                                             loop::Deadline deadline) = 0;

 protected:
  ~NamedIdentities() = default;
};

// A handshake in the log (trace.h). From kTraceMessages on its messages are shown byte by byte, and
// from kTraceRecords on alerts and records, too. What is said once the handshake is over is never
// shown: that is mail and passwords.
inline constexpr int kTraceMessages = 3;
inline constexpr int kTraceRecords = 4;
struct TraceOptions {
  std::string peer{};  // "name[address]"
  int level = 0;       // *_tls_loglevel
};

struct AcceptOptions {
  std::string fingerprint_digest = "sha256";
  bool legacy_key_fingerprint = false;  // tls_legacy_public_key_fingerprints
  NamedIdentities* names = nullptr;     // outlives the handshake; null: one certificate for all
  // TLS began with the connection: what was read behind a proxy's header is of the handshake. After
  // STARTTLS it never is.
  bool has_begun = false;
  TraceOptions trace{};
};

// What makes a server's certificate kVerified.
enum class Verify : unsigned char {
  kNothing,      // security levels may and encrypt: at most kTrusted
  kFingerprint,  // level fingerprint: the certificate or its public key is in `fingerprints`
  kDane,         // levels dane and dane-only: one of `tlsa` matches
  kName,         // levels verify and secure: trusted, and a name in it matches `names`
};

struct ConnectOptions {
  std::string server_name{};  // SNI; empty: none is sent
  Verify verify = Verify::kNothing;
  // Host names, or ".example.com" for any name below; also what a TLSA record of usage 2 demands.
  std::vector<std::string> names{};
  bool wildcard_spans_labels = true;        // tls_wildcard_matches_multiple_labels
  std::vector<std::string> fingerprints{};  // "AB:CD:…" or "abcd…", case does not matter
  std::string fingerprint_digest = "sha256";
  bool legacy_key_fingerprint = false;
  // kDane, or trust anchors (anchors_of()) with kName. Those that are not is_usable() are left out.
  std::vector<dns::Tlsa> tlsa{};
  // Where policy differs from the context's: per destination.
  std::optional<Protocols> protocols{};
  std::string ciphers{};
  std::vector<std::string> application_protocols{};  // ALPN to offer; usually none
  TraceOptions trace{};

  // An earlier session with the same server under the same options, from on_session; empty: none.
  // One that the library cannot read is left out.
  std::string session{};
  // Called with each session that may be resumed later, during the handshake's last step or at any
  // read after it, and only when worth is what `verify` asked for. TLS 1.3 tickets are for one use.
  std::function<void(std::string session)> on_session{};
};

// Precondition of both: the stream is plain, and lives until the task has ended. On failure it is
// left without transport, to be closed.
[[nodiscard]] loop::Task<Handshake<Session>> accept(loop::Stream& stream, ContextPtr context,
                                                    AcceptOptions options, loop::Deadline deadline);
[[nodiscard]] loop::Task<Handshake<Session>> connect(loop::Stream& stream, ContextPtr context,
                                                     ConnectOptions options,
                                                     loop::Deadline deadline);

// What ties SASL to this very connection (RFC 5056).
enum class Binding : unsigned char {
  kServerEndPoint,  // tls-server-end-point, RFC 5929 4
  kExporter,        // tls-exporter, RFC 9266
  kUnique,          // tls-unique, RFC 5929 3; TLS 1.2 and older only
};
// Bytes; nothing for a plain stream, or where the protocol version has no such binding.
[[nodiscard]] std::optional<std::string> channel_binding(const loop::Stream& stream,
                                                         Binding binding);

}  // namespace postern::tls
