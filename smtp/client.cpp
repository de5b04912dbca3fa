#include "smtp/client.h"

#include "common/daemon/postmaster_notice.h"
#include "common/log/log.h"
#include "common/smtpclient/agent_job.h"
#include "common/tls/settings.h"

namespace postern::smtp {

namespace {

// The resolver ends a look-up within half a minute; an MX look-up is two in a row.
constexpr std::chrono::seconds kLookupTime{100};
// Two of them and a fetch over HTTPS.
constexpr std::chrono::seconds kPolicyTime{280};

using Job = smtpclient::AgentJob<agent::Delivery, agent::Verdict>;

}  // namespace

Client::Client(daemon::Process& process, smtpclient::Protocol protocol)
    : process_(process),
      protocol_(protocol),
      resolver_("private/resolver"),
      cleanup_("public/" + process.values().text("cleanup_service_name")),
      engine_(load(),
              [this](ipc::resolver::FindHosts request) { return find_hosts(std::move(request)); }),
      service_(process.take_listener(), process.values(),
               [this](std::shared_ptr<agent::Delivery> delivery) {
                 return deliver(std::move(delivery));
               }) {
  engine_.use_tables(&tables_);
  engine_.use_auth(&auth_);
  engine_.use_resolver([this](ipc::resolver::Query question) { return ask(std::move(question)); });
  engine_.use_sts([this](ipc::sts::FindPolicy question) { return find_sts(std::move(question)); });
  engine_.use_tls_reports([this](const ipc::reports::TlsResult& result) {
    // One that cannot be sent at once is lost.
    (void)reports_.notify(result);
  });
  engine_.use_notices([this](std::string subject, std::string text) {
    loop::spawn(
        daemon::send_notice(cleanup_, process_.values(), std::move(subject), std::move(text)));
  });
  configure_rewriting();
  service_.handle_probes();
  service_.attach(process);
  process.on_reload([this] { reload(); });
}

smtpclient::TlsMaterials Client::read_materials(config::Problems& problems) const {
  const config::Values values =
      protocol_ == smtpclient::Protocol::kLmtp ? process_.values().for_lmtp() : process_.values();
  smtpclient::TlsMaterials materials;
  const auto params = config::load<config::TlsParams>(values, problems);
  if (!smtpclient::TlsSettings::load(params, {}).is_used()) return materials;
  materials.identities = tls::read_identities(values, tls::Role::kClient, problems);
  materials.authorities = tls::read_authorities(values, tls::Role::kClient);
  materials.signer = keyring_;
  const std::string& anchors = params.smtp_tls_trust_anchor_file;
  if (auto text = values.file(tls::file_name(anchors)); text && !anchors.empty()) {
    materials.anchor_files.emplace(anchors, *std::move(text));
  }
  return materials;
}

smtpclient::SettingsPtr Client::load() const {
  config::Problems problems;
  auto materials = read_materials(problems);
  auto settings =
      smtpclient::Settings::load(process_.values(), protocol_, problems, std::move(materials));
  for (const auto& problem : problems) log::warning("{}", config::log_text(problem));
  return settings;
}

// LMTP has no SPF.
void Client::configure_rewriting() {
  if (protocol_ == smtpclient::Protocol::kSmtp) rewriting_.configure(process_.values());
}

void Client::reload() {
  configure_rewriting();
  engine_.configure(load());
  service_.configure(process_.values());
}

loop::Task<void> Client::deliver(std::shared_ptr<agent::Delivery> delivery) {
  const queuefile::Message* message = co_await delivery->open();
  if (message == nullptr) co_return;
  Job job(delivery, *message, service_.pool());
  if (!rewriting_.is_used()) {
    co_await engine_.deliver(job);
    co_return;
  }
  SenderRewriting::Plan plan;
  const Result<void> planned = co_await rewriting_.plan(job, &plan);
  if (!plan.others_sender.empty()) {
    PartialJob tagged(job, std::move(plan.others), std::move(plan.others_sender));
    co_await engine_.deliver(tagged);
    co_return;
  }
  if (plan.forwarded.empty()) {
    co_await engine_.deliver(job);
    co_return;
  }
  if (planned) {
    PartialJob forwarded(job, std::move(plan.forwarded), std::move(plan.sender));
    co_await engine_.deliver(forwarded);
  } else {
    log::warning("{}: sender rewriting: {}", job.queue_id(), planned.error().text);
    job.mark_connected();
    smtpclient::Verdict verdict;
    verdict.status = "4.3.0";
    verdict.text = "sender rewriting failed: " + planned.error().text;
    for (const std::size_t index : plan.forwarded) job.failed(index, verdict);
  }
  if (plan.others.empty()) co_return;
  PartialJob others(job, std::move(plan.others), job.sender());
  co_await engine_.deliver(others);
}

loop::Task<Result<ipc::resolver::Hosts>> Client::find_hosts(ipc::resolver::FindHosts request) {
  auto hosts = co_await resolver_.call(std::move(request), loop::Clock::now() + kLookupTime);
  co_return hosts;
}

loop::Task<Result<ipc::resolver::Answer>> Client::ask(ipc::resolver::Query question) {
  auto answer = co_await resolver_.call(std::move(question), loop::Clock::now() + kLookupTime);
  co_return answer;
}

loop::Task<Result<ipc::sts::Policy>> Client::find_sts(ipc::sts::FindPolicy question) {
  auto policy = co_await sts_.call(std::move(question), loop::Clock::now() + kPolicyTime);
  co_return policy;
}

}  // namespace postern::smtp
