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
  // `get` looks one stored form up.
  template <typename Get>
  [[nodiscard]] Found find(std::string_view key, const Get& get) {
    if (with_) {
      stored_ = key;
      stored_ += '\0';
      TRY(auto value, get(std::string_view(stored_)));
      if (value) {
        without_ = false;
        return value;
      }
    }
    if (without_) {
      TRY(auto value, get(key));
      if (value) {
        with_ = false;
        return value;
      }
    }
    return std::nullopt;
  }

 private:
  std::string stored_;
  bool with_ = true;
  bool without_ = true;
};

}  // namespace postern::table
