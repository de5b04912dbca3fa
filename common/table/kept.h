// kept.h - what a daemon has found out and wants to know again after a restart: keys and values in
// LMDB, bounded, never the truth.
//
// A file that cannot be opened or written is a warning, and what is known lives in memory only.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "common/base/result.h"

struct MDB_env;

namespace postern::table {

class Kept {
 public:
  // Memory only.
  Kept() = default;
  // `path` is made if it is not there. Precondition: effective rights are those of its owner.
  [[nodiscard]] static Result<Kept> open(const std::string& path);
  ~Kept();
  Kept(Kept&& other) noexcept;
  Kept& operator=(Kept&& other) noexcept;
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

  [[nodiscard]] std::optional<std::string> find(std::string_view key) const;
  void put(std::string_view key, std::string_view value);
  void remove(std::string_view key);

  // Looks at up to `limit` entries from behind `after` on, and removes those that `is_old` says so
  // of. Gives the last key looked at; nothing at the end.
  using IsOld = std::function<bool(std::string_view value)>;
  [[nodiscard]] std::optional<std::string> clean(const std::string& after, std::size_t limit,
                                                 const IsOld& is_old);

  // Every entry whose key begins so, those in the file in order.
  void visit(std::string_view prefix,
             const std::function<void(std::string_view key, std::string_view value)>& call) const;

  static constexpr std::size_t kMaxBytes = std::size_t{1} << 30;
  static constexpr std::size_t kMaxInMemory = 100'000;
  static constexpr std::size_t kMaxKey = 500;  // longer addresses are not kept

 private:
  void warn(std::string_view doing, int error);

  MDB_env* env_ = nullptr;
  unsigned dbi_ = 0;
  bool has_warned_ = false;
  std::unordered_map<std::string, std::string> memory_;
};

}  // namespace postern::table
