// store.h - the keys that keyring holds, and what each may be used for.

#pragma once

#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/ipc/keyring.h"
#include "common/tls/signer.h"
#include "common/tls/ticket_keys.h"

namespace postern::keyring {

// Keys in memory that is locked and never part of a core dump. lock_memory() is called as root,
// forbid_dumps() when the rights are dropped, since that allows them again, and both before the
// first key. They say in the log what could not be had.
void lock_memory();
void forbid_dumps();

class Store {
 public:
  // The keys from now on; what was there before stays until the next call. Files without a usable
  // key leave a warning.
  void set(std::vector<ipc::keyring::KeyFile> files);

  // A certificate with its key out of a table; the most recent kMaxNamed are kept. Gives the public
  // part.
  [[nodiscard]] Result<std::string> add_named(std::string_view pem);

  [[nodiscard]] bool has(const std::string& id, ipc::keyring::Purpose purpose) const;
  // The key of a file that was read for signatures of mail.
  [[nodiscard]] ipc::keyring::FileKey find_file(const std::string& path,
                                                ipc::keyring::Purpose purpose) const;
  [[nodiscard]] Result<std::string> sign(const ipc::keyring::Sign& request) const;
  [[nodiscard]] std::size_t size() const { return current_.size() + named_.size(); }

  static constexpr std::size_t kMaxNamed = 1000;

 private:
  struct Key {
    std::shared_ptr<EVP_PKEY> key;
    unsigned purposes = 0;  // a bit for each Purpose
  };
  using Keys = std::unordered_map<std::string, Key>;
  // Gives the id of the last key in it.
  static std::string add(Keys& keys, std::string_view pem, ipc::keyring::Purpose purpose,
                         std::string_view path);
  [[nodiscard]] const Key* find(const std::string& id, ipc::keyring::Purpose purpose) const;

  Keys current_;
  Keys before_;
  std::map<std::string, std::string> mail_keys_;  // by path
  Keys named_;
  std::list<std::string> named_order_;  // oldest first
};

// Keys of session tickets: a new one each half lifetime, three at a time, so that a ticket lives at
// least as long as it says.
class TicketStore {
 public:
  struct Answer {
    std::vector<std::string> keys;
    std::chrono::seconds next;
  };
  [[nodiscard]] Result<Answer> get(std::chrono::seconds lifetime, loop::TimePoint now);

 private:
  struct Made {
    tls::TicketKey key;
    loop::TimePoint at;
  };
  std::map<std::chrono::seconds, std::vector<Made>> made_;  // by lifetime, newest first
};

}  // namespace postern::keyring
