#include "common/table/builder.h"

#include <cdb.h>
#include <db.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <map>
#include <utility>

#include "common/base/text.h"
#include "common/sys/fd.h"

namespace postern::table {

namespace {

using Entries = std::map<std::string, std::string, std::less<>>;

constexpr std::size_t kMaxLmdbMap = std::size_t{1} << 40U;

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

struct CloseDb {
  void operator()(DB* db) const { db->close(db, 0); }
};
struct CloseEnv {
  void operator()(MDB_env* env) const { ::mdb_env_close(env); }
};

DBT make_dbt(const std::string& bytes) {
  DBT dbt{};
  dbt.data = const_cast<char*>(bytes.data());
  dbt.size = static_cast<u_int32_t>(bytes.size());
  return dbt;
}

// All entries are held in memory and written in key order at commit(): one pass, the same for every
// type, and a file that depends only on what is in it.
class FileBuilder final : public Builder {
 public:
  FileBuilder(std::string type, std::string_view name, const BuildOptions& options)
      : type_(std::move(type)),
        label_(fmt::format("{}:{}", type_, name)),
        path_(file_of_table(type_, name)),
        options_(options) {}

  Result<void> prepare() {
    DO(lock());
    if (!options_.keep_entries || !old_) return {};
    OpenOptions open_options;
    open_options.fold_keys = false;
    TRY(const auto table, open_table(label_, open_options));
    return table->for_each([&](std::string_view key, std::string_view value) {
      entries_.emplace(key, value);
      return true;
    });
  }

  Result<bool> add(std::string_view key, std::string_view value) override {
    const std::string stored = options_.fold_keys ? to_lower(key) : std::string(key);
    const auto found = entries_.find(stored);
    if (found == entries_.end()) {
      entries_.emplace(stored, value);
      return true;
    }
    if (options_.duplicates == Duplicates::kRefuse) {
      return fail(Error::Kind::kPermanent, fmt::format("{}: duplicate entry: \"{}\"", label_, key));
    }
    if (options_.duplicates != Duplicates::kReplace) return false;
    found->second = value;
    return true;
  }

  Result<bool> erase(std::string_view key) override {
    const auto found = entries_.find(options_.fold_keys ? to_lower(key) : std::string(key));
    if (found == entries_.end()) return false;
    entries_.erase(found);
    return true;
  }

  Result<void> commit() override {
    TRY(const auto created, create_temporary());
    const TemporaryFile& temporary = *created;
    if (type_ == "cdb") {
      DO(write_cdb(temporary.path()));
    } else if (type_ == "lmdb") {
      DO(write_lmdb(temporary.path()));
    } else {
      DO(write_db(temporary.path()));
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
    if (!fd) return sys::fail_errno("create " + path_);
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

  [[nodiscard]] std::string stored(std::string_view bytes) const {
    std::string out(bytes);
    if (options_.trailing_nul) out += '\0';
    return out;
  }

  [[nodiscard]] std::unexpected<Error> failed(std::string_view reason) const {
    return fail_temporary(fmt::format("write {}: {}", label_, reason));
  }

  Result<void> write_db(const std::string& path) {
    DB* raw = nullptr;
    if (const int status = ::db_create(&raw, nullptr, 0); status != 0) {
      return failed(::db_strerror(status));
    }
    std::unique_ptr<DB, CloseDb> db(raw);
    raw->set_errcall(raw, [](const DB_ENV*, const char*, const char*) {});
    raw->set_cachesize(raw, 0, static_cast<u_int32_t>(options_.db_cache_size), 0);
    const bool hash = type_ == "hash";
    if (hash && !entries_.empty()) raw->set_h_nelem(raw, static_cast<u_int32_t>(entries_.size()));
    int status = raw->open(raw, nullptr, path.c_str(), nullptr, hash ? DB_HASH : DB_BTREE,
                           DB_CREATE | DB_TRUNCATE, 0);
    for (auto entry = entries_.begin(); status == 0 && entry != entries_.end(); ++entry) {
      const std::string key = stored(entry->first);
      const std::string value = stored(entry->second);
      DBT key_dbt = make_dbt(key);
      DBT value_dbt = make_dbt(value);
      status = raw->put(raw, nullptr, &key_dbt, &value_dbt, 0);
    }
    if (status == 0) status = raw->sync(raw, 0);
    if (status == 0) status = db.release()->close(raw, 0);
    if (status != 0) return failed(::db_strerror(status));
    return {};
  }

  Result<void> write_lmdb(const std::string& path) {
    std::size_t bytes = 0;
    for (const auto& [key, value] : entries_) bytes += key.size() + value.size() + 64;
    for (std::size_t map = std::max(options_.lmdb_map_size, bytes * 2); map <= kMaxLmdbMap;
         map *= 2) {
      const int status = try_lmdb(path, map);
      if (status == 0) return {};
      if (status == MDB_BAD_VALSIZE) return failed("a key is empty or longer than 511 bytes");
      if (status != MDB_MAP_FULL) return failed(::mdb_strerror(status));
      if (::truncate(path.c_str(), 0) != 0) return sys::fail_errno("truncate " + path_);
    }
    return failed("too large");
  }

  int try_lmdb(const std::string& path, std::size_t map_size) {
    MDB_env* raw = nullptr;
    if (const int status = ::mdb_env_create(&raw); status != 0) return status;
    const std::unique_ptr<MDB_env, CloseEnv> env(raw);
    int status = ::mdb_env_set_mapsize(raw, map_size);
    if (status == 0) status = ::mdb_env_open(raw, path.c_str(), MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    MDB_txn* txn = nullptr;
    if (status == 0) status = ::mdb_txn_begin(raw, nullptr, 0, &txn);
    if (status != 0) return status;
    MDB_dbi dbi = 0;
    status = ::mdb_dbi_open(txn, nullptr, 0, &dbi);
    for (auto entry = entries_.begin(); status == 0 && entry != entries_.end(); ++entry) {
      std::string key = stored(entry->first);
      std::string value = stored(entry->second);
      MDB_val key_val{key.size(), key.data()};
      MDB_val value_val{value.size(), value.data()};
      status = ::mdb_put(txn, dbi, &key_val, &value_val, 0);
    }
    if (status != 0) {
      ::mdb_txn_abort(txn);
      return status;
    }
    return ::mdb_txn_commit(txn);  // flushes
  }

  Result<void> write_cdb(const std::string& path) {
    static_cast<void>(path);
    struct ::cdb_make make{};
    int status = ::cdb_make_start(&make, file_.get());
    for (auto entry = entries_.begin(); status == 0 && entry != entries_.end(); ++entry) {
      const std::string key = stored(entry->first);
      const std::string value = stored(entry->second);
      status = ::cdb_make_add(&make, key.data(), static_cast<unsigned>(key.size()), value.data(),
                              static_cast<unsigned>(value.size()));
    }
    const int error = errno;
    if (::cdb_make_finish(&make) != 0) return failed(sys::errno_text(errno));
    if (status != 0) return failed(sys::errno_text(error));
    return {};
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
