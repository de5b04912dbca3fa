#include "spawn/command.h"

#include <fmt/format.h>

namespace postern::spawn {

Result<Command> parse_command(const std::vector<std::string>& words) {
  const auto wrong = [](std::string text) { return fail(Error::Kind::kConfig, std::move(text)); };
  Command command;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.starts_with("user=")) {
      const std::string name = word.substr(5);
      const auto colon = name.find(':');
      command.user = name.substr(0, colon);
      if (colon != std::string::npos) command.group = name.substr(colon + 1);
    } else if (word.starts_with("argv=")) {
      command.arguments.assign(words.begin() + static_cast<std::ptrdiff_t>(i), words.end());
      command.arguments.front() = word.substr(5);
      // `argv= /bin/x` is meant as it looks.
      if (command.arguments.front().empty()) command.arguments.erase(command.arguments.begin());
      break;
    } else {
      return wrong(fmt::format("unknown attribute \"{}\"; user= and argv= are expected", word));
    }
  }
  if (command.user.empty()) return wrong("user= is missing");
  if (command.arguments.empty()) return wrong("argv= is missing");
  if (!command.arguments.front().starts_with('/')) {
    return wrong(fmt::format("argv={}: an absolute path is needed", command.arguments.front()));
  }
  return command;
}

}  // namespace postern::spawn
