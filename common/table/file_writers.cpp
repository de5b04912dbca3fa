#include "common/table/file_writers.h"

#include <cdb.h>
#include <db.h>
#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string_view>
#include <utility>

#include "common/sys/fd.h"

namespace postern::table {

namespace {

constexpr std::size_t kMaxDbCache = std::size_t{512} << 20U;
constexpr std::size_t kMaxLmdbMap = std::size_t{1} << 40U;
// What one transaction puts. LMDB keeps the pages that it changes in memory until it commits, and
// takes the same memory for those of the next transaction: so few of them that they stay in the
// processor's cache.
constexpr std::size_t kLmdbPiece = std::size_t{512} << 10U;

constexpr std::array<char, 4096> kPage{};

struct CloseDb {
  void operator()(DB* db) const { db->close(db, 0); }
};
struct CloseEnv {
  void operator()(MDB_env* env) const { ::mdb_env_close(env); }
};

DBT make_dbt(std::string_view bytes) {
  DBT dbt{};
  dbt.data = const_cast<char*>(bytes.data());
  dbt.size = static_cast<u_int32_t>(bytes.size());
  return dbt;
}

// Puts entries, in the order of their keys, in transactions of kLmdbPiece.
class LmdbWriter {
 public:
  explicit LmdbWriter(MDB_env* env) : env_(env) {}
  LmdbWriter(const LmdbWriter&) = delete;
  LmdbWriter& operator=(const LmdbWriter&) = delete;
  ~LmdbWriter() {
    ::mdb_cursor_close(cursor_);
    ::mdb_txn_abort(txn_);
  }

  // These return the status of LMDB, 0 when all is well.
  int begin() {
    int status = ::mdb_txn_begin(env_, nullptr, 0, &txn_);
    if (status == 0 && !is_open_) status = ::mdb_dbi_open(txn_, nullptr, 0, &dbi_);
    is_open_ = true;
    if (status == 0) status = ::mdb_cursor_open(txn_, dbi_, &cursor_);
    return status;
  }
  int put(const Entries::Entry& entry) {
    if (uncommitted_ >= kLmdbPiece) {
      if (const int status = commit(); status != 0) return status;
      if (const int status = begin(); status != 0) return status;
    }
    uncommitted_ += entry.key_size + std::size_t{entry.value_size};
    MDB_val key{entry.key_size, entry.bytes};
    MDB_val value{entry.value_size, entry.bytes + entry.value_at};
    return ::mdb_cursor_put(cursor_, &key, &value, MDB_APPEND);
  }
  int commit() {
    ::mdb_cursor_close(std::exchange(cursor_, nullptr));
    uncommitted_ = 0;
    return ::mdb_txn_commit(std::exchange(txn_, nullptr));
  }

 private:
  MDB_env* env_;
  MDB_txn* txn_ = nullptr;
  MDB_cursor* cursor_ = nullptr;
  MDB_dbi dbi_ = 0;
  bool is_open_ = false;
  std::size_t uncommitted_ = 0;
};

int try_lmdb(const std::string& path, const Entries& entries, std::size_t map_size) {
  MDB_env* raw = nullptr;
  if (const int status = ::mdb_env_create(&raw); status != 0) return status;
  const std::unique_ptr<MDB_env, CloseEnv> env(raw);
  int status = ::mdb_env_set_mapsize(raw, map_size);
  // The flush at the end is the Builder's. Without MDB_WRITEMAP a full disk is an error of write().
  constexpr unsigned kFlags = MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC;
  if (status == 0) status = ::mdb_env_open(raw, path.c_str(), kFlags, 0600);
  if (status != 0) return status;
  LmdbWriter writer(raw);
  status = writer.begin();
  if (status != 0) return status;
  entries.visit_sorted([&](const Entries::Entry& entry) {
    status = writer.put(entry);
    return status == 0;
  });
  return status == 0 ? writer.commit() : status;
}

// LMDB calls a write that was cut short EIO. The next write tells why it was.
Result<void> fail_to_write(const std::string& path, int status) {
  if (status != EIO) return fail_temporary(::mdb_strerror(status));
  const sys::Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  if (fd && ::write(fd.get(), kPage.data(), kPage.size()) < 0) status = errno;
  return fail_temporary(sys::errno_text(status));
}

}  // namespace

Result<void> write_db(const std::string& path, DbKind kind, const Entries& entries,
                      std::size_t cache_size) {
  DB* raw = nullptr;
  if (const int status = ::db_create(&raw, nullptr, 0); status != 0) {
    return fail_temporary(::db_strerror(status));
  }
  std::unique_ptr<DB, CloseDb> db(raw);
  raw->set_errcall(raw, [](const DB_ENV*, const char*, const char*) {});
  // With all of the table in the cache each page is written once.
  const std::size_t cache = std::clamp(entries.bytes() * 2, cache_size, kMaxDbCache);
  raw->set_cachesize(raw, 0, static_cast<u_int32_t>(cache), 0);
  const bool is_hash = kind == DbKind::kHash;
  if (const auto count = static_cast<u_int32_t>(entries.count()); is_hash && count > 0) {
    raw->set_h_nelem(raw, count);
  }
  int status = raw->open(raw, nullptr, path.c_str(), nullptr, is_hash ? DB_HASH : DB_BTREE,
                         DB_CREATE | DB_TRUNCATE, 0);
  if (status == 0) {
    entries.visit_sorted([&](const Entries::Entry& entry) {
      DBT key = make_dbt(entry.key());
      DBT value = make_dbt(entry.value());
      status = raw->put(raw, nullptr, &key, &value, 0);
      return status == 0;
    });
  }
  if (status == 0) status = raw->sync(raw, 0);
  if (status == 0) status = db.release()->close(raw, 0);
  if (status != 0) return fail_temporary(::db_strerror(status));
  return {};
}

Result<void> write_lmdb(const std::string& path, const Entries& entries, std::size_t map_size) {
  const std::size_t bytes = entries.bytes() + entries.count() * 64;
  for (std::size_t map = std::max(map_size, bytes * 2); map <= kMaxLmdbMap; map *= 2) {
    const int status = try_lmdb(path, entries, map);
    if (status == 0) return {};
    if (status == MDB_BAD_VALSIZE) {
      return fail_temporary("a key is empty or longer than 511 bytes");
    }
    if (status != MDB_MAP_FULL) return fail_to_write(path, status);
    if (::truncate(path.c_str(), 0) != 0) return sys::fail_errno("truncate");
  }
  return fail_temporary("too large");
}

Result<void> write_cdb(int fd, const Entries& entries) {
  struct ::cdb_make make{};
  int status = ::cdb_make_start(&make, fd);
  if (status == 0) {
    entries.visit_in_order([&](const Entries::Entry& entry) {
      status = ::cdb_make_add(&make, entry.bytes, entry.key_size, entry.bytes + entry.value_at,
                              entry.value_size);
      return status == 0;
    });
  }
  const int error = errno;
  if (::cdb_make_finish(&make) != 0) return fail_temporary(sys::errno_text(errno));
  if (status != 0) return fail_temporary(sys::errno_text(error));
  return {};
}

}  // namespace postern::table
