// fold_key.h - keys without the difference of capitals and small letters, in any script.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace postern::table {

// ASCII without capitals: most keys are.
[[nodiscard]] bool is_folded(std::string_view key);
// In small letters. With `utf8` those of all scripts, and nothing for what is no UTF-8: no table
// has such a key. Without it bytes beyond ASCII stay as they are.
[[nodiscard]] std::optional<std::string> fold_key(std::string_view key, bool utf8);

}  // namespace postern::table
