// trace.h - a handshake in the log, message by message, for who has to find out why two sides do
// not come together (smtpd_tls_loglevel and smtp_tls_loglevel from 3 on).

#pragma once

#include <string>

#include "common/tls/openssl.h"
#include "common/tls/session.h"

namespace postern::tls {

// Shows the handshake of `ssl`, which outlives this, while this lives. `peer` is "name[address]".
// Below kTraceMessages nothing is shown. The trace of a handshake is bounded.
class HandshakeTrace {
 public:
  HandshakeTrace(SSL& ssl, std::string peer, int level);
  ~HandshakeTrace();
  HandshakeTrace(const HandshakeTrace&) = delete;
  HandshakeTrace& operator=(const HandshakeTrace&) = delete;

 private:
  static void take(int is_sent, int version, int content_type, const void* bytes,
                   std::size_t length, SSL* ssl, void* self);
  void show(bool is_sent, int version, int content_type, std::string_view bytes);

  SSL& ssl_;
  std::string peer_;
  int level_;
  unsigned shown_ = 0;
};

}  // namespace postern::tls
