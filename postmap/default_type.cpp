#include "postmap/default_type.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "common/config/install_paths.h"
#include "common/config/load.h"
#include "common/config/values.h"
#include "common/sys/fd.h"
#include "common/table/database.h"
#include "common/table/server_table.h"

namespace postern::postmap {

namespace {

std::shared_ptr<config::Values> read_values(const std::string& config_directory) {
  const auto paths = config::find_install_paths();
  const auto directory = config::choose_config_directory(config_directory, paths);
  if (!directory) return nullptr;
  const auto loaded =
      config::load_configuration(directory->path, paths, config::Extent::kWithoutNetwork);
  if (!loaded) return nullptr;
  return std::make_shared<config::Values>(loaded->snapshot);
}

}  // namespace

Result<void> check_directory(const std::string& config_directory) {
  const char* const from_environment = std::getenv("MAIL_CONFIG");
  std::string directory = config_directory;
  if (directory.empty() && from_environment != nullptr) directory = from_environment;
  if (directory.empty()) return {};
  const std::string file = directory + "/main.cf";
  if (::access(file.c_str(), R_OK) != 0) return sys::fail_errno("open " + file);
  return {};
}

std::string default_database_type(const std::string& config_directory) {
  constexpr auto kFallback = "lmdb";
  const auto values = read_values(config_directory);
  const std::string type = values ? values->text("default_database_type") : "";
  return type.empty() ? kFallback : type;
}

bool is_utf8_enabled(const std::string& config_directory) {
  const auto values = read_values(config_directory);
  return !values || values->flag("smtputf8_enable");
}

std::string host_name(const std::string& config_directory) {
  const auto values = read_values(config_directory);
  return values ? values->text("myhostname") : "localhost";
}

bool may_write_through_proxy(const std::string& config_directory, const std::string& name) {
  const auto values = read_values(config_directory);
  if (!values) return false;
  const auto approved = values->list("proxy_write_maps");
  return std::ranges::find(approved, name) != approved.end();
}

void register_database_types(const std::string& config_directory) {
  table::register_server_types();
  table::register_database_types(
      [config_directory, values = std::shared_ptr<config::Values>()]() mutable {
        if (!values) values = read_values(config_directory);
        return values.get();
      });
}

}  // namespace postern::postmap
