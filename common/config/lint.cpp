#include "common/config/lint.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "common/base/text.h"
#include "common/config/expand.h"
#include "common/config/param.h"
#include "common/config/values.h"

namespace postern::config {

namespace {

constexpr std::size_t kMaxComparedName = 100;

// Tables whose settings stand in main.cf under the table's name, and what these settings are.
struct DatabaseType {
  std::string_view type;
  std::string_view settings;  // nothing: any
};
constexpr DatabaseType kDatabaseTypes[] = {
    {"ldap",
     "bind bind_dn bind_pw cache cache_expiry cache_size chase_referrals debuglevel dereference "
     "domain expansion_limit leaf_result_attribute query_filter recursion_limit result_attribute "
     "result_filter result_format sasl_authz_id sasl_mechs sasl_minssf sasl_realm scope "
     "search_base server_host server_port size_limit special_result_attribute start_tls "
     "terminal_result_attribute timeout tls_ca_cert_dir tls_ca_cert_file tls_cert "
     "tls_cipher_suite tls_key tls_random_file tls_require_cert version"},
    {"mysql",
     "additional_conditions charset dbname domain expansion_limit hosts idle_interval option_file "
     "option_group password query require_result_set result_format retry_interval select_field "
     "table tls_CAfile tls_CApath tls_cert_file tls_ciphers tls_key_file tls_verify_cert user "
     "where_field"},
    {"pgsql",
     "additional_conditions dbname domain encoding expansion_limit hosts idle_interval password "
     "query result_format retry_interval select_field select_function table user where_field"},
    {"sqlite",
     "additional_conditions dbpath domain expansion_limit query result_format select_field table "
     "where_field"},
    {"memcache",
     "backup data_size_limit domain flags key_format line_size_limit max_try memcache retry_pause "
     "timeout ttl"},
    {"redis", ""},
};

bool has_table_named(std::string_view value, std::string_view table, std::string_view setting) {
  for (const auto& [type, settings] : kDatabaseTypes) {
    const auto known = split_words(settings);
    if (!known.empty() && std::ranges::find(known, setting) == known.end()) continue;
    const std::string wanted = fmt::format("{}:{}", type, table);
    for (std::size_t at = value.find(wanted); at != std::string_view::npos;
         at = value.find(wanted, at + 1)) {
      const std::size_t end = at + wanted.size();
      if (end == value.size() || !(is_alnum(value[end]) || value[end] == '_')) return true;
    }
  }
  return false;
}

bool is_database_setting(const Snapshot& snapshot, std::string_view name) {
  for (std::size_t at = name.find('_'); at != std::string_view::npos; at = name.find('_', at + 1)) {
    const std::string_view table = name.substr(0, at);
    const std::string_view what = name.substr(at + 1);
    for (const Setting& setting : snapshot.settings) {
      if (has_table_named(setting.value, table, what)) return true;
    }
    for (const Service& service : snapshot.services) {
      for (const auto& [key, value] : service.overrides) {
        if (has_table_named(value, table, what)) return true;
      }
    }
  }
  return false;
}

// Names that stand for something only while a request is served.
constexpr std::string_view kRequestNames[] = {"home",
                                              "user",
                                              "shell",
                                              "domain",
                                              "extension",
                                              "recipient",
                                              "local",
                                              "mailbox",
                                              "nexthop",
                                              "sender",
                                              "size",
                                              "queue_id",
                                              "client_address",
                                              "client_name",
                                              "client_helo",
                                              "original_recipient",
                                              "rbl_code",
                                              "rbl_class",
                                              "rbl_what",
                                              "rbl_domain",
                                              "rbl_reason",
                                              "rbl_txt",
                                              "client",
                                              "sender_name",
                                              "sender_domain",
                                              "recipient_name",
                                              "recipient_domain",
                                              "client_protocol",
                                              "client_hostname",
                                              "localtime",
                                              "server_name",
                                              "client_port",
                                              "server_address",
                                              "server_port",
                                              "helo_name"};

bool is_raw(std::string_view name) {
  const auto param = find_param(name);
  return param && param->type == ParamType::kRawText;
}

}  // namespace

unsigned edit_distance(std::string_view a, std::string_view b, unsigned limit) {
  const std::size_t difference = a.size() < b.size() ? b.size() - a.size() : a.size() - b.size();
  if (difference > limit || a.size() > kMaxComparedName || b.size() > kMaxComparedName) {
    return limit + 1;
  }
  std::vector<unsigned> before(b.size() + 1);
  std::vector<unsigned> last(b.size() + 1);
  std::vector<unsigned> row(b.size() + 1);
  for (unsigned j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<unsigned>(i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const unsigned change = a[i - 1] == b[j - 1] ? 0 : 1;
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return std::min(last[b.size()], limit + 1);
}

std::optional<std::string_view> nearest_param(std::string_view name) {
  const std::string lower = to_lower(name);
  unsigned limit = static_cast<unsigned>(std::clamp<std::size_t>(name.size() / 5, 1, 3));
  std::optional<std::string_view> nearest;
  for (const ParamInfo param : all_params()) {
    const unsigned distance = edit_distance(lower, param.name, limit);
    if (distance > limit) continue;
    nearest = param.name;
    if (distance == 0) break;
    limit = distance - 1;
  }
  return nearest;
}

std::vector<std::string> referenced_names(const Snapshot& snapshot) {
  std::set<std::string> names;
  for (const Setting& setting : snapshot.settings) {
    if (is_raw(setting.name)) continue;
    for (std::string& name : names_in(setting.value)) names.insert(std::move(name));
  }
  for (const Service& service : snapshot.services) {
    for (const auto& [key, value] : service.overrides) {
      for (std::string& name : names_in(value)) names.insert(std::move(name));
    }
  }
  return {names.begin(), names.end()};
}

bool is_used_name(const Snapshot& snapshot, std::string_view name) {
  if (find_param(name)) return true;
  if (const auto transport = parse_transport_param(name)) {
    // The transport of master.cf; `_time_limit` also belongs to spawn and policy services.
    for (const Service& service : snapshot.services) {
      if (service.name == transport->transport) return true;
    }
  }
  for (const std::string& referenced : referenced_names(snapshot)) {
    if (referenced == name) return true;
  }
  const auto shared = std::make_shared<Snapshot>(snapshot);
  for (const std::string& restriction : Values(shared).list("smtpd_restriction_classes")) {
    if (restriction == name) return true;
  }
  return is_database_setting(snapshot, name);
}

Problems lint_names(const Snapshot& snapshot) {
  Problems problems;
  const auto shared = std::make_shared<Snapshot>(snapshot);
  const Values values(shared);
  const auto warn = [&](std::string_view file, unsigned line, std::string_view name,
                        std::string_view text) {
    problems.push_back({std::string(file), line, std::string(name),
                        fmt::format("{}: {}", name, text), Severity::kWarning});
  };
  const auto check = [&](std::string_view file, unsigned line, std::string_view name,
                         std::string_view value) {
    if (const auto param = find_param(name)) {
      // What is set to its default asks for nothing.
      if (param->standing == Standing::kNotYet && value != param->initial &&
          values.expand_text(value) != values.expand_text(param->initial)) {
        warn(file, line, name, "not supported yet");
      }
      return;
    }
    if (is_used_name(snapshot, name)) return;
    if (const auto transport = parse_transport_param(name)) {
      warn(file, line, name,
           fmt::format("unused parameter; master.cf has no service \"{}\"", transport->transport));
      return;
    }
    const auto nearest = nearest_param(name);
    warn(file, line, name,
         nearest ? fmt::format("unknown parameter; did you mean {}?", *nearest)
                 : "unknown parameter");
  };
  const auto check_references = [&](std::string_view file, unsigned line, std::string_view name,
                                    std::string_view value, const Values& scope) {
    if (is_raw(name)) return;
    for (const std::string& reference : names_in(value)) {
      if (scope.raw(reference) || parse_transport_param(reference)) continue;
      if (std::ranges::find(kRequestNames, reference) != std::end(kRequestNames)) continue;
      problems.push_back({std::string(file), line, std::string(name),
                          fmt::format("{}: undefined parameter: {}", name, reference),
                          Severity::kWarning});
    }
  };
  for (const Setting& setting : snapshot.settings) {
    check(setting.file, setting.line, setting.name, setting.value);
    check_references(setting.file, setting.line, setting.name, setting.value, values);
  }
  for (const Service& service : snapshot.services) {
    const Values scope(shared, service);
    for (const auto& [name, value] : service.overrides) {
      check(service.file, service.line, name, value);
      check_references(service.file, service.line, name, value, scope);
    }
  }
  return problems;
}

}  // namespace postern::config
