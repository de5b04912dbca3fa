#include "master/child.h"

#include <fmt/format.h>

#include <csignal>

#include "common/daemon/confinement.h"
#include "common/ipc/control.h"
#include "common/sys/process.h"
#include "common/sys/socket.h"

namespace postern::master {

namespace {

// Between the end of draining, the request to end and the end by force.
constexpr std::chrono::seconds kPressAfter{1};

// Its own to each, those of all to the two who judge by them.
void add_identities(std::vector<std::string>& environment, std::string_view program,
                    const std::vector<ipc::Identity>& identities) {
  for (const auto& each : identities) {
    if (each.program != program) continue;
    environment.push_back(
        fmt::format("{}={}", ipc::kIdentityVariable, ipc::print_identities({each})));
  }
  if (program == "tables" || program == "proxymap") {
    environment.push_back(
        fmt::format("{}={}", ipc::kIdentitiesVariable, ipc::print_identities(identities)));
  }
}

}  // namespace

std::optional<unsigned> SlotPool::take() {
  for (unsigned i = 0; i < kSlots; ++i) {
    const unsigned slot = (next_ + i) % kSlots;
    if (taken_[slot]) continue;
    taken_.set(slot);
    next_ = (slot + 1) % kSlots;
    return slot;
  }
  return std::nullopt;
}

void Child::drain(std::chrono::seconds limit) {
  is_draining = true;
  // Again where there is less time than there was.
  ipc::control::Drain notice;
  notice.seconds = limit.count();
  tell(notice);
  pressed_ = 0;
  // Not the loop's idea of now: at start and reload this may be seconds old.
  deadline_.arm(loop::Clock::now() + limit + kPressAfter);
}

void Child::press() {
  kill(pressed_ == 0 ? SIGTERM : SIGKILL);
  ++pressed_;
  deadline_.arm(loop::Clock::now() + kPressAfter);
}

void Child::kill(int signal) const { ::kill(pid, signal); }

Result<std::unique_ptr<Child>> start_child(const ServiceSpec& spec,
                                           const std::vector<int>& listeners,
                                           const Surroundings& surroundings, unsigned slot,
                                           const ipc::Dispatcher& dispatcher) {
  TRY(sys::FdPair control, sys::socket_pair());
  sys::Launch launch;
  launch.path = spec.path;
  launch.environment = surroundings.environment;
  add_identities(launch.environment, spec.program, surroundings.identities);
  launch.descriptors = {control.second.get(), surroundings.snapshot, surroundings.log_write};
  launch.descriptors.insert(launch.descriptors.end(), listeners.begin(), listeners.end());
  if (!daemon::needs_network(spec.program)) launch.network = surroundings.empty_network;
  // Last words of a process that fails an assertion reach the log.
  launch.error = surroundings.log_write;
  std::size_t listener_count = listeners.size();
  if (spec.program == "postlog") {
    launch.descriptors.push_back(surroundings.log_read);
    ++listener_count;
    if (surroundings.keeps_output) launch.output = 1;
  }
  launch.arguments = {spec.program, "-n", spec.name, "-t", std::string(config::name_of(spec.type))};
  launch.arguments.insert(launch.arguments.end(), spec.flags.begin(), spec.flags.end());
  launch.arguments.insert(launch.arguments.end(),
                          {"-s", fmt::format("{}", listener_count), "-z", fmt::format("{}", slot)});
  TRY(const pid_t pid, sys::launch(launch));
  auto child = std::make_unique<Child>(pid, spec, slot);
  child->control = std::make_shared<ipc::Channel>(std::move(control.first), dispatcher);
  child->control->start();
  return child;
}

}  // namespace postern::master
