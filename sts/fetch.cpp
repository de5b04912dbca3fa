#include "sts/fetch.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <memory>

#include "common/base/text.h"
#include "common/tls/sts.h"

namespace postern::sts {

namespace {

struct Cleanup {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

std::size_t take_body(char* bytes, std::size_t, std::size_t count, void* into) {
  auto& body = *static_cast<std::string*>(into);
  if (body.size() + count > tls::StsPolicy::kMaxBytes) return 0;
  body.append(bytes, count);
  return count;
}

// "host:443:address,address": no resolver of the library's own, which would open files.
std::string pinned(const FetchRequest& request, const std::string& host) {
  std::vector<std::string> addresses;
  for (const auto& address : request.addresses) {
    const bool is_v6 = address.find(':') != std::string::npos;
    addresses.push_back(is_v6 ? "[" + address + "]" : address);
  }
  return fmt::format("{}:443:{}", host, join(addresses, ","));
}

}  // namespace

Result<std::string> fetch_policy(const FetchRequest& request) {
  const std::unique_ptr<CURL, Cleanup> curl(curl_easy_init());
  if (!curl) return fail_temporary("cannot set up HTTPS");
  const std::string host = "mta-sts." + request.domain;
  const std::string url = fmt::format("https://{}/.well-known/mta-sts.txt", host);
  const std::unique_ptr<curl_slist, Cleanup> addresses(
      curl_slist_append(nullptr, pinned(request, host).c_str()));
  std::string body;
  std::string problem(CURL_ERROR_SIZE, '\0');
  curl_blob authorities{const_cast<char*>(request.authorities.data()), request.authorities.size(),
                        CURL_BLOB_NOCOPY};
  CURL* const c = curl.get();
  curl_easy_setopt(c, CURLOPT_URL, url.c_str());
  curl_easy_setopt(c, CURLOPT_RESOLVE, addresses.get());
  curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
  curl_easy_setopt(c, CURLOPT_PROXY, "");
  curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(c, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(c, CURLOPT_CAPATH, nullptr);
  curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &authorities);
  curl_easy_setopt(c, CURLOPT_TIMEOUT, request.timeout);
  curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, &take_body);
  curl_easy_setopt(c, CURLOPT_WRITEDATA, &body);
  curl_easy_setopt(c, CURLOPT_ERRORBUFFER, problem.data());
  curl_easy_setopt(c, CURLOPT_USERAGENT, "postern");
  const CURLcode done = curl_easy_perform(c);
  if (done != CURLE_OK) {
    const std::string_view text = problem.c_str();
    return fail_temporary(
        fmt::format("{}: {}", url, text.empty() ? curl_easy_strerror(done) : text));
  }
  long code = 0;
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &code);
  if (code != 200) return fail_temporary(fmt::format("{}: HTTP status {}", url, code));
  const char* type = nullptr;
  curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type);
  if (type == nullptr || !starts_with_nocase(type, "text/plain")) {
    return fail_temporary(fmt::format("{}: not text/plain", url));
  }
  return body;
}

}  // namespace postern::sts
