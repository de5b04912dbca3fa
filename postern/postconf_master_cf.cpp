#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "common/config/load.h"
#include "common/config/master_cf.h"
#include "common/config/values.h"
#include "postern/config_edit.h"
#include "postern/master_entries.h"
#include "postern/postconf_verbs.h"
#include "postern/postconf_viewer.h"

namespace postern::control::postconf {

using namespace config;

namespace {

MasterRequest::What what_of(const Request& request) {
  switch (request.target) {
    case Target::kFields:
      return MasterRequest::What::kFields;
    case Target::kServiceParams:
      return MasterRequest::What::kParams;
    default:
      return MasterRequest::What::kEntries;
  }
}

MasterRequest::Action action_of(const Request& request) {
  switch (request.action) {
    case Action::kComment:
      return MasterRequest::Action::kComment;
    case Action::kRemove:
      return MasterRequest::Action::kRemove;
    default:
      return MasterRequest::Action::kEdit;
  }
}

void show_entry(const Request& request, const Service& service) {
  if (request.as_json) {
    print_json(fmt::format("{}/{}", service.name, name_of(service.type)),
               print_service(service, MasterStyle::kOneLine));
    return;
  }
  fmt::print("{}\n",
             print_service(service, request.fold ? MasterStyle::kFolded : MasterStyle::kOneLine));
}

// A column or an -o value.
void show_value(const Request& request, const std::shared_ptr<Snapshot>& snapshot,
                const MasterRow& row) {
  std::string value = row.value;
  const Service* const service =
      request.expand ? snapshot->find_service(row.service->name, row.service->type) : nullptr;
  if (service != nullptr) value = Values(snapshot, *service).expand_text(value).value_or(value);
  if (request.as_json) {
    print_json(row.name, value);
  } else {
    print_value(request, row.name, value);
  }
}

}  // namespace

int show_master(const Request& request) {
  const std::string path = request.directory + "/master.cf";
  const auto loaded = load_for(request);
  if (!loaded) return fatal(loaded.error().text);
  const auto text = read_file(path, kMaxConfigFile);
  if (!text) return fatal(text.error().text);
  if (const auto told = tell_problems(request, loaded->problems); !told) {
    return fatal(told.error().text);
  }
  const MasterCf cf = parse_master_cf(*text, path);
  std::vector<std::string> patterns = request.names;
  if (patterns.empty()) patterns.emplace_back("*");
  for (const std::string& pattern : patterns) {
    const auto rows = find_rows(cf.services, what_of(request), pattern);
    if (!rows) return fatal(rows.error().text);
    if (rows->empty() && !request.names.empty() && !request.quiet) {
      warn(fmt::format("unmatched request: \"{}\"", pattern));
    }
    for (const MasterRow& row : *rows) {
      if (request.target == Target::kEntries) {
        show_entry(request, *row.service);
      } else {
        show_value(request, loaded->snapshot, row);
      }
    }
  }
  (void)std::fflush(stdout);
  const MainViewer viewer(request, loaded->snapshot);
  viewer.warn_undefined();
  viewer.warn_unused_services();
  return 0;
}

int edit_master(const Request& request) {
  MasterRequest master;
  master.what = what_of(request);
  master.action = action_of(request);
  master.edits = request.names;
  std::vector<std::string> unmatched;
  const auto done = edit_file(request.directory + "/master.cf", [&](std::string_view text) {
    return edit_entries(text, master, unmatched);
  });
  if (!done) return fatal(done.error().text);
  for (const std::string& pattern : unmatched) {
    warn(fmt::format("unmatched service_name/type: \"{}\"", pattern));
  }
  return 0;
}

}  // namespace postern::control::postconf
