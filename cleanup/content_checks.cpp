#include "cleanup/content_checks.h"

#include <fmt/format.h>

#include <utility>

#include "common/base/text.h"
#include "common/log/clean.h"
#include "common/log/log.h"
#include "common/mail/header.h"
#include "common/mail/status.h"

namespace postern::cleanup {

namespace {

using Verb = mail::CheckAction::Verb;

constexpr std::chrono::seconds kTablesTime{100};
// Text of one question: with thousands of patterns it keeps `tables` busy for a while, and others
// wait for their turn.
constexpr std::size_t kSlice = std::size_t{8} << 10;
constexpr std::size_t kMaxLogged = 200;

}  // namespace

ContentChecks::ContentChecks(const CheckSettings& settings, ipc::TablesClient& tables,
                             std::string queue_id, std::string about, Scope scope)
    : settings_(settings),
      tables_(tables),
      queue_id_(std::move(queue_id)),
      about_(std::move(about)),
      scope_(scope) {}

const std::vector<std::string>& ContentChecks::tables_of(std::int64_t list) const {
  switch (list) {
    case kHeader:
      return settings_.header_checks;
    case kMime:
      return settings_.mime_header_checks;
    case kNested:
      return settings_.nested_header_checks;
    case kMilter:
      return settings_.milter_header_checks;
    default:
      return settings_.body_checks;
  }
}

loop::Task<Result<std::string>> ContentChecks::check_header(std::string block) {
  std::string out;
  for (const auto& field : mail::split_header(block)) {
    const bool is_mime =
        settings_.mime.is_enabled &&
        mail::class_of(field.name, mail::HeaderClass::kPrimary) == mail::HeaderClass::kMime;
    // Rules are written for "Name: value": blanks before the colon go here already.
    const bool is_plain = field.raw.substr(field.name.size()).starts_with(':');
    const std::string plain =
        is_plain ? std::string()
                 : fmt::format("{}{}", field.name,
                               field.raw.substr(field.raw.find(':', field.name.size())));
    add(is_plain ? field.raw : std::string_view(plain), true, is_mime ? kMime : kHeader);
  }
  auto checked = co_await check_pieces();
  co_return checked;
}

loop::Task<Result<std::string>> ContentChecks::check_milter_header(std::string field) {
  add(field, true, kMilter);
  auto checked = co_await check_pieces();
  co_return checked;
}

void ContentChecks::start_body(std::string_view header) {
  parser_.emplace(settings_.mime, static_cast<mail::MimeSink&>(*this));
  parser_->start(header);
}

std::string ContentChecks::start_conversion(std::string_view header) {
  start_body(header);
  if (parser_->new_encoding().empty()) return std::string(header);
  std::string out;
  for (const auto& field : mail::split_header(header)) {
    if (equal_nocase(field.name, "Content-Transfer-Encoding")) continue;
    (out += field.raw) += '\n';
  }
  return out + "Content-Transfer-Encoding: " + parser_->new_encoding() + "\n";
}

loop::Task<Result<std::string>> ContentChecks::check_body(std::string chunk) {
  std::string out;
  std::string_view rest = chunk;
  while (!rest.empty()) {
    parser_->add(rest.substr(0, kSlice));
    rest.remove_prefix(std::min(kSlice, rest.size()));
    CO_TRY(const std::string checked, co_await check_pieces());
    out += checked;
  }
  co_return out;
}

loop::Task<Result<std::string>> ContentChecks::finish_body() {
  parser_->finish();
  auto checked = co_await check_pieces();
  co_return checked;
}

void ContentChecks::header(mail::HeaderClass header_class, std::string_view field) {
  add(field, true, header_class == mail::HeaderClass::kNested ? kNested : kMime);
}

void ContentChecks::header_end() { add({}, true, kNone); }

void ContentChecks::body(std::string_view text, bool ends_line, std::uint64_t offset) {
  const bool is_checked =
      !settings_.body_checks.empty() && offset < settings_.body_checks_size_limit;
  add(text, ends_line, is_checked ? kBody : kNone);
}

// What nobody asks about is kept together.
void ContentChecks::add(std::string_view text, bool ends_line, std::int64_t list) {
  const bool is_asked = scope_ == Scope::kAll && !effects_.is_over;
  if (list != kNone && (!is_asked || tables_of(list).empty())) list = kNone;
  if (list != kNone || pieces_.empty() || pieces_.back().list != kNone) {
    pieces_.push_back({{}, list});
  }
  std::string& out = pieces_.back().text;
  out += text;
  if (ends_line) out += '\n';
}

loop::Task<Result<std::string>> ContentChecks::check_pieces() {
  const std::vector<Piece> pieces = std::exchange(pieces_, {});
  ipc::tables::Check question;
  std::vector<std::size_t> asked;
  for (std::int64_t list = kHeader; list <= kMilter; ++list) {
    question.lists.push_back({tables_of(list)});
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].list == kNone) continue;
    std::string_view key = pieces[i].text;
    if (key.ends_with('\n')) key.remove_suffix(1);
    question.keys.push_back({std::string(key), pieces[i].list});
    asked.push_back(i);
  }
  std::vector<ipc::tables::CheckHit> hits;
  if (!asked.empty()) {
    CO_TRY(auto answer,
           co_await tables_.check(std::move(question), loop::Clock::now() + kTablesTime));
    hits = std::move(answer.hits);
  }
  std::string out;
  std::size_t next_hit = 0;
  std::size_t next_asked = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const bool was_asked = next_asked < asked.size() && asked[next_asked] == i;
    const auto key = static_cast<std::int64_t>(next_asked);
    if (was_asked) ++next_asked;
    if (!was_asked || next_hit >= hits.size() || hits[next_hit].key != key) {
      out += pieces[i].text;
      continue;
    }
    const auto& hit = hits[next_hit++];
    out += apply(hit.value, hit.table, pieces[i]);
  }
  co_return out;
}

