// commands.h - what postmap and postalias do: make, change, ask and list tables.

#pragma once

#include <cstdio>

#include "common/base/result.h"
#include "postmap/options.h"

namespace postern::postmap {

// Each returns the exit status: 0, or 1 where a key was not found; an Error is fatal.
// Warnings go to standard error, answers to standard output.
[[nodiscard]] Result<int> run(const Options& options);

// "postmap: warning: text" on standard error.
void say(const Options& options, std::string_view level, std::string_view text);

}  // namespace postern::postmap
