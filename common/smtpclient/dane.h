// dane.h - the TLSA records of a mail server, and whether they count (RFC 7672).
//
//     MX records validated -> host's addresses validated -> _25._tcp.host TLSA validated
//
// A link that is not signed ends the chain: the server publishes nothing. A link that cannot be
// looked up defers the mail: else whoever breaks DNS could switch DANE off.

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/dns/wire.h"
#include "common/ipc/resolver.h"
#include "common/loop/task.h"
#include "common/smtpclient/plan.h"

namespace postern::smtpclient {

// Asks the resolver. Where it is a lambda, it is no coroutine itself but calls one.
using Questioner =
    std::function<loop::Task<Result<ipc::resolver::Answer>>(ipc::resolver::Query question)>;

enum class TlsaStatus : unsigned char {
  kNone,      // nothing is published, or nothing that is signed
  kUsable,    // `records` has at least one that SMTP clients may use
  kUnusable,  // records, but none that we may use: encrypt without knowing whom to (RFC 7672 2.2)
  kFailed,    // temporary
};

struct Tlsa {
  TlsaStatus status = TlsaStatus::kNone;
  std::string base{};  // the TLSA base domain: SNI, and the name of usage 2
  std::vector<dns::Tlsa> records{};
};

// "3 1 1 ab12...", as resolver answers carry it. Nothing for what is no such text.
[[nodiscard]] std::optional<dns::Tlsa> parse_tlsa(std::string_view text);

// `is_forced`: ask although the host's addresses are not signed
// (smtp_tls_force_insecure_host_tlsa_lookup).
[[nodiscard]] loop::Task<Tlsa> find_tlsa(Questioner ask, Endpoint endpoint, bool is_forced);

}  // namespace postern::smtpclient
