// The table of all parameters: a file of its own, so that nothing else pays for compiling it.
//
// Every daemon holds it. A table of pointers would be relocated at each start and so be private
// memory of each; this one is texts end to end and where they begin, which the kernel never copies.

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>

#include "common/config/param.h"

namespace postern::config {

namespace {

// What every start reads, close together; the paragraphs, which only the manual and `postern
// config` read, are kept apart.
struct Texts {
#define PARAM(name, type, initial, standing, doc) \
  PARAM_NAMED(name, #name, type, initial, standing, doc)
#define PARAM_NAMED(member, name, type, initial, standing, doc) \
  char member##_name[sizeof(name)];                             \
  char member##_initial[sizeof(initial)];
#include "common/config/params/all.def"
};

constexpr Texts kTexts = {
#define PARAM(name, type, initial, standing, doc) #name, initial,
#define PARAM_NAMED(member, name, type, initial, standing, doc) name, initial,
#include "common/config/params/all.def"
};

struct Docs {
#define PARAM(name, type, initial, standing, doc) char name[sizeof(doc)];
#define PARAM_NAMED(member, name, type, initial, standing, doc) char member[sizeof(doc)];
#include "common/config/params/all.def"
};

constexpr Docs kDocs = {
#define PARAM(name, type, initial, standing, doc) doc,
#define PARAM_NAMED(member, name, type, initial, standing, doc) doc,
#include "common/config/params/all.def"
};

constexpr std::string_view kAreas[] = {
    "paths", "process", "queue",      "scheduling", "smtpd",    "cleanup", "address", "table",
    "smtp",  "lmtp",    "local",      "virtual",    "bounce",   "log",     "dns",     "tls",
    "sasl",  "milter",  "postscreen", "verify",     "mailauth", "report",  "misc"};

// Where a text is in its pool.
struct Place {
  std::uint32_t at;
  std::uint16_t size;
};

struct Row {
  Place name;
  Place initial;
  Place doc;
  std::uint8_t area;  // of kAreas
  ParamType type;
  Standing standing;
};

struct Draft {
  std::string_view name;
  Row row;
};

template <std::size_t kSize>
consteval std::uint16_t length_of(const char (&)[kSize]) {
  static_assert(kSize - 1 <= std::numeric_limits<std::uint16_t>::max());
  return kSize - 1;
}

consteval std::uint8_t area_of(std::string_view name) {
  return static_cast<std::uint8_t>(std::ranges::find(kAreas, name) - std::begin(kAreas));
}

constexpr Draft kDrafts[] = {
#define PARAM(name, type, initial, standing, doc) \
  PARAM_NAMED(name, #name, type, initial, standing, doc)
#define PARAM_NAMED(member, name, type, initial, standing, doc) \
  {name,                                                        \
   {{offsetof(Texts, member##_name), length_of(name)},          \
    {offsetof(Texts, member##_initial), length_of(initial)},    \
    {offsetof(Docs, member), length_of(doc)},                   \
    area_of(AREA),                                              \
    ParamType::k##type,                                         \
    Standing::standing}},
#include "common/config/params/all.def"
};

// Sorted by the compiler: commands that run once for each message have no time for it.
constexpr auto kRows = [] {
  auto drafts = std::to_array(kDrafts);
  std::ranges::sort(drafts, {}, &Draft::name);
  std::array<Row, std::size(kDrafts)> rows{};
  std::ranges::transform(drafts, rows.begin(), &Draft::row);
  return rows;
}();

template <typename Pool>
std::string_view text(const Pool& pool, Place place) {
  return {reinterpret_cast<const char*>(&pool) + place.at, place.size};
}

}  // namespace

std::size_t ParamTable::size() { return kRows.size(); }

ParamInfo ParamTable::at(std::size_t index) {
  const Row& row = kRows[index];
  return {text(kTexts, row.name), row.type,        text(kTexts, row.initial), row.standing,
          text(kDocs, row.doc),   kAreas[row.area]};
}

std::optional<ParamInfo> find_param(std::string_view name) {
  const auto name_of = [](const Row& row) { return text(kTexts, row.name); };
  const auto* const row = std::ranges::lower_bound(kRows, name, {}, name_of);
  if (row == kRows.end() || name_of(*row) != name) return std::nullopt;
  return ParamTable::at(static_cast<std::size_t>(row - kRows.begin()));
}

}  // namespace postern::config
