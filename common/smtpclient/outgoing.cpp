#include "common/smtpclient/outgoing.h"

#include <algorithm>
#include <unordered_map>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/mail/check_action.h"
#include "common/mail/header.h"
#include "common/mailauth/converted_top.h"

namespace postern::smtpclient {

namespace {

using Verb = mail::CheckAction::Verb;

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::size_t kMapAtOnce = 5000;
constexpr std::size_t kMaxLogged = 200;

enum List : std::int64_t { kHeader, kMime, kNested, kBody, kNone = -1 };
constexpr std::string_view kListNames[] = {"header_checks", "mime_header_checks",
                                           "nested_header_checks", "body_checks"};

}  // namespace

loop::Task<Result<std::vector<std::string>>> map_generic(ipc::TablesClient& tables,
                                                         SettingsPtr settings,
                                                         std::vector<std::string> addresses) {
  for (std::size_t begin = 0; begin < addresses.size(); begin += kMapAtOnce) {
    const std::size_t end = std::min(begin + kMapAtOnce, addresses.size());
    ipc::tables::Map question;
    question.generic_maps = settings->params.smtp_generic_maps;
    for (std::size_t i = begin; i < end; ++i) {
      question.items.push_back({addresses[i], ipc::tables::AddressRole::kGeneric});
    }
    CO_TRY(auto answer, co_await tables.map(std::move(question), loop::Clock::now() + kTablesTime));
    if (answer.addresses.size() != end - begin) co_return fail_temporary("answers are missing");
    std::ranges::move(answer.addresses, addresses.begin() + static_cast<std::ptrdiff_t>(begin));
  }
  co_return addresses;
}

Outgoing::Outgoing(SettingsPtr settings, ipc::TablesClient* tables, std::string queue_id,
                   bool downgrade)
    : settings_(std::move(settings)),
      tables_(tables),
      queue_id_(std::move(queue_id)),
      downgrade_(downgrade) {
  const auto& params = settings_->params;
  lists_ = {{params.smtp_header_checks},
            {params.smtp_mime_header_checks},
            {params.smtp_nested_header_checks},
            {params.smtp_body_checks}};
  if (tables_ == nullptr) lists_.assign(lists_.size(), {});
  looks_into_body_ =
      downgrade_ || std::any_of(lists_.begin() + 1, lists_.end(),
                                [](const auto& list) { return !list.tables.empty(); });
}

bool Outgoing::is_needed() const {
  return looks_into_body_ || !lists_[kHeader].tables.empty() ||
         (tables_ != nullptr && !settings_->params.smtp_generic_maps.empty());
}

loop::Task<Result<std::string>> Outgoing::change_header(std::string block) {
  if (downgrade_ && !converted_top_.empty()) mailauth::put_converted_top(block, converted_top_);
  for (const auto& field : mail::split_header(block)) {
    const bool is_mime =
        mail::class_of(field.name, mail::HeaderClass::kPrimary) == mail::HeaderClass::kMime;
    add(field.raw, true, is_mime ? kMime : kHeader);
  }
  CO_TRY(const std::string checked, co_await check_pieces());
  const auto fields = mail::split_header(checked);

  std::unordered_map<std::string, std::string> map;
  if (tables_ != nullptr && !settings_->params.smtp_generic_maps.empty()) {
    std::vector<std::string> external;
    for (const auto& field : fields) {
      const auto* info = mail::find_header_info(field.name);
      if (info == nullptr || !info->has_addresses()) continue;
      for (auto& address : mail::AddressList::parse(field.body).addresses()) {
        if (map.emplace(address, address).second) external.push_back(std::move(address));
      }
    }
    std::vector<std::string> internal;
    for (const auto& address : external) internal.push_back(mail::unquote_address(address));
    const auto before = internal;
    CO_TRY(const auto mapped, co_await map_generic(*tables_, settings_, std::move(internal)));
    for (std::size_t i = 0; i < external.size(); ++i) {
      if (mapped[i] != before[i]) map[external[i]] = mail::quote_address(mapped[i]);
    }
  }

  if (looks_into_body_) {
    mail::MimeOptions options;
    options.downgrade = downgrade_;
    parser_.emplace(options, static_cast<mail::MimeSink&>(*this));
    parser_->start(checked);
  }
  const bool is_converted = parser_ && !parser_->new_encoding().empty();
  std::string out;
  for (const auto& field : fields) {
    if (is_converted && equal_nocase(field.name, "Content-Transfer-Encoding")) continue;
    const auto* info = mail::find_header_info(field.name);
    bool changed = false;
    if (!map.empty() && info != nullptr && info->has_addresses()) {
      auto list = mail::AddressList::parse(field.body);
      changed = list.rewrite([&](const std::string& address) {
        const auto found = map.find(address);
        return found == map.end() ? address : found->second;
      });
      if (changed) out += mail::format_address_header(field.name, list);
    }
    if (!changed) out += field.raw;
    out += '\n';
  }
  if (is_converted) out += "Content-Transfer-Encoding: " + parser_->new_encoding() + "\n";
  co_return out;
}

loop::Task<Result<std::string>> Outgoing::change_body(std::string_view chunk) {
  if (!parser_) co_return std::string(chunk);
  parser_->add(chunk);
  auto checked = co_await check_pieces();
  co_return checked;
}

loop::Task<Result<std::string>> Outgoing::finish_body() {
  if (!parser_) co_return std::string();
  parser_->finish();
  auto checked = co_await check_pieces();
  co_return checked;
}

void Outgoing::header(mail::HeaderClass header_class, std::string_view field) {
  add(field, true, header_class == mail::HeaderClass::kNested ? kNested : kMime);
}

void Outgoing::header_end() { add({}, true, kNone); }

void Outgoing::body(std::string_view text, bool ends_line, std::uint64_t /*offset*/) {
  add(text, ends_line, kBody);
}

void Outgoing::add(std::string_view text, bool ends_line, std::int64_t list) {
  if (list != kNone && lists_[static_cast<std::size_t>(list)].tables.empty()) list = kNone;
  if (list != kNone || pieces_.empty() || pieces_.back().list != kNone) {
    pieces_.push_back({{}, list});
  }
  pieces_.back().text += text;
  if (ends_line) pieces_.back().text += '\n';
}

loop::Task<Result<std::string>> Outgoing::check_pieces() {
  const std::vector<Piece> pieces = std::exchange(pieces_, {});
  ipc::tables::Check question;
  std::vector<std::size_t> asked;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].list == kNone) continue;
    question.keys.push_back({std::string(trim_right(pieces[i].text, "\n")), pieces[i].list});
    asked.push_back(i);
  }
  std::unordered_map<std::size_t, std::string> hits;
  if (!asked.empty()) {
    question.lists = lists_;
    CO_TRY(auto answer,
           co_await tables_->check(std::move(question), loop::Clock::now() + kTablesTime));
    for (auto& hit : answer.hits) {
      if (hit.key < 0 || hit.key >= std::ssize(asked)) continue;
      hits.emplace(asked[static_cast<std::size_t>(hit.key)], std::move(hit.value));
    }
  }
  std::string out;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto hit = hits.find(i);
    out += hit == hits.end() ? pieces[i].text : apply(hit->second, pieces[i]);
  }
  co_return out;
}

