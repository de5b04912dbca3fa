// networks.h - lists of client addresses as mynetworks has them, parsed once and matched often.
//
//     192.0.2.1  192.0.2.0/24  [2001:db8::1]  [2001:db8::]/32     an address or a network
//     /file                                                       patterns from a file
//     type:table                                                  matches when the table has the
//                                                                 address as a key
//     !pattern                                                    does not match; the first
//                                                                 pattern that fits decides
//
// An IPv4 address mapped into IPv6 counts as IPv4. Tables are not asked here: match() stops at one
// and says which, so that a caller who must wait for the answer can.

#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::config {

struct IpAddress {
  std::array<unsigned char, 16> bytes{};  // the first four for IPv4
  bool is_v6 = false;

  [[nodiscard]] unsigned bits() const { return is_v6 ? 128 : 32; }
  friend bool operator==(const IpAddress&, const IpAddress&) = default;
};

// "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "IPv6:2001:db8::1"; nothing else.
[[nodiscard]] std::optional<IpAddress> parse_ip_address(std::string_view text);

// Without brackets: "192.0.2.1", "2001:db8::1".
[[nodiscard]] std::string to_string(const IpAddress& address);

class Networks {
 public:
  struct Match {
    enum class Kind : unsigned char { kYes, kNo, kAskTable };
    Kind kind = Kind::kNo;
    std::string_view table;     // kAskTable: "type:name"; a view into the list
    Kind if_found = Kind::kNo;  // kAskTable: the answer when the table has the address
    std::size_t next = 0;       // kAskTable: where to go on when it has not
  };

  // Gives a file's content, or nothing when there is none.
  using FileReader = std::function<std::optional<std::string>(std::string_view path)>;

  Networks() = default;

  // Every pattern that is wrong is named in `faults`; the others count.
  [[nodiscard]] static Networks parse(std::string_view text, const FileReader& read_file,
                                      std::vector<std::string>& faults);

  [[nodiscard]] Match match(const IpAddress& address, std::size_t from = 0) const;

  // The whole list; `has_key` asks a table. Its failure is passed on, never taken for "no".
  using HasKey = std::function<Result<bool>(std::string_view table, std::string_view key)>;
  [[nodiscard]] Result<bool> matches(const IpAddress& address, const HasKey& has_key) const;

  // Without tables.
  [[nodiscard]] bool contains(const IpAddress& address) const;

  [[nodiscard]] bool empty() const { return patterns_.empty(); }
  // The tables the list refers to.
  [[nodiscard]] std::vector<std::string_view> tables() const;

 private:
  struct Pattern {
    bool is_negated = false;
    std::string table;  // empty: a network
    IpAddress network;
    unsigned prefix = 0;
  };
  void add(std::string_view text, bool is_negated, const FileReader& read_file, unsigned depth,
           std::vector<std::string>& faults);

  std::vector<Pattern> patterns_;
};

// `a.b.c.d/n`, `[v6]/n` or a single address; the text of the error says what is wrong.
struct Network {
  IpAddress address;
  unsigned prefix = 0;
};
[[nodiscard]] Result<Network> parse_network(std::string_view text);

// The address with all bits behind the prefix cleared.
[[nodiscard]] IpAddress network_of(const IpAddress& address, unsigned prefix);

// "192.0.2.0/24" or "[2001:db8::]/32", as mynetworks is written.
[[nodiscard]] std::string to_string(const Network& network);

}  // namespace postern::config
