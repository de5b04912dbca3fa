// postmulti.h - several mail systems on one machine: what is known of each, and how they are made.
//
// The first instance is the configuration directory of the command; its multi_instance_directories
// lists the others, in the order in which they start.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace postern::control {

struct Instance {
  std::string directory, name, group;
  std::string queue_directory, data_directory;
  bool is_enabled = true;
  bool is_primary = false;
};

// Instances are managed once `postmulti -e init` has set the wrapper.
struct Instances {
  std::vector<Instance> list;  // the first one first
  bool is_managed = false;
  std::vector<std::string> start_commands, stop_commands, control_commands;
};

[[nodiscard]] Result<Instances> read_instances(const std::string& primary_directory);

struct EditRequest {
  std::string action;                              // "create"
  std::vector<std::string> words;                  // name=value
  std::optional<std::string> name, group;          // -i -g
  std::optional<std::string> new_name, new_group;  // -I -G; "-" is none
  bool is_first = false;                           // -a
};

// One change of the life of an instance. What could not be removed is told on standard error.
[[nodiscard]] Result<void> edit_instances(const EditRequest& request, const Instances& instances);

// Runs a command for the instance, with what postmulti(1) promises in its environment; its exit
// status.
[[nodiscard]] int run_for(const Instance& instance, const std::vector<std::string>& command);

// The command of this installation that is called `name`.
[[nodiscard]] std::string command_path(std::string_view name);

// `postern VERB...` without a configuration directory, where main.cf lists further instances, is
// meant for all of them: becomes multi_instance_wrapper. Returns the status to exit with, or
// nothing where the verb is for this instance alone.
[[nodiscard]] std::optional<int> hand_to_wrapper(int argc, char** argv);

}  // namespace postern::control
