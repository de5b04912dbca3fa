// command.h - what an external command is told about its delivery: environment and directory. Pure.

#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/queuefile/envelope.h"
#include "local/users.h"

namespace postern::local {

// The address that the command is run for, and on whose behalf.
struct CommandContext {
  std::string user{};  // the name without extension
  std::string home{};  // empty: rights without a user
  std::string shell{};
  std::string sender{};  // internal form, as all addresses here
  std::string recipient{};
  std::string local_part{};
  std::string extension{};
  std::string domain{};
  std::string orig_to{};
};

// NAME=value, with characters outside of `filter` as '_'.
[[nodiscard]] std::vector<std::string> describe(const CommandContext& context,
                                                const queuefile::Envelope& envelope,
                                                std::string_view filter);

// $home, $user and so on in command_execution_directory and luser_relay; characters of a value
// outside of `filter` become '_'. An empty filter lets everything pass. Empty where the text cannot
// be expanded.
[[nodiscard]] std::string expand_for(const CommandContext& context, std::string_view text,
                                     std::string_view recipient_delimiter, std::string_view filter);

}  // namespace postern::local
