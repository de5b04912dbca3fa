// settings.h - the TLS parameters of main.cf as the values that contexts are made of.

#pragma once

#include "common/config/values.h"
#include "common/tls/context.h"

namespace postern::tls {

enum class Role : unsigned char { kServer, kClient };  // smtpd_tls_*; smtp_tls_* or lmtp_tls_*
enum class Demand : unsigned char {
  kOptional,   // security level may: *_tls_ciphers, *_tls_protocols
  kMandatory,  // encrypt and above: *_tls_mandatory_ciphers, *_tls_mandatory_protocols
};

[[nodiscard]] CipherLists read_cipher_lists(const config::Values& values);

// What a role agrees on. A value that is wrong leaves a Problem, and the default counts instead.
[[nodiscard]] Algorithms read_algorithms(const config::Values& values, Role role, Demand demand,
                                         config::Problems& problems);

}  // namespace postern::tls
