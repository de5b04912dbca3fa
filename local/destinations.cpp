#include "local/destinations.h"

#include "common/base/text.h"
#include "common/mail/address.h"

namespace postern::local {

namespace {

constexpr std::string_view kInclude = ":include:";

// Where the item at the start of `text` ends: at a comma or line end outside of quotes and kin.
std::size_t item_end(std::string_view text) {
  bool in_quotes = false;
  std::size_t comments = 0;
  bool in_angle = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\\' && (in_quotes || comments > 0)) {
      ++i;
    } else if (in_quotes) {
      in_quotes = c != '"';
    } else if (c == '(') {
      ++comments;
    } else if (comments > 0) {
      if (c == ')') --comments;
    } else if (c == '"') {
      in_quotes = true;
    } else if (c == '<' || c == '>') {
      in_angle = c == '<';
    } else if (c == '\n' || (c == ',' && !in_angle)) {
      return i;
    }
  }
  return text.size();
}

// What stands between quotes, if that is the whole item, as aliases(5) has commands.
std::string unquoted(std::string_view item) {
  if (item.size() < 2 || item.front() != '"' || item.back() != '"') return std::string(item);
  std::string out;
  for (std::size_t i = 1; i + 1 < item.size(); ++i) {
    if (item[i] == '"') return std::string(item);  // more than one quoted string
    if (item[i] == '\\' && i + 2 < item.size()) ++i;
    out += item[i];
  }
  return out;
}

void add_item(std::string_view item, std::vector<Destination>& out) {
  item = trim(item);
  if (item.empty()) return;
  // Without quotes a command or file is one word; what follows is something else.
  constexpr std::string_view kOneWord = "|/~";
  if (kOneWord.find(item.front()) != std::string_view::npos) {
    const std::size_t end = std::min(item.find_first_of(" \t"), item.size());
    if (end < item.size() && end > 1) {
      add_item(item.substr(0, end), out);
      add_item(item.substr(end), out);
      return;
    }
  }
  const std::string plain = unquoted(item);
  if (plain.starts_with('|')) {
    out.push_back(
        {DestinationKind::kCommand, std::string(trim(std::string_view(plain).substr(1)))});
  } else if (plain.starts_with('/') || plain.starts_with('~')) {
    out.push_back({DestinationKind::kFile, plain});
  } else if (starts_with_nocase(plain, kInclude)) {
    out.push_back({DestinationKind::kInclude,
                   std::string(trim(std::string_view(plain).substr(kInclude.size())))});
  } else if (item.starts_with('\\')) {
    out.push_back({DestinationKind::kMailbox, mail::unquote_address(std::string(item.substr(1)))});
  } else {
    for (const std::string& address : mail::AddressList::parse(item).addresses()) {
      if (address.empty()) continue;
      out.push_back({DestinationKind::kAddress, mail::unquote_address(address)});
    }
  }
}

}  // namespace

std::vector<Destination> parse_destinations(std::string_view text) {
  std::vector<Destination> out;
  while (!text.empty() && out.size() < kMaxDestinations) {
    const std::size_t end = item_end(text);
    add_item(text.substr(0, end), out);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::vector<Destination> parse_destination_file(std::string_view text) {
  std::vector<Destination> out;
  while (!text.empty() && out.size() < kMaxDestinations) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (trim(line).starts_with('#')) continue;
    for (auto& destination : parse_destinations(line)) out.push_back(std::move(destination));
  }
  return out;
}

}  // namespace postern::local
