#include "tables/anchors.h"

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/config/load.h"

namespace postern::tables {

namespace {

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kDashes = "-----";
constexpr std::array<std::string_view, 4> kPublic = {"CERTIFICATE", "X509 CERTIFICATE",
                                                     "TRUSTED CERTIFICATE", "PUBLIC KEY"};

}  // namespace

std::string anchor_file_of(std::string_view entry) {
  std::string path;
  for (auto word : split_words_braced(entry)) {
    if (word.size() > 1 && word.front() == '{' && word.back() == '}') {
      word = trim(word.substr(1, word.size() - 2));
    }
    const auto [name, value] = split_at_first(word, '=');
    if (equal_nocase(trim(name), "tafile")) path = trim(value);
  }
  return path.starts_with('/') ? path : std::string();
}

std::string public_blocks(std::string_view pem) {
  std::string out;
  for (auto begin = pem.find(kBegin); begin != std::string_view::npos; begin = pem.find(kBegin)) {
    pem.remove_prefix(begin);
    const auto label_end = pem.find(kDashes, kBegin.size());
    if (label_end == std::string_view::npos) break;
    const std::string label(pem.substr(kBegin.size(), label_end - kBegin.size()));
    const std::string last = "-----END " + label + "-----";
    const auto end = pem.find(last, label_end);
    if (end == std::string_view::npos) break;
    const auto size = end + last.size();
    if (std::ranges::find(kPublic, label) != kPublic.end()) {
      out += pem.substr(0, size);
      out += '\n';
    }
    pem.remove_prefix(size);
  }
  return out;
}

Result<std::string> read_anchors(const std::string& path) {
  TRY(const std::string text, config::read_file(path, kMaxAnchorFile));
  std::string blocks = public_blocks(text);
  if (blocks.empty()) return fail(Error::Kind::kConfig, path + ": no certificate in it");
  return blocks;
}

}  // namespace postern::tables
