// snapshot.h - the accepted configuration as one value, and as the bytes that every process starts
// from.
//
// master reads the files once, checks them and keeps the snapshot as a sealed memfd; a daemon, also
// one in a chroot or one that is started again after a crash, sees exactly what was accepted. So
// the snapshot holds what the files say and all that has to be looked up outside of them: names
// and networks of this machine, installation paths, the contents of `/file` patterns.
//
//     snapshot := "POSTERN-CONFIG 1\n" field*
//     field    := length in decimal ":" bytes
//
// The sequence of fields is that of serialize(); a list begins with its number of elements.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/config/install_paths.h"
#include "common/config/main_cf.h"
#include "common/config/master_cf.h"

namespace postern::config {

inline constexpr std::size_t kMaxSnapshot = std::size_t{256} << 20;

struct Snapshot {
  using Texts = std::map<std::string, std::string, std::less<>>;

  std::string config_directory;
  InstallPaths paths;
  std::vector<Setting> settings;  // main.cf, in file order, each name once
  std::vector<Service> services;  // master.cf, in file order
  Texts computed;                 // defaults that this machine gives: myhostname, mynetworks, ...
  Texts replaced;                 // settings that cannot be used, and what is used instead
  Texts files;                    // contents of files that values name: path to bytes
  std::vector<std::string> own_addresses;  // of the interfaces in inet_interfaces, as text

  // Nothing when main.cf does not set the name.
  [[nodiscard]] const Setting* find(std::string_view name) const;
  [[nodiscard]] const Service* find_service(std::string_view name, ServiceType type) const;

  // Has to be called after `settings` was filled or changed.
  void index();

 private:
  std::map<std::string, std::size_t, std::less<>> place_of_name_;
};

[[nodiscard]] std::string serialize(const Snapshot& snapshot);

// Any bytes give a Snapshot or an Error.
[[nodiscard]] Result<Snapshot> parse_snapshot(std::string_view bytes);

}  // namespace postern::config
