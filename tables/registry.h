// registry.h - the open tables of the configuration, and the number that grows when one changes.
//
// Only tables that main.cf or master.cf name are opened: a process that was taken over gets no file
// read that the administrator did not mean to be looked into. They are opened once with root's
// rights at start, as Postfix's daemons do; one that is replaced later by a file that mail_owner
// may not read makes this process end, so that master starts it anew.

#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/secret_tables.h"
#include "common/config/values.h"
#include "common/loop/loop.h"
#include "common/sys/fd.h"
#include "common/table/table.h"

namespace postern::tables {

// A page shared read-only with all peers: the generation number.
class GenerationPage {
 public:
  GenerationPage();
  ~GenerationPage();
  GenerationPage(const GenerationPage&) = delete;
  GenerationPage& operator=(const GenerationPage&) = delete;

  [[nodiscard]] std::uint64_t value() const { return page_->load(std::memory_order_relaxed); }
  void grow() { page_->fetch_add(1, std::memory_order_release); }
  // A read-only descriptor for a peer.
  [[nodiscard]] Result<sys::Fd> share() const;

 private:
  sys::Fd fd_;
  std::atomic<std::uint64_t>* page_;
};

// The two instances of this program: `tables` opens files, `proxymap` what needs a server, a data
// base or rights of its own, for `tables` and for tables called proxy:type:name.
enum class Role : unsigned char { kTables, kProxymap };

// What proxymap, or for proxymap a server, has answered while one question is worked on. Code that
// asks for tables is plain and does not wait: an answer that is not here yet ends the attempt, and
// once it has come the question is begun again from the start.
struct ProxyAnswers {
  struct Missing {
    std::string table, key;
    friend bool operator<(const Missing& a, const Missing& b) {
      return a.table != b.table ? a.table < b.table : a.key < b.key;
    }
  };
  std::map<Missing, table::Found> known;
  std::optional<Missing> missing;
};

// Who asks.
struct Caller {
  std::string program;  // empty: not proven
  pid_t process = 0;    // for the log
  bool was_refused = false;
};

class Registry final : loop::Watched {
 public:
  explicit Registry(Role role = Role::kTables) : role_(role) {}
  ~Registry();

  // Opens what the configuration names. Callable again with a new one; what stays named stays open.
  void open_all(const config::Values& values);
  // Begins to notice changes; needs the loop.
  void watch();

  // The table of this name. kConfig error for one that the configuration does not name; what cannot
  // be opened is tried again with each call, and the error is temporary.
  [[nodiscard]] Result<table::Table*> find(const std::string& name);

  // Key by key, each in every table in turn; a partial key is not shown to tables of patterns.
  struct Hit {
    std::size_t table = 0;
    std::string value;
  };
  [[nodiscard]] Result<std::optional<Hit>> find_key(const std::vector<std::string>& tables,
                                                    std::string_view key, bool is_partial);

  // For whom tables are looked into, and where answers of proxymap are looked for, until the next
  // call. Without a caller there is no secret table.
  void use(ProxyAnswers* answers, Caller* caller = nullptr) {
    answers_ = answers;
    caller_ = caller;
  }

  [[nodiscard]] GenerationPage& generation() { return generation_; }
  // Called when a table cannot be opened again for want of rights.
  std::function<void()> on_rights_missing;

 private:
  void on_events(std::uint32_t events) override;
  void refresh();
  void watch_directory_of(const std::string& name);
  void allow_proxied(const config::Values& values);
  // Whether another process has the answer: proxymap, or in proxymap the server of the table.
  [[nodiscard]] bool is_elsewhere(const std::string& name) const;
  [[nodiscard]] Result<void> check_caller(const std::string& name);
  [[nodiscard]] table::Found find_elsewhere(const std::string& name, std::string_view key);
  [[nodiscard]] table::Found find_answer(const std::string& name, std::string_view key);
  // In proxymap: tcp: and socketmap: as parts of tables made of others.
  void register_parts();

  Role role_;
  ProxyAnswers* answers_ = nullptr;
  Caller* caller_ = nullptr;
  config::SecretReaders secret_;
  std::set<std::string, std::less<>> allowed_;
  std::map<std::string, std::unique_ptr<table::Table>, std::less<>> open_;
  GenerationPage generation_;
  sys::Fd inotify_;
  std::set<std::string, std::less<>> watched_directories_;
  std::unique_ptr<loop::CallbackTimer> poll_;
};

// Whether proxymap answers for it: types that need a server or a data base, behind proxy: or not.
// Other tables behind proxy: are read here, where no detour is needed to open them once.
[[nodiscard]] bool is_proxied(std::string_view name);

// regexp:, pcre:, cidr:, tcp: and socketmap: see whole keys only, and so do tables made of those
// alone.
[[nodiscard]] bool is_pattern_table(std::string_view name);

}  // namespace postern::tables
