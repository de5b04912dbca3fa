// virtual - delivers to the mailboxes of virtual_mailbox_maps.

#include "common/agent/broker.h"
#include "common/agent/service.h"
#include "common/config/params/virtual.h"
#include "common/daemon/confinement.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"
#include "virtual/delivery.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "virtual");
  process.forbid_system_changes();
  agent::BrokerPolicy policy;
  policy.minimum_uid = static_cast<uid_t>(
      std::max<std::int64_t>(1, process.load<config::VirtualParams>().virtual_minimum_uid));
  policy.forbidden_uids = daemon::own_users(process.mail_owner());
  const auto chroot =
      process.values().service()->is_chroot ? agent::Chroot::kHere : agent::Chroot::kNone;
  auto broker = agent::split_rights(policy, process.account(), chroot);
  if (!broker) log::fatal("{}", broker.error().text);
  process.drop_rights();

  virtual_mailbox::Agent agent(process.values(), *std::move(broker));
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
