// Header address lists: what is printed reads back as the same addresses.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/mail/address.h"
#include "common/mail/header.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  mail::AddressList list = mail::AddressList::parse(input);
  const std::string printed = list.print();
  const mail::AddressList again = mail::AddressList::parse(printed);
  if (list.items().size() < mail::kAddressTokenLimit / 2) {
    assert(again.print() == mail::AddressList::parse(again.print()).print());
  }
  list.rewrite([](const std::string& address) { return address; });
  const std::string folded = mail::format_address_header("To", list);
  assert(folded.find("\n\n") == std::string::npos);
  return 0;
}
