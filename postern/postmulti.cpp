// postmulti.cpp - several mail systems on one machine: lists them, runs commands for them, makes
// and removes them.
//
// The first instance is the configuration directory of this command; its
// multi_instance_directories lists the others.

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/main_cf.h"
#include "common/config/values.h"
#include "common/sys/privilege.h"
#include "common/sys/process.h"
#include "postern/config_edit.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

using namespace config;
namespace fs = std::filesystem;

int fail_with(std::string_view text) {
  fmt::print(stderr, "postmulti: fatal: {}\n", text);
  return 1;
}

struct Instance {
  std::string directory, name, group;
  std::string queue_directory, data_directory;
  bool is_enabled = true;
  bool is_primary = false;
};

Result<Instance> read_instance(const std::string& directory, bool is_primary) {
  TRY(const auto loaded,
      load_configuration(directory, find_install_paths(), Extent::kWithoutNetwork));
  const Values values(loaded.snapshot);
  Instance instance;
  instance.directory = directory;
  instance.is_primary = is_primary;
  instance.name = values.text("multi_instance_name");
  instance.group = values.text("multi_instance_group");
  instance.queue_directory = values.text("queue_directory");
  instance.data_directory = values.text("data_directory");
  // The first is enabled as long as nobody has begun to manage instances.
  instance.is_enabled = values.flag("multi_instance_enable") ||
                        (is_primary && values.list("multi_instance_directories").empty());
  return instance;
}

enum class Action : unsigned char { kNone, kList, kPostern, kExecute, kEdit };

struct Request {
  Action action = Action::kNone;
  std::string argument;  // the command or the action of -e
  std::vector<std::string> words;
  std::optional<std::string> name, group;          // -i -g
  std::optional<std::string> new_name, new_group;  // -I -G
  bool is_reversed = false;
};

bool is_chosen(const Request& request, const Instance& instance) {
  if (request.group && *request.group != instance.group) return false;
  if (!request.name) return true;
  if (*request.name == "-") return instance.is_primary;
  return *request.name == instance.name || *request.name == instance.directory;
}

