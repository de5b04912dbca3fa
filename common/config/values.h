// values.h - what a process reads from the configuration: the snapshot seen through the -o values
// of one service, by name or as typed structs.
//
//     const Values values(snapshot, service);
//     Problems problems;
//     const auto params = load<SmtpdParams>(values, problems);   // params/smtpd.h
//
// A value comes, in this order, from the process itself (stress, process_name), -o of master.cf,
// main.cf, this machine (myhostname), the default. A value that is wrong leaves a Problem with its
// place, and the default counts instead.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/config/expand.h"
#include "common/config/param.h"
#include "common/config/problem.h"
#include "common/config/snapshot.h"

namespace postern::config {

class Values {
 public:
  // Shared: sessions keep the snapshot they began with while new ones get the next.
  explicit Values(std::shared_ptr<const Snapshot> snapshot);
  // `service` is one of the snapshot.
  Values(std::shared_ptr<const Snapshot> snapshot, const Service& service);

  [[nodiscard]] const Snapshot& snapshot() const { return *snapshot_; }
  [[nodiscard]] const Service* service() const { return service_; }

  // The same with ${stress} set.
  [[nodiscard]] Values under_stress() const;
  // Another line of master.cf in the same snapshot; it outlives the result.
  [[nodiscard]] Values of_service(const Service& service) const { return {snapshot_, service}; }
  // The same where typed structs read smtp_x from lmtp_x, for the engine that both clients share.
  [[nodiscard]] Values for_lmtp() const;
  // The same with one more value that goes before all others, as postconf -o has it.
  [[nodiscard]] Values with(std::string_view name, std::string_view value) const;

  // As written or by default, not expanded. Nothing for a name that nobody has set or declared.
  [[nodiscard]] std::optional<std::string> raw(std::string_view name) const;
  // The default alone, computed ones included.
  [[nodiscard]] std::optional<std::string> raw_default(std::string_view name) const;
  // Whether it is set outside of the defaults.
  [[nodiscard]] bool is_set(std::string_view name) const;

  // Expanded. RawText comes as it is.
  [[nodiscard]] Result<std::string> expanded(std::string_view name) const;
  // The same; where that fails, or for a name unknown, the expanded default or nothing.
  [[nodiscard]] std::string text(std::string_view name) const;
  // A text with $name in it.
  [[nodiscard]] Result<std::string> expand_text(std::string_view text) const;

  // Typed by name, for names that are only known at run time; the default where a value is wrong.
  [[nodiscard]] bool flag(std::string_view name) const;
  [[nodiscard]] std::int64_t count(std::string_view name) const;
  [[nodiscard]] std::chrono::seconds duration(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> list(std::string_view name) const;

  // The content of a file that a value names, as it was when the configuration was accepted.
  [[nodiscard]] std::optional<std::string> file(std::string_view path) const;

  // A Problem with the place where the name was set.
  [[nodiscard]] Problem problem(std::string_view name, std::string text,
                                Severity severity = Severity::kError) const;

  // The name that a typed struct reads for its member: for_lmtp() changes it.
  [[nodiscard]] std::string member_name(std::string_view name) const;

 private:
  [[nodiscard]] Lookup lookup() const;

  std::shared_ptr<const Snapshot> snapshot_;
  const Service* service_ = nullptr;
  std::map<std::string, std::string, std::less<>> own_;
  bool is_lmtp_ = false;
};

// <transport>_destination_concurrency_limit and its kin: `suffix` with its leading `_`. Where the
// transport has none of its own, the default_ parameter counts.
[[nodiscard]] std::string transport_param(const Values& values, std::string_view transport,
                                          std::string_view suffix);
[[nodiscard]] std::int64_t transport_count(const Values& values, std::string_view transport,
                                           std::string_view suffix);
[[nodiscard]] std::chrono::seconds transport_duration(const Values& values,
                                                      std::string_view transport,
                                                      std::string_view suffix);

// The struct of one area; each params/<area>.h declares its own.
template <typename Params>
Params load(const Values& values, Problems& problems);

// One member of such a struct.
void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                bool& out);
void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                std::int64_t& out);
void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                std::chrono::seconds& out);
void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                std::string& out);
void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                std::vector<std::string>& out);
void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                Networks& out);
void load_field(const Values& values, Problems& problems, std::string_view name, ParamType type,
                Secret& out);

}  // namespace postern::config
