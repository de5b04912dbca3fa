// master_entries.h - parts of master.cf addressed by name, as postconf -M, -F and -P do.
//
//     -M   service/type                 whole entries
//     -F   service/type/field           the eight columns
//     -P   service/type/parameter       -o values
//
// A service's name may hold slashes itself: a pattern is read from its end. `*` stands for
// anything in one part; parts left out at the end too.

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/config/master_cf.h"

namespace postern::control {

struct MasterRequest {
  enum class What : unsigned char { kEntries, kFields, kParams };
  enum class Action : unsigned char { kEdit, kComment, kRemove };
  What what = What::kEntries;
  Action action = Action::kEdit;
  std::vector<std::string> edits;  // `pattern=value` for kEdit, else `pattern`
};

struct MasterRow {
  const config::Service* service = nullptr;
  std::string name;  // "smtp/inet/chroot"
  std::string value;
};

// What a pattern matches, in file order; parameters of one service by name.
[[nodiscard]] Result<std::vector<MasterRow>> find_rows(const std::vector<config::Service>& services,
                                                       MasterRequest::What what,
                                                       std::string_view pattern);

// The text of master.cf after the edits. Entries that change are printed anew, all others stay
// byte for byte. Patterns that match nothing and are not added are put into `unmatched`.
[[nodiscard]] Result<std::string> edit_entries(std::string_view text, const MasterRequest& request,
                                               std::vector<std::string>& unmatched);

}  // namespace postern::control
