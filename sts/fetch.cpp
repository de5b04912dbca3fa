#include "sts/fetch.h"

#include <fmt/format.h>

#include "common/base/text.h"
#include "common/tls/sts.h"

namespace postern::sts {

namespace {

constexpr std::size_t kMaxAnswer = std::size_t{16} << 10;

}  // namespace

Result<std::string> fetch_policy(const HttpsPeer& peer) {
  const std::string url = fmt::format("https://{}/.well-known/mta-sts.txt", peer.host);
  Https https(peer, url, tls::StsPolicy::kMaxBytes);
  if (const std::string problem = https.perform(); !problem.empty()) {
    return fail_temporary(fmt::format("{}: {}", url, problem));
  }
  if (const long code = https.status(); code != 200) {
    return fail_temporary(fmt::format("{}: HTTP status {}", url, code));
  }
  const char* type = nullptr;
  curl_easy_getinfo(https.get(), CURLINFO_CONTENT_TYPE, &type);
  if (type == nullptr || !starts_with_nocase(type, "text/plain")) {
    return fail_temporary(fmt::format("{}: not text/plain", url));
  }
  return std::move(https.body);
}

Result<long> post_report(const HttpsPeer& peer, const std::string& url, const std::string& type,
                         const std::string& body) {
  Https https(peer, url, kMaxAnswer);
  const CurlList fields(curl_slist_append(nullptr, ("Content-Type: " + type).c_str()));
  if (https.get() != nullptr) {
    curl_easy_setopt(https.get(), CURLOPT_HTTPHEADER, fields.get());
    curl_easy_setopt(https.get(), CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(https.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(body.size()));
  }
  const std::string problem = https.perform();
  // A long answer is not read to its end, and no matter.
  const bool has_answer = https.get() != nullptr && https.status() != 0;
  if (!problem.empty() && !has_answer) return fail_temporary(fmt::format("{}: {}", url, problem));
  return https.status();
}

}  // namespace postern::sts
