// Any body through the MIME parser: without a conversion the pieces are the body again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/mail/mime.h"

namespace {

class Joiner final : public postern::mail::MimeSink {
 public:
  void header(postern::mail::HeaderClass, std::string_view field) override {
    (text += field) += '\n';
  }
  void header_end() override { text += '\n'; }
  void body(std::string_view piece, bool ends_line, std::uint64_t) override {
    text += piece;
    if (ends_line) text += '\n';
  }
  std::string text;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::mail;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view header =
      "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n"
      "Content-Transfer-Encoding: 8bit\n";
  for (const bool downgrade : {false, true}) {
    MimeOptions options;
    options.downgrade = downgrade;
    options.mime_nesting_limit = 5;
    options.header_size_limit = 1 << 20;
    Joiner joiner;
    MimeParser parser(options, joiner);
    parser.start(header);
    const std::size_t half = input.size() / 2;
    parser.add(input.substr(0, half));
    parser.add(input.substr(half));
    parser.finish();
    if (downgrade) continue;
    // The last line may get the end that it lacked.
    const std::string with_end = std::string(input) + "\n";
    if (joiner.text != input && joiner.text != with_end) std::abort();
  }
  return 0;
}
