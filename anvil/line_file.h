// line_file.h - a small database: an append-only text file, rewritten as a whole from time to time.
// What it holds is worth keeping over a restart and no harm when lost: lines are not flushed, and a
// line that a crash has cut off is skipped.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::anvil {

class LineFile {
 public:
  // Larger files are not read back.
  static constexpr std::size_t kMaxSize = std::size_t{256} << 20;

  // `directory` stays open for as long as any file uses it: it was opened before the process gave
  // up its rights. -1: nothing is kept.
  LineFile(int directory, std::string name) : directory_(directory), name_(std::move(name)) {}

  // All whole lines; none when there is no file.
  [[nodiscard]] Result<std::vector<std::string>> read() const;
  [[nodiscard]] Result<void> append(std::string_view line);
  [[nodiscard]] Result<void> replace(const std::vector<std::string>& lines);
  [[nodiscard]] std::size_t appended() const { return appended_; }

 private:
  int directory_;
  std::string name_;
  sys::Fd fd_;
  std::size_t appended_ = 0;  // since the last replace()
};

}  // namespace postern::anvil
