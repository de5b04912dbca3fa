#include "common/table/builder.h"

#include <cdb.h>
#include <db.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "common/base/text.h"
#include "common/sys/fd.h"
#include "common/table/entries.h"

namespace postern::table {

namespace {

constexpr std::size_t kMaxLmdbMap = std::size_t{1} << 40U;
constexpr std::size_t kMaxDbCache = std::size_t{512} << 20U;
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

struct CloseDb {
  void operator()(DB* db) const { db->close(db, 0); }
};
struct CloseEnv {
  void operator()(MDB_env* env) const { ::mdb_env_close(env); }
};
struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { ::mdb_cursor_close(cursor); }
};

// A file's bytes, read only.
class Mapping {
 public:
  Mapping(int fd, std::size_t size)
      : data_(::mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0)), size_(size) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (data_ != MAP_FAILED) ::munmap(data_, size_);
  }
  [[nodiscard]] const char* data() const {
    return data_ == MAP_FAILED ? nullptr : static_cast<const char*>(data_);
  }

 private:
  void* data_;
  std::size_t size_;
};

DBT make_dbt(std::string_view bytes) {
  DBT dbt{};
  dbt.data = const_cast<char*>(bytes.data());
  dbt.size = static_cast<u_int32_t>(bytes.size());
  return dbt;
}

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
    const auto added = entries_.add(key, value, as_asked());
    if (added.before == nullptr) return true;
    TRY(const bool is_taken, settle_duplicate(added));
    return is_taken;
  }

  Result<void> enqueue(std::string_view key, std::string_view value) override {
    DO(check_size(key, value));
    const auto added = entries_.enqueue(key, value, as_asked());
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
    std::string stored = options_.fold_keys ? to_lower(key) : std::string(key);
    if (options_.trailing_nul) stored += '\0';
    return entries_.erase(stored);
  }

  Result<void> commit() override {
    DO(settle());
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

  Result<void> write_db(const std::string& path) {
    DB* raw = nullptr;
    if (const int status = ::db_create(&raw, nullptr, 0); status != 0) {
      return failed(::db_strerror(status));
    }
    std::unique_ptr<DB, CloseDb> db(raw);
    raw->set_errcall(raw, [](const DB_ENV*, const char*, const char*) {});
    // With all of the table in the cache each page is written once.
    const std::size_t cache = std::clamp(entries_.bytes() * 2, options_.db_cache_size, kMaxDbCache);
    raw->set_cachesize(raw, 0, static_cast<u_int32_t>(cache), 0);
    const bool hash = type_ == "hash";
    if (const auto count = static_cast<u_int32_t>(entries_.count()); hash && count > 0) {
      raw->set_h_nelem(raw, count);
    }
    int status = raw->open(raw, nullptr, path.c_str(), nullptr, hash ? DB_HASH : DB_BTREE,
                           DB_CREATE | DB_TRUNCATE, 0);
    if (status == 0) {
      entries_.visit_sorted([&](const Entries::Entry& entry) {
        DBT key = make_dbt(entry.key());
        DBT value = make_dbt(entry.value());
        status = raw->put(raw, nullptr, &key, &value, 0);
        return status == 0;
      });
    }
    if (status == 0) status = raw->sync(raw, 0);
    if (status == 0) status = db.release()->close(raw, 0);
    if (status != 0) return failed(::db_strerror(status));
    return {};
  }

  Result<void> write_lmdb(const std::string& path) {
    const std::size_t bytes = entries_.bytes() + entries_.count() * 64;
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

  // Made in memory: LMDB then writes to a map of all of it, which costs half of what its own lists
  // of changed pages do, and a full disk is an error of write() instead of a signal.
  int try_lmdb(const std::string& path, std::size_t map_size) {
    std::size_t size = 0;
    struct rlimit limit{};
    const bool is_allowed =
        ::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= rlim_t{map_size};
    if (const sys::Fd memory(::memfd_create("lmdb", MFD_CLOEXEC)); memory && is_allowed) {
      const int status = fill_lmdb(fmt::format("/proc/self/fd/{}", memory.get()), map_size,
                                   MDB_WRITEMAP | MDB_NOSYNC, size);
      if (status == 0) return copy_to_file(memory.get(), size);
      // The system's own errors are of this way of doing it: no /proc, no memory.
      if (status < 0) return status;
    }
    return fill_lmdb(path, map_size, 0, size);
  }

  // `size` becomes that of the pages in use.
  int fill_lmdb(const std::string& path, std::size_t map_size, unsigned flags, std::size_t& size) {
    MDB_env* raw = nullptr;
    if (const int status = ::mdb_env_create(&raw); status != 0) return status;
    const std::unique_ptr<MDB_env, CloseEnv> env(raw);
    int status = ::mdb_env_set_mapsize(raw, map_size);
    flags |= MDB_NOSUBDIR | MDB_NOLOCK;
    if (status == 0) status = ::mdb_env_open(raw, path.c_str(), flags, 0600);
    MDB_txn* txn = nullptr;
    if (status == 0) status = ::mdb_txn_begin(raw, nullptr, 0, &txn);
    if (status != 0) return status;
    status = put_all(txn);
    if (status != 0) {
      ::mdb_txn_abort(txn);
      return status;
    }
    status = ::mdb_txn_commit(txn);
    MDB_envinfo info{};
    MDB_stat stat{};
    if (status == 0) status = ::mdb_env_info(raw, &info);
    if (status == 0) status = ::mdb_env_stat(raw, &stat);
    size = (info.me_last_pgno + 1) * stat.ms_psize;
    return status;
  }

  int put_all(MDB_txn* txn) {
    MDB_dbi dbi = 0;
    int status = ::mdb_dbi_open(txn, nullptr, 0, &dbi);
    MDB_cursor* raw = nullptr;
    if (status == 0) status = ::mdb_cursor_open(txn, dbi, &raw);
    const std::unique_ptr<MDB_cursor, CloseCursor> cursor(raw);
    if (status != 0) return status;
    entries_.visit_sorted([&](const Entries::Entry& entry) {
      MDB_val key{entry.key_size, entry.bytes};
      MDB_val value{entry.value_size, entry.bytes + entry.value_at};
      status = ::mdb_cursor_put(raw, &key, &value, MDB_APPEND);
      return status == 0;
    });
    return status;
  }

  int copy_to_file(int from, std::size_t size) {
    const Mapping map(from, size);
    if (map.data() == nullptr) return errno;
    for (std::size_t done = 0; done < size;) {
      const ssize_t written =
          ::pwrite(file_.get(), map.data() + done, size - done, static_cast<off_t>(done));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return errno;
      done += static_cast<std::size_t>(written);
    }
    return 0;
  }

  Result<void> write_cdb(const std::string& path) {
    static_cast<void>(path);
    struct ::cdb_make make{};
    int status = ::cdb_make_start(&make, file_.get());
    if (status == 0) {
      entries_.visit_in_order([&](const Entries::Entry& entry) {
        status = ::cdb_make_add(&make, entry.bytes, entry.key_size, entry.bytes + entry.value_at,
                                entry.value_size);
        return status == 0;
      });
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
