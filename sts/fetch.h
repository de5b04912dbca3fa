// fetch.h - what is asked over HTTPS: a policy file (RFC 8461 3.3), and that a report is taken
// (RFC 8460 3). Blocks: for a worker thread.

#pragma once

#include <string>

#include "common/base/result.h"
#include "sts/https.h"

namespace postern::sts {

// The body of a 200 with a text/plain answer of at most StsPolicy::kMaxBytes, from the peer
// mta-sts.DOMAIN. Errors are temporary.
[[nodiscard]] Result<std::string> fetch_policy(const HttpsPeer& peer);

// The status of HTTP. An error: there was no answer.
[[nodiscard]] Result<long> post_report(const HttpsPeer& peer, const std::string& url,
                                       const std::string& type, const std::string& body);

}  // namespace postern::sts
