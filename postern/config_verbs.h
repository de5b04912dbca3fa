// config_verbs.h - `postern config get, set, unset, undo, diff`.

#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::control {

// argv[0] is the verb.
int config_verb_main(int argc, char** argv);

// The lines that went and that came, with - and + in front.
[[nodiscard]] std::string line_difference(std::string_view before, std::string_view after,
                                          bool colour);

// Keeps `text` as what undo goes back to for the file `path`.
[[nodiscard]] Result<void> keep_undo(const std::string& path, std::string_view text);

}  // namespace postern::control
