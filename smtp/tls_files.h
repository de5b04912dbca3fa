// tls_files.h - the files behind smtp_tls_* and lmtp_tls_*, read while the process still may.

#pragma once

#include "common/config/values.h"
#include "common/smtpclient/destination.h"
#include "common/smtpclient/tls_settings.h"

namespace postern::smtp {

// What cannot be read is logged and missing: the levels that need it then defer their mail.
[[nodiscard]] smtpclient::TlsMaterials read_tls_materials(const config::Values& values,
                                                          smtpclient::Protocol protocol);

}  // namespace postern::smtp
