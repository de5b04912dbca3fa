#include "common/table/builder.h"

#include <cdb.h>
#include <db.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "common/base/text.h"
#include "common/sys/fd.h"

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

// The entries of a table in the making: a million of them in one pass, with no allocation for each.
// Keys and values lie one behind the other in large blocks, as they will be stored.
class Entries {
 public:
  struct Entry {
    char* bytes = nullptr;  // the key, then the value; nullptr once erased
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
    std::uint64_t hash = 0;
    [[nodiscard]] std::string_view key() const { return {bytes, key_size}; }
    [[nodiscard]] std::string_view value() const { return {bytes + key_size, value_size}; }
  };

  // Makes room for so many.
  void reserve(std::size_t count) {
    constexpr std::size_t kMost = std::size_t{1} << 25U;
    const std::size_t room = std::min(count, kMost);
    entries_.reserve(room);
    if (std::bit_ceil(room * 2 + 2) <= slots_.size()) return;
    slots_.assign(std::bit_ceil(room * 2 + 2), {});
    place_all();
  }

  // Where a key is or belongs; good until the next change.
  struct Place {
    std::uint64_t hash = 0;
    std::size_t slot = 0;
    Entry* entry = nullptr;  // nullptr where there is none
  };
  [[nodiscard]] Place find(std::string_view key) {
    if (entries_.size() * 2 >= slots_.size()) grow();
    Place place{hash_of(key), 0, nullptr};
    place.slot = slot_of(key, place.hash);
    const std::uint32_t index = slots_[place.slot].index;
    if (index != 0) place.entry = &entries_[index - 1];
    return place;
  }

  // Precondition: find() has just given the place, and there was no entry.
  void add(const Place& place, std::string_view key, std::string_view value) {
    entries_.push_back({store(key, value), static_cast<std::uint32_t>(key.size()),
                        static_cast<std::uint32_t>(value.size()), place.hash});
    bytes_ += key.size() + value.size();
    slots_[place.slot] = {static_cast<std::uint32_t>(entries_.size()), tag_of(place.hash)};
  }

  void replace(Entry& entry, std::string_view value) {
    entry.bytes = store(entry.key(), value);
    entry.value_size = static_cast<std::uint32_t>(value.size());
    bytes_ += value.size();
  }

  // All that find() has given is invalid behind it.
  void erase(std::string_view key) {
    const Entry* const gone = find(key).entry;
    if (gone == nullptr) return;
    entries_.erase(entries_.begin() + (gone - entries_.data()));
    slots_.assign(slots_.size(), {});
    place_all();
  }

  [[nodiscard]] const std::vector<Entry>& in_order() const { return entries_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

  [[nodiscard]] std::vector<const Entry*> sorted() const {
    struct Item {
      std::uint64_t prefix[2];  // settle most comparisons without a look into the blocks
      const Entry* entry;
    };
    std::vector<Item> items;
    items.reserve(entries_.size());
    for (const Entry& entry : entries_) {
      items.push_back({{prefix_of(entry.key(), 0), prefix_of(entry.key(), 8)}, &entry});
    }
    const auto is_before = [](const Item& a, const Item& b) {
      if (a.prefix[0] != b.prefix[0]) return a.prefix[0] < b.prefix[0];
      if (a.prefix[1] != b.prefix[1]) return a.prefix[1] < b.prefix[1];
      return a.entry->key() < b.entry->key();
    };
    if (!std::ranges::is_sorted(items, is_before)) std::ranges::sort(items, is_before);
    std::vector<const Entry*> out;
    out.reserve(items.size());
    for (const Item& item : items) out.push_back(item.entry);
    return out;
  }

 private:
  static constexpr std::size_t kBlock = std::size_t{1} << 20U;

  [[nodiscard]] static std::uint64_t hash_of(std::string_view key) {
    return std::hash<std::string_view>{}(key);
  }

  // Eight bytes of the key as a number that is ordered as they are.
  [[nodiscard]] static std::uint64_t prefix_of(std::string_view key, std::size_t from) {
    std::uint64_t prefix = 0;
    if (key.size() >= from + sizeof prefix) {
      std::memcpy(&prefix, key.data() + from, sizeof prefix);
      return std::endian::native == std::endian::little ? __builtin_bswap64(prefix) : prefix;
    }
    for (std::size_t i = from; i < from + sizeof prefix; ++i) {
      prefix = prefix << 8U | (i < key.size() ? static_cast<unsigned char>(key[i]) : 0U);
    }
    return prefix;
  }

  [[nodiscard]] static std::uint32_t tag_of(std::uint64_t hash) {
    return static_cast<std::uint32_t>(hash >> 32U);
  }

  // Where the key is, or the free place where it belongs.
  [[nodiscard]] std::size_t slot_of(std::string_view key, std::uint64_t hash) const {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t slot = hash & mask;; slot = (slot + 1) & mask) {
      if (slots_[slot].index == 0) return slot;
      if (slots_[slot].tag != tag_of(hash)) continue;
      const Entry& entry = entries_[slots_[slot].index - 1];
      if (entry.hash == hash && entry.key() == key) return slot;
    }
  }

