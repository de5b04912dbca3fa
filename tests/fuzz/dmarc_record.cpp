// DMARC: a record is read or ignored; what is read is within its bounds.

#include <cassert>
#include <cstdint>
#include <string_view>

#include "common/mailauth/dmarc.h"
#include "common/mailauth/tag_list.h"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(static_cast<const char*>(static_cast<const void*>(data)), size);
  const auto record = mailauth::parse_dmarc_record(input);
  if (record) {
    assert(record->percent <= 100);
    assert(record->aggregate_reports.size() <= 20);
  }
  const auto tags = mailauth::TagList::parse(input);
  if (tags) {
    for (const auto& tag : tags->tags()) {
      assert(tag.whole.data() >= input.data() &&
             tag.whole.data() + tag.whole.size() <= input.data() + input.size());
    }
  }
  return 0;
}
