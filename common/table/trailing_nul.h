// trailing_nul.h - keys and values of database files may or may not end in a NUL.
//
// Which of the two depends on the program that made the file. A table starts by trying both and
// keeps to the form that first gave a hit.

#pragma once

#include <string>
#include <string_view>

#include "common/table/table.h"

namespace postern::table {

[[nodiscard]] inline std::string_view without_nul(std::string_view stored) {
  if (stored.ends_with('\0')) stored.remove_suffix(1);
  return stored;
}

class TrailingNul {
 public:
  // `get` looks one stored form up: Result<bool>.
  template <typename Get>
  [[nodiscard]] Result<bool> find(std::string_view key, const Get& get) {
    if (with_) {
      stored_ = key;
      stored_ += '\0';
      TRY(const bool is_found, get(std::string_view(stored_)));
      if (is_found) {
        without_ = false;
        return true;
      }
    }
    if (without_) {
      TRY(const bool is_found, get(key));
      if (is_found) {
        with_ = false;
        return true;
      }
    }
    return false;
  }

  // The form that is tried first.
  [[nodiscard]] bool is_with_nul() const { return with_; }

 private:
  std::string stored_;
  bool with_ = true;
  bool without_ = true;
};

// A table whose keys and values lie in a file as they are.
class StoredTable : public Table {
 protected:
  using Table::Table;

 private:
  Found do_find(std::string_view key) final {
    std::string value;
    TRY(const bool is_found, do_find_into(key, value));
    if (!is_found) return std::nullopt;
    return value;
  }
};

}  // namespace postern::table
