#include "common/table/kept.h"

#include <fmt/format.h>
#include <lmdb.h>

#include <utility>
#include <vector>

#include "common/log/log.h"

namespace postern::table {

namespace {

MDB_val value_of(std::string_view text) { return {text.size(), const_cast<char*>(text.data())}; }

std::string_view text_of(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

// A transaction that ends with its scope unless it was committed.
class Txn {
 public:
  Txn(MDB_env* env, unsigned flags) : error_(::mdb_txn_begin(env, nullptr, flags, &txn_)) {}
  ~Txn() {
    if (txn_ != nullptr) ::mdb_txn_abort(txn_);
  }
  Txn(const Txn&) = delete;
  Txn& operator=(const Txn&) = delete;
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] MDB_txn* get() const { return txn_; }
  [[nodiscard]] int commit() { return ::mdb_txn_commit(std::exchange(txn_, nullptr)); }

 private:
  MDB_txn* txn_ = nullptr;
  int error_;
};

}  // namespace

Result<Kept> Kept::open(const std::string& path) {
  Kept store;
  const auto failed = [&](int error) {
    return fail_temporary(fmt::format("open cache {}: {}", path, ::mdb_strerror(error)));
  };
  if (const int error = ::mdb_env_create(&store.env_); error != 0) return failed(error);
  ::mdb_env_set_mapsize(store.env_, kMaxBytes);
  // What a crash loses is found out again by a probe.
  constexpr unsigned kFlags = MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOTLS;
  if (const int error = ::mdb_env_open(store.env_, path.c_str(), kFlags, 0600); error != 0) {
    return failed(error);
  }
  Txn txn(store.env_, 0);
  int error = txn.error();
  if (error == 0) error = ::mdb_dbi_open(txn.get(), nullptr, MDB_CREATE, &store.dbi_);
  if (error == 0) error = txn.commit();
  if (error != 0) return failed(error);
  return store;
}

Kept::~Kept() {
  if (env_ != nullptr) ::mdb_env_close(env_);
}

Kept::Kept(Kept&& other) noexcept
    : env_(std::exchange(other.env_, nullptr)),
      dbi_(other.dbi_),
      has_warned_(other.has_warned_),
      memory_(std::move(other.memory_)) {}

Kept& Kept::operator=(Kept&& other) noexcept {
  std::swap(env_, other.env_);
  std::swap(dbi_, other.dbi_);
  std::swap(has_warned_, other.has_warned_);
  std::swap(memory_, other.memory_);
  return *this;
}

void Kept::warn(std::string_view doing, int error) {
  if (std::exchange(has_warned_, true)) return;
  log::warning("address verification cache: {}: {}; results are kept in memory", doing,
               ::mdb_strerror(error));
}

std::optional<std::string> Kept::find(std::string_view key) const {
  if (key.empty() || key.size() > kMaxKey) return std::nullopt;
  if (const auto found = memory_.find(std::string(key)); found != memory_.end()) {
    return found->second;
  }
  if (env_ == nullptr) return std::nullopt;
  const Txn txn(env_, MDB_RDONLY);
  if (txn.error() != 0) return std::nullopt;
  MDB_val name = value_of(key);
  MDB_val value{};
  if (::mdb_get(txn.get(), dbi_, &name, &value) != 0) return std::nullopt;
  return std::string(text_of(value));
}

void Kept::put(std::string_view key, std::string_view value) {
  if (key.empty() || key.size() > kMaxKey) return;
  if (env_ != nullptr) {
    Txn txn(env_, 0);
    int error = txn.error();
    MDB_val name = value_of(key);
    MDB_val data = value_of(value);
    if (error == 0) error = ::mdb_put(txn.get(), dbi_, &name, &data, 0);
    if (error == 0) error = txn.commit();
    if (error == 0) {
      memory_.erase(std::string(key));
      return;
    }
    warn("write", error);
  }
  if (memory_.size() >= kMaxInMemory) memory_.erase(memory_.begin());
  memory_[std::string(key)] = value;
}

void Kept::remove(std::string_view key) {
  memory_.erase(std::string(key));
  if (env_ == nullptr || key.empty() || key.size() > kMaxKey) return;
  Txn txn(env_, 0);
  if (txn.error() != 0) return;
  MDB_val name = value_of(key);
  if (::mdb_del(txn.get(), dbi_, &name, nullptr) == 0 && txn.commit() != 0) return;
}

void Kept::visit(
    std::string_view prefix,
    const std::function<void(std::string_view key, std::string_view value)>& call) const {
  for (const auto& [key, value] : memory_) {
    if (key.starts_with(prefix)) call(key, value);
  }
  if (env_ == nullptr) return;
  const Txn txn(env_, MDB_RDONLY);
  MDB_cursor* cursor = nullptr;
  if (txn.error() != 0 || ::mdb_cursor_open(txn.get(), dbi_, &cursor) != 0) return;
  MDB_val name = value_of(prefix);
  MDB_val value{};
  int error = ::mdb_cursor_get(cursor, &name, &value, prefix.empty() ? MDB_FIRST : MDB_SET_RANGE);
  while (error == 0 && text_of(name).starts_with(prefix)) {
    call(text_of(name), text_of(value));
    error = ::mdb_cursor_get(cursor, &name, &value, MDB_NEXT);
  }
  ::mdb_cursor_close(cursor);
}

std::optional<std::string> Kept::clean(const std::string& after, std::size_t limit,
                                       const IsOld& is_old) {
  std::erase_if(memory_, [&](const auto& entry) { return is_old(entry.second); });
  if (env_ == nullptr) return std::nullopt;
  Txn txn(env_, 0);
  if (txn.error() != 0) return std::nullopt;
  MDB_cursor* cursor = nullptr;
  if (::mdb_cursor_open(txn.get(), dbi_, &cursor) != 0) return std::nullopt;
  MDB_val name = value_of(after);
  MDB_val value{};
  std::optional<std::string> last;
  int error = ::mdb_cursor_get(cursor, &name, &value, after.empty() ? MDB_FIRST : MDB_SET_RANGE);
  if (error == 0 && text_of(name) == after) {
    error = ::mdb_cursor_get(cursor, &name, &value, MDB_NEXT);
  }
  std::vector<std::string> old;
  for (std::size_t i = 0; i < limit && error == 0; ++i) {
    last = text_of(name);
    if (is_old(text_of(value))) old.emplace_back(text_of(name));
    error = ::mdb_cursor_get(cursor, &name, &value, MDB_NEXT);
  }
  ::mdb_cursor_close(cursor);
  for (const auto& key : old) {
    MDB_val gone = value_of(key);
    (void)::mdb_del(txn.get(), dbi_, &gone, nullptr);
  }
  if (txn.commit() != 0 || error != 0) return std::nullopt;
  return last;
}

}  // namespace postern::table