// Runs a command with MAIL_CONFIG set; its exit status.
int run_for(const Instance& instance, const std::vector<std::string>& command) {
  const pid_t child = ::fork();
  if (child < 0) return fail_with("fork failed");
  if (child == 0) {
    ::setenv("MAIL_CONFIG", instance.directory.c_str(), 1);
    std::vector<std::string> words = command;
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    fmt::print(stderr, "postmulti: {}: cannot be run\n", words[0]);
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

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

Result<void> list_instances(const std::string& primary, const std::vector<std::string>& others) {
  return set(primary, {{"multi_instance_directories", join(others, " ")}});
}

std::vector<std::string> directories_of(const std::vector<Instance>& instances) {
  std::vector<std::string> out;
  for (const auto& instance : instances) {
    if (!instance.is_primary) out.push_back(instance.directory);
  }
  return out;
}

// A new instance beside the first: its main.cf and master.cf, its queue and data directories.
Result<void> create(const Request& request, const std::vector<Instance>& instances) {
  const auto bad = [](std::string text) { return fail(Error::Kind::kConfig, std::move(text)); };
  const Instance& primary = instances.front();
  if (!request.new_name && request.words.empty()) {
    return bad("-e create: -I name, or config_directory=... expected");
  }
  const std::string name = request.new_name.value_or("");
  if (!name.empty() && !name.starts_with("postfix-") && !name.starts_with("postern-")) {
    return bad(fmt::format("{}: the name of an instance begins with postfix- or postern-", name));
  }
  const auto beside = [&](const std::string& path, std::string_view parameter) {
    for (const auto& word : request.words) {
      const auto [key, value] = split_at_first(word, '=');
      if (key == parameter) return std::string(value);
    }
    return (fs::path(path).parent_path() / name).string();
  };
  Instance made;
  made.directory = beside(primary.directory, "config_directory");
  made.queue_directory = beside(primary.queue_directory, "queue_directory");
  made.data_directory = beside(primary.data_directory, "data_directory");
  for (const auto& other : instances) {
    if (!name.empty() && other.name == name) {
      return bad(fmt::format("{}: an instance of this name exists", name));
    }
    for (const auto& [ours, theirs] : {std::pair(made.directory, other.directory),
                                       std::pair(made.queue_directory, other.queue_directory),
                                       std::pair(made.data_directory, other.data_directory)}) {
      if (ours == theirs) {
        return bad(fmt::format("{} belongs to {}", ours, other.directory));
      }
    }
  }
  std::error_code error;
  if (fs::exists(made.directory + "/main.cf", error)) {
    return bad(fmt::format("{}/main.cf exists; -e import takes it over", made.directory));
  }
  fs::create_directories(made.directory, error);
  if (error) return fail_temporary(fmt::format("make {}: {}", made.directory, error.message()));
  TRY(const std::string master, read_file(primary.directory + "/master.cf", kMaxConfigFile));
  TRY(const std::string main, read_file(primary.directory + "/main.cf", kMaxConfigFile));
  std::ofstream(made.directory + "/master.cf") << master;
  std::vector<MainEdit> edits = {
      {MainEdit::Kind::kRemove, "multi_instance_directories", ""},
      {MainEdit::Kind::kRemove, "multi_instance_wrapper", ""},
      {MainEdit::Kind::kRemove, "alternate_config_directories", ""},
      {MainEdit::Kind::kSet, "queue_directory", made.queue_directory},
      {MainEdit::Kind::kSet, "data_directory", made.data_directory},
      // Nothing is listened to and taken until somebody has looked at it.
      {MainEdit::Kind::kSet, "master_service_disable", "inet"},
      {MainEdit::Kind::kSet, "authorized_submit_users", ""},
      {MainEdit::Kind::kSet, "multi_instance_enable", "no"}};
  if (!name.empty()) edits.push_back({MainEdit::Kind::kSet, "multi_instance_name", name});
  if (request.new_group) {
    edits.push_back({MainEdit::Kind::kSet, "multi_instance_group", *request.new_group});
  }
  std::ofstream(made.directory + "/main.cf") << edit_main_cf(main, edits);
  auto others = directories_of(instances);
  others.push_back(made.directory);
  DO(list_instances(primary.directory, others));
  const int status = run_for(made, {find_install_paths().command_directory + "/postern", "-c",
                                    made.directory, "set-permissions"});
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

Result<void> edit(const Request& request, const std::vector<Instance>& instances) {
  const auto bad = [](std::string text) { return fail(Error::Kind::kConfig, std::move(text)); };
  const Instance& primary = instances.front();
  const std::string& action = request.argument;
  if (action == "init") {
    return set(primary.directory,
               {{"multi_instance_enable", "yes"},
                {"multi_instance_wrapper", "${command_directory}/postmulti -p --"}});
  }
  if (action == "create") return create(request, instances);
  if (action == "import") {
    for (const auto& word : request.words) {
      const auto [key, value] = split_at_first(word, '=');
      if (key != "config_directory") continue;
      TRY(const Instance made, read_instance(std::string(value), false));
      auto others = directories_of(instances);
      if (std::ranges::find(others, made.directory) != others.end()) {
        return bad(made.directory + " is an instance already");
      }
      others.push_back(made.directory);
      return list_instances(primary.directory, others);
    }
    return bad("-e import: config_directory=... expected");
  }
  const auto chosen = std::ranges::find_if(instances, [&](const Instance& instance) {
    return request.name && is_chosen(request, instance);
  });
  if (chosen == instances.end()) return bad(fmt::format("-e {}: -i name expected", action));
  if (action == "enable" || action == "disable") {
    return set(chosen->directory, {{"multi_instance_enable", action == "enable" ? "yes" : "no"}});
  }
  if (action == "assign") {
    std::vector<std::pair<std::string, std::string>> settings;
    if (request.new_name) settings.emplace_back("multi_instance_name", *request.new_name);
    if (request.new_group) settings.emplace_back("multi_instance_group", *request.new_group);
    if (settings.empty()) return bad("-e assign: -I name or -G group expected");
    return set(chosen->directory, settings);
  }
  if (action != "deport" && action != "destroy") {
    return bad(
        fmt::format("-e {}: init, create, import, destroy, deport, enable, disable or assign "
                    "expected",
                    action));
  }
  if (chosen->is_primary) return bad("the first instance cannot be taken off the list");
  if (action == "destroy" && has_mail(*chosen)) {
    return bad(fmt::format("{} holds mail; deliver or delete it first", chosen->queue_directory));
  }
  auto others = directories_of(instances);
  std::erase(others, chosen->directory);
  DO(list_instances(primary.directory, others));
  if (action == "deport") return {};
  std::error_code error;
  for (const auto& path : {chosen->queue_directory, chosen->data_directory, chosen->directory}) {
    fs::remove_all(path, error);
  }
  return {};
}

int usage() {
  return fail_with(
      "usage: postmulti -l [-aRv] [-g group] [-i name] | -p command... | -x command... | -e "
      "init|create|import|destroy|deport|enable|disable|assign [-I name] [-G group] [-i name] "
      "[name=value...]");
}

}  // namespace

int postmulti_main(int argc, char** argv) {
  Request request;
  for (int letter = 0; (letter = ::getopt(argc, argv, "+ae:g:i:G:I:lpRvx")) != -1;) {
    switch (letter) {
      case 'e':
        request.action = Action::kEdit;
        request.argument = ::optarg;
        break;
      case 'g':
        request.group = ::optarg;
        break;
      case 'i':
        request.name = ::optarg;
        break;
      case 'G':
        request.new_group = ::optarg;
        break;
      case 'I':
        request.new_name = ::optarg;
        break;
      case 'l':
        request.action = Action::kList;
        break;
      case 'p':
        request.action = Action::kPostern;
        break;
      case 'x':
        request.action = Action::kExecute;
        break;
      case 'R':
        request.is_reversed = true;
        break;
      case 'a':
      case 'v':
        break;
      default:
        return usage();
    }
  }
  for (int i = ::optind; i < argc; ++i) request.words.emplace_back(argv[i]);
  if (request.action == Action::kNone) return usage();
  const auto directory = choose_config_directory("", find_install_paths());
  if (!directory) return fail_with(directory.error().text);
  auto primary = read_instance(directory->path, true);
  if (!primary) return fail_with(primary.error().text);
  std::vector<Instance> instances = {*primary};
  const auto loaded =
      load_configuration(directory->path, find_install_paths(), Extent::kWithoutNetwork);
  if (!loaded) return fail_with(loaded.error().text);
  for (const auto& other : Values(loaded->snapshot).list("multi_instance_directories")) {
    auto instance = read_instance(other, false);
    if (!instance) return fail_with(instance.error().text);
    instances.push_back(*std::move(instance));
  }
  if (request.action == Action::kEdit) {
    if (!sys::is_root()) return fail_with("use of this command is reserved for the superuser");
    const auto done = edit(request, instances);
    return done ? 0 : fail_with(done.error().text);
  }
  std::erase_if(instances, [&](const Instance& instance) { return !is_chosen(request, instance); });
  if (instances.empty()) return fail_with("No matching instances");
  const bool stops = request.action == Action::kPostern && !request.words.empty() &&
                     (request.words[0] == "stop" || request.words[0] == "abort");
  if (request.is_reversed != stops) std::ranges::reverse(instances);
  if (request.action == Action::kList) {
    for (const auto& instance : instances) {
      fmt::print("{:<15} {:<15} {:<9} {}\n", instance.name.empty() ? "-" : instance.name,
                 instance.group.empty() ? "-" : instance.group, instance.is_enabled ? "y" : "n",
                 instance.directory);
    }
    return 0;
  }
  if (request.words.empty()) return usage();
  int worst = 0;
  for (const auto& instance : instances) {
    std::vector<std::string> command = request.words;
    if (request.action == Action::kPostern) {
      const bool starts = command[0] == "start" || command[0] == "start-fg";
      if (starts && !instance.is_enabled) continue;
      command.insert(command.begin(), {find_install_paths().command_directory + "/postern", "-c",
                                       instance.directory});
    }
    worst = std::max(worst, run_for(instance, command));
  }
  return worst;
}

}  // namespace postern::control
