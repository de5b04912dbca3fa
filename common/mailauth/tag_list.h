// tag_list.h - `tag=value; tag=value`, as DKIM, DMARC and ARC write it (RFC 6376 3.2). Pure.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::mailauth {

struct Tag {
  std::string_view name;   // case counts
  std::string_view value;  // without white space around it; folding inside stays
  std::string_view whole;  // all between `=` and `;`
};

class TagList {
 public:
  // nullopt where the text is no list: a name that is none, a tag twice, an empty item not at the
  // end, more than kMaxTags. The views point into `text`.
  [[nodiscard]] static std::optional<TagList> parse(std::string_view text);

  [[nodiscard]] const std::vector<Tag>& tags() const { return tags_; }
  [[nodiscard]] const Tag* find(std::string_view name) const;
  [[nodiscard]] std::optional<std::string_view> value(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }

 private:
  static constexpr std::size_t kMaxTags = 100;
  std::vector<Tag> tags_;
};

// The items of `a : b : c`, without white space around them; empty ones too.
[[nodiscard]] std::vector<std::string_view> split_colons(std::string_view value);

// Without any white space: what a folded value means where it can have none.
[[nodiscard]] std::string without_blanks(std::string_view value);

}  // namespace postern::mailauth
