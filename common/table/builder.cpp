#include "common/table/builder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "common/base/text.h"
#include "common/sys/fd.h"
#include "common/table/entries.h"
#include "common/table/file_writers.h"
#include "common/table/fold_key.h"

namespace postern::table {

namespace {

constexpr std::size_t kMaxItem = std::size_t{1} << 30U;

// Removes the file unless it was renamed away.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

// All entries are held in memory and written at commit(): one pass, the same for every type, and a
// file that depends only on what is in it.
class FileBuilder final : public Builder {
 public:
  FileBuilder(std::string type, std::string_view name, const BuildOptions& options)
      : type_(std::move(type)),
        label_(fmt::format("{}:{}", type_, name)),
        path_(file_of_table(type_, name)),
        options_(options) {
    entries_.reserve(options_.expected_entries);
  }

  Result<void> prepare() {
    DO(lock());
    if (!options_.keep_entries || !old_) return {};
    OpenOptions open_options;
    open_options.fold_keys = false;
    TRY(const auto table, open_table(label_, open_options));
    return table->for_each([&](std::string_view key, std::string_view value) {
      static_cast<void>(entries_.add(key, value, as_is()));
      return true;
    });
  }

  std::string_view adopt(std::string text) override {
    entries_.adopt(std::move(text));
    return entries_.text();
  }

  Result<bool> add(std::string_view key, std::string_view value) override {
    DO(settle());
    DO(check_size(key, value));
    const auto added = can_fold_in_place(key) ? entries_.add(key, value, as_asked())
                                              : entries_.add(folded(key), value, as_is());
    if (added.before == nullptr) return true;
    TRY(const bool is_taken, settle_duplicate(added));
    return is_taken;
  }

  Result<void> enqueue(std::string_view key, std::string_view value) override {
    DO(check_size(key, value));
    const auto added = can_fold_in_place(key) ? entries_.enqueue(key, value, as_asked())
                                              : entries_.enqueue(folded(key), value, as_is());
    if (added.before != nullptr) return tell_of_duplicate(added);
    return {};
  }

  Result<void> settle() override {
    while (entries_.has_queued()) {
      const auto added = entries_.settle_next();
      if (added.before != nullptr) DO(tell_of_duplicate(added));
    }
    return {};
  }

  Result<void> put(std::string_view key, std::string_view value) override {
    DO(settle());
    DO(check_size(key, value));
    const auto added = entries_.add(key, value, as_is());
    if (added.before != nullptr) Entries::take_value(*added.before, added.entry);
    return {};
  }

  Result<bool> erase(std::string_view key) override {
    DO(settle());
    std::string stored = options_.fold_keys ? folded(key) : std::string(key);
    if (options_.trailing_nul) stored += '\0';
    return entries_.erase(stored);
  }

  Result<void> commit() override {
    DO(settle());
    TRY(const auto created, create_temporary());
    const TemporaryFile& temporary = *created;
    if (const auto written = write(temporary.path()); !written) {
      return failed(written.error().text);
    }
    DO(flush(temporary.path()));
    if (::rename(temporary.path().c_str(), path_.c_str()) != 0) {
      return sys::fail_errno("rename to " + path_);
    }
    created->keep();
    return {};
  }

 private:
  // The lock on the present file, if there is one. Another builder may have replaced it while we
  // waited: then the lock is on a file that nobody reads any more, and we begin again.
  Result<void> lock() {
    for (;;) {
      sys::Fd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      if (!fd && errno == ENOENT) return {};
      if (!fd) return sys::fail_errno("open " + path_);
      if (::flock(fd.get(), LOCK_EX) != 0) return sys::fail_errno("lock " + path_);
      struct stat opened{};
      struct stat named{};
      if (::fstat(fd.get(), &opened) != 0) return sys::fail_errno("stat " + path_);
      if (::stat(path_.c_str(), &named) != 0 || opened.st_ino != named.st_ino ||
          opened.st_dev != named.st_dev) {
        continue;
      }
      old_ = std::move(fd);
      // Of a cdb file nothing is kept, as it is with Postfix: it is written anew each time.
      if (type_ == "cdb" && !options_.keep_entries) return {};
      options_.mode = opened.st_mode & 07777U;
      options_.owner = opened.st_uid;
      options_.group = opened.st_gid;
      return {};
    }
  }

