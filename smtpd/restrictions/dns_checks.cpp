// dns_checks.cpp - what DNS says of a domain: whether mail for it could be answered, and which
// hosts serve it. Questions about one domain go out side by side; resolver keeps the answers.

#include <fmt/format.h>

#include <algorithm>

#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/loop/gather.h"
#include "common/mail/address.h"
#include "smtpd/restrictions/dns_query.h"
#include "smtpd/restrictions/run.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

using ipc::resolver::Answer;
using ipc::resolver::Status;

constexpr std::chrono::seconds kResolverTime{100};

// Of one domain: more are not looked at, whoever made them.
constexpr std::size_t kMaxHosts = 30;
constexpr unsigned kMaxParents = 50;

std::string_view words_of(Status status) {
  switch (status) {
    case Status::kFound:
    case Status::kNoData:
      return "Host found but no data record of requested type";
    case Status::kNoSuchName:
      return "Host not found";
    case Status::kTemporary:
      return "Host not found, try again";
  }
  return "";
}

}  // namespace

loop::Task<Answer> RestrictionRun::query(std::string name, std::string type) {
  return query_dns(session_.neighbours(), session_.settings().smtpd.smtpd_dns_reply_filter,
                   std::move(name), std::move(type));
}

loop::Task<DomainState> RestrictionRun::find_domain(std::string domain) {
  if (domain.ends_with('.')) domain.pop_back();
  // What is no domain name is in no name server.
  if (!mail::is_valid_hostname(domain)) co_return DomainState::kNotFound;
  if (const auto& known = state().domains; known.contains(domain)) {
    co_return known.find(domain)->second;
  }
  const auto& lists = session_.settings().restrictions;
  Answer mx;
  Answer v4;
  Answer v6;
  v4.status = v6.status = Status::kNoData;
  loop::Gather all;
  all.add(loop::store(query(domain, "MX"), &mx));
  if (lists.use_ipv4) all.add(loop::store(query(domain, "A"), &v4));
  if (lists.use_ipv6) all.add(loop::store(query(domain, "AAAA"), &v6));
  co_await all.done();

  DomainState found = DomainState::kNotFound;
  const auto is = [&](Status status) {
    return mx.status == status || v4.status == status || v6.status == status;
  };
  if (mx.status == Status::kFound && mx.records.size() == 1 && mx.records.front().data.empty()) {
    found = DomainState::kNullMx;
  } else if (is(Status::kFound)) {
    found = DomainState::kFound;
  } else if (mx.error == kAllFiltered || v4.error == kAllFiltered || v6.error == kAllFiltered) {
    log::warning("{}: MX or address lookup error: {}", log::clean(domain), kAllFiltered);
    found = DomainState::kFiltered;
  } else if (is(Status::kTemporary)) {
    found = DomainState::kTemporary;
  }
  auto& known = state().domains;
  if (known.size() < RestrictionState::kMaxAnswers) known.emplace(domain, found);
  co_return found;
}

loop::Task<std::vector<RestrictionRun::NamedHost>> RestrictionRun::find_hosts(std::string domain,
                                                                              AccessVia via,
                                                                              Subject subject) {
  std::vector<NamedHost> hosts;
  const auto& lists = session_.settings().restrictions;
  if (domain.ends_with('.')) domain.pop_back();
  if (!mail::is_valid_hostname(domain)) co_return hosts;
  std::vector<std::string> names;
  if (via == AccessVia::kAddress) {
    names.push_back(domain);
  } else {
    const std::string type = via == AccessVia::kMailHosts ? "MX" : "NS";
    std::string name = domain;
    Answer answer = co_await query(name, type);
    // Name servers are those of the zone that the name is in.
    for (unsigned i = 0; via == AccessVia::kNameServers && i < kMaxParents; ++i) {
      if (answer.status == Status::kFound || answer.status == Status::kTemporary) break;
      const auto dot = name.find('.');
      if (dot == std::string::npos || name.find('.', dot + 1) == std::string::npos) break;
      name.erase(0, dot + 1);
      answer = co_await query(name, type);
    }
    if (answer.status == Status::kFound) {
      for (const auto& record : answer.records) {
        if (!record.data.empty()) names.push_back(record.data);
      }
    } else if (via == AccessVia::kMailHosts && answer.status != Status::kTemporary) {
      names.push_back(domain);  // RFC 5321 5.1: the name itself
    } else {
      log::warning(
          "Unable to look up {} host for {}: {}", type,
          log::clean(via == AccessVia::kNameServers && subject.class_name.ends_with("address")
                         ? subject.name
                         : domain),
          words_of(answer.status));
      co_return hosts;
    }
  }
  if (names.size() > kMaxHosts) names.resize(kMaxHosts);
  std::vector<ipc::resolver::Hosts> found(names.size());
  loop::Gather all;
  for (std::size_t i = 0; i < names.size(); ++i) {
    ipc::resolver::FindHosts question;
    question.domain = names[i];
    question.use_mx = false;
    question.use_ipv4 = lists.use_ipv4;
    question.use_ipv6 = lists.use_ipv6;
    all.add([](ipc::Client& resolver, ipc::resolver::FindHosts asked,
               ipc::resolver::Hosts* out) -> loop::Task<void> {
      auto answer = co_await resolver.call(std::move(asked), loop::Clock::now() + kResolverTime);
      if (answer) *out = *std::move(answer);
    }(session_.neighbours().resolver, std::move(question), &found[i]));
  }
  co_await all.done();
  for (std::size_t i = 0; i < names.size(); ++i) {
    NamedHost host;
    host.name = names[i];
    for (const auto& entry : found[i].hosts) {
      host.addresses.insert(host.addresses.end(), entry.addresses.begin(), entry.addresses.end());
    }
    hosts.push_back(std::move(host));
  }
  co_return hosts;
}

}  // namespace postern::smtpd
