// pipe - delivers to external commands, as the user that master.cf names.

#include "common/agent/broker.h"
#include "common/agent/service.h"
#include "common/daemon/confinement.h"
#include "common/daemon/daemon.h"
#include "common/log/log.h"
#include "pipe/delivery.h"

int main(int argc, char** argv) {
  using namespace postern;
  daemon::Process process(argc, argv, "pipe");
  process.forbid_system_changes();
  auto line = pipe::parse_command_line(process.values().service()->args);
  if (!line) log::fatal("service {}: {}", process.service(), line.error().text);
  const auto account = sys::find_account(line->user);
  if (!account) log::fatal("service {}: {}", process.service(), account.error().text);
  agent::Identity who{account->uid, account->gid, {}};
  if (!line->group.empty()) {
    const auto group = sys::find_group(line->group);
    if (!group) log::fatal("service {}: {}", process.service(), group.error().text);
    who.gid = *group;
  }
  if (who.uid == 0 || who.gid == 0) {
    log::fatal("service {}: user= may not have root's rights", process.service());
  }
  if (daemon::is_own_group(who.gid, process.mail_owner())) {
    log::fatal("service {}: group of mail_owner", process.service());
  }
  agent::BrokerPolicy policy;
  policy.minimum_uid = who.uid;
  policy.forbidden_uids = daemon::own_users(process.mail_owner());
  policy.runs_commands = true;
  auto broker = agent::split_rights(policy, process.account(), agent::Chroot::kNone);
  if (!broker) log::fatal("{}", broker.error().text);
  process.drop_rights();

  pipe::Agent agent(process.values(), process.service(), *std::move(line), std::move(who),
                    *std::move(broker));
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
