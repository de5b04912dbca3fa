// expand.h - the values of parameters: $name, ${name?yes:no}, ${{a} == {b} ? {x} : {y}}.
//
//     $name ${name} $(name)        the value of name, expanded itself; empty when there is none
//     ${name?text} ${name?{text}}  text when the value of name is not empty
//     ${name:text} ${name:{text}}  text when it is, otherwise nothing
//     ${name?{a}:{b}}              one or the other
//     ${{a} OP {b} ? {x} : {y}}    OP is == != < <= > >=, numeric where both sides are numbers;
//                                  with the suffix `level` it compares compatibility levels
//     $$                           one $
//
// White space just inside of { } and around operators does not count. A value that needs itself is
// an error, and so is more text or more nesting than anybody writes by hand: `a = $b$b`,
// `b = $c$c` and so on must not fill the memory.

#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::config {

inline constexpr unsigned kMaxExpansionDepth = 100;
inline constexpr std::size_t kMaxExpansion = std::size_t{1} << 20;
inline constexpr std::size_t kMaxExpansionSteps = 100'000;

// The value of a name as it was written, or nothing when there is none.
using Lookup = std::function<std::optional<std::string>(std::string_view name)>;

[[nodiscard]] Result<std::string> expand(std::string_view text, const Lookup& lookup);

// The names that the value refers to, in the order of their appearance, also those within the
// branches of conditions. What is malformed is left out.
[[nodiscard]] std::vector<std::string> names_in(std::string_view text);

// The inner text of `{ ... }` at the start of `text`, trimmed; `text` goes on behind the brace.
// Nothing when there is no brace or it is not closed.
[[nodiscard]] std::optional<std::string_view> take_braced(std::string_view& text);

// Compares "3.6" with "3": -1, 0 or 1; nothing when one of them is no compatibility level.
[[nodiscard]] std::optional<int> compare_levels(std::string_view a, std::string_view b);

}  // namespace postern::config
