// param.h - the parameters of main.cf: each declared once, in params/*.def.
//
//     PARAM(smtpd_soft_error_limit, Count, "10", kSame, "what it is for")
//
// From an entry come the member of its area's struct (params/<area>.h), its default, the check,
// postconf and its paragraph in the manual. Here is the table of all of them by name and what each
// type makes of a text; values.h fills the structs.
//
//     Bool      yes or no
//     Count     a number, 0 or more unless param.cpp says otherwise
//     Size      bytes; k, m and g may follow the number
//     Duration  a number and s, m, h, d or w; without one, the unit that the default has
//     Text      any text, $name expanded
//     RawText   any text, not expanded: it is, at use, with other names
//     Choice    one of the words in params/choices.def
//     List      words parted by commas and white space; { } holds one word together
//     Networks  client addresses and networks (networks.h)
//     Tables    type:name, parted as a List
//     Secret    text that is never shown

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/config/networks.h"

namespace postern::config {

enum class ParamType : unsigned char {
  kBool,
  kCount,
  kSize,
  kDuration,
  kText,
  kRawText,
  kChoice,
  kList,
  kNetworks,
  kTables,
  kSecret,
};

// How a parameter stands to postconf(5).
enum class Standing : unsigned char {
  kSame,      // as there
  kOwn,       // new here
  kNotYet,    // known by name, without effect so far; `check` says so where it is set
  kNoEffect,  // checked, and needs no action here
};

using Bool = bool;
using Count = std::int64_t;
using Size = std::int64_t;
using Duration = std::chrono::seconds;
using Text = std::string;
using RawText = std::string;
using Choice = std::string;
using List = std::vector<std::string>;
using Tables = std::vector<std::string>;
// Networks is the class of networks.h.

// A text with no way into a log line but the one that asks for it.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] const std::string& reveal() const { return text_; }

 private:
  std::string text_;
};

struct ParamInfo {
  std::string_view name;
  ParamType type;
  std::string_view initial;  // the default, not expanded; empty also for what is computed
  Standing standing;
  std::string_view doc;
  std::string_view area;  // the name of its .def file
};

// All parameters, sorted by name, to be walked through.
class ParamTable {
 public:
  class Iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = ParamInfo;

    Iterator() = default;
    explicit Iterator(std::size_t index) : index_(index) {}
    [[nodiscard]] ParamInfo operator*() const { return at(index_); }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    Iterator operator++(int) { return Iterator(index_++); }
    [[nodiscard]] bool operator==(const Iterator&) const = default;

   private:
    std::size_t index_ = 0;
  };

  [[nodiscard]] static Iterator begin() { return Iterator(0); }
  [[nodiscard]] static Iterator end() { return Iterator(size()); }
  [[nodiscard]] static std::size_t size();
  [[nodiscard]] static ParamInfo at(std::size_t index);
};
[[nodiscard]] inline ParamTable all_params() { return {}; }

// Nothing for a name that is not in a .def file.
[[nodiscard]] std::optional<ParamInfo> find_param(std::string_view name);

// Whether the name is one of `<transport>_destination_concurrency_limit` and its kin; gives the
// parameter that holds the default of all transports: default_destination_concurrency_limit.
struct TransportParam {
  std::string_view transport;
  std::string_view suffix;         // "_destination_concurrency_limit"
  std::string_view default_param;  // "default_destination_concurrency_limit"
  ParamType type;
};
[[nodiscard]] std::optional<TransportParam> parse_transport_param(std::string_view name);
// The same by suffix alone; an unknown suffix has no default.
[[nodiscard]] std::optional<TransportParam> find_transport_suffix(std::string_view suffix);

// The words a Choice may be; empty where anything goes.
[[nodiscard]] std::string_view choices_of(std::string_view name);

// Texts become values. The error says what was expected, without name or place.
[[nodiscard]] Result<bool> parse_bool(std::string_view text);
[[nodiscard]] Result<std::int64_t> parse_count(std::string_view text, std::string_view name);
[[nodiscard]] Result<std::int64_t> parse_size(std::string_view text);
[[nodiscard]] Result<std::chrono::seconds> parse_duration(std::string_view text, char unit = 's');

// The unit of a duration without one: the last letter of the default.
[[nodiscard]] char duration_unit(std::string_view initial);

// The elements of a List or Tables value.
[[nodiscard]] std::vector<std::string> split_list(std::string_view text);

// What is wrong with an expanded value of the parameter; nothing when it is fine.
[[nodiscard]] std::optional<std::string> find_fault(const ParamInfo& param, std::string_view text);

}  // namespace postern::config
