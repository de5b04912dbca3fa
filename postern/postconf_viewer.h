// postconf_viewer.h - parameters of main.cf as postconf(1) shows them.

#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "common/config/load.h"
#include "common/config/values.h"
#include "postern/postconf_request.h"

namespace postern::control::postconf {

// The configuration with the -o values in it; with -d, what there would be without a main.cf.
[[nodiscard]] Result<config::Loaded> load_for(const Request& request);

// Warns of what is odd in the files. The first that has no meaning at all is an Error.
[[nodiscard]] Result<void> tell_problems(const Request& request, const config::Problems& problems);

class MainViewer {
 public:
  MainViewer(const Request& request, std::shared_ptr<const config::Snapshot> snapshot);

  void show_all() const;
  void show_named() const;
  void warn_undefined() const;
  void warn_unused() const;
  void warn_unused_services() const;

 private:
  [[nodiscard]] bool is_set(std::string_view name) const;
  // <transport>_destination_concurrency_limit and kin belong to delivery agents in master.cf.
  [[nodiscard]] bool is_service_name(std::string_view name) const;
  [[nodiscard]] bool is_override(std::string_view name) const;  // in some entry of master.cf
  [[nodiscard]] bool is_referenced(std::string_view name) const;
  [[nodiscard]] bool is_known(std::string_view name) const;
  [[nodiscard]] std::string raw(std::string_view name) const;
  void show(std::string_view name) const;

  const Request& request_;
  std::shared_ptr<const config::Snapshot> snapshot_;
  config::Values values_;
  std::set<std::string, std::less<>> user_names_;
};

}  // namespace postern::control::postconf
