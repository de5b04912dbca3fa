// Tables that live in memory or need none: texthash, inline, internal, environ, static, fail.

#include <fmt/format.h>

#include <cstdlib>
#include <map>
#include <utility>

#include "common/base/text.h"
#include "common/table/fold_key.h"
#include "common/table/source.h"
#include "common/table/table.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

// Ordered, not hashed: nobody can choose keys that collide.
class MapTable final : public Table {
 public:
  using Entries = std::map<std::string, std::string, std::less<>>;

  MapTable(std::string_view type, std::string_view name, bool fold_keys)
      : Table(type, name, fold_keys) {}

  Result<void> for_each(const Visit& visit) override {
    for (const auto& [key, value] : entries_) {
      if (!visit(key, value)) break;
    }
    return {};
  }

  // A key that is there already keeps its first value.
  bool add(std::string key, std::string value) {
    return entries_.emplace(std::move(key), std::move(value)).second;
  }

  void set(std::string key, std::string value) {
    entries_.insert_or_assign(std::move(key), std::move(value));
  }

  using Table::warn;
  using Table::watch;

 private:
  Found do_find(std::string_view key) override {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return std::nullopt;
    return found->second;
  }

  Entries entries_;
};

class StaticTable final : public Table {
 public:
  StaticTable(std::string_view name, std::string value)
      : Table("static", name, false), value_(std::move(value)) {}

 private:
  Found do_find(std::string_view key) override {
    static_cast<void>(key);
    return value_;
  }

  std::string value_;
};

// Keys are folded like those of all fixed strings: names in capitals are found with fold_keys off.
class EnvironTable final : public Table {
 public:
  EnvironTable(std::string_view name, bool fold_keys) : Table("environ", name, fold_keys) {}

 private:
  Found do_find(std::string_view key) override {
    const char* value = std::getenv(std::string(key).c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  }
};

class FailTable final : public Table {
 public:
  explicit FailTable(std::string_view name) : Table("fail", name, false) {}

  Result<void> for_each(const Visit& visit) override {
    static_cast<void>(visit);
    return fail_temporary(fmt::format("table {}: sequence error: Application error", name()));
  }

 private:
  Found do_find(std::string_view key) override {
    static_cast<void>(key);
    return fail_temporary(fmt::format("table {}: query error: Application error", name()));
  }
};

}  // namespace

namespace {

Result<std::string> shown_value(std::string_view value, const OpenOptions& options) {
  return options.values_are_files ? files_in_base64(value) : std::string(value);
}

}  // namespace

OpenedTable open_texthash(std::string_view name, const OpenOptions& options) {
  const std::string path(name);
  auto table = std::make_unique<MapTable>("texthash", name, options.fold_keys);
  table->watch(path);  // before reading: a change in between is seen as one
  auto text = read_text_file(path, options.max_file_size);
  if (!text) {
    // "open database NAME: ...", as of the indexed tables.
    std::string why = text.error().text;
    if (why.starts_with("open ")) why.insert(5, "database ");
    return fail(text.error().kind, std::move(why));
  }
  const auto take = [&](const RecordView& record) {
    const std::string key(record.key);
    auto stored = options.fold_keys ? fold_key(key, options.utf8) : key;
    auto value = shown_value(record.value, options);
    if (!value) {
      table->warn(fmt::format("{}, line {}: {}: skipping this entry", path, record.line,
                              value.error().text));
      return;
    }
    if (stored && !table->add(*std::move(stored), *std::move(value))) {
      table->warn(fmt::format("{}, line {}: duplicate entry: \"{}\"", path, record.line, key));
    }
  };
  walk_source(*text, {SourceFormat::kPlain, options.utf8}, path, take, [&](std::string warning) {
    constexpr std::string_view kNoValue = "expected format: key whitespace value";
    if (warning.ends_with(kNoValue)) warning += " -- ignoring this line";
    table->warn(std::move(warning));
  });
  return table;
}

OpenedTable open_inline(std::string_view name, const OpenOptions& options) {
  const auto bad = [&](std::string_view why) {
    return fail(Error::Kind::kConfig,
                fmt::format("{}: \"inline:{}\"; need \"inline:{{name=value...}}\"", why, name));
  };
  const auto inside = inside_braces(name);
  if (!inside || trim(*inside).empty()) return bad("bad syntax");
  auto table = std::make_unique<MapTable>("inline", name, options.fold_keys);
  for (const auto word : split_words_braced(*inside)) {
    const auto pair = parse_assignment(word);
    if (!pair) return bad("missing '=' after attribute name");
    auto key = options.fold_keys ? fold_key(pair->name, options.utf8) : std::string(pair->name);
    if (!key) return bad(fmt::format("no UTF-8 in \"{}\"", word));
    auto value = shown_value(pair->value, options);
    if (!value) {
      return fail(Error::Kind::kConfig,
                  fmt::format("{}: \"inline:{}\"; need \"inline:{{name=filename...}}\"",
                              value.error().text, name));
    }
    table->set(*std::move(key), *std::move(value));
  }
  return table;
}

// A scratch map of one process: empty until something is put in, and nothing here does.
OpenedTable open_internal(std::string_view name, const OpenOptions& options) {
  return std::make_unique<MapTable>("internal", name, options.fold_keys);
}

OpenedTable open_environ(std::string_view name, const OpenOptions& options) {
  return std::make_unique<EnvironTable>(name, options.fold_keys);
}

OpenedTable open_static(std::string_view name, const OpenOptions& options) {
  if (name.starts_with('{') && !inside_braces(name)) {
    return fail(Error::Kind::kConfig,
                fmt::format("bad static:name syntax: missing '}}' in \"{}\"", name));
  }
  TRY(auto value, shown_value(inside_braces(name).value_or(name), options));
  return std::make_unique<StaticTable>(name, std::move(value));
}

OpenedTable open_fail(std::string_view name, const OpenOptions& options) {
  static_cast<void>(options);
  return std::make_unique<FailTable>(name);
}

}  // namespace postern::table