std::string ContentChecks::apply(const std::string& value, const std::string& table,
                                 const Piece& piece) {
  if (effects_.is_over) return piece.text;
  const auto action = mail::parse_check_action(value);
  switch (action.verb) {
    case Verb::kDunno:
      return piece.text;
    case Verb::kIgnore:
      return {};
    case Verb::kStrip:
      log_action(action, piece, action.text);
      return {};
    case Verb::kInfo:
    case Verb::kWarn:
      log_action(action, piece, action.text);
      return piece.text;
    case Verb::kReject: {
      effects_.is_rejected = true;
      effects_.is_over = true;
      effects_.rejection = action;
      std::string& text = effects_.rejection.text;
      if (text.empty()) text = "message content rejected";
      if (!mail::parse_status(text)) text.insert(0, "5.7.1 ");
      log_action(action, piece, text);
      return piece.text;
    }
    case Verb::kDiscard:
      effects_.is_discarded = true;
      effects_.is_over = true;
      log_action(action, piece, action.text);
      return piece.text;
    case Verb::kPass:
      effects_.is_over = true;
      log_action(action, piece, action.text);
      return piece.text;
    case Verb::kHold:
      // Once held, it is said no more.
      if (!std::exchange(effects_.is_held, true)) log_action(action, piece, action.text);
      return piece.text;
    case Verb::kFilter:
      if (action.text.find(':') == std::string::npos) break;
      effects_.filter = action.text;
      log_action(action, piece, action.text);
      return piece.text;
    case Verb::kRedirect:
      if (action.text.find('@') == std::string::npos) break;
      effects_.redirect = action.text;
      effects_.is_over = true;
      log_action(action, piece, action.text);
      return piece.text;
    case Verb::kBcc:
      if (action.text.find('@') == std::string::npos) break;
      effects_.bcc.push_back(action.text);
      log_action(action, piece, action.text);
      return piece.text;
    case Verb::kPrepend:
      if (action.text.empty() || (piece.list != kBody && !mail::is_header_line(action.text))) {
        break;
      }
      log_action(action, piece, action.text);
      return action.text + "\n" + piece.text;
    case Verb::kReplace:
      if (action.text.empty() || (piece.list != kBody && !mail::is_header_line(action.text))) {
        break;
      }
      log_action(action, piece, action.text);
      return action.text + (piece.text.ends_with('\n') ? "\n" : "");
    case Verb::kUnknown:
      break;
  }
  log::warning("{}: no use for this action of {}: \"{}\"", queue_id_, table,
               log::clean(value, kMaxLogged));
  return piece.text;
}

void ContentChecks::log_action(const mail::CheckAction& action, const Piece& piece,
                               std::string_view text) const {
  std::string_view content = piece.text;
  if (content.ends_with('\n')) content.remove_suffix(1);
  log::info("{}: {}{}: {} {} from {}{}{}", queue_id_, piece.list == kMilter ? "milter-header-" : "",
            mail::log_word(action.verb), piece.list == kBody ? "body" : "header",
            log::clean(content, kMaxLogged), about_, text.empty() ? "" : ": ", log::clean(text));
}

}  // namespace postern::cleanup
