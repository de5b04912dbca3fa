// tls_keys.h - keys, self-signed certificates, signing requests and TLSA records for a server.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/tls/openssl.h"

namespace postern::control {

// "rsa" with a number of bits (2048), "ecdsa" with a curve (prime256v1); `bits` empty: the default.
[[nodiscard]] Result<tls::KeyPtr> make_key(std::string_view algorithm, std::string_view bits);
[[nodiscard]] std::string print_key(EVP_PKEY& key);  // PEM, PKCS#8

// For the names, the first being the common name; valid for 100 years, as those of `postfix tls`.
[[nodiscard]] Result<std::string> make_certificate(EVP_PKEY& key,
                                                   const std::vector<std::string>& names);
[[nodiscard]] Result<std::string> make_request(EVP_PKEY& key,
                                               const std::vector<std::string>& names);

// The 3 1 1 record of a key: "_25._tcp.mx.example.org. IN TLSA 3 1 1 ab12...".
[[nodiscard]] std::string tlsa_record(EVP_PKEY& key, std::string_view host);

}  // namespace postern::control
