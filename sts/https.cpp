#include "sts/https.h"

#include <fmt/format.h>

#include "common/base/text.h"

namespace postern::sts {

namespace {

// A server that answers at all sends all of a policy, or takes all of a report, at once. The time
// that RFC 8461 3.3 gives it is for the whole of it.
constexpr long kSlowTime = 30;   // seconds
constexpr long kSlowSpeed = 64;  // bytes a second

// "host:443:address,address"
std::string pinned(const HttpsPeer& peer) {
  std::vector<std::string> addresses;
  for (const auto& address : peer.addresses) {
    const bool is_v6 = address.find(':') != std::string::npos;
    addresses.push_back(is_v6 ? "[" + address + "]" : address);
  }
  return fmt::format("{}:443:{}", peer.host, join(addresses, ","));
}

}  // namespace

std::size_t Https::take(char* bytes, std::size_t, std::size_t count, void* into) {
  auto& self = *static_cast<Https*>(into);
  if (self.body.size() + count > self.most_bytes_) return 0;
  self.body.append(bytes, count);
  return count;
}

Https::Https(const HttpsPeer& peer, const std::string& url, std::size_t most_bytes)
    : curl_(curl_easy_init()),
      addresses_(curl_slist_append(nullptr, pinned(peer).c_str())),
      most_bytes_(most_bytes),
      problem_(CURL_ERROR_SIZE, '\0') {
  CURL* const c = curl_.get();
  if (c == nullptr) return;
  curl_blob authorities{const_cast<char*>(peer.authorities.data()), peer.authorities.size(),
                        CURL_BLOB_NOCOPY};
  curl_easy_setopt(c, CURLOPT_URL, url.c_str());
  curl_easy_setopt(c, CURLOPT_RESOLVE, addresses_.get());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
  curl_easy_setopt(c, CURLOPT_PROXY, "");
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(c, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(c, CURLOPT_CAPATH, nullptr);
  curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &authorities);
  curl_easy_setopt(c, CURLOPT_TIMEOUT, peer.timeout);
  curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, kSlowTime);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, kSlowTime);
  curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, kSlowSpeed);
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &take);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, problem_.data());
  curl_easy_setopt(c, CURLOPT_USERAGENT, "postern");
}

std::string Https::perform() {
  if (!curl_) return "cannot set up HTTPS";
  const CURLcode done = curl_easy_perform(curl_.get());
  if (done == CURLE_OK) return {};
  const std::string text = problem_.c_str();
  return text.empty() ? curl_easy_strerror(done) : text;
}

long Https::status() const {
  long code = 0;
  curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &code);
  return code;
}

}  // namespace postern::sts
