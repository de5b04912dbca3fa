#include "smtp/client.h"

#include "common/log/log.h"
#include "common/smtpclient/agent_job.h"

namespace postern::smtp {

namespace {

// The resolver ends a look-up within half a minute; an MX look-up is two in a row.
constexpr std::chrono::seconds kLookupTime{100};

using Job = smtpclient::AgentJob<agent::Delivery, agent::Verdict>;

}  // namespace

Client::Client(daemon::Process& process, smtpclient::Protocol protocol,
               smtpclient::TlsMaterials materials)
    : process_(process),
      protocol_(protocol),
      materials_(std::move(materials)),
      resolver_("private/resolver"),
      engine_(load(),
              [this](ipc::resolver::FindHosts request) { return find_hosts(std::move(request)); }),
      service_(process.take_listener(), process.values(),
               [this](std::shared_ptr<agent::Delivery> delivery) {
                 return deliver(std::move(delivery));
               }) {
  engine_.use_tables(&tables_);
  engine_.use_auth(&auth_);
  engine_.use_resolver([this](ipc::resolver::Query question) { return ask(std::move(question)); });
  service_.handle_probes();
  service_.attach(process);
  process.on_reload([this] { reload(); });
}

smtpclient::SettingsPtr Client::load() const {
  config::Problems problems;
  auto settings = smtpclient::Settings::load(process_.values(), protocol_, problems, materials_);
  for (const auto& problem : problems) log::warning("{}", config::log_text(problem));
  return settings;
}

void Client::reload() {
  engine_.configure(load());
  service_.configure(process_.values());
}

loop::Task<void> Client::deliver(std::shared_ptr<agent::Delivery> delivery) {
  const queuefile::Message* message = co_await delivery->open();
  if (message == nullptr) co_return;
  Job job(delivery, *message, service_.pool());
  co_await engine_.deliver(job);
}

loop::Task<Result<ipc::resolver::Hosts>> Client::find_hosts(ipc::resolver::FindHosts request) {
  auto hosts = co_await resolver_.call(std::move(request), loop::Clock::now() + kLookupTime);
  co_return hosts;
}

loop::Task<Result<ipc::resolver::Answer>> Client::ask(ipc::resolver::Query question) {
  auto answer = co_await resolver_.call(std::move(question), loop::Clock::now() + kLookupTime);
  co_return answer;
}

}  // namespace postern::smtp