  void grow() {
    slots_.assign(std::max<std::size_t>(slots_.size() * 4, 1024), {});
    place_all();
  }

  // The keys differ: none is looked at.
  void place_all() {
    const std::size_t mask = slots_.size() - 1;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      std::size_t slot = entries_[i].hash & mask;
      while (slots_[slot].index != 0) slot = (slot + 1) & mask;
      slots_[slot] = {static_cast<std::uint32_t>(i + 1), tag_of(entries_[i].hash)};
    }
  }

  char* store(std::string_view key, std::string_view value) {
    const std::size_t size = key.size() + value.size();
    if (size > room_) {
      room_ = std::max(kBlock, size);
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(room_));
      next_ = blocks_.back().get();
    }
    char* const bytes = next_;
    std::ranges::copy(value, std::ranges::copy(key, bytes).out);
    next_ += size;
    room_ -= size;
    return bytes;
  }

  std::vector<Entry> entries_;
  struct Slot {
    std::uint32_t index = 0;  // + 1 into entries_; 0: free
    std::uint32_t tag = 0;    // of the hash, so that another entry need not be looked at
  };
  std::vector<Slot> slots_;  // a power of two
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* next_ = nullptr;
  std::size_t room_ = 0;
  std::size_t bytes_ = 0;
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
      const std::string_view whole = with_nul(key, key_);
      const auto place = entries_.find(whole);
      if (place.entry == nullptr) entries_.add(place, whole, with_nul(value, value_));
      return true;
    });
  }

  Result<bool> add(std::string_view key, std::string_view value) override {
    if (key.size() > kMaxItem || value.size() > kMaxItem) return failed("an entry is too large");
    const std::string_view whole = key_for(key);
    const auto place = entries_.find(whole);
    if (place.entry == nullptr) {
      entries_.add(place, whole, with_nul(value, value_));
      return true;
    }
    if (options_.duplicates == Duplicates::kRefuse) {
      return fail(Error::Kind::kPermanent, fmt::format("{}: duplicate entry: \"{}\"", label_, key));
    }
    if (options_.duplicates != Duplicates::kReplace) return false;
    entries_.replace(*place.entry, with_nul(value, value_));
    return true;
  }

  Result<void> put(std::string_view key, std::string_view value) override {
    if (key.size() > kMaxItem || value.size() > kMaxItem) return failed("an entry is too large");
    const std::string_view whole = with_nul(key, key_);
    const auto place = entries_.find(whole);
    if (place.entry != nullptr) {
      entries_.replace(*place.entry, with_nul(value, value_));
    } else {
      entries_.add(place, whole, with_nul(value, value_));
    }
    return {};
  }

  Result<bool> erase(std::string_view key) override {
    const std::string_view whole = key_for(key);
    if (entries_.find(whole).entry == nullptr) return false;
    entries_.erase(whole);
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

  // As it is stored, in `buffer`.
  std::string_view with_nul(std::string_view bytes, std::string& buffer) const {
    buffer = bytes;
    if (options_.trailing_nul) buffer += '\0';
    return buffer;
  }
  std::string_view key_for(std::string_view key) {
    key_ = key;
    if (options_.fold_keys) make_lower(key_);
    if (options_.trailing_nul) key_ += '\0';
    return key_;
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
    const auto entries = entries_.sorted();
    if (hash && !entries.empty()) raw->set_h_nelem(raw, static_cast<u_int32_t>(entries.size()));
    int status = raw->open(raw, nullptr, path.c_str(), nullptr, hash ? DB_HASH : DB_BTREE,
                           DB_CREATE | DB_TRUNCATE, 0);
    for (std::size_t i = 0; status == 0 && i < entries.size(); ++i) {
      DBT key_dbt = make_dbt(entries[i]->key());
      DBT value_dbt = make_dbt(entries[i]->value());
      status = raw->put(raw, nullptr, &key_dbt, &value_dbt, 0);
    }
    if (status == 0) status = raw->sync(raw, 0);
    if (status == 0) status = db.release()->close(raw, 0);
    if (status != 0) return failed(::db_strerror(status));
    return {};
  }

  Result<void> write_lmdb(const std::string& path) {
    const std::size_t bytes = entries_.bytes() + entries_.in_order().size() * 64;
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
    const auto entries = entries_.sorted();
    for (std::size_t i = 0; status == 0 && i < entries.size(); ++i) {
      const Entries::Entry& entry = *entries[i];
      MDB_val key{entry.key_size, entry.bytes};
      MDB_val value{entry.value_size, entry.bytes + entry.key_size};
      status = ::mdb_put(txn, dbi, &key, &value, MDB_APPEND);
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
    const auto& entries = entries_.in_order();
    for (std::size_t i = 0; status == 0 && i < entries.size(); ++i) {
      const Entries::Entry& entry = entries[i];
      status = ::cdb_make_add(&make, entry.bytes, entry.key_size, entry.bytes + entry.key_size,
                              entry.value_size);
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
  std::string key_;
  std::string value_;
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
