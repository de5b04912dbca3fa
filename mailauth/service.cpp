#include "mailauth/service.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/config/params/address.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "mailauth/resolver_source.h"

namespace postern::mailauthd {

namespace {

constexpr unsigned kThreads = 2;
constexpr std::size_t kMaxSummary = 1000;

}  // namespace

mailauth::PublicSuffixes open_suffixes(daemon::Process& process) {
  const auto params = process.load<config::MailauthParams>();
  auto list = mailauth::PublicSuffixes::open(params.dmarc_public_suffix_list);
  if (list) return *std::move(list);
  log::warning("dmarc_public_suffix_list: {}; using the list that libpsl carries",
               list.error().text);
  return mailauth::PublicSuffixes::built_in();
}

Service::Service(daemon::Process& process, mailauth::PublicSuffixes suffixes)
    : process_(process),
      suffixes_(std::move(suffixes)),
      server_(process.take_listener()),
      pool_(kThreads),
      random_(std::random_device{}()) {
  configure();
}

void Service::configure() {
  params_ = process_.load<config::MailauthParams>();
  is_reporting_ = process_.values().flag("dmarc_report_enable");
  const auto address = process_.load<config::AddressParams>();
  rules_ = std::make_shared<const mailauth::VerdictRules>(
      mailauth::read_verdict_rules(params_, address.myhostname));
  config::Problems problems;
  signing_ = std::make_shared<const SigningRules>(
      read_signing_rules(process_.values(), params_, problems));
  for (const auto& problem : problems) log::warning("{}", config::log_text(problem));
}

void Service::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.serve<ipc::mailauth::CheckSpf>(
      [this](ipc::mailauth::CheckSpf request, ipc::ChannelPtr) {
        return check_spf(std::move(request));
      });
  dispatcher.serve_with_fds<ipc::mailauth::Examine>(
      [this](ipc::mailauth::Examine request, ipc::ChannelPtr, std::vector<sys::Fd> fds) {
        return examine(std::move(request), std::move(fds));
      });
  dispatcher.serve_with_fds<ipc::mailauth::Sign>(
      [this](ipc::mailauth::Sign request, ipc::ChannelPtr, std::vector<sys::Fd> fds) {
        return sign(std::move(request), std::move(fds));
      });
  process_.on_reload([this] { configure(); });
  process_.on_drain([this] {
    server_.stop_accepting();
    if (under_way_ == 0) process_.finish();
  });
  server_.only_for(process_.clients());
  server_.start();
}

void Service::end() {
  --under_way_;
  if (under_way_ == 0 && process_.is_draining()) process_.finish();
}

loop::Task<Result<ipc::mailauth::SpfAnswer>> Service::check_spf(ipc::mailauth::CheckSpf request) {
  ++under_way_;
  const auto identity = request.identity == ipc::mailauth::Identity::kHelo
                            ? mailauth::SpfIdentity::kHelo
                            : mailauth::SpfIdentity::kMailFrom;
  ResolverSource dns(resolver_, loop::Clock::now() + params_.mailauth_time_limit);
  mailauth::SpfRequest question =
      mailauth::spf_request(request.client_address, std::move(request.helo),
                            std::move(request.sender), identity, rules_->myhostname);
  mailauth::SpfVerdict verdict = co_await mailauth::check_spf(dns, std::move(question));
  ipc::mailauth::SpfAnswer answer;
  answer.result = mailauth::spf_result_name(verdict.result);
  answer.domain = std::move(verdict.domain);
  answer.problem = std::move(verdict.problem);
  answer.explanation = std::move(verdict.explanation);
  end();
  co_return answer;
}

loop::Task<Result<ipc::mailauth::Examined>> Service::examine(ipc::mailauth::Examine request,
                                                             std::vector<sys::Fd> fds) {
  ++under_way_;
  const std::shared_ptr<const mailauth::VerdictRules> rules = rules_;
  const std::string queue_id = request.queue_id;
  const auto sample =
      static_cast<unsigned>(std::uniform_int_distribution<unsigned>(0, 99)(random_));
  mailauth::Examination examination(*rules, suffixes_, std::move(request), sample);
  sys::Fd file = fds.empty() ? sys::Fd() : std::move(fds.front());
  const Result<void> read = co_await examination.read_body(pool_, std::move(file));
  if (!read) {
    log::warning("{}: {}", log::clean(queue_id), read.error().text);
    end();
    co_return std::unexpected(read.error());
  }
  ResolverSource dns(resolver_, loop::Clock::now() + params_.mailauth_time_limit);
  ipc::mailauth::Examined examined = co_await examination.judge(dns);
  log::info("{}: {}", log::clean(queue_id), log::clean(examination.summary(), kMaxSummary));
  if (is_reporting_) {
    // One that cannot be sent at once is lost.
    if (const auto result = examination.for_report()) (void)reports_.notify(*result);
  }
  end();
  co_return examined;
}

loop::Task<Result<ipc::mailauth::Signed>> Service::sign(ipc::mailauth::Sign request,
                                                        std::vector<sys::Fd> fds) {
  ++under_way_;
  const std::shared_ptr<const SigningRules> rules = signing_;
  const std::string queue_id = request.queue_id;
  Signing signing(*rules, tables_, keyring_, loop::Clock::now() + params_.mailauth_time_limit);
  sys::Fd file = fds.empty() ? sys::Fd() : std::move(fds.front());
  auto answer = co_await signing.sign(std::move(request), pool_, std::move(file));
  end();
  if (!answer) log::warning("{}: signing: {}", log::clean(queue_id), answer.error().text);
  co_return answer;
}

}  // namespace postern::mailauthd
