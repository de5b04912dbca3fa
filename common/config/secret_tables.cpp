#include "common/config/secret_tables.h"

#include <algorithm>

namespace postern::config {

namespace {

constexpr std::string_view kProxy = "proxy:";

const SecretTables* find_secret(std::string_view parameter) {
  const auto* const found = std::ranges::find(kSecretTables, parameter, &SecretTables::parameter);
  return found == std::end(kSecretTables) ? nullptr : found;
}

bool is_approval_list(std::string_view parameter) {
  return parameter == "proxy_read_maps" || parameter == "proxy_write_maps";
}

std::vector<std::string> tables_of(const Values& values, std::string_view text) {
  std::vector<std::string> tables;
  const auto expanded = values.expand_text(text);
  for (const auto& word : split_list(expanded ? *expanded : std::string(text))) {
    const auto colon = word.find(':');
    if (colon == 0 || colon == std::string::npos) continue;
    tables.push_back(without_proxy(word));
  }
  return tables;
}

}  // namespace

std::vector<std::string_view> programs_with_secrets() {
  std::vector<std::string_view> programs{"tables"};
  for (const auto& secret : kSecretTables) programs.push_back(secret.program);
  return programs;
}

std::string without_proxy(std::string_view table) {
  while (table.starts_with(kProxy)) table.remove_prefix(kProxy.size());
  return std::string(table);
}

SecretReaders find_secret_tables(const Values& values) {
  SecretReaders readers;
  std::set<std::string, std::less<>> open;
  const auto note = [&](std::string_view name, std::string_view text) {
    if (const auto* const secret = find_secret(name)) {
      for (auto& table : tables_of(values, text)) {
        readers[std::move(table)].emplace(secret->program);
      }
      return;
    }
    // A name of the administrator's own is for use in other values: those count.
    if (is_approval_list(name) || !find_param(name)) return;
    for (auto& table : tables_of(values, text)) open.insert(std::move(table));
  };
  for (const auto& setting : values.snapshot().settings) note(setting.name, setting.value);
  for (const auto& service : values.snapshot().services) {
    for (const auto& [name, value] : service.overrides) note(name, value);
  }
  std::erase_if(readers, [&](const auto& entry) { return open.contains(entry.first); });
  return readers;
}

}  // namespace postern::config
