#include "common/daemon/confinement.h"

#include <algorithm>
#include <array>

namespace postern::daemon {

namespace {

using sys::Calls;

constexpr std::uint8_t kNothing = 0;
constexpr std::uint8_t kNeighbours = kNothing | Calls::kNeighbours;
constexpr std::uint8_t kReads = kNeighbours | Calls::kOpen;
constexpr std::uint8_t kChanges = kReads | Calls::kChange;

enum class Network : unsigned char { kEmpty, kHost };

// `$name` is a parameter's value, `^$name` the directory of the file that it names, a relative name
// is below the queue directory. `+` in front: to be changed, too.
struct Needs {
  std::string_view program;
  Network network;
  std::uint8_t calls;
  std::array<std::string_view, 9> files{};
};

// In the order of the way that mail takes.
constexpr Needs kNeeds[] = {
    {"smtpd", Network::kEmpty, kNeighbours},
    {"keyring", Network::kEmpty, kNeighbours},
    {"anvil", Network::kEmpty, kChanges, {"+$data_directory"}},
    {"broker", Network::kHost, kNeighbours | Calls::kInternet},
    // Name servers and host names are read again when they change; both may be links to /run.
    {"resolver", Network::kHost, kReads | Calls::kInternet, {"/etc", "/run"}},
    {"tables", Network::kEmpty, kReads | Calls::kMakeCode, {"/"}},
    {"proxymap", Network::kHost, kChanges | Calls::kInternet | Calls::kMakeCode, {"+/"}},
    {"mailauth", Network::kEmpty, kNeighbours},
    {"sts", Network::kHost, kChanges | Calls::kInternet, {"/", "+$data_directory"}},
    {"reports", Network::kEmpty, kChanges, {"+$data_directory"}},
    {"verify", Network::kEmpty, kChanges, {"+$data_directory"}},
    {"pickup", Network::kEmpty, kChanges, {"+maildrop"}},
    {"cleanup", Network::kEmpty, kChanges, {"+incoming", "+hold"}},
    {"qmgr",
     Network::kEmpty,
     kChanges,
     {"+incoming", "+active", "+deferred", "+hold", "+corrupt", "+bounce", "+defer", "+trace"}},
    {"smtp", Network::kHost, kNeighbours | Calls::kInternet},
    {"lmtp", Network::kHost, kNeighbours | Calls::kInternet},
    // Their deliverers, who act for one user each, come from a broker that is none of these.
    // local asks for users in passwd or what the system has instead, by modules that it loads.
    {"local", Network::kHost, kReads | Calls::kInternet | Calls::kMakeCode, {"/"}},
    {"virtual", Network::kEmpty, kNeighbours},
    {"pipe", Network::kHost, kNeighbours},
    {"error", Network::kEmpty, kNeighbours},
    {"discard", Network::kEmpty, kNeighbours},
    {"bounce", Network::kEmpty, kChanges, {"+bounce", "+defer", "+trace"}},
    {"flush", Network::kEmpty, kChanges, {"+flush"}},
    {"showq", Network::kEmpty, kReads, {"."}},
    {"postlog", Network::kEmpty, kChanges, {"+^$maillog_file"}},
};

}  // namespace

bool needs_network(std::string_view program) {
  const auto* const found = std::ranges::find(kNeeds, program, &Needs::program);
  return found == std::end(kNeeds) || found->network == Network::kHost;
}

std::optional<sys::SandboxSpec> confinement_of(std::string_view program,
                                               const config::Values& values) {
  const auto* const found = std::ranges::find(kNeeds, program, &Needs::program);
  if (found == std::end(kNeeds)) return std::nullopt;
  sys::SandboxSpec spec;
  spec.calls = found->calls;
  for (std::string_view name : found->files) {
    if (name.empty()) continue;
    sys::FileRule rule;
    rule.may_change = name.starts_with('+');
    if (rule.may_change) name.remove_prefix(1);
    const bool is_holder = name.starts_with('^');
    if (is_holder) name.remove_prefix(1);
    rule.path = name.starts_with('$') ? values.text(name.substr(1)) : std::string(name);
    if (is_holder) rule.path.erase(std::min(rule.path.rfind('/'), rule.path.size()));
    if (!rule.path.empty()) spec.files.push_back(std::move(rule));
  }
  return spec;
}

std::string describe_files(std::string_view program) {
  const auto* const found = std::ranges::find(kNeeds, program, &Needs::program);
  if (found == std::end(kNeeds)) return "by owner and mode";
  std::string reads;
  std::string changes;
  for (std::string_view name : found->files) {
    if (name.empty()) continue;
    const bool may_change = name.starts_with('+');
    if (may_change) name.remove_prefix(1);
    std::string& list = may_change ? changes : reads;
    list += list.empty() ? "" : ", ";
    if (name.starts_with('^')) {
      list.append("directory of ").append(name.substr(1));
    } else {
      list += name;
    }
  }
  if (reads.empty() && changes.empty()) return "none";
  if (!reads.empty()) reads = "read " + reads;
  if (!changes.empty()) changes = "change " + changes;
  return reads.empty() || changes.empty() ? reads + changes : reads + "; " + changes;
}

}  // namespace postern::daemon
