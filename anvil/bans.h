// bans.h - clients that are refused for a time, because they failed to log in or were refused too
// often (smtpd_client_ban_*), or because an administrator said so.

#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "anvil/line_file.h"
#include "common/base/keyed_hash.h"
#include "common/ipc/anvil.h"

namespace postern::anvil {

struct BanRules {
  std::int64_t auth_failures = 0;  // 0: never for that
  std::int64_t rejects = 0;
  std::int64_t window = 0;  // seconds
  std::int64_t time = 0;
};

class Bans {
 public:
  static constexpr std::size_t kMaxBans = 10'000;
  static constexpr std::size_t kMaxOffenders = 100'000;

  explicit Bans(LineFile file) : file_(std::move(file)) {}
  [[nodiscard]] Result<void> load(std::int64_t now);
  void set_rules(const BanRules& rules) { rules_ = rules; }

  // Whether this one was one too many: the client is banned from now on.
  [[nodiscard]] bool note(const ipc::anvil::Offence& offence, std::int64_t now);
  // `until` 0: as long as the rules say. The address without its port; false for what is none.
  [[nodiscard]] bool add(const std::string& client, std::int64_t now, std::int64_t until);
  [[nodiscard]] bool remove(const std::string& client);
  [[nodiscard]] ipc::anvil::BanList list(std::int64_t now);
  [[nodiscard]] const BanRules& rules() const { return rules_; }

  // Drops what has passed; true when a ban has ended.
  bool expire(std::int64_t now);
  [[nodiscard]] Result<void> save();

 private:
  struct Offender {
    std::deque<std::int64_t> auth_failures;
    std::deque<std::int64_t> rejects;
  };
  BanRules rules_;
  StringMap<Offender> offenders_;
  StringMap<std::int64_t> bans_;  // until when
  LineFile file_;
};

}  // namespace postern::anvil
