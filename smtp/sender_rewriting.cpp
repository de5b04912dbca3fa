#include "smtp/sender_rewriting.h"

#include <algorithm>
#include <numeric>

#include "common/base/text.h"
#include "common/config/params/mailauth.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"

namespace postern::smtp {

namespace {

constexpr std::chrono::seconds kAnswerTime{20};

bool is_sent_on(const smtpclient::Recipient& recipient) {
  const auto first = mail::split_address(recipient.orig_to);
  const auto now = mail::split_address(recipient.address);
  return first.has_domain && now.has_domain && !equal_nocase(first.domain, now.domain);
}

}  // namespace

void SenderRewriting::configure(const config::Values& values) {
  config::Problems problems;
  const auto params = config::load<config::MailauthParams>(values, problems);
  is_enabled_ = params.srs_enable;
  domain_ = params.srs_domain;
  excluded_ = params.srs_exclude_domains;
  tagged_domains_ = params.batv_enable ? params.batv_domains : std::vector<std::string>();
}

loop::Task<Result<bool>> SenderRewriting::is_excluded(std::string domain) {
  for (const auto& word : excluded_) {
    if (word.find(':') != std::string::npos) {
      ipc::tables::Lookup question;
      question.tables.push_back(word);
      question.keys.push_back({domain, false});
      CO_TRY(const auto found,
             co_await tables_.lookup(std::move(question), loop::Clock::now() + kAnswerTime));
      if (found.is_found) co_return true;
    } else if (word.starts_with('.') ? ends_with_nocase(domain, word)
                                     : equal_nocase(domain, word)) {
      co_return true;
    }
  }
  co_return false;
}

loop::Task<std::string> SenderRewriting::tagged(const smtpclient::Job& job) {
  ipc::srs::Rewrite request;
  request.direction = ipc::srs::Direction::kTag;
  request.address = job.sender();
  auto made = co_await keyring_.call(std::move(request), loop::Clock::now() + kAnswerTime);
  if (made) co_return std::move(made->address);
  log::warning("{}: sender tag: {}", job.queue_id(), made.error().text);
  co_return job.sender();
}

loop::Task<Result<void>> SenderRewriting::plan(const smtpclient::Job& job, Plan* plan) {
  plan->others.resize(job.recipients());
  std::iota(plan->others.begin(), plan->others.end(), std::size_t{0});
  const auto sender = mail::split_address(job.sender());
  const bool is_tagged = sender.has_domain && !job.is_probe() &&
                         std::ranges::any_of(tagged_domains_, [&](const std::string& domain) {
                           return equal_nocase(domain, sender.domain);
                         });
  if (is_tagged) {
    // A sender of our own is never rewritten.
    plan->others_sender = co_await tagged(job);
    co_return Result<void>{};
  }
  if (!is_enabled_ || !sender.has_domain || job.is_probe()) co_return Result<void>{};
  if (equal_nocase(sender.domain, domain_)) co_return Result<void>{};
  std::vector<std::size_t> forwarded;
  std::erase_if(plan->others, [&](std::size_t index) {
    if (!is_sent_on(job.recipient(index))) return false;
    forwarded.push_back(index);
    return true;
  });
  if (forwarded.empty()) co_return Result<void>{};
  plan->forwarded = std::move(forwarded);
  plan->sender = job.sender();
  CO_TRY(const bool is_left_alone, co_await is_excluded(to_lower(sender.domain)));
  if (is_left_alone) co_return Result<void>{};
  ipc::srs::Rewrite request;
  request.address = job.sender();
  CO_TRY(auto made, co_await keyring_.call(std::move(request), loop::Clock::now() + kAnswerTime));
  if (!made.refusal.empty()) {
    // Better with the sender it has than not at all.
    log::warning("{}: sender <{}> is not rewritten: {}", job.queue_id(), log::clean(job.sender()),
                 made.refusal);
    co_return Result<void>{};
  }
  plan->sender = std::move(made.address);
  log::info("{}: from=<{}> goes on as <{}>", job.queue_id(),
            log::clean(mail::quote_address(job.sender())),
            log::clean(mail::quote_address(plan->sender)));
  co_return Result<void>{};
}

}  // namespace postern::smtp
