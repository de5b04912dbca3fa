// quotas.h - how many recipients each sender has had in the running hour and day
// (smtpd_sender_quota). Hours and days begin with those of UTC.

#pragma once

#include <cstdint>
#include <string>

#include "anvil/line_file.h"
#include "common/base/keyed_hash.h"
#include "common/ipc/anvil.h"

namespace postern::anvil {

class Quotas {
 public:
  // Only who may send through us has a counter. Beyond, further senders are not counted until
  // others have had their day.
  static constexpr std::size_t kMaxSenders = 100'000;
  static constexpr std::size_t kMaxName = 512;  // longer ones are cut off

  explicit Quotas(LineFile file) : file_(std::move(file)) {}
  // What an earlier process kept; what is wrong or over is left out.
  [[nodiscard]] Result<void> load(std::int64_t now);

  // Counts one recipient, or says which quota it would be over. An error tells only that the count
  // could not be kept.
  [[nodiscard]] ipc::anvil::QuotaVerdict count(const ipc::anvil::Quota& question, std::int64_t now,
                                               Result<void>& kept);

  // What counts now, by name, `limit` of them behind `after`.
  [[nodiscard]] ipc::anvil::QuotaPage list(const std::string& after, std::size_t limit,
                                           std::int64_t now) const;
  // Forgets a sender, or all of them for an empty name; false when there is no such one.
  [[nodiscard]] Result<bool> reset(const std::string& sender);

  // Drops what is over, and writes the file anew once it is mostly history.
  [[nodiscard]] Result<void> clean(std::int64_t now);
  [[nodiscard]] std::size_t senders() const { return senders_.size(); }

 private:
  // Hours and days are numbered from 1970 on.
  struct Counts {
    std::int64_t hour = 0, in_hour = 0;
    std::int64_t day = 0, in_day = 0;
  };
  [[nodiscard]] static std::string print(const std::string& sender, const Counts& counts);
  void forget_old(std::int64_t now);
  [[nodiscard]] Result<void> rewrite();

  StringMap<Counts> senders_;
  LineFile file_;
};

}  // namespace postern::anvil
