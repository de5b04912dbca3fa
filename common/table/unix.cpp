// unix:passwd.byname and unix:group.byname, the entries printed as their files have them.

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <cstring>

#include "common/sys/fd.h"
#include "common/table/table.h"
#include "common/table/types.h"

namespace postern::table {

namespace {

constexpr std::size_t kFirstBuffer = 4096;
constexpr std::size_t kMaxBuffer = std::size_t{1} << 20U;

// Calls getpwnam_r or getgrnam_r with a buffer that grows; what is found points into `buffer`.
template <typename Entry, typename Function>
Result<bool> look_up(Function function, const std::string& key, Entry& entry, std::string& buffer) {
  buffer.resize(kFirstBuffer);
  for (;;) {
    Entry* found = nullptr;
    const int status = function(key.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (status == ERANGE && buffer.size() < kMaxBuffer) {
      buffer.resize(buffer.size() * 2);
      continue;
    }
    // Some back ends say ENOENT and its like for "no such name"; EIO, EMFILE and so on are
    // failures.
    if (found == nullptr && (status == 0 || status == ENOENT || status == ESRCH)) return false;
    if (found == nullptr) return fail_temporary(sys::errno_text(status));
    return true;
  }
}

class PasswdTable final : public Table {
 public:
  explicit PasswdTable(bool fold_keys) : Table("unix", "passwd.byname", fold_keys) {}

 private:
  Found do_find(std::string_view key) override {
    struct passwd entry{};
    std::string buffer;
    const auto found = look_up(::getpwnam_r, std::string(key), entry, buffer);
    if (!found) return error("look up", found.error().text);
    if (!*found) return std::nullopt;
    return fmt::format("{}:{}:{}:{}:{}:{}:{}", entry.pw_name, entry.pw_passwd, entry.pw_uid,
                       entry.pw_gid, entry.pw_gecos, entry.pw_dir, entry.pw_shell);
  }
};

class GroupTable final : public Table {
 public:
  explicit GroupTable(bool fold_keys) : Table("unix", "group.byname", fold_keys) {}

 private:
  Found do_find(std::string_view key) override {
    struct group entry{};
    std::string buffer;
    const auto found = look_up(::getgrnam_r, std::string(key), entry, buffer);
    if (!found) return error("look up", found.error().text);
    if (!*found) return std::nullopt;
    std::string out = fmt::format("{}:{}:{}:", entry.gr_name, entry.gr_passwd, entry.gr_gid);
    for (char** member = entry.gr_mem; *member != nullptr; ++member) {
      if (member != entry.gr_mem) out += ',';
      out += *member;
    }
    return out;
  }
};

}  // namespace

OpenedTable open_unix(std::string_view name, const OpenOptions& options) {
  if (name == "passwd.byname") return std::make_unique<PasswdTable>(options.fold_keys);
  if (name == "group.byname") return std::make_unique<GroupTable>(options.fold_keys);
  return fail(Error::Kind::kConfig, fmt::format("unknown table: unix:{}", name));
}

}  // namespace postern::table
