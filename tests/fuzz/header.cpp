// Headers: the end is the same whole and in pieces, and fields lie within the block.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/mail/header.h"
#include "common/mail/message_id.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  mail::HeaderScanner whole(100000);
  const auto state = whole.scan(input, true);
  assert(whole.header_size() <= whole.body_start());
  assert(whole.body_start() <= input.size());

  mail::HeaderScanner pieces(100000);
  for (std::size_t i = 0; i < input.size(); i += 1 + i / 2) pieces.scan(input.substr(0, i));
  assert(pieces.scan(input, true) == state);
  assert(pieces.header_size() == whole.header_size());
  assert(pieces.body_start() == whole.body_start());

  for (const auto& field : mail::split_header(input.substr(0, whole.header_size()))) {
    assert(mail::is_header_line(field.raw));
    static_cast<void>(mail::find_header_info(field.name));
    static_cast<void>(mail::find_message_id(field.body));
  }
  return 0;
}
