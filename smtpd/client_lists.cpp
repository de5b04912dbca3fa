// client_lists.cpp - which of the lists of main.cf the client is in: mynetworks and its kin.

#include <algorithm>

#include "common/log/log.h"
#include "common/policy/network_list.h"
#include "smtpd/session.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};

}  // namespace

loop::Task<Session::Listed> Session::find_client_in(const config::Networks& networks) {
  if (!ip_) co_return Listed::kNo;
  const auto found = co_await policy::is_in_networks(neighbours().tables, networks, *ip_);
  if (!found) {
    log::warning("{}", found.error().text);
    co_return Listed::kUnknown;
  }
  co_return *found ? Listed::kYes : Listed::kNo;
}

loop::Task<bool> Session::is_client_in(const config::Networks& networks) {
  const Listed listed = co_await find_client_in(networks);
  co_return listed == Listed::kYes;
}

// Asked once for each client: what looks at the answers cannot wait everywhere.
loop::Task<void> Session::look_up_client_lists() {
  in_mynetworks_ = co_await find_client_in(settings_->address.mynetworks);
  const auto& excused = settings_->smtpd.smtpd_forbid_bare_newline_exclusions;
  const bool is_excused = co_await is_client_in(excused);
  is_bare_newline_excused_ = is_excused;
}

loop::Task<bool> Session::has_listed_certificate() {
  const auto& tables = settings_->tls.relay_clientcerts;
  if (!has_certificate() || tables.empty()) co_return false;
  ipc::tables::Lookup question;
  question.tables = tables;
  for (const auto& print : certificate_fingerprints()) question.keys.push_back({print, false});
  const auto found =
      co_await neighbours().tables.lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) log::warning("relay_clientcerts: {}", found.error().text);
  co_return found && found->is_found;
}

// local_header_rewrite_clients: whose headers are completed.
loop::Task<bool> Session::is_local_client() {
  constexpr std::string_view kTable = "check_address_map";
  const bool is_address_settled = extras_ && extras_->is_local_client;
  if (is_address_settled && *extras_->is_local_client) co_return true;
  const auto& own = settings_->own_addresses;
  for (const auto& word : settings_->address.local_header_rewrite_clients) {
    if (word == "permit_sasl_authenticated") {
      if (is_authenticated()) co_return true;
    } else if (word == "permit_tls_all_clientcerts") {
      if (has_trusted_certificate()) co_return true;
    } else if (word == "permit_tls_clientcerts") {
      const bool is_listed = co_await has_listed_certificate();
      if (is_listed) co_return true;
    } else if (is_address_settled || word == kTable) {
      continue;
    } else if (word == "permit_mynetworks") {
      if (is_in_mynetworks()) co_return true;
    } else if (word == "permit_inet_interfaces") {
      if (std::ranges::find(own, client_address_) != own.end()) co_return true;
    } else if (word == "static:all") {
      co_return true;
    } else if (word.find(':') != std::string::npos) {
      ipc::tables::Lookup question;
      question.tables.push_back(word);
      question.keys.push_back({client_address_, false});
      const auto found = co_await neighbours().tables.lookup(std::move(question),
                                                             loop::Clock::now() + kTablesTime);
      if (!found) log::warning("local_header_rewrite_clients: {}", found.error().text);
      if (found && found->is_found) co_return true;
    }
  }
  co_return false;
}

}  // namespace postern::smtpd
