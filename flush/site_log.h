// site_log.h - the queue ids that wait for one site, in a file of its own under flush/.
//
//     flush/example_org     one line per message: time of the note, queue id
//
// The file is a hint, appended to and not flushed: after a crash a site may know less than waits
// for it, and its mail goes when it is due anyway. An id whose message is gone costs qmgr one look.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/result.h"

namespace postern::flush {

// Lower case, everything but letters, digits and `-` as `_`; empty for what is no site. Sites that
// differ in such characters alone share a file, which costs a try too many.
[[nodiscard]] std::string file_name_of(std::string_view site);

class SiteLog {
 public:
  // More messages of one site are not kept: they go when they are due.
  static constexpr std::size_t kMaxIds = 100'000;

  explicit SiteLog(std::string path) : path_(std::move(path)) {}

  // Reads what an earlier process has written; no file is an empty log.
  [[nodiscard]] Result<void> load();
  [[nodiscard]] Result<void> add(const std::string& queue_id, std::int64_t now);
  // All ids, which are forgotten here and in the file.
  [[nodiscard]] Result<std::vector<std::string>> take();
  // Forgets what is older; rewrites the file if anything was.
  [[nodiscard]] Result<void> purge(std::int64_t older_than);

  [[nodiscard]] bool empty() const { return noted_.empty(); }
  [[nodiscard]] std::size_t size() const { return noted_.size(); }
  [[nodiscard]] std::int64_t last_flush() const { return last_flush_; }
  void set_last_flush(std::int64_t now) { last_flush_ = now; }

 private:
  [[nodiscard]] Result<void> rewrite() const;

  std::string path_;
  std::unordered_map<std::string, std::int64_t> noted_;
  std::int64_t last_flush_ = 0;
};

}  // namespace postern::flush
