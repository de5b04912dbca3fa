// master_cf.h - the syntax of master.cf(5): one service a logical line, eight fields.
//
//     service  type  private  unprivileged  chroot  wakeup  maxproc  program arguments...
//
// `-` stands for the default (y y n 0 default_process_limit). Arguments are parted by white space;
// `{ a b }` is one argument, without the braces and the white space inside of them. Leading
// `-o name=value` and `-o { name = value }` arguments are the service's own parameter values.

#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.h"
#include "common/config/problem.h"

namespace postern::config {

enum class ServiceType : unsigned char { kInet, kUnix, kFifo, kPass, kUnixDgram };

[[nodiscard]] std::string_view name_of(ServiceType type);
[[nodiscard]] std::optional<ServiceType> parse_service_type(std::string_view text);

// The eight columns of an entry, by their names in postconf -F.
inline constexpr std::size_t kMasterColumns = 8;
inline constexpr std::array<std::string_view, kMasterColumns> kMasterColumnNames = {
    "service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"};

struct Service {
  std::string name;  // a path below private/ or public/; for inet [host:]port
  ServiceType type = ServiceType::kUnix;
  bool is_private = true;
  bool is_unprivileged = true;
  bool is_chroot = false;
  std::chrono::seconds wakeup{0};  // 0: never
  bool wakeup_only_if_used = false;
  std::optional<unsigned> maxproc;  // nothing: default_process_limit; 0: no limit
  std::string program;
  std::vector<std::string> args;                               // without -o and its values
  std::vector<std::pair<std::string, std::string>> overrides;  // from -o, in order
  std::string file;
  unsigned line = 0;

  // As written, for printers and editors: the first seven columns, then the arguments of the
  // program with their braces.
  std::array<std::string, kMasterColumns - 1> columns;
  std::vector<std::string> raw_args;

  friend bool operator==(const Service&, const Service&) = default;
};

struct MasterCf {
  std::vector<Service> services;  // in file order, malformed ones left out
  Problems problems;
};

[[nodiscard]] MasterCf parse_master_cf(std::string_view text, std::string_view file);

// One logical line.
[[nodiscard]] Result<Service> parse_service(std::string_view text, std::string_view file,
                                            unsigned line);

// Whether a raw argument is an option of the daemon: `-` and a letter, not in braces. `--` is none,
// and ends them.
[[nodiscard]] bool is_option_argument(std::string_view raw);

enum class MasterStyle : unsigned char {
  kOneLine,  // postconf -M
  kFolded,   // postconf -Mf: each -o on a line of its own, the rest wrapped
};

// The entry with its columns aligned, without a line break at its end.
[[nodiscard]] std::string print_service(const Service& service, MasterStyle style);

// `name=value`, or `{name=value}` where the value would not be one argument otherwise.
[[nodiscard]] std::string print_override(std::string_view name, std::string_view value);

}  // namespace postern::config
