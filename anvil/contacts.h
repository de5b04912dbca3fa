// contacts.h - which clients have passed which tests of first contact, and until when: the
// temporary allow list of postscreen_cache_map.

#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "anvil/line_file.h"
#include "common/base/keyed_hash.h"
#include "common/ipc/anvil.h"

namespace postern::anvil {

class Contacts {
 public:
  // Further clients are tested each time, until others have expired.
  static constexpr std::size_t kMaxClients = 1'000'000;

  explicit Contacts(LineFile file) : file_(std::move(file)) {}
  // What an earlier process kept; what is wrong is left out.
  [[nodiscard]] Result<void> load();

  [[nodiscard]] ipc::anvil::Contact find(const std::string& client) const;
  [[nodiscard]] Result<void> save(const ipc::anvil::SaveContact& contact);
  [[nodiscard]] Result<ipc::anvil::Cleaned> clean(std::int64_t now, std::int64_t retention);

 private:
  using Times = std::array<std::int64_t, ipc::anvil::kContactTests>;
  StringMap<Times> clients_;
  LineFile file_;
};

}  // namespace postern::anvil
