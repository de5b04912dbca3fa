// load.h - reads main.cf and master.cf from their directory into a snapshot.
//
// Only master and the tools do this; daemons get the snapshot. Whatever the values depend on
// outside of the two files is looked up here, once: the name of the machine, its addresses, files
// named in lists of networks and domains, /etc/mailname behind myorigin.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/config/install_paths.h"
#include "common/config/problem.h"
#include "common/config/snapshot.h"

namespace postern::config {

struct Loaded {
  std::shared_ptr<Snapshot> snapshot;
  Problems problems;
};

// What to look up outside of the files. Names in inet_interfaces may ask DNS: commands that need
// neither mynetworks nor own_addresses (postdrop, postqueue, sendmail) leave them out.
enum class Extent : unsigned char { kAll, kWithoutNetwork };

// Fails when there is no main.cf. A master.cf that is missing is a Problem.
[[nodiscard]] Result<Loaded> load_configuration(std::string_view directory,
                                                const InstallPaths& paths,
                                                Extent extent = Extent::kAll);

// The whole file, refused beyond `limit` bytes.
[[nodiscard]] Result<std::string> read_file(const std::string& path, std::size_t limit);

// Fills what `settings` and `services` leave to the machine: Snapshot::computed, replaced, files
// and own_addresses. load_configuration does it; tools do after they have changed a setting.
void complete_snapshot(Snapshot& snapshot, Problems& problems, Extent extent = Extent::kAll);

// The lists whose elements may be `/file`: the file holds more elements.
[[nodiscard]] bool is_match_list(std::string_view name);

}  // namespace postern::config
