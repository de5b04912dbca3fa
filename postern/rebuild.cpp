#include "postern/rebuild.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>

#include "common/base/text.h"
#include "common/config/param.h"
#include "common/config/values.h"
#include "common/log/log.h"
#include "common/sys/process.h"

namespace postern::control {

namespace {

struct IndexType {
  std::string_view type, suffix;
};
constexpr IndexType kIndexTypes[] = {
    {"hash", ".db"}, {"btree", ".db"}, {"lmdb", ".lmdb"}, {"cdb", ".cdb"}};

std::int64_t time_of(const struct stat& status) {
  return std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec;
}

// When the source of a stale index was changed; nothing when the index is good.
std::optional<std::int64_t> stale_since(const std::string& source, const std::string& index) {
  struct stat from{};
  struct stat made{};
  if (::stat(source.c_str(), &from) != 0 || !S_ISREG(from.st_mode)) return std::nullopt;
  const bool is_made = ::stat(index.c_str(), &made) == 0;
  if (!is_made && errno != ENOENT) return std::nullopt;
  if (is_made && time_of(from) <= time_of(made)) return std::nullopt;
  return time_of(from);
}

void look_at(const config::Values& values, std::string_view parameter,
             std::set<std::string, std::less<>>& seen, std::vector<StaleTable>& found) {
  const auto text = values.expanded(parameter);
  if (!text) return;
  for (const std::string& entry : config::split_list(*text)) {
    std::string_view word = entry;
    while (word.starts_with('!')) word.remove_prefix(1);
    while (word.starts_with("proxy:")) word.remove_prefix(6);
    const auto [type, name] = split_at_first(word, ':');
    const auto* const index = std::ranges::find(kIndexTypes, type, &IndexType::type);
    if (index == std::end(kIndexTypes) || !name.starts_with('/')) continue;
    const auto since = stale_since(std::string(name), fmt::format("{}{}", name, index->suffix));
    if (!since || !seen.insert(std::string(word)).second) continue;
    found.push_back(
        {std::string(word), parameter == "alias_maps" || parameter == "alias_database", *since});
  }
}

}  // namespace

std::vector<StaleTable> find_stale_tables(const config::Snapshot& snapshot) {
  const std::shared_ptr<const config::Snapshot> shared(std::shared_ptr<const config::Snapshot>(),
                                                       &snapshot);
  const config::Values values(shared);
  std::set<std::string, std::less<>> seen;
  std::vector<StaleTable> found;
  look_at(values, "alias_maps", seen, found);
  look_at(values, "alias_database", seen, found);
  for (const config::Setting& setting : snapshot.settings) {
    look_at(values, setting.name, seen, found);
  }
  for (const config::Service& service : snapshot.services) {
    const config::Values scope(shared, service);
    for (const auto& [name, value] : service.overrides) look_at(scope, name, seen, found);
  }
  return found;
}

Result<pid_t> start_rebuild(const StaleTable& stale, const config::Values& values,
                            const std::string& directory) {
  const std::string program = stale.is_aliases ? "postalias" : "postmap";
  log::info("auto_rebuild_maps: {} {}", program, stale.table);
  sys::Launch launch;
  launch.path = values.text("command_directory") + "/" + program;
  launch.arguments = {program, "-c", directory, stale.table};
  launch.error = STDERR_FILENO;
  return sys::launch(launch);
}

void rebuild_tables(const config::Loaded& loaded, const std::string& directory) {
  const config::Values values(loaded.snapshot);
  if (!values.flag("auto_rebuild_maps")) return;
  for (const StaleTable& stale : find_stale_tables(*loaded.snapshot)) {
    const auto pid = start_rebuild(stale, values, directory);
    int status = 0;
    if (!pid) {
      log::warning("{}: {}", stale.table, pid.error().text);
    } else {
      while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
      }
      if (status != 0) log::warning("{}: it could not be made", stale.table);
    }
  }
}

}  // namespace postern::control
