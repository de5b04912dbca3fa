// builder.h - write the file of a hash:, btree:, lmdb: or cdb: table.
//
// A change is made in a new file beside the old one, flushed, and renamed over it. So a reader that
// has the old file open keeps a whole one, a crash leaves the old or the new, and a second builder
// waits for the lock on the old. Keys and values get the trailing NUL that Postfix's have.

#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/table/table.h"

namespace postern::table {

enum class Duplicates : unsigned char {
  kWarn,     // the first value stays; add() says so
  kIgnore,   // the first value stays
  kReplace,  // the last value stays
  kRefuse,   // an error
};

struct BuildOptions {
  bool fold_keys = true;
  bool utf8 = true;  // keys are folded as characters
  bool trailing_nul = true;
  bool keep_entries = false;  // start from what the file holds; else from nothing
  Duplicates duplicates = Duplicates::kWarn;
  // Told of each key that enqueue() has found there already, as it is stored.
  std::function<void(std::string_view key)> on_duplicate;
  // For a new file; one that is there keeps its owner and mode.
  mode_t mode = 0644;
  std::optional<uid_t> owner;
  std::optional<gid_t> group;
  std::size_t db_cache_size = std::size_t{16} << 20U;  // berkeley_db_create_buffer_size
  std::size_t lmdb_map_size = std::size_t{16} << 20U;  // grows when it must
  std::size_t expected_entries = 0;                    // a guess, to make room at once
};

// True for the types that a Builder makes.
[[nodiscard]] bool can_build(std::string_view type);
// "/etc/aliases" to "/etc/aliases.db".
[[nodiscard]] std::string file_of_table(std::string_view type, std::string_view name);

class Builder {
 public:
  virtual ~Builder() = default;

  // "type:name". With keep_entries the file must exist... or is made, as `postmap -i` does.
  [[nodiscard]] static Result<std::unique_ptr<Builder>> open(std::string_view type_and_name,
                                                             const BuildOptions& options);

  // Makes the builder the owner of a source, and gives it back. Keys and values that lie in it are
  // not copied but changed there: behind each of them is a blank, a line end or the end of the
  // text. At most once, before any other call.
  virtual std::string_view adopt(std::string text) = 0;
  // False: the key was there already and its value stays (kWarn, kIgnore).
  [[nodiscard]] virtual Result<bool> add(std::string_view key, std::string_view value) = 0;
  // The same, faster for millions: what there is to say of a duplicate comes with one of the next
  // calls, at the latest with settle() or commit(), in the order of the entries.
  [[nodiscard]] virtual Result<void> enqueue(std::string_view key, std::string_view value) = 0;
  [[nodiscard]] virtual Result<void> settle() = 0;
  // The key as it is spelt, also where keys are folded; its last value stays.
  [[nodiscard]] virtual Result<void> put(std::string_view key, std::string_view value) = 0;
  // False: there was no such key.
  [[nodiscard]] virtual Result<bool> erase(std::string_view key) = 0;
  // Puts the new file in place. Without this call nothing happened.
  [[nodiscard]] virtual Result<void> commit() = 0;
};

}  // namespace postern::table
