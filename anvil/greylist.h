// greylist.h - who has tried before: smtpd_greylist's memory of client network, sender and
// recipient. Pure but for the file that it is kept in.
//
//     unknown --first try--> waiting --again after delay, within window--> passed
//     waiting --window over--> unknown        passed --lifetime without mail--> unknown
//
// A network that has brought so many triplets through the delay is let pass without one. Networks
// are /24 and /64, so that the next attempt may come from a neighbour in a sender's pool; a sender
// counts without its extension and with its digits made alike, so that mailing lists that put a
// number in it (VERP) come through.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "anvil/line_file.h"
#include "common/ipc/anvil.h"

namespace postern::anvil {

class Greylist {
 public:
  // Beyond that, what only waits is forgotten: its senders wait again.
  static constexpr std::size_t kMaxTriplets = 300'000;
  static constexpr std::size_t kMaxNetworks = 100'000;

  explicit Greylist(LineFile file) : file_(std::move(file)) {}
  // What an earlier process kept; what is wrong or over is left out.
  [[nodiscard]] Result<void> load(std::int64_t now);

  // What becomes of one recipient, now; with is_asked_only what would. An error tells only that it
  // could not be kept.
  [[nodiscard]] ipc::anvil::Greylisted judge(const ipc::anvil::Greylist& question, std::int64_t now,
                                             Result<void>& kept);

  // The network of an address that is let pass for good, or no more; nothing for what is no
  // address or (when removed) was not allowed.
  [[nodiscard]] std::optional<std::string> allow(const std::string& client, std::int64_t now);
  [[nodiscard]] std::optional<std::string> disallow(const std::string& client);

  // The entries behind `after`, at most `limit`.
  [[nodiscard]] ipc::anvil::GreylistPage list(const std::string& after, std::size_t limit,
                                              std::int64_t now) const;
  [[nodiscard]] ipc::anvil::GreylistStatistics statistics(std::int64_t now) const;

  // Drops what is over, and writes the file anew once it is mostly history.
  [[nodiscard]] Result<void> clean(std::int64_t now);

 private:
  struct Triplet {
    std::int64_t first = 0;  // when it was first seen
    std::int64_t until = 0;
    bool has_passed = false;
  };
  struct Network {
    std::int64_t passes = 0;
    std::int64_t last = 0;  // when it last earned one
    std::int64_t until = 0;
    bool is_allowed = false;  // by the administrator, for good
  };
  void make_room(std::int64_t now);
  [[nodiscard]] Result<void> rewrite();
  [[nodiscard]] static std::string print(const std::string& key, const Triplet& triplet);
  [[nodiscard]] static std::string print(const std::string& network, const Network& entry);

  std::map<std::string, Triplet> triplets_;  // "network sender recipient", in xtext
  std::map<std::string, Network> networks_;
  ipc::anvil::GreylistStatistics counts_;  // since the start
  LineFile file_;
};

}  // namespace postern::anvil
