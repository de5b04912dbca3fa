// postmulti_edit.cpp - postmulti -e: instances are made, listed, named and removed.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/main_cf.h"
#include "common/config/values.h"
#include "common/sys/lock.h"
#include "postern/config_edit.h"
#include "postern/postmulti.h"
#include "stock_text.h"

namespace postern::control {

namespace {

using namespace config;
namespace fs = std::filesystem;

constexpr std::string_view kNone = "-";

// What the instances of a machine share: a new one has it from the first.
constexpr std::array<std::string_view, 13> kShared = {
    "compatibility_level", "command_directory", "daemon_directory", "default_database_type",
    "html_directory",      "mail_owner",        "mailq_path",       "manpage_directory",
    "meta_directory",      "newaliases_path",   "readme_directory", "sendmail_path",
    "setgid_group"};

std::unexpected<Error> bad(std::string text) { return fail(Error::Kind::kConfig, std::move(text)); }

Result<void> set(const std::string& directory,
                 const std::vector<std::pair<std::string, std::string>>& settings) {
  std::vector<MainEdit> edits;
  for (const auto& [name, value] : settings) {
    edits.push_back({MainEdit::Kind::kSet, name, value});
  }
  return edit_file(directory + "/main.cf", [&](std::string_view text) -> Result<std::string> {
    return edit_main_cf(text, edits);
  });
}

std::vector<std::string> other_directories(const Instances& instances) {
  std::vector<std::string> out;
  for (const auto& instance : instances.list) {
    if (!instance.is_primary) out.push_back(instance.directory);
  }
  return out;
}

Result<void> list_others(const Instances& instances, const std::vector<std::string>& others) {
  return set(instances.list.front().directory, {{"multi_instance_directories", join(others, " ")}});
}

// Where the list gets the new one: in front, before the first of a group, before one, or behind.
Result<void> add_to_list(const EditRequest& request, const Instances& instances,
                         const std::string& directory) {
  auto others = other_directories(instances);
  auto place = request.is_first ? others.begin() : others.end();
  for (const auto& instance : instances.list) {
    const bool is_meant =
        (request.name && (*request.name == instance.name || *request.name == instance.directory)) ||
        (request.group && *request.group == instance.group);
    if (instance.is_primary || !is_meant || place != others.end()) continue;
    place = std::ranges::find(others, instance.directory);
  }
  others.insert(place, directory);
  return list_others(instances, others);
}

// Of name=value words, or of the place beside the first instance's that bears the new name.
Result<std::string> choose_place(const EditRequest& request, std::string_view parameter,
                                 const std::string& beside) {
  for (const auto& word : request.words) {
    const auto [key, value] = split_at_first(word, '=');
    if (key != parameter) continue;
    if (!value.starts_with('/')) {
      return bad(fmt::format("{}: \"{}\" is no absolute path", parameter, value));
    }
    return std::string(value);
  }
  if (!request.new_name || *request.new_name == kNone) {
    return bad(fmt::format("Specify {}=/path or a name with '-I'", parameter));
  }
  return (fs::path(beside).parent_path() / *request.new_name).string();
}

Result<void> check_new_name(const EditRequest& request, const Instances& instances) {
  if (!request.new_name || *request.new_name == kNone) return {};
  const std::string& name = *request.new_name;
  if (!name.starts_with("postfix-") && !name.starts_with("postern-")) {
    return bad("New instance name must start with 'postfix-' or 'postern-'");
  }
  for (const auto& other : instances.list) {
    if (other.name == name) {
      return bad(
          fmt::format("new instance name {} is already in use by {}", name, other.directory));
    }
  }
  return {};
}

Result<void> check_words(const EditRequest& request) {
  for (const auto& word : request.words) {
    const auto key = split_at_first(word, '=').first;
    const bool is_import = request.action == "import";
    if (key == "config_directory") continue;
    if (!is_import && (key == "queue_directory" || key == "data_directory")) continue;
    return bad(fmt::format("{}: Invalid instance parameter setting", word));
  }
  return {};
}

std::string name_of(const std::optional<std::string>& given) {
  return given && *given != kNone ? *given : std::string();
}

// The settings of a new instance that are its own.
std::vector<MainEdit> own_settings(const EditRequest& request, const Instance& made) {
  using Kind = MainEdit::Kind;
  std::vector<MainEdit> edits = {
      {Kind::kSet, "queue_directory", made.queue_directory},
      {Kind::kSet, "data_directory", made.data_directory},
      // Nothing is listened to and taken until somebody has looked at it.
      {Kind::kSet, "authorized_submit_users", ""},
      {Kind::kSet, "master_service_disable", "inet"}};
  if (const auto name = name_of(request.new_name); !name.empty()) {
    edits.push_back({Kind::kSet, "multi_instance_name", name});
  }
  if (const auto group = name_of(request.new_group); !group.empty()) {
    edits.push_back({Kind::kSet, "multi_instance_group", group});
  }
  return edits;
}

Result<void> write_stock_files(const EditRequest& request, const Instance& primary,
                               const Instance& made) {
  TRY(const auto loaded,
      load_configuration(primary.directory, find_install_paths(), Extent::kWithoutNetwork));
  std::vector<MainEdit> edits;
  for (const auto name : kShared) {
    if (const Setting* const setting = loaded.snapshot->find(name)) {
      edits.push_back({MainEdit::Kind::kSet, std::string(name), setting->value});
    }
  }
  std::ranges::move(own_settings(request, made), std::back_inserter(edits));
  std::error_code error;
  fs::create_directories(made.directory, error);
  if (error) return fail_temporary(fmt::format("make {}: {}", made.directory, error.message()));
  std::ofstream(made.directory + "/master.cf") << kStockMasterCf;
  std::ofstream main(made.directory + "/main.cf");
  main << edit_main_cf(kStockMainCf, edits);
  main.close();
  if (!main) return fail_temporary(fmt::format("write {}/main.cf failed", made.directory));
  return {};
}

Result<void> assign(const EditRequest& request, const std::string& directory) {
  std::vector<std::pair<std::string, std::string>> settings;
  if (request.new_name) settings.emplace_back("multi_instance_name", name_of(request.new_name));
  if (request.new_group) settings.emplace_back("multi_instance_group", name_of(request.new_group));
  return settings.empty() ? Result<void>() : set(directory, settings);
}

// A directory with both files is an instance already, made by hand or taken off the list.
bool has_files(const std::string& directory) {
  std::error_code error;
  return fs::exists(directory + "/main.cf", error) && fs::exists(directory + "/master.cf", error);
}

Result<void> create(const EditRequest& request, const Instances& instances) {
  const Instance& primary = instances.list.front();
  DO(check_words(request));
  DO(check_new_name(request, instances));
  Instance made;
  TRY(made.directory, choose_place(request, "config_directory", primary.directory));
  const bool is_import = request.action == "import" || has_files(made.directory);
  if (is_import) {
    if (!has_files(made.directory)) {
      return bad(fmt::format("{} has no main.cf and master.cf", made.directory));
    }
    TRY(const auto loaded,
        load_configuration(made.directory, find_install_paths(), Extent::kWithoutNetwork));
    made.queue_directory = Values(loaded.snapshot).text("queue_directory");
    made.data_directory = Values(loaded.snapshot).text("data_directory");
  } else {
    TRY(made.queue_directory, choose_place(request, "queue_directory", primary.queue_directory));
    TRY(made.data_directory, choose_place(request, "data_directory", primary.data_directory));
  }
  for (const auto& other : instances.list) {
    for (const auto& [parameter, ours, theirs] :
         {std::tuple("config_directory", made.directory, other.directory),
          std::tuple("queue_directory", made.queue_directory, other.queue_directory),
          std::tuple("data_directory", made.data_directory, other.data_directory)}) {
      if (ours != theirs) continue;
      return bad(fmt::format("new {}={} is already in use by instance {}", parameter, ours,
                             other.directory));
    }
  }
  if (is_import) {
    DO(assign(request, made.directory));
  } else {
    DO(write_stock_files(request, primary, made));
  }
  DO(add_to_list(request, instances, made.directory));
  const int status =
      run_for(made, {command_path("postern"), "-c", made.directory, "set-permissions"});
  if (status != 0) return fail_temporary("set-permissions failed for " + made.directory);
  return {};
}

bool has_mail(const Instance& instance) {
  for (const std::string_view queue : {"maildrop", "incoming", "active", "deferred", "hold"}) {
    std::error_code error;
    const fs::path path = fs::path(instance.queue_directory) / queue;
    for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
         it.increment(error)) {
      if (it->is_regular_file(error)) return true;
    }
  }
  return false;
}

// Files of the administrator's stay, and so the directory: that is told.
void remove_configuration(const Instance& instance) {
  std::error_code error;
  for (const std::string_view file : {"main.cf", "master.cf", "main.cf.undo"}) {
    fs::remove(fmt::format("{}/{}", instance.directory, file), error);
  }
  fs::remove(instance.directory, error);
  if (error) {
    fmt::print(stderr, "postmulti: warning: {}: please verify contents and remove by hand\n",
               instance.directory);
  }
}

Result<void> destroy(const Instance& instance) {
  if (instance.is_enabled) return bad("Cannot remove enabled instances");
  if (sys::is_file_locked(instance.queue_directory + "/pid/master.pid").value_or(false)) {
    return bad("Cannot remove running instances");
  }
  if (has_mail(instance)) {
    return bad(fmt::format("{} holds mail; deliver or delete it first", instance.queue_directory));
  }
  std::error_code error;
  // Both hold what the mail system made itself.
  fs::remove_all(instance.queue_directory, error);
  if (!error) fs::remove_all(instance.data_directory, error);
  if (error) fmt::print(stderr, "postmulti: warning: {}\n", error.message());
  remove_configuration(instance);
  return {};
}

Result<void> edit_existing(const EditRequest& request, const Instances& instances) {
  if (!request.name)
    return bad(fmt::format("Specify an instance with '-i' for -e {}", request.action));
  const auto chosen = std::ranges::find_if(instances.list, [&](const Instance& instance) {
    return *request.name == kNone
               ? instance.is_primary
               : *request.name == instance.name || *request.name == instance.directory;
  });
  if (chosen == instances.list.end()) return bad("No instance named " + *request.name);
  if (request.action == "enable" || request.action == "disable") {
    return set(chosen->directory,
               {{"multi_instance_enable", request.action == "enable" ? "yes" : "no"}});
  }
  if (request.action == "assign") {
    DO(check_new_name(request, instances));
    if (!request.new_name && !request.new_group)
      return bad("-e assign: -I name or -G group expected");
    return assign(request, chosen->directory);
  }
  if (chosen->is_primary) return bad("Cannot remove the primary instance");
  if (request.action == "destroy") DO(destroy(*chosen));
  auto others = other_directories(instances);
  std::erase(others, chosen->directory);
  return list_others(instances, others);
}

}  // namespace

Result<void> edit_instances(const EditRequest& request, const Instances& instances) {
  constexpr std::array<std::string_view, 5> kOfOne = {"assign", "deport", "destroy", "disable",
                                                      "enable"};
  if (request.action == "init") {
    if (instances.is_managed) return {};
    return set(instances.list.front().directory,
               {{"multi_instance_enable", "yes"},
                {"multi_instance_wrapper", "${command_directory}/postmulti -p --"}});
  }
  const bool is_of_one = std::ranges::find(kOfOne, request.action) != kOfOne.end();
  if (!is_of_one && request.action != "create" && request.action != "import") {
    return bad(
        fmt::format("Invalid '-e' edit action '{}'. Specify 'create', 'destroy', 'import', "
                    "'deport', 'enable', 'disable', 'assign' or 'init'",
                    request.action));
  }
  if (!instances.is_managed) {
    return bad("multi_instance_wrapper is empty, run 'postmulti -e init' first.");
  }
  return is_of_one ? edit_existing(request, instances) : create(request, instances);
}

}  // namespace postern::control
