// table.h - one lookup table named "type:name": open it, ask it, notice that it was replaced.
//
// A table answers "value", "no such key" or an error, and an error is never "no such key": mail
// that meets a table that will not open or read is deferred (kTemporary), with the table's name in
// the text. A broken table file is kConfig with file and line.
//
// Keys: tables of fixed strings fold them to lower case unless OpenOptions say not to; patterns see
// them as they are. Files written by Postfix's postmap are read as they are, with or without the
// NUL that may end keys and values.
//
// A Table serves one thread at a time. What find() may block on is the disk, nothing else; types
// that ask servers are registered by the program that may do so (register_type).

#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::table {

enum class BadRules : unsigned char {
  kFail,  // a pattern that does not parse makes the table unusable
  kSkip,  // as Postfix: leave it out, with a warning
};

struct OpenOptions {
  bool fold_keys = true;
  bool utf8 = true;  // patterns see characters, not bytes, and keys are folded as such
  BadRules bad_rules = BadRules::kSkip;
  // Rules of patterns whose result takes something from the key ($1) are bad ones: where the result
  // is a command or a path, strangers would write a part of it.
  bool no_substitution = false;
  // Values in texts (of a file, a rule, a name) are names of files: found is what is in these, in
  // base64. What postmap -F has put into a table is so already.
  bool values_are_files = false;

  std::size_t db_cache_size = std::size_t{128} << 10U;        // berkeley_db_read_buffer_size
  std::uint32_t pcre_match_limit = 1'000'000;                 // backtracking steps of one pattern
  std::uint32_t pcre_heap_limit_kib = 16 * 1024;              // memory of one match
  std::size_t pattern_subject_limit = std::size_t{1} << 20U;  // longer keys match no pattern: error
  std::size_t max_file_size = std::size_t{256} << 20U;        // of tables that are read as text
  std::size_t max_depth = 4;                                  // pipemap in unionmap in ...
};

// What a file was when it was opened. Another inode or another time: it was replaced.
struct FileStamp {
  dev_t device = 0;
  ino_t inode = 0;
  std::int64_t seconds = 0;
  std::int64_t nanoseconds = 0;
  off_t size = 0;

  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};
[[nodiscard]] std::optional<FileStamp> stamp_of(const std::string& path);

using Found = Result<std::optional<std::string>>;

class Table {
 public:
  virtual ~Table() = default;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }  // "type:name"
  [[nodiscard]] Found find(std::string_view key);
  // The same into a string that has its memory already. False: no such key.
  [[nodiscard]] Result<bool> find_into(std::string_view key, std::string& value);

  // Looks many keys up, in the order that suits the table: `found` is called for each that there
  // is, with its index and its value.
  using FoundOne = std::function<void(std::size_t index, std::string_view value)>;
  [[nodiscard]] Result<void> find_each(std::span<const std::string_view> keys,
                                       const FoundOne& found);
  // Whether that is faster than find() for each.
  [[nodiscard]] virtual bool is_faster_in_batches() const { return false; }

  // Calls `visit` with each key and value until it returns false. Error where the type has no order
  // of its own to walk (patterns, static, ...).
  using Visit = std::function<bool(std::string_view key, std::string_view value)>;
  [[nodiscard]] virtual Result<void> for_each(const Visit& visit);

  // Whether the file behind it is another one now. A file that is gone is not "changed": what was
  // opened goes on, since a replacement may be under way.
  [[nodiscard]] virtual bool changed() const;

  // What opening it had to complain about, each with file and line.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

 protected:
  Table(std::string_view type, std::string_view name, bool fold_keys);

  [[nodiscard]] virtual Found do_find(std::string_view key) = 0;
  [[nodiscard]] virtual Result<bool> do_find_into(std::string_view key, std::string& value);
  [[nodiscard]] virtual Result<void> do_find_each(std::span<const std::string_view> keys,
                                                  const FoundOne& found);
  void watch(std::string path);
  void warn(std::string text) { warnings_.push_back(std::move(text)); }
  // "open database path: reason", temporary.
  [[nodiscard]] static std::unexpected<Error> open_error(std::string_view path,
                                                         std::string_view reason);
  // "doing type:name: reason", temporary.
  [[nodiscard]] std::unexpected<Error> error(std::string_view doing, std::string_view reason) const;

 private:
  friend Result<std::unique_ptr<Table>> open_table(std::string_view type_and_name,
                                                   const OpenOptions& options);

  std::string name_;
  bool fold_keys_;
  bool utf8_ = true;
  std::string watched_path_;
  std::optional<FileStamp> stamp_;
  std::vector<std::string> warnings_;
};

using OpenedTable = Result<std::unique_ptr<Table>>;

// In front of "regexp:name" and kin: opened with no_substitution, as a table of its own.
inline constexpr std::string_view kLiteral = "literal:";

// These names, those of tables of patterns with kLiteral in front.
[[nodiscard]] std::vector<std::string> literal_names(std::vector<std::string> names);

// Opens "type:name". `proxy:type:name` opens type:name itself as yet: proxymap's own process will
// take it over when it exists, and until then the file is read with the rights of the caller.
[[nodiscard]] OpenedTable open_table(std::string_view type_and_name,
                                     const OpenOptions& options = {});

// Adds a type to those built in (for network tables, in the program that may use the network).
// At program start, before any table is opened.
using OpenFunction = std::function<OpenedTable(std::string_view name, const OpenOptions& options)>;
void register_type(std::string type, OpenFunction open);
[[nodiscard]] std::vector<std::string> known_types();

// A path like /etc/aliases has no type: `default_type` is put in front.
[[nodiscard]] std::string with_type(std::string_view type_and_name, std::string_view default_type);

// Several tables, asked in order; the first hit counts, the first error ends the search.
class TableSet {
 public:
  // From a parameter's value, already expanded: "hash:/a, inline:{ x=y } pcre:/b".
  [[nodiscard]] static Result<TableSet> open(std::string_view list,
                                             const OpenOptions& options = {});

  struct Hit {
    std::string value;
    std::size_t table = 0;  // index into names()
  };
  [[nodiscard]] Result<std::optional<Hit>> find_hit(std::string_view key);
  [[nodiscard]] Found find(std::string_view key);

  // Opens again what was replaced. Where that fails the old table goes on and the error's text is
  // returned, to be logged: a table that is just being edited must not stop mail.
  std::vector<std::string> refresh();
  // Grows by each table that refresh() replaced: answers of an older generation may be outdated.
  [[nodiscard]] std::uint64_t generation() const { return generation_; }

  [[nodiscard]] bool empty() const { return tables_.empty(); }
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] std::vector<std::string> warnings() const;

 private:
  std::vector<std::unique_ptr<Table>> tables_;
  OpenOptions options_;
  std::uint64_t generation_ = 1;
};

}  // namespace postern::table
