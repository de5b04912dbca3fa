// Any bytes as a queue file: a message, or a refusal that says why; never more than that.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "common/queuefile/layout.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/reader.h"
#include "common/queuefile/writer.h"

namespace postern::queuefile {
namespace {

// What the fuzzer cannot guess is made right, so that the parts behind it are reached.
void with_trailer(std::string_view input) {
  std::string file(kVersionLine);
  Layout layout;
  const std::size_t split = input.empty() ? 0 : static_cast<unsigned char>(input[0]) * 4U;
  const std::size_t envelope = std::min(split, input.size());
  layout.envelope = {file.size(), envelope};
  layout.body = {layout.envelope.end(), 0};
  layout.header = layout.body;
  layout.extra = {layout.body.end(), input.size() - envelope};
  file += input;
  Checksum checksum;
  checksum.add(file);
  append_trailer(file, layout, checksum);
  (void)parse_message(file);
}

// An envelope that was read is written and read back the same.
void round_trip(std::string_view input) {
  auto envelope = read_envelope(input);
  if (!envelope || !check_bounds(*envelope)) return;
  std::string run;
  append_envelope(run, *envelope);
  const auto again = read_envelope(run);
  if (!again || *again != *envelope) std::abort();
}

}  // namespace
}  // namespace postern::queuefile

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::queuefile;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto message = parse_message(input);
  if (!message && message.error().text.empty()) std::abort();
  with_trailer(input);
  round_trip(input);
  if (is_valid_queue_id(input) && hash_key(input).size() < 5) std::abort();
  return 0;
}
