// Headers: the end is the same whole and in pieces, cut or not, and fields lie within the block.

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/mail/header.h"
#include "common/mail/message_id.h"

using namespace postern;

namespace {

constexpr std::size_t kFieldLimit = 7;

// The fields, each cut at its limit.
std::vector<std::string> cut_fields(std::string_view header) {
  std::vector<std::string> fields;
  for (const auto& field : mail::split_header(header)) {
    auto text = field.raw.substr(0, mail::kept_size(field.raw, kFieldLimit));
    while (text.ends_with('\n')) text.remove_suffix(1);
    fields.emplace_back(text);
  }
  return fields;
}

// What comes in pieces and is cut meanwhile has the same fields and the same body.
void check_cutting(std::string_view input, mail::HeaderScanner::State state, std::size_t header,
                   std::size_t body) {
  mail::HeaderScanner scanner(100000);
  std::string all;
  bool is_over = false;
  for (std::size_t i = 0; i < input.size(); i += 1 + i / 2) {
    all += input.substr(i, 1 + i / 2);
    is_over = is_over || scanner.scan(all) != mail::HeaderScanner::State::kMore;
    if (!is_over) scanner.cut_field(all, kFieldLimit);
  }
  assert(scanner.scan(all, true) == state);
  assert(std::string_view(all).substr(scanner.body_start()) == input.substr(body));
  assert(cut_fields(std::string_view(all).substr(0, scanner.header_size())) ==
         cut_fields(input.substr(0, header)));
}

}  // namespace

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

  if (state != mail::HeaderScanner::State::kTooLong) {
    check_cutting(input, state, whole.header_size(), whole.body_start());
  }

  for (const auto& field : mail::split_header(input.substr(0, whole.header_size()))) {
    assert(mail::is_header_line(field.raw));
    static_cast<void>(mail::find_header_info(field.name));
    static_cast<void>(mail::find_message_id(field.body));
  }
  return 0;
}
