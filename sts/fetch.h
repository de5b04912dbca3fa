// fetch.h - one policy file over HTTPS (RFC 8461 3.3). Blocks: for a worker thread.

#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"

namespace postern::sts {

struct FetchRequest {
  std::string domain;                  // mail.example.org
  std::vector<std::string> addresses;  // of mta-sts.DOMAIN, as the resolver has them
  std::string authorities;             // PEM
  long timeout = 60;                   // seconds, for all of it
};

// The body of a 200 with a text/plain answer of at most StsPolicy::kMaxBytes; no redirection is
// followed, and the certificate must be for mta-sts.DOMAIN. Errors are temporary.
[[nodiscard]] Result<std::string> fetch_policy(const FetchRequest& request);

}  // namespace postern::sts