// Actions that decide on the message's fate come too late here (postconf(5) smtp_header_checks).
std::string Outgoing::apply(const std::string& value, const Piece& piece) const {
  const auto action = mail::parse_check_action(value);
  const auto tell = [&] {
    if (is_rehearsal_) return;
    log::info("{}: {}: {} {}{}{}", queue_id_, mail::log_word(action.verb),
              piece.list == kBody ? "body" : "header",
              log::clean(trim_right(piece.text, "\n"), kMaxLogged), action.text.empty() ? "" : ": ",
              log::clean(action.text));
  };
  const bool is_usable =
      !action.text.empty() && (piece.list == kBody || mail::is_header_line(action.text));
  switch (action.verb) {
    case Verb::kDunno:
      return piece.text;
    case Verb::kIgnore:
      return {};
    case Verb::kStrip:
      tell();
      return {};
    case Verb::kInfo:
    case Verb::kWarn:
      tell();
      return piece.text;
    case Verb::kPrepend:
      if (!is_usable) break;
      tell();
      return action.text + "\n" + piece.text;
    case Verb::kReplace:
      if (!is_usable) break;
      tell();
      return action.text + (piece.text.ends_with('\n') ? "\n" : "");
    default:
      break;
  }
  if (!is_rehearsal_) {
    const std::string map =
        fmt::format("{}_{} map", settings_->is_lmtp() ? "lmtp" : "smtp", kListNames[piece.list]);
    if (action.text.empty() && (action.verb == Verb::kReplace || action.verb == Verb::kPrepend)) {
      log::warning("{} action without text in {}",
                   action.verb == Verb::kReplace ? "REPLACE" : "PREPEND", map);
    } else {
      log::warning("unsupported command in {}: {}", map, log::clean(value, kMaxLogged));
    }
  }
  return piece.text;
}

}  // namespace postern::smtpclient
