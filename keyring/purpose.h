// purpose.h - whether bytes that shall be signed are what they are said to be for.
//
// A process that was taken over can ask for signatures. It gets such as a TLS handshake has, which
// it could have got by its own work, but none that stand for anything else: no certificate, no
// message's signature, no login elsewhere. Pure; bytes from outside.

#pragma once

#include <string_view>

#include "common/ipc/keyring.h"

namespace postern::keyring {

[[nodiscard]] bool is_for_purpose(ipc::keyring::Purpose purpose, std::int64_t scheme,
                                  std::string_view bytes);

}  // namespace postern::keyring