  // An empty file of the right owner and mode, made under a name that nobody can have prepared.
  Result<std::unique_ptr<TemporaryFile>> create_temporary() {
    std::string path = fmt::format("{}.{}.tmp", path_, ::getpid());
    ::unlink(path.c_str());  // of a builder with our process id that was killed
    constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    sys::Fd fd(::open(path.c_str(), kFlags, 0600));
    if (!fd) return sys::fail_errno("open " + path_);
    auto temporary = std::make_unique<TemporaryFile>(path);
    const uid_t owner = options_.owner.value_or(::geteuid());
    const gid_t group = options_.group.value_or(::getegid());
    // Without the right to give files away the file simply is ours.
    if (::geteuid() == 0 && ::fchown(fd.get(), owner, group) != 0) {
      return sys::fail_errno("change owner of " + path_);
    }
    if (::fchmod(fd.get(), options_.mode) != 0) return sys::fail_errno("change mode of " + path_);
    file_ = std::move(fd);
    return temporary;
  }

  // Letters beyond ASCII may take more or fewer bytes then.
  [[nodiscard]] bool can_fold_in_place(std::string_view key) const {
    return !options_.fold_keys || !options_.utf8 || is_all_ascii(key);
  }
  [[nodiscard]] std::string folded(std::string_view key) const {
    return fold_key(key, options_.utf8).value_or(to_lower(key));
  }
  [[nodiscard]] Spelling as_is() const { return {false, options_.trailing_nul}; }
  [[nodiscard]] Spelling as_asked() const { return {options_.fold_keys, options_.trailing_nul}; }

  [[nodiscard]] Result<void> check_size(std::string_view key, std::string_view value) const {
    if (key.size() > kMaxItem || value.size() > kMaxItem) return failed("an entry is too large");
    return {};
  }

  [[nodiscard]] std::string_view spelt(std::string_view stored) const {
    if (options_.trailing_nul) stored.remove_suffix(1);
    return stored;
  }

  // True: its value is the table's now.
  Result<bool> settle_duplicate(const Entries::Added& added) {
    if (options_.duplicates == Duplicates::kRefuse) {
      return fail(Error::Kind::kPermanent,
                  fmt::format("{}: duplicate entry: \"{}\"", label_, spelt(added.entry.key())));
    }
    if (options_.duplicates != Duplicates::kReplace) return false;
    Entries::take_value(*added.before, added.entry);
    return true;
  }

  Result<void> tell_of_duplicate(const Entries::Added& added) {
    TRY(const bool is_taken, settle_duplicate(added));
    if (!is_taken && options_.on_duplicate) options_.on_duplicate(spelt(added.entry.key()));
    return {};
  }

  [[nodiscard]] std::unexpected<Error> failed(std::string_view reason) const {
    return fail_temporary(fmt::format("write {}: {}", label_, reason));
  }

  Result<void> write(const std::string& path) {
    entries_.seal();
    if (type_ == "cdb") return write_cdb(file_.get(), entries_);
    if (type_ == "lmdb") return write_lmdb(path, entries_, options_.lmdb_map_size);
    const DbKind kind = type_ == "hash" ? DbKind::kHash : DbKind::kBtree;
    return write_db(path, kind, entries_, options_.db_cache_size);
  }

  // libdb and LMDB have descriptors of their own; the flush is the file's, whoever asks for it.
  Result<void> flush(const std::string& path) {
    struct stat st{};
    if (::stat(path.c_str(), &st) != 0 || st.st_size == 0) return failed("nothing was written");
    if (::fsync(file_.get()) != 0) return sys::fail_errno("flush " + path_);
    return file_.close_checked();
  }

  std::string type_;
  std::string label_;
  std::string path_;
  BuildOptions options_;
  sys::Fd old_;   // holds the lock
  sys::Fd file_;  // the new file
  Entries entries_;
};

}  // namespace

bool can_build(std::string_view type) {
  return type == "hash" || type == "btree" || type == "lmdb" || type == "cdb";
}

std::string file_of_table(std::string_view type, std::string_view name) {
  std::string path(name);
  if (type == "hash" || type == "btree") path += ".db";
  if (type == "lmdb") path += ".lmdb";
  if (type == "cdb") path += ".cdb";
  return path;
}

Result<std::unique_ptr<Builder>> Builder::open(std::string_view type_and_name,
                                               const BuildOptions& options) {
  const auto [type, name] = split_at_first(type_and_name, ':');
  if (!can_build(type)) {
    return fail(Error::Kind::kConfig,
                fmt::format("table {}: this type of table is not made from a file", type_and_name));
  }
  auto builder = std::make_unique<FileBuilder>(std::string(type), name, options);
  DO(builder->prepare());
  return builder;
}

}  // namespace postern::table
