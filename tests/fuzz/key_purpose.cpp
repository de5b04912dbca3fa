// What keyring is asked to sign: any bytes are for one purpose at most.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "keyring/purpose.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using ipc::keyring::Purpose;
  const std::string_view bytes(static_cast<const char*>(static_cast<const void*>(data)), size);
  for (const std::int64_t scheme : {0x0401, 0x0403, 0x0804, 0x0807}) {
    const bool is_server = keyring::is_for_purpose(Purpose::kTlsServer, scheme, bytes);
    const bool is_client = keyring::is_for_purpose(Purpose::kTlsClient, scheme, bytes);
    // A transcript begins with the client's hello, which no random number of 32 bytes has to.
    if (is_server && is_client) assert(bytes[0] == 1);
    assert(!keyring::is_for_purpose(Purpose::kNone, scheme, bytes));
  }
  return 0;
}
