// Challenges of a server that we log in at: any bytes are answered or refused, and no mechanism
// goes on for ever.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/base/text.h"
#include "common/sasl/client.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  // Not as many rounds as a server may ask for: the fuzzer has no time.
  if (const auto at = input.find("i="); at != std::string_view::npos) {
    if (input.substr(at).size() > 6) return 0;
  }
  for (const bool is_token : {false, true}) {
    for (const std::string name :
         {"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER"}) {
      sasl::Credentials credentials{"user", "pass", is_token, false, "host", 25};
      const auto login = sasl::choose_client_login({name}, {}, credentials, "nonce");
      if (login == nullptr) continue;
      (void)login->first();
      unsigned answers = 0;
      for (const auto challenge : split_fields(input, '\n')) {
        if (!login->answer(challenge)) break;
        ++answers;
      }
      assert(answers <= 2);
      // Nobody here knows the password.
      if (name.starts_with("SCRAM")) assert(!login->finish());
    }
  }
  return 0;
}
