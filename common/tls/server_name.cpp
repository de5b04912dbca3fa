#include "common/tls/server_name.h"

#include <algorithm>

#include "common/base/text.h"

namespace postern::tls {

namespace {

// RFC 1035 2.3.4; underscores are in use.
bool is_host_name(std::string_view name) {
  return !name.empty() && name.size() <= 253 && name.front() != '.' && name.front() != '-' &&
         name.find("..") == std::string_view::npos && std::ranges::all_of(name, [](char c) {
           return is_alnum(c) || c == '.' || c == '-' || c == '_';
         });
}

std::size_t number_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::size_t>(static_cast<unsigned char>(bytes[at])) << 8U |
         static_cast<unsigned char>(bytes[at + 1]);
}

}  // namespace

std::optional<std::string> parse_server_name(std::string_view extension) {
  constexpr std::size_t kHeader = 5;  // length of the list, type of the name, its length
  if (extension.size() < kHeader || extension[2] != 0) return std::nullopt;
  const std::string_view name = extension.substr(kHeader);
  if (number_at(extension, 0) + 2 != extension.size() || number_at(extension, 3) != name.size() ||
      !is_host_name(name)) {
    return std::nullopt;
  }
  return to_lower(name);
}

}  // namespace postern::tls
