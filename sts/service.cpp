#include "sts/service.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/load.h"
#include "common/config/params/tls.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/report_address.h"
#include "common/sys/act_as.h"
#include "common/tls/key_files.h"

namespace postern::sts {

namespace {

using Wall = std::chrono::system_clock;

// Each waits for one server. Mail for a domain waits for its policy: those who are slow on purpose
// must not be as many as the threads.
constexpr unsigned kFetchThreads = 64;
constexpr std::size_t kMaxDomains = 50'000;
constexpr std::size_t kMaxAuthorities = std::size_t{8} << 20;
constexpr std::chrono::minutes kLookAgain{5};
constexpr std::chrono::minutes kFetchAgain{5};
constexpr std::chrono::seconds kLookupTime{100};
constexpr long kFetchTime = 60;  // RFC 8461 3.3

std::int64_t seconds_of(Wall::time_point time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

std::string read_authorities(const std::string& configured) {
  if (!configured.empty()) {
    auto text = config::read_file(configured, kMaxAuthorities);
    if (text) return *std::move(text);
    log::warning("mta_sts_CAfile: {}", text.error().text);
    return {};
  }
  if (auto text = config::read_file(tls::system_authorities_path(), kMaxAuthorities)) {
    return *std::move(text);
  }
  log::warning(
      "no certificates of authorities are installed (package ca-certificates): MTA-STS "
      "policies cannot be fetched");
  return {};
}

ipc::sts::Mode mode_of(tls::StsMode mode) {
  switch (mode) {
    case tls::StsMode::kEnforce:
      return ipc::sts::Mode::kEnforce;
    case tls::StsMode::kTesting:
      return ipc::sts::Mode::kTesting;
    case tls::StsMode::kNone:
      break;
  }
  return ipc::sts::Mode::kNone;
}

}  // namespace

Surroundings open_surroundings(daemon::Process& process) {
  Surroundings out;
  const std::string path = process.values().text("data_directory") + "/mta_sts_cache.lmdb";
  {
    const sys::ActAs as_owner(process.mail_owner());
    auto store = table::Kept::open(path);
    if (store) {
      out.store = *std::move(store);
    } else {
      log::warning("{}; MTA-STS policies are forgotten at the end of the process",
                   store.error().text);
    }
  }
  out.authorities = read_authorities(process.values().text("mta_sts_CAfile"));
  curl_global_init(CURL_GLOBAL_DEFAULT);
  return out;
}

std::string print_kept(const Kept& kept) {
  return fmt::format("{} {}\n{}", kept.id, kept.expires, kept.text);
}

std::optional<Kept> parse_kept(std::string_view text) {
  const auto [head, body] = split_at_first(text, '\n');
  const auto [id, expires] = split_at_first(head, ' ');
  const auto seconds = parse_integer<std::int64_t>(expires);
  if (id.empty() || !seconds) return std::nullopt;
  return Kept{std::string(id), *seconds, std::string(body)};
}

Service::Service(daemon::Process& process, Surroundings surroundings)
    : process_(process),
      surroundings_(std::move(surroundings)),
      server_(process.take_listener()),
      pool_(kFetchThreads) {}

void Service::start() {
  server_.dispatcher().serve<ipc::sts::FindPolicy>(
      [this](ipc::sts::FindPolicy question, ipc::ChannelPtr) { return find(std::move(question)); });
  server_.dispatcher().serve<ipc::sts::Post>(
      [this](ipc::sts::Post request, ipc::ChannelPtr) { return post(std::move(request)); });
  process_.on_reload([] {});
  process_.on_drain([this] {
    server_.stop_accepting();
    finish_if_idle();
  });
  server_.only_for(process_.clients());
  server_.start();
}

void Service::finish_if_idle() {
  if (process_.is_draining() && under_way_ == 0) {
    loop::Loop::current().post([this] { process_.finish(); });
  }
}

Service::DomainPtr Service::domain_of(const std::string& name) {
  if (domains_.size() >= kMaxDomains) {
    std::erase_if(domains_, [](const auto& entry) {
      return !entry.second->is_looking && entry.second->look_again < Wall::now();
    });
  }
  auto& domain = domains_[name];
  if (domain != nullptr) return domain;
  domain = std::make_shared<Domain>();
  const auto stored = surroundings_.store.find(name);
  if (!stored) return domain;
  auto kept = parse_kept(*stored);
  auto policy =
      kept ? tls::parse_sts_policy(kept->text) : Result<tls::StsPolicy>(fail_temporary(""));
  if (policy) {
    domain->kept = std::move(kept);
    domain->policy = *std::move(policy);
  }
  return domain;
}

loop::Task<Result<ipc::sts::Policy>> Service::find(ipc::sts::FindPolicy question) {
  const std::string name = to_lower(question.domain);
  if (!mail::is_valid_domain(name)) co_return ipc::sts::Policy{};
  ++under_way_;
  const DomainPtr domain = domain_of(name);
  while (domain->is_looking) co_await domain->looked.wait(loop::kNever);
  if (domain->look_again <= Wall::now()) co_await look(name, domain);
  --under_way_;
  finish_if_idle();
  ipc::sts::Policy answer;
  if (domain->kept && domain->kept->expires > seconds_of(Wall::now())) {
    answer.mode = mode_of(domain->policy.mode);
    answer.mx = domain->policy.mx;
    for (const auto line : split_words(domain->kept->text, "\r\n")) answer.lines.emplace_back(line);
  }
  if (answer.mode == ipc::sts::Mode::kNone) answer.failure = domain->failure;
  co_return answer;
}

loop::Task<void> Service::look(std::string name, DomainPtr domain) {
  domain->is_looking = true;
  ipc::resolver::Query question;
  question.name = "_mta-sts." + name;
  question.type = "TXT";
  const auto answer = co_await resolver_.call(question, loop::Clock::now() + kLookupTime);
  domain->look_again = Wall::now() + kLookAgain;
  std::optional<std::string> id;
  if (answer && answer->status == ipc::resolver::Status::kFound) {
    std::vector<std::string> texts;
    for (const auto& record : answer->records) texts.push_back(record.data);
    id = tls::find_sts_id(texts);
  }
  if (!id) domain->failure.clear();
  const bool is_known = domain->kept && id && domain->kept->id == *id &&
                        domain->kept->expires > seconds_of(Wall::now()) + kFetchTime;
  if (id && !is_known) {
    auto fetched = co_await fetch(name, *id, domain);
    if (fetched) {
      domain->policy = tls::parse_sts_policy(fetched->text).value();
      domain->kept = *std::move(fetched);
      surroundings_.store.put(name, print_kept(*domain->kept));
      log::info("MTA-STS policy of {}: mode {}, {} servers, for {} days", name,
                tls::name_of(domain->policy.mode), domain->policy.mx.size(),
                domain->policy.max_age / std::chrono::days(1));
    } else {
      domain->look_again = Wall::now() + kFetchAgain;
      log::warning("MTA-STS policy of {}: {}{}", name, log::clean(fetched.error().text),
                   domain->kept ? "; the former one counts" : "");
    }
  }
  domain->is_looking = false;
  domain->looked.notify_all();
}

loop::Task<Result<HttpsPeer>> Service::find_peer(std::string host) {
  ipc::resolver::FindHosts question;
  question.domain = host;
  question.use_mx = false;
  const auto hosts = co_await resolver_.call(question, loop::Clock::now() + kLookupTime);
  if (!hosts) co_return std::unexpected(hosts.error());
  HttpsPeer peer;
  peer.host = std::move(host);
  peer.authorities = surroundings_.authorities;
  peer.timeout = kFetchTime;
  for (const auto& found : hosts->hosts) {
    peer.addresses.insert(peer.addresses.end(), found.addresses.begin(), found.addresses.end());
  }
  if (peer.addresses.empty()) co_return fail_temporary(hosts->error);
  co_return peer;
}

loop::Task<Result<ipc::sts::Posted>> Service::post(ipc::sts::Post request) {
  // The one who asks has read it in a stranger's record: it is looked at again.
  const auto address = mail::parse_report_address(request.url);
  if (!address || address->kind != mail::ReportAddress::Kind::kHttps ||
      address->target != request.url || !mail::is_valid_hostname(address->host)) {
    co_return fail(Error::Kind::kPermanent, "not a URL for reports");
  }
  ++under_way_;
  auto peer = co_await find_peer(address->host);
  Result<long> status = fail_temporary("");
  if (peer) {
    status = co_await pool_.run([&peer, &request] {
      return post_report(*peer, request.url, request.content_type, request.body);
    });
  } else {
    status = std::unexpected(peer.error());
  }
  --under_way_;
  finish_if_idle();
  if (!status) co_return std::unexpected(status.error());
  ipc::sts::Posted answer;
  answer.status = *status;
  co_return answer;
}

loop::Task<Result<Kept>> Service::fetch(std::string name, std::string id, DomainPtr domain) {
  domain->failure = "sts-policy-fetch-error";
  CO_TRY(const HttpsPeer peer, co_await find_peer("mta-sts." + name));
  auto fetched = co_await pool_.run([&peer] { return fetch_policy(peer); });
  if (!fetched) {
    const bool is_untrusted = fetched.error().text.find("certificate") != std::string::npos;
    if (is_untrusted) domain->failure = "sts-webpki-invalid";
    co_return std::unexpected(std::move(fetched).error());
  }
  std::string text = *std::move(fetched);
  domain->failure = "sts-policy-invalid";
  CO_TRY(const auto policy, tls::parse_sts_policy(text));
  domain->failure.clear();
  Kept kept;
  kept.id = std::move(id);
  kept.expires = seconds_of(Wall::now() + policy.max_age);
  kept.text = std::move(text);
  co_return kept;
}

}  // namespace postern::sts
