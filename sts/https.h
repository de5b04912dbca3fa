// https.h - one HTTPS connection as both of our uses want it: no redirection, no proxy, no resolver
// of the library's own, the server's certificate verified. Blocks: for a worker thread.

#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <vector>

namespace postern::sts {

struct FreeCurl {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlPtr = std::unique_ptr<CURL, FreeCurl>;
using CurlList = std::unique_ptr<curl_slist, FreeCurl>;

struct HttpsPeer {
  std::string host;
  std::vector<std::string> addresses;  // of it, as the resolver has them
  std::string authorities;             // PEM
  long timeout = 60;                   // seconds, for all of it
};

class Https {
 public:
  // `url` is below https://HOST/; `peer` outlives this.
  Https(const HttpsPeer& peer, const std::string& url, std::size_t most_bytes);
  Https(const Https&) = delete;
  Https& operator=(const Https&) = delete;

  [[nodiscard]] CURL* get() const { return curl_.get(); }
  // Empty where it went well, else what did not.
  [[nodiscard]] std::string perform();
  [[nodiscard]] long status() const;
  std::string body;

 private:
  static std::size_t take(char* bytes, std::size_t, std::size_t count, void* into);
  CurlPtr curl_;
  CurlList addresses_;
  std::size_t most_bytes_;
  std::string problem_;
};

}  // namespace postern::sts
