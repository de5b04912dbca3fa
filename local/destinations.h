// destinations.h - the right-hand side of an alias, and the lines of :include: and .forward. Pure.
//
//     name: alice, bob@example.org, "Some One" <one@example.net>,
//           "|/usr/bin/command with arguments", /file/name, ~/below/home, /maildir/,
//           :include:/file,
//           \alice
//
// Commas and line ends part the destinations; not inside quotes, comments and angle brackets. What
// cannot be read as any of these is an address that nobody has, and fails as such.

#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern::local {

enum class DestinationKind : unsigned char {
  kAddress,  // internal form
  kCommand,  // without the bar
  kFile,     // begins with / or ~
  kInclude,
  kMailbox,  // \name: the user's mailbox, whatever .forward says
};

struct Destination {
  DestinationKind kind = DestinationKind::kAddress;
  std::string text;

  friend bool operator==(const Destination&, const Destination&) = default;
};

// More of them in one text are dropped.
inline constexpr std::size_t kMaxDestinations = 100'000;

[[nodiscard]] std::vector<Destination> parse_destinations(std::string_view text);

// A file: lines that begin with # are comments.
[[nodiscard]] std::vector<Destination> parse_destination_file(std::string_view text);

}  // namespace postern::local
