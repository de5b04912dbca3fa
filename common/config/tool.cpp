#include "common/config/tool.h"

#include "common/config/install_paths.h"
#include "common/config/load.h"

namespace postern::config {

Result<Tool> open_tool(std::string_view option) {
  const InstallPaths paths = find_install_paths();
  TRY(auto directory, choose_config_directory(option, paths));
  TRY(auto loaded, load_configuration(directory.path, paths, Extent::kWithoutNetwork));
  return Tool{Values(std::shared_ptr<const Snapshot>(loaded.snapshot)), directory.path};
}

}  // namespace postern::config
