#include "common/mailauth/tag_list.h"

#include <algorithm>

#include "common/base/text.h"

namespace postern::mailauth {

namespace {

bool is_tag_name(std::string_view name) {
  return !name.empty() && is_alpha(name.front()) &&
         std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '_'; });
}

}  // namespace

std::optional<TagList> TagList::parse(std::string_view text) {
  TagList list;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(';'), text.size());
    const std::string_view item = text.substr(0, end);
    const bool is_last = end == text.size();
    text.remove_prefix(is_last ? end : end + 1);
    if (trim(item).empty()) {
      if (trim(text).empty()) break;
      return std::nullopt;
    }
    const std::size_t equals = item.find('=');
    if (equals == std::string_view::npos || list.tags_.size() == kMaxTags) return std::nullopt;
    Tag tag;
    tag.name = trim(item.substr(0, equals));
    tag.whole = item.substr(equals + 1);
    tag.value = trim(tag.whole);
    if (!is_tag_name(tag.name) || list.has(tag.name)) return std::nullopt;
    list.tags_.push_back(tag);
  }
  return list;
}

const Tag* TagList::find(std::string_view name) const {
  const auto found = std::ranges::find(tags_, name, &Tag::name);
  return found == tags_.end() ? nullptr : &*found;
}

std::optional<std::string_view> TagList::value(std::string_view name) const {
  const Tag* tag = find(name);
  if (tag == nullptr) return std::nullopt;
  return tag->value;
}

std::vector<std::string_view> split_colons(std::string_view value) {
  auto items = split_fields(value, ':');
  for (auto& item : items) item = trim(item);
  return items;
}

std::string without_blanks(std::string_view value) {
  std::string out;
  for (const std::string_view word : split_words(value, kBlanks)) out += word;
  return out;
}

}  // namespace postern::mailauth
