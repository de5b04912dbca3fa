#include "postern/postmulti.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/values.h"
#include "common/sys/privilege.h"
#include "postern/queue_tools.h"

namespace postern::control {

namespace {

using namespace config;

int fail_with(std::string_view text) {
  fmt::print(stderr, "postmulti: fatal: {}\n", text);
  return 1;
}

enum class Action : unsigned char { kNone, kList, kPostern, kExecute, kEdit };

struct Request {
  Action action = Action::kNone;
  unsigned actions = 0;  // how many were named
  EditRequest edit;
  bool is_reversed = false;
};

bool is_among(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

bool is_chosen(const EditRequest& request, const Instance& instance) {
  if (request.group && *request.group != instance.group) return false;
  if (!request.name) return true;
  if (*request.name == "-") return instance.is_primary;
  return *request.name == instance.name || *request.name == instance.directory;
}

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
                        (is_primary && values.text("multi_instance_wrapper").empty());
  return instance;
}

std::optional<Request> parse(int argc, char** argv) {
  Request request;
  const auto act = [&](Action action) {
    request.action = action;
    ++request.actions;
  };
  for (int letter = 0; (letter = ::getopt(argc, argv, "+ae:g:i:G:I:lpRvx")) != -1;) {
    switch (letter) {
      case 'e':
        act(Action::kEdit);
        request.edit.action = ::optarg;
        break;
      case 'g':
        request.edit.group = ::optarg;
        break;
      case 'i':
        request.edit.name = ::optarg;
        break;
      case 'G':
        request.edit.new_group = ::optarg;
        break;
      case 'I':
        request.edit.new_name = ::optarg;
        break;
      case 'l':
        act(Action::kList);
        break;
      case 'p':
        act(Action::kPostern);
        break;
      case 'x':
        act(Action::kExecute);
        break;
      case 'R':
        request.is_reversed = true;
        break;
      case 'a':
        request.edit.is_first = true;
        break;
      case 'v':
        ::setenv("MAIL_VERBOSE", "1", 1);
        break;
      default:
        return std::nullopt;
    }
  }
  for (int i = ::optind; i < argc; ++i) request.edit.words.emplace_back(argv[i]);
  return request;
}

// What is wrong with the command line; empty when nothing is.
std::string find_fault(const Request& request) {
  const bool runs = request.action == Action::kPostern || request.action == Action::kExecute;
  if (request.actions != 1) return "Specify exactly one of '-e', '-l', '-p', '-x'";
  if (request.is_reversed &&
      !(request.action == Action::kList || request.action == Action::kExecute)) {
    return "The '-p' and '-e' options preclude the use of '-R'";
  }
  if (request.action == Action::kList && !request.edit.words.empty()) {
    return "Command not allowed with '-l'";
  }
  if (runs && request.edit.words.empty()) return "Command required with '-p' or '-x' option";
  return {};
}

void print_instance(const Instance& instance) {
  fmt::print("{:<15} {:<15} {:<9} {}\n", instance.name.empty() ? "-" : instance.name,
             instance.group.empty() ? "-" : instance.group, instance.is_enabled ? "y" : "n",
             instance.directory);
}

// `postern COMMAND` for one instance. One that is not enabled is only looked over when the others
// are started, and left alone when they are stopped.
int run_postern(const Instances& instances, const Instance& instance,
                std::vector<std::string> command) {
  const std::string verb = command.front();
  if (!instance.is_enabled) {
    if (is_among(instances.start_commands, verb)) {
      command = {"check"};
    } else if (is_among(instances.stop_commands, verb) ||
               is_among(instances.control_commands, verb)) {
      return 0;
    }
  }
  command.insert(command.begin(), {command_path("postern"), "-c", instance.directory});
  return run_for(instance, command);
}

int iterate(const Request& request, const Instances& instances) {
  std::vector<Instance> chosen = instances.list;
  if (!instances.is_managed) chosen.resize(1);
  std::erase_if(chosen, [&](const Instance& one) { return !is_chosen(request.edit, one); });
  const std::vector<std::string>& words = request.edit.words;
  const bool stops =
      request.action == Action::kPostern && is_among(instances.stop_commands, words.front());
  if (request.is_reversed || stops) std::ranges::reverse(chosen);
  int worst = 0;
  for (const Instance& instance : chosen) {
    if (request.action == Action::kList) {
      print_instance(instance);
    } else if (request.action == Action::kPostern) {
      worst = std::max(worst, run_postern(instances, instance, words));
    } else {
      worst = std::max(worst, run_for(instance, words));
    }
  }
  return worst;
}

}  // namespace

Result<Instances> read_instances(const std::string& primary_directory) {
  TRY(const auto loaded,
      load_configuration(primary_directory, find_install_paths(), Extent::kWithoutNetwork));
  const Values values(loaded.snapshot);
  Instances instances;
  instances.is_managed = !values.text("multi_instance_wrapper").empty();
  instances.start_commands = values.list("postmulti_start_commands");
  instances.stop_commands = values.list("postmulti_stop_commands");
  instances.control_commands = values.list("postmulti_control_commands");
  TRY(Instance primary, read_instance(primary_directory, true));
  instances.list.push_back(std::move(primary));
  for (const auto& other : values.list("multi_instance_directories")) {
    TRY(Instance instance, read_instance(other, false));
    instances.list.push_back(std::move(instance));
  }
  return instances;
}

std::string command_path(std::string_view name) {
  return fmt::format("{}/{}", find_install_paths().command_directory, name);
}

int run_for(const Instance& instance, const std::vector<std::string>& command) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) return fail_with("fork failed");
  if (child == 0) {
    const InstallPaths paths = find_install_paths();
    for (const auto& [name, value] : std::initializer_list<std::pair<const char*, std::string>>{
             {"MAIL_CONFIG", instance.directory},
             {"command_directory", paths.command_directory},
             {"daemon_directory", paths.daemon_directory},
             {"config_directory", instance.directory},
             {"queue_directory", instance.queue_directory},
             {"data_directory", instance.data_directory},
             {"multi_instance_name", instance.name},
             {"multi_instance_group", instance.group},
             {"multi_instance_enable", instance.is_enabled ? "yes" : "no"}}) {
      ::setenv(name, value.c_str(), 1);
    }
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

std::optional<int> hand_to_wrapper(int argc, char** argv) {
  // Whoever names a directory, as postmulti does, means that instance.
  if (::getenv("MAIL_CONFIG") != nullptr) return std::nullopt;
  const auto directory = choose_config_directory("", find_install_paths());
  if (!directory) return std::nullopt;  // said by the verb
  const auto loaded =
      load_configuration(directory->path, find_install_paths(), Extent::kWithoutNetwork);
  if (!loaded) return std::nullopt;
  const Values values(loaded->snapshot);
  if (values.list("multi_instance_directories").empty()) return std::nullopt;
  std::vector<std::string> command;
  for (const auto word : split_words(values.text("multi_instance_wrapper"))) {
    command.emplace_back(word);
  }
  if (command.empty()) {
    fmt::print(stderr,
               "postern: fatal: multi_instance_directories lists further instances, but "
               "multi_instance_wrapper is empty; run: postmulti -e init\n");
    return 1;
  }
  for (int i = 0; i < argc; ++i) command.emplace_back(argv[i]);
  std::vector<char*> words;
  for (auto& word : command) words.push_back(word.data());
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  fmt::print(stderr, "postern: fatal: multi_instance_wrapper: {}: {}\n", command[0],
             std::strerror(errno));
  return 1;
}

int postmulti_main(int argc, char** argv) {
  const auto request = parse(argc, argv);
  if (!request) {
    return fail_with(
        "usage: postmulti -l [-aRv] [-g group] [-i name] | -p command... | -x command... | -e "
        "init|create|import|destroy|deport|enable|disable|assign [-a] [-I name] [-G group] "
        "[-i name] [name=value...]");
  }
  if (const auto fault = find_fault(*request); !fault.empty()) return fail_with(fault);
  const auto directory = choose_config_directory("", find_install_paths());
  if (!directory) return fail_with(directory.error().text);
  const auto instances = read_instances(directory->path);
  if (!instances) return fail_with(instances.error().text);
  if (request->action != Action::kEdit) return iterate(*request, *instances);
  if (!sys::is_root()) return fail_with("use of this command is reserved for the superuser");
  const auto done = edit_instances(request->edit, *instances);
  return done ? 0 : fail_with(done.error().text);
}

}  // namespace postern::control
