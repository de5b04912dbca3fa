#include "postern-milter/filter.h"

#include <fmt/format.h>

#include <chrono>
#include <random>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/mail/address.h"
#include "common/mailauth/local_resolver.h"

namespace postern::milterd {

namespace {

constexpr std::size_t kMaxHeader = std::size_t{2} << 20;

unsigned random_percent() {
  static thread_local std::minstd_rand generator{std::random_device{}()};
  return std::uniform_int_distribution<unsigned>(0, 99)(generator);
}

}  // namespace

std::string parse_path(std::string_view path) {
  if (path.starts_with('<') && path.ends_with('>')) path = path.substr(1, path.size() - 2);
  return mail::unquote_address(path);
}

Filter::Filter(const Setup& setup, std::string client_address)
    : setup_(setup), address_(std::move(client_address)) {
  const auto ip = config::parse_ip_address(address_);
  // Without an address it is a program of this machine.
  is_trusted_ = !ip || setup_.mynetworks.contains(*ip);
}

Reply Filter::sender(std::string address, bool is_authenticated) {
  reset();
  if (is_authenticated) is_trusted_ = true;
  if (is_trusted_) return {};
  sender_ = std::move(address);
  const bool needs_spf = setup_.spf != SpfRefusal::kNone || setup_.greylist != nullptr;
  if (!needs_spf) return {};
  const auto identity =
      sender_.empty() ? mailauth::SpfIdentity::kHelo : mailauth::SpfIdentity::kMailFrom;
  mailauth::LocalResolver dns;
  spf_ = mailauth::result_of(mailauth::check_spf(
      dns, mailauth::spf_request(address_, helo_, sender_, identity, setup_.rules.myhostname)));
  using mailauth::SpfResult;
  const bool is_fail = spf_.result == SpfResult::kFail && setup_.spf != SpfRefusal::kNone;
  const bool is_softfail =
      spf_.result == SpfResult::kSoftfail && setup_.spf == SpfRefusal::kSoftfail;
  if (is_fail) return {"550", "5.7.23", "Message rejected due to: SPF fail - not authorized"};
  if (is_softfail) {
    return {"550", "5.7.23", "Message rejected due to: SPF softfail - probably not authorized"};
  }
  return {};
}

Reply Filter::recipient(const std::string& address) {
  if (is_trusted_ || setup_.greylist == nullptr) return {};
  if (spf_.result == mailauth::SpfResult::kPass) return {};
  const auto client = dns::parse_address(address_);
  if (!client) return {};
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::steady_clock::now().time_since_epoch());
  const auto left = setup_.greylist->ask(*client, sender_, address, now);
  if (left.count() == 0) return {};
  return {"450", "4.2.0", fmt::format("Greylisted, try again in {} seconds", left.count())};
}

void Filter::header(std::string_view name, std::string_view value) {
  if (is_trusted_ || header_.size() > kMaxHeader) return;
  header_ += fmt::format("{}:{}\n", name, replace_all(value, "\r\n", "\n"));
}

void Filter::header_end() {
  if (is_trusted_) return;
  ipc::mailauth::Examine question;
  question.wanted = setup_.wanted;
  question.client_address = address_;
  question.helo = helo_;
  question.sender = sender_;
  question.content.header = header_;
  examination_ = std::make_unique<mailauth::Examination>(setup_.rules, setup_.suffixes,
                                                         std::move(question), random_percent());
  hashes_ = &examination_->plan();
}

void Filter::body(std::string_view chunk) {
  if (hashes_ == nullptr || !hashes_->is_wanted() || chunk.empty()) return;
  // Lines end in LF here; a CR that ends a chunk waits for what follows.
  std::string text;
  if (std::exchange(has_cr_, false)) text = "\r";
  text += chunk;
  if (text.ends_with('\r')) {
    has_cr_ = true;
    text.pop_back();
  }
  hashes_->append(replace_all(text, "\r\n", "\n"));
}

Filter::Outcome Filter::end(const std::string& queue_id) {
  Outcome outcome;
  if (examination_ == nullptr) return outcome;
  if (hashes_->is_wanted()) {
    if (has_cr_) hashes_->append("\r");
    hashes_->finish();
  }
  mailauth::LocalResolver dns;
  const auto examined = mailauth::result_of(examination_->judge(dns));
  outcome.summary = fmt::format("{}: {}", queue_id, log::clean(examination_->summary(), 1000));
  if (examined.is_refused) outcome.refusal = {"550", "5.7.1", examined.text};
  outcome.is_held = examined.is_held;
  for (const auto& field : mail::split_header(examined.fields_on_top)) {
    outcome.fields.emplace_back(field.name, field.body);
  }
  int number = 0;
  for (const auto& field : mail::split_header(header_)) {
    if (!equal_nocase(field.name, "Authentication-Results")) continue;
    ++number;
    if (mailauth::is_forged_results(field.body, setup_.rules.authserv_id)) {
      outcome.forged.push_back(number);
    }
  }
  return outcome;
}

void Filter::reset() {
  sender_.clear();
  spf_ = {};
  header_.clear();
  has_cr_ = false;
  hashes_ = nullptr;
  examination_.reset();
}

}  // namespace postern::milterd
