#include "common/tls/openssl.h"

#include <fmt/format.h>

namespace postern::tls {

void init_library() {
  static const int done = OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  static_cast<void>(done);
}

BioPtr read_memory(std::string_view bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

std::vector<std::string> take_library_errors() {
  std::vector<std::string> lines;
  const char* file = nullptr;
  const char* data = nullptr;
  int line = 0;
  int flags = 0;
  while (const unsigned long code = ERR_get_error_all(&file, &line, nullptr, &data, &flags)) {
    char text[256];
    ERR_error_string_n(code, text, sizeof(text));
    const bool has_data = data != nullptr && (flags & ERR_TXT_STRING) != 0;
    lines.push_back(fmt::format("{}:{}:{}:{}", text, file != nullptr ? file : "", line,
                                has_data ? fmt::format("{}:", data) : std::string()));
  }
  return lines;
}

std::string take_library_reason() {
  const unsigned long code = ERR_peek_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  std::string text = reason != nullptr ? std::string(reason) : std::string("no reason given");
  ERR_clear_error();
  return text;
}

}  // namespace postern::tls
