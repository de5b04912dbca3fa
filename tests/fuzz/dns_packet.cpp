// Any bytes as a DNS answer to each kind of question.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "common/dns/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::dns;
  constexpr RecordType kTypes[] = {
      RecordType::kA,     RecordType::kAaaa, RecordType::kMx,  RecordType::kTxt, RecordType::kPtr,
      RecordType::kCname, RecordType::kTlsa, RecordType::kSrv, RecordType::kNs,  RecordType::kSoa};
  if (size == 0) return 0;
  const Question question{"example.org", kTypes[data[0] % std::size(kTypes)]};
  constexpr std::uint16_t kId = 0x1234;

  // The header and the question are made right, so that the records behind them are reached.
  std::string message("\x12\x34", 2);
  message.append(reinterpret_cast<const char*>(data + 1), size - 1);
  (void)parse_answer(message, kId, question);
  auto query = encode_query(kId, question, Edns::kNone);
  if (!query) std::abort();
  (*query)[2] = static_cast<char>(0x81);
  if (size > 8) {
    for (std::size_t i = 1; i <= 5; ++i) (*query)[5 + i] = static_cast<char>(data[i] % 8);
  }
  query->append(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto answer = parse_answer(*query, kId, question);
  if (answer && answer->records.size() > kMaxRecords) std::abort();

  const std::string name(reinterpret_cast<const char*>(data), size);
  (void)encode_query(kId, {name, question.type}, Edns::kDnssec);
  if (is_host_name(name) && !encode_query(kId, {name, question.type}, Edns::kNone)) std::abort();
  return 0;
}
