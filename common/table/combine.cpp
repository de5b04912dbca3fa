// Tables made of others: unionmap (all answers), pipemap (one answer is the next key), randmap,
// debug (tells what is asked).

#include <fmt/format.h>

#include <random>
#include <utility>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/table/source.h"
#include "common/table/table.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

using Parts = std::vector<std::unique_ptr<Table>>;

class CombinedTable : public Table {
 public:
  CombinedTable(std::string_view type, std::string_view name, Parts parts)
      : Table(type, name, false), parts_(std::move(parts)) {
    for (const auto& part : parts_) {
      for (const auto& text : part->warnings()) warn(text);
    }
  }

  bool changed() const override {
    for (const auto& part : parts_) {
      if (part->changed()) return true;
    }
    return false;
  }

 protected:
  // What one of the parts says; what is wrong with it is wrong with the whole.
  Found ask(Table& part, std::string_view key) const {
    auto found = part.find(key);
    if (found) return found;
    const std::string own = fmt::format("table {}:", part.name());
    std::string text = found.error().text;
    if (text.starts_with(own)) text.replace(0, own.size(), fmt::format("table {}:", name()));
    return fail(found.error().kind, std::move(text));
  }

  Parts parts_;
};

class UnionMap final : public CombinedTable {
 public:
  UnionMap(std::string_view name, Parts parts)
      : CombinedTable("unionmap", name, std::move(parts)) {}

 private:
  Found do_find(std::string_view key) override {
    std::optional<std::string> all;
    for (auto& part : parts_) {
      TRY(const auto value, ask(*part, key));
      if (!value) continue;
      if (all) {
        all->append(",").append(*value);
      } else {
        all = value;
      }
    }
    return all;
  }
};

class PipeMap final : public CombinedTable {
 public:
  PipeMap(std::string_view name, Parts parts) : CombinedTable("pipemap", name, std::move(parts)) {}

 private:
  Found do_find(std::string_view key) override {
    std::string next(key);
    for (auto& part : parts_) {
      TRY(auto value, ask(*part, next));
      if (!value) return std::nullopt;
      next = *std::move(value);
    }
    return next;
  }
};

class RandMap final : public Table {
 public:
  RandMap(std::string_view name, std::vector<std::string> values)
      : Table("randmap", name, false),
        values_(std::move(values)),
        random_(std::random_device{}()) {}

 private:
  Found do_find(std::string_view key) override {
    static_cast<void>(key);
    std::uniform_int_distribution<std::size_t> pick(0, values_.size() - 1);
    return values_[pick(random_)];
  }

  std::vector<std::string> values_;
  std::minstd_rand random_;
};

// Tells the log of every question and its answer.
class DebugTable final : public CombinedTable {
 public:
  DebugTable(std::string_view name, Parts parts) : CombinedTable("debug", name, std::move(parts)) {}

  Result<void> for_each(const Visit& visit) override { return parts_.front()->for_each(visit); }

 private:
  Found do_find(std::string_view key) override {
    auto value = parts_.front()->find(key);
    const std::string answer = !value   ? "error"
                               : *value ? fmt::format("\"{}\"", log::clean(**value))
                                        : "not found";
    log::info("{} lookup: \"{}\" -> {}", name(), log::clean(key), answer);
    return value;
  }
};

std::unexpected<Error> bad_syntax(std::string_view type, std::string_view name,
                                  std::string_view part) {
  return fail(Error::Kind::kConfig,
              fmt::format("bad syntax: \"{}:{}\"; need \"{}:{{{}...}}\"", type, name, type, part));
}

Result<std::vector<std::string_view>> words_inside(std::string_view type, std::string_view name,
                                                   std::string_view part) {
  const auto inside = inside_braces(name);
  auto words = split_words_braced(inside.value_or(std::string_view()));
  if (!inside || words.empty()) return bad_syntax(type, name, part);
  return words;
}

Result<Parts> open_parts(std::string_view type, std::string_view name, const OpenOptions& options) {
  TRY(const auto words, words_inside(type, name, "type:name"));
  if (options.max_depth == 0) {
    return fail(Error::Kind::kConfig, fmt::format("{}:{}: nested too deeply", type, name));
  }
  OpenOptions inner = options;
  --inner.max_depth;  // this bounds the recursion through open_table()
  Parts parts;
  for (const auto word : words) {
    if (word.find(':') == std::string_view::npos) return bad_syntax(type, name, "type:name");
    TRY(auto part, open_table(word, inner));
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace

OpenedTable open_unionmap(std::string_view name, const OpenOptions& options) {
  TRY(auto parts, open_parts("unionmap", name, options));
  return std::make_unique<UnionMap>(name, std::move(parts));
}

OpenedTable open_pipemap(std::string_view name, const OpenOptions& options) {
  TRY(auto parts, open_parts("pipemap", name, options));
  return std::make_unique<PipeMap>(name, std::move(parts));
}

OpenedTable open_debug(std::string_view name, const OpenOptions& options) {
  if (options.max_depth == 0) {
    return fail(Error::Kind::kConfig, fmt::format("debug:{}: nested too deeply", name));
  }
  OpenOptions inner = options;
  --inner.max_depth;
  Parts parts;
  TRY(auto part, open_table(name, inner));
  parts.push_back(std::move(part));
  return std::make_unique<DebugTable>(name, std::move(parts));
}

OpenedTable open_randmap(std::string_view name, const OpenOptions& options) {
  static_cast<void>(options);
  TRY(const auto words, words_inside("randmap", name, "value"));
  std::vector<std::string> values;
  for (const auto word : words) values.emplace_back(inside_braces(word).value_or(word));
  return std::make_unique<RandMap>(name, std::move(values));
}

}  // namespace postern::table
