// local - delivers to the users of this machine.

#include "common/agent/broker.h"
#include "common/agent/service.h"
#include "common/config/params/local.h"
#include "common/config/params/paths.h"
#include "common/daemon/confinement.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"
#include "local/delivery.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "local");
  process.forbid_system_changes();
  const auto params = process.load<config::LocalParams>();
  auto fallback = sys::find_account(process.load<config::PathsParams>().default_privs);
  if (!fallback) log::fatal("default_privs: {}", fallback.error().text);
  if (const auto found = sys::find_groups(*fallback); !found) {
    log::fatal("default_privs: {}", found.error().text);
  }
  agent::BrokerPolicy policy;
  policy.forbidden_uids = daemon::own_users(process.mail_owner());
  policy.must_be_user = true;
  policy.fallback = *fallback;
  policy.mail_spool_directory = params.mail_spool_directory;
  policy.runs_commands = true;
  const auto chroot =
      process.values().service()->is_chroot ? agent::Chroot::kHere : agent::Chroot::kNone;
  auto broker = agent::split_rights(policy, process.account(), chroot);
  if (!broker) log::fatal("{}", broker.error().text);
  process.drop_rights();

  local::Agent agent(process.values(), process.service(), *fallback, *std::move(broker));
  agent::AgentService service(process.take_listener(), process.values(),
                              [&agent](std::shared_ptr<agent::Delivery> delivery) {
                                return agent.deliver(std::move(delivery));
                              });
  service.handle_probes();
  service.attach(process);
  process.on_reload([&] {
    service.configure(process.values());
    agent.configure(process.values());
  });
  return process.serve();
}
