#include "postmap/default_type.h"

#include "common/config/install_paths.h"
#include "common/config/load.h"
#include "common/config/values.h"

namespace postern::postmap {

std::string default_database_type(const std::string& config_directory) {
  constexpr auto kFallback = "lmdb";
  const auto paths = config::find_install_paths();
  const auto directory = config::choose_config_directory(config_directory, paths);
  if (!directory) return kFallback;
  const auto loaded = config::load_configuration(directory->path, paths);
  if (!loaded) return kFallback;
  const std::string type = config::Values(loaded->snapshot).text("default_database_type");
  return type.empty() ? kFallback : type;
}

}  // namespace postern::postmap
