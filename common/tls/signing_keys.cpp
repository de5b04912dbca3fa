#include "common/tls/signing_keys.h"

#include <dirent.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/config/dkim_tables.h"
#include "common/config/load.h"

namespace postern::tls {

namespace {

using ipc::keyring::Purpose;

constexpr std::size_t kMaxTable = std::size_t{16} << 20;
constexpr std::size_t kMaxKey = std::size_t{64} << 10;
constexpr std::size_t kMaxKeys = 10'000;

std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) return names;
  while (const dirent* const entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.' && names.size() < kMaxKeys) names.emplace_back(entry->d_name);
  }
  ::closedir(directory);
  std::ranges::sort(names);
  return names;
}

std::optional<std::string> read_into(Material& material, const config::Values& values,
                                     std::string_view parameter, const std::string& path,
                                     std::size_t limit) {
  material.stamps[path] = stamp_of(path);
  auto content = config::read_file(path, limit);
  if (content) return *std::move(content);
  material.problems.push_back(values.problem(parameter, content.error().text));
  return std::nullopt;
}

void read_key(Material& material, const config::Values& values, std::string_view parameter,
              const std::string& path, Purpose purpose) {
  const bool is_known = std::ranges::any_of(
      material.keys, [&](const auto& key) { return key.path == path && key.purpose == purpose; });
  if (is_known || material.keys.size() >= kMaxKeys) return;
  const auto content = read_into(material, values, parameter, path, kMaxKey);
  if (content) material.keys.push_back({path, purpose, private_part(*content), ""});
}

// The text of a table of OpenDKIM's form, into the snapshot.
std::optional<std::string> read_table(Material& material, const config::Values& values,
                                      std::string_view parameter) {
  const auto path = config::dkim_table_file(values.text(parameter));
  if (!path) return std::nullopt;
  auto text = read_into(material, values, parameter, *path, kMaxTable);
  if (text) material.files[config::dkim_file_name(*path)] = *text;
  return text;
}

}  // namespace

std::vector<std::string> find_key_files(const std::string& pattern) {
  // Directory by directory: a component with a $ is any name that fits.
  std::vector<std::string> places = {""};
  for (const std::string_view component : split_fields(pattern, '/')) {
    if (component.empty()) continue;
    std::vector<std::string> next;
    std::string glob = replace_all(component, "$domain", "*");
    glob = replace_all(glob, "$selector", "*");
    for (const auto& place : places) {
      if (glob == component) {
        next.push_back(fmt::format("{}/{}", place, component));
        continue;
      }
      for (const auto& name : names_in(place)) {
        if (glob_match(glob, name) && next.size() < kMaxKeys) {
          next.push_back(fmt::format("{}/{}", place, name));
        }
      }
    }
    places = std::move(next);
  }
  return places;
}

void read_signing_keys(Material& material, const config::Values& values) {
  const bool is_signing = values.flag("dkim_sign_enable");
  const bool is_sealing = values.flag("arc_seal_enable");
  const std::string pattern = replace_all(values.text("dkim_key_path"), "$config_directory",
                                          values.snapshot().config_directory);
  if (is_signing) {
    (void)read_table(material, values, "dkim_signing_table");
    if (const auto keys = read_table(material, values, "dkim_key_table")) {
      std::vector<unsigned> wrong;
      for (const auto& [name, key] : config::parse_dkim_keys(*keys, wrong)) {
        read_key(material, values, "dkim_key_table", key.path, Purpose::kDkim);
      }
      for (const unsigned line : wrong) {
        material.problems.push_back(values.problem(
            "dkim_key_table", fmt::format("line {}: not NAME DOMAIN:SELECTOR:/PATH", line)));
      }
    }
    if (pattern.find('$') != std::string::npos) {
      for (const auto& path : find_key_files(pattern)) {
        read_key(material, values, "dkim_key_path", path, Purpose::kDkim);
      }
    }
  }
  if (values.flag("srs_enable") || values.flag("batv_enable")) {
    const std::string path = values.text("srs_secrets_file");
    const auto secrets = read_into(material, values, "srs_secrets_file", path, kMaxKey);
    if (secrets) material.keys.push_back({path, Purpose::kSrs, *secrets, ""});
  }
  if (is_sealing) {
    std::string path = values.text("arc_seal_key_file");
    if (path.empty()) {
      path = config::dkim_key_path(pattern, values.text("arc_seal_domain"),
                                   values.text("arc_seal_selector"), "");
    }
    read_key(material, values, "arc_seal_key_file", path, Purpose::kArc);
  }
}

}  // namespace postern::tls
