#include "flush/site_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/load.h"
#include "common/queuefile/queue_id.h"
#include "common/queuefile/writer.h"
#include "common/sys/fd.h"

namespace postern::flush {

namespace {

constexpr std::size_t kMaxName = 250;  // NAME_MAX, with room for a suffix
constexpr std::size_t kMaxFile = std::size_t{8} << 20;

Result<void> write_whole(const std::string& path, int flags, std::string_view text) {
  const sys::Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC | flags, 0600));
  if (!fd) return sys::fail_errno("open " + path);
  return queuefile::write_all(fd.get(), text);
}

}  // namespace

std::string file_name_of(std::string_view site) {
  if (site.size() >= 2 && site.front() == '[' && site.back() == ']') {
    site = site.substr(1, site.size() - 2);
  }
  if (site.empty() || site.size() > kMaxName) return {};
  std::string name = to_lower(site);
  for (char& c : name) {
    if (!is_alpha(c) && !is_digit(c) && c != '-') c = '_';
  }
  return name;
}

Result<void> SiteLog::load() {
  struct stat st{};
  if (::stat(path_.c_str(), &st) < 0) {
    if (errno == ENOENT) return {};
    return sys::fail_errno("stat " + path_);
  }
  last_flush_ = st.st_mtime;
  TRY(const std::string text, config::read_file(path_, kMaxFile));
  for (const auto line : split_words(text, "\n")) {
    const auto [time, id] = split_at_first(line, ' ');
    const auto when = parse_integer<std::int64_t>(time, 0);
    // A line that was cut off by a crash is left out.
    if (!when || !queuefile::is_valid_queue_id(id) || noted_.size() >= kMaxIds) continue;
    noted_.insert_or_assign(std::string(id), *when);
  }
  return {};
}

Result<void> SiteLog::add(const std::string& queue_id, std::int64_t now) {
  if (noted_.size() >= kMaxIds) return {};
  const auto [place, is_new] = noted_.try_emplace(queue_id, now);
  if (!is_new) {
    // Deferred again: it stays noted for as long as that goes on.
    place->second = now;
    return {};
  }
  if (noted_.size() == 1) last_flush_ = now;
  return write_whole(path_, O_APPEND, fmt::format("{} {}\n", now, queue_id));
}

Result<std::vector<std::string>> SiteLog::take() {
  std::vector<std::string> ids;
  ids.reserve(noted_.size());
  for (const auto& [id, time] : noted_) ids.push_back(id);
  noted_.clear();
  if (::unlink(path_.c_str()) < 0 && errno != ENOENT) return sys::fail_errno("unlink " + path_);
  return ids;
}

Result<void> SiteLog::purge(std::int64_t older_than) {
  const auto gone =
      std::erase_if(noted_, [&](const auto& entry) { return entry.second < older_than; });
  return gone == 0 ? Result<void>{} : rewrite();
}

Result<void> SiteLog::rewrite() const {
  if (noted_.empty()) {
    if (::unlink(path_.c_str()) < 0 && errno != ENOENT) return sys::fail_errno("unlink " + path_);
    return {};
  }
  std::string text;
  for (const auto& [id, time] : noted_) text += fmt::format("{} {}\n", time, id);
  const std::string next = path_ + ".new";
  DO(write_whole(next, O_TRUNC, text));
  if (::rename(next.c_str(), path_.c_str()) < 0) return sys::fail_errno("rename " + next);
  return {};
}

}  // namespace postern::flush
