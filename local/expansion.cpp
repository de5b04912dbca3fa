#include "local/expansion.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "common/base/text.h"
#include "common/log/log.h"
#include "common/mail/address.h"
#include "common/queuefile/reader.h"

namespace postern::local {

namespace {

using ipc::agent::Outcome;

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::chrono::seconds kCleanupTime{300};
// Aliases of aliases of aliases; and all that one recipient may set going.
constexpr std::size_t kMaxDepth = 100;
constexpr std::size_t kMaxTasks = 100'000;
// Questions under way for one list.
constexpr std::size_t kAskedAhead = 100;
// Parts of one recipient that are reported each for itself.
constexpr std::size_t kMaxParts = 1000;

Outcome outcome_of(std::string_view status) {
  if (status.starts_with('2')) return Outcome::kDelivered;
  return status.starts_with('5') ? Outcome::kBounced : Outcome::kDeferred;
}

int rank(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDelivered:
      return 0;
    case Outcome::kBounced:
      return 1;
    case Outcome::kDeferred:
    case Outcome::kRerouted:
      return 2;
  }
  return 2;
}

}  // namespace

Expansion::Expansion(Agent& agent, agent::Delivery& delivery, const queuefile::Message& message,
                     std::size_t recipient, Order::Place& place)
    : agent_(agent),
      place_(place),
      settings_(agent.settings_),
      delivery_(delivery),
      message_(message),
      index_(recipient),
      recipient_(delivery.recipients()[recipient]),
      delivered_to_(mail::quote_address(recipient_.address)) {
  const auto parts = mail::split_address(recipient_.address);
  domain_ = parts.has_domain ? std::string(parts.domain) : settings_->myhostname;
}

loop::Task<void> Expansion::run() {
  auto origin = std::make_shared<Origin>();
  origin->address = recipient_.address;
  origin->delivered_to = delivered_to_;
  const std::string header = agent::header_of(delivery_, message_);
  if (agent::was_delivered_to(header, delivered_to_)) {
    finish(recipient_.address, "5.4.6",
           fmt::format("mail forwarding loop for {}", recipient_.address));
  } else {
    tasks_.push_back({{DestinationKind::kAddress, recipient_.address}, origin, true});
  }
  while (!tasks_.empty()) {
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    if (++done_tasks_ > kMaxTasks) {
      tasks_.clear();
      finish(recipient_.address, "5.4.6", "too many addresses behind this one");
      break;
    }
    co_await work(std::move(task));
    co_await settle();
  }
  co_await settle();
  // A deferred part is tried again, with all the rest: nothing is forwarded twice.
  if (!outcome_ || *outcome_ != Outcome::kDeferred) co_await send_forwards();
  co_await settle();
  // The other agent speaks for the whole recipient.
  if (passed_ && (!outcome_ || *outcome_ == Outcome::kDelivered)) {
    delivery_.reroute(index_, passed_->first, passed_->second);
    co_return;
  }
  // An alias for nobody, or for what was delivered to already.
  if (!outcome_) finish(recipient_.address, "2.0.0", "discarded");
  co_await settle();
  report();
}

void Expansion::report() {
  using ipc::agent::Share;
  const bool wants_success = (recipient_.notify & queuefile::kNotifySuccess) != 0;
  const bool has_note = wants_success && is_expanded_ && *outcome_ != Outcome::kDeferred;
  if (parts_.size() <= 1 && !has_note) return delivery_.record(index_, *outcome_, verdict_);
  for (const Part& part : parts_) {
    delivery_.record_part(index_, part.outcome, part.verdict, Share::kPart);
  }
  if (has_note) {
    // RFC 3461 6.2.7.4: the sender hears of the alias, not of what stands behind it.
    agent::Verdict note;
    note.status = "2.0.0";
    note.text = "alias expanded";
    note.action = is_list_ ? "delivered" : "expanded";
    delivery_.record_part(index_, Outcome::kDelivered, note, Share::kNote);
  }
  delivery_.record(index_, *outcome_, verdict_, Share::kSum);
}

loop::Task<void> Expansion::work(Task task) {
  switch (task.destination.kind) {
    case DestinationKind::kAddress:
      co_await deliver_address(std::move(task));
      break;
    case DestinationKind::kCommand:
      co_await deliver_command(std::move(task));
      break;
    case DestinationKind::kFile:
      co_await deliver_file(std::move(task));
      break;
    case DestinationKind::kInclude:
      co_await deliver_include(std::move(task));
      break;
    case DestinationKind::kMailbox: {
      const std::string name = to_lower(task.destination.text);
      // It is that user's mail from here on, in the log as well.
      const std::string address =
          with_extension(fmt::format("{}@{}", task.destination.text, domain_), *task.origin);
      const auto user = co_await agent_.users_.find(name);
      if (!user) {
        finish(address, "4.3.0", "user lookup error");
      } else if (!*user) {
        co_await deliver_unknown(name, address, task.origin);
      } else if (task.origin->source == Source::kForward && name == task.origin->rights.user) {
        co_await deliver_user(name, address, task.origin);
      } else {
        co_await deliver_mailbox(**user, address, task.origin);
      }
      break;
    }
  }
}

void Expansion::add(const std::vector<Destination>& destinations,
                    std::shared_ptr<const Origin> origin) {
  // The first expansion says what the sender hears.
  if (!is_expanded_) is_list_ = origin->owner.has_value();
  is_expanded_ = true;
  // Depth first, in the order of the list: as it was before there was a list of things to do.
  for (auto each = destinations.rbegin(); each != destinations.rend(); ++each) {
    tasks_.push_front({*each, origin, false});
  }
}

loop::Task<void> Expansion::ask(ipc::TablesClient& tables, ipc::tables::Resolve question,
                                std::shared_ptr<Answer> answer,
                                std::shared_ptr<loop::Condition> answered) {
  auto resolved = co_await tables.resolve(std::move(question), loop::Clock::now() + kTablesTime);
  answer->emplace(std::move(resolved));
  answered->notify_all();
}

// Of a list: the questions for the next ones travel together with that for the first.
void Expansion::ask_ahead(Task& first) {
  const auto ask_for = [&](Task& task) {
    ipc::tables::Resolve question;
    question.sender = sender_of(*task.origin);
    question.address = with_extension(task.destination.text, *task.origin);
    task.answer = std::make_shared<Answer>();
    loop::spawn(ask(agent_.tables_, std::move(question), task.answer, answered_));
  };
  ask_for(first);
  for (std::size_t i = 0; i < std::min(kAskedAhead, tasks_.size()); ++i) {
    Task& next = tasks_[i];
    if (next.destination.kind != DestinationKind::kAddress || next.is_resolved) continue;
    if (next.answer == nullptr) ask_for(next);
  }
}

loop::Task<void> Expansion::deliver_address(Task task) {
  if (task.is_resolved) {
    co_await deliver_local(task.destination.text, task.origin);
    co_return;
  }
  if (task.answer == nullptr) ask_ahead(task);
  const std::shared_ptr<Answer> answer = task.answer;
  while (!*answer) co_await answered_->wait(loop::kNever);
  const Result<ipc::tables::Resolved>& resolved = **answer;
  if (!resolved) {
    log::warning("{}: {}", delivery_.queue_id(), resolved.error().text);
    finish(task.origin->address, "4.3.0", "address resolver failure");
    co_return;
  }
  if (!resolved->is_valid) {
    finish(task.destination.text, "5.1.3", "bad recipient address syntax");
    co_return;
  }
  const bool is_ours = resolved->transport == settings_->service;
  const bool is_list = task.origin->owner || task.origin->source == Source::kInclude;
  if (is_ours && task.origin->source == Source::kForward) {
    // A .forward that names its own user means the mailbox, with any extension;
    // .forward+extension means .forward.
    const std::string local = to_lower(mail::split_address(resolved->address).local_part);
    const auto split = mail::split_extension(local, settings_->recipient_delimiter,
                                             settings_->owner_request_special);
    if (local == task.origin->rights.user || split.user == task.origin->rights.user) {
      co_await deliver_user(local, resolved->address, task.origin);
      co_return;
    }
  }
  if (!is_ours || is_list || task.origin->source == Source::kForward) {
    forward(resolved->address, *task.origin);
    co_return;
  }
  co_await deliver_local(resolved->address, task.origin);
}

loop::Task<void> Expansion::deliver_local(std::string address,
                                          std::shared_ptr<const Origin> origin) {
  const auto parts = mail::split_address(address);
  std::string_view local = parts.local_part;
  if (local.starts_with('\\')) {
    Task task{{DestinationKind::kMailbox, std::string(local.substr(1))}, origin, false};
    co_await work(std::move(task));
    co_return;
  }
  const std::string local_part = to_lower(local);
  const std::string user(mail::split_extension(local_part, settings_->recipient_delimiter,
                                               settings_->owner_request_special)
                             .user);
  // The whole local part first, then without its extension.
  const bool was_alias = co_await deliver_alias(local_part, address, origin);
  if (was_alias) co_return;
  if (user != local_part) {
    const bool was_user_alias = co_await deliver_alias(user, address, origin);
    if (was_user_alias) co_return;
  }
  co_await deliver_user(local_part, address, origin);
}

loop::Task<bool> Expansion::deliver_alias(const std::string& name, const std::string& address,
                                          std::shared_ptr<const Origin> origin) {
  if (settings_->alias_maps.empty() || name.empty()) co_return false;
  const auto ask = [&](std::string key) {
    ipc::tables::Lookup question;
    question.tables = settings_->alias_maps;
    question.keys.emplace_back().text = std::move(key);
    return agent_.tables_.lookup(std::move(question), loop::Clock::now() + kTablesTime);
  };
  const auto found = co_await ask(name);
  if (!found) {
    log::warning("{}: alias_maps: {}", delivery_.queue_id(), found.error().text);
    finish(address, "4.3.0", "alias database unavailable");
    co_return true;
  }
  if (!found->is_found) co_return false;
  // An alias that names itself means the user.
  if (!origin->names.empty() && origin->names.back() == name) co_return false;
  if (is_verification()) {
    finish(address, "2.0.0", "aliased to " + found->value);
    co_return true;
  }
  if (origin->names.size() >= kMaxDepth || has_word(origin->names, name)) {
    finish(origin->address, "5.4.6",
           fmt::format("alias database loop for {}", origin->names.back()));
    co_return true;
  }
  auto next = std::make_shared<Origin>();
  next->source = Source::kAlias;
  next->address = address;
  next->names = origin->names;
  next->names.push_back(name);
  next->owner = origin->owner;
  if (settings_->propagates_from_alias) {
    const std::string local = to_lower(mail::split_address(address).local_part);
    if (local.size() > name.size()) next->extension = local.substr(name.size());
  }
  next->rights = {agent_.fallback_.uid, agent_.fallback_.gid, {}};
  if (settings_->owner_request_special && !name.starts_with("owner-")) {
    const auto owner = co_await ask("owner-" + name);
    if (!owner) {
      finish(address, "4.3.0", "alias database unavailable");
      co_return true;
    }
    // Reports about a list go to its owner; reports about reports still go nowhere.
    if (owner->is_found && !sender_of(*origin).empty()) {
      auto sender = co_await sender_of_list(name, owner->value, address);
      if (!sender) co_return true;
      next->owner = *std::move(sender);
    }
  }
  next->delivered_to =
      settings_->frozen_delivered_to ? origin->delivered_to : mail::quote_address(address);
  add(parse_destinations(found->value), std::move(next));
  co_return true;
}

loop::Task<std::optional<std::string>> Expansion::sender_of_list(std::string name,
                                                                 std::string value,
                                                                 std::string address) {
  ipc::tables::Resolve question;
  question.address = "owner-" + name;
  if (settings_->expand_owner_alias) {
    const auto destinations = parse_destinations(value);
    if (!destinations.empty() && destinations.front().kind == DestinationKind::kAddress) {
      question.address = destinations.front().text;
    }
  }
  const auto resolved =
      co_await agent_.tables_.resolve(std::move(question), loop::Clock::now() + kTablesTime);
  if (resolved) co_return resolved->address;
  finish(address, "4.3.0", "address resolver failure");
  co_return std::nullopt;
}

// What cannot be seen from here may well be there: only a directory that is known to be missing
// counts.
loop::Task<bool> Expansion::has_home(const User& user, const std::string& address) {
  if (!settings_->require_home_directory) co_return true;
  const std::string home = user.home;
  const int error = co_await agent_.pool_.run([&home] {
    struct stat status{};
    if (::stat(home.c_str(), &status) < 0) return errno;
    return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
  });
  if (error != ENOENT && error != ENOTDIR) co_return true;
  finish(address, "4.3.0",
         fmt::format("cannot access home directory {}: {}", home, sys::errno_text(error)));
  co_return false;
}

loop::Task<void> Expansion::deliver_user(const std::string& local_part, const std::string& address,
                                         std::shared_ptr<const Origin> origin) {
  const std::string name(mail::split_extension(local_part, settings_->recipient_delimiter,
                                               settings_->owner_request_special)
                             .user);
  // A user may be called what others take for a name with extension.
  auto user = co_await agent_.users_.find(local_part);
  if (user && !*user && name != local_part) user = co_await agent_.users_.find(name);
  if (!user) {
    log::warning("{}: {}", delivery_.queue_id(), user.error().text);
    finish(address, "4.3.0", "user lookup error");
    co_return;
  }
  if (!*user) {
    co_await deliver_unknown(local_part, address, origin);
    co_return;
  }
  if (!co_await has_home(**user, address)) co_return;
  const bool was_forwarded = co_await deliver_forward_file(**user, local_part, address, origin);
  if (!was_forwarded) co_await deliver_mailbox(**user, address, origin);
}

agent::Identity Expansion::identity_of(const User& user) const {
  if (user.uid == 0) return {agent_.fallback_.uid, agent_.fallback_.gid, {}};
  return {user.uid, user.gid, user.name};
}

loop::Task<Result<agent::JobReply>> Expansion::open_forward_file(const User& user,
                                                                 const std::string& path,
                                                                 sys::Fd& file) {
  const auto slash = path.rfind('/');
  const bool is_at_home = slash != std::string::npos && path.substr(0, slash) == user.home;
  if (user.uid == 0 && is_at_home && path.compare(slash + 1, 8, ".forward") == 0) {
    auto opened = co_await agent_.deliverers_.open_root_forward(user.name, path.substr(slash + 1));
    agent::JobReply reply;
    if (!opened) {
      reply.outcome = agent::JobOutcome::kDeferred;
      reply.text = opened.error().text;
    } else {
      file = *std::move(opened);
      reply.outcome = file ? agent::JobOutcome::kDelivered : agent::JobOutcome::kMissing;
    }
    co_return reply;
  }
  agent::Job job;
  job.kind = agent::JobKind::kOpen;
  job.path = path;
  auto reply = co_await agent_.deliverers_.run(identity_of(user), std::move(job), -1, &file);
  co_return reply;
}

loop::Task<bool> Expansion::deliver_forward_file(const User& user, const std::string& local_part,
                                                 const std::string& address,
                                                 std::shared_ptr<const Origin> origin) {
  const std::string extension(
      local_part == user.name ? std::string_view{}
                              : mail::split_extension(local_part, settings_->recipient_delimiter,
                                                      settings_->owner_request_special)
                                    .extension);
  for (const std::string& element : settings_->forward_path) {
    const std::string path =
        expand_forward_path(*settings_, element, user, local_part, domain_, extension);
    if (path.empty()) continue;
    sys::Fd file;
    const auto reply = co_await open_forward_file(user, path, file);
    if (!reply) {
      log::warning("{}: {}: {}", delivery_.queue_id(), path, reply.error().text);
      finish(address, "4.3.0", "cannot look for a .forward file: " + reply.error().text);
      co_return true;
    }
    if (reply->outcome == agent::JobOutcome::kMissing) continue;
    if (reply->outcome != agent::JobOutcome::kDelivered || !file) {
      // A file that may not be read is none; the mailbox is safe.
      log::warning("{}: {}: {}; it is ignored", delivery_.queue_id(), path, reply->text);
      continue;
    }
    struct stat status{};
    const bool is_there = ::fstat(file.get(), &status) == 0;
    if (is_there && (status.st_mode & S_IWOTH) != 0) {
      log::warning("file {} is world writable", path);
      continue;
    }
    if (!is_there || !S_ISREG(status.st_mode) ||
        (status.st_uid != 0 && status.st_uid != user.uid)) {
      log::warning("{}: {} is not {}'s alone; it is ignored", delivery_.queue_id(), path,
                   user.name);
      continue;
    }
    // Who is named in the very file that names him gets the mail.
    const bool is_first = done_.insert("forward " + path).second;
    const bool is_own = origin->source == Source::kForward && origin->rights.user == user.name;
    if (!is_first && is_own) co_return false;
    const auto text = read_list_file(file.get());
    if (!text) {
      finish(address, "4.3.0", fmt::format("{}: {}", path, text.error().text));
      co_return true;
    }
    const auto destinations = parse_destination_file(*text);
    if (destinations.empty()) co_return false;
    if (is_verification()) {
      finish(address, "2.0.0", "forward via file: " + path);
      co_return true;
    }
    auto next = std::make_shared<Origin>(*origin);
    next->source = Source::kForward;
    next->address = is_own ? origin->address : address;
    if (!settings_->frozen_delivered_to) next->delivered_to = mail::quote_address(address);
    next->rights = identity_of(user);
    next->rights.user = user.name;
    next->user = user;
    next->extension.clear();
    // A file of this very extension has matched it.
    const bool has_matched = element.find("extension") != std::string::npos;
    if (settings_->propagates_from_forward && !extension.empty() && !has_matched) {
      next->extension = local_part.substr(user.name.size());
    }
    add(destinations, std::move(next));
    co_return true;
  }
  co_return false;
}

std::string Expansion::sender_of(const Origin& origin) const {
  return origin.owner ? *origin.owner : delivery_.request().sender;
}

std::string Expansion::shown_orig_to(const Origin& origin) const {
  if (origin.owner || !settings_->adds_original_to) return {};
  return mail::quote_address(recipient_.orig_to);
}

std::string Expansion::prepended(const Origin& origin) const {
  return agent::mailbox_headers(
      mail::quote_address(sender_of(origin)), shown_orig_to(origin),
      settings_->adds_delivered_to_file ? origin.delivered_to : std::string());
}

loop::Task<void> Expansion::deliver_mailbox(const User& user, const std::string& address,
                                            std::shared_ptr<const Origin> origin) {
  if (!done_.insert("mailbox " + user.name).second) co_return;
  const auto transport =
      co_await setting_for("mailbox_transport_maps", settings_->mailbox_transport_maps,
                           settings_->mailbox_transport, user.name, address);
  if (!transport) co_return;
  if (!transport->empty()) co_return pass_to(*transport, address, *origin);
  const auto command = co_await setting_for("mailbox_command_maps", settings_->mailbox_command_maps,
                                            settings_->mailbox_command, user.name, address);
  if (!command) co_return;
  if (!command->empty()) {
    co_await run_command(*command, address, *origin, &user);
    co_return;
  }
  const MailboxPlace place = mailbox_place(*settings_, user);
  if (is_dry(address, place.path.ends_with('/') ? "delivers to maildir" : "delivers to mailbox",
             *origin)) {
    co_return;
  }
  agent::Job job =
      agent::mailbox_job(delivery_, message_, place.path, prepended(*origin), settings_->mailbox);
  job.sender = mail::quote_address(sender_of(*origin));
  if (job.kind == agent::JobKind::kMbox) {
    job.failure_prefix =
        fmt::format("cannot update mailbox {} for user {}. ", place.path, user.name);
    job.must_exist = place.is_spool;
    if (settings_->biff) job.biff_user = user.name;
  }
  const agent::Identity who = identity_of(user);
  if (job.kind == agent::JobKind::kMbox) co_await place_.go_to("file " + place.path);
  loop::NamedLocks::Held spool;
  if (place.is_spool) spool = co_await agent_.spools_.take(user.name);
  auto reply = co_await agent_.deliverers_.run(who, job, delivery_.fd());
  if (reply && reply->outcome == agent::JobOutcome::kMissing) {
    // The recipient may not make files in the spool; the broker does it then.
    agent::Identity named{user.uid, user.gid, user.name};
    const auto made = co_await agent_.deliverers_.make_mailbox(std::move(named));
    if (!made) log::warning("{}: {}", delivery_.queue_id(), made.error().text);
    job.must_exist = false;
    reply = co_await agent_.deliverers_.run(who, std::move(job), delivery_.fd());
  }
  finish_final(address, agent::verdict_of(reply, delivery_.queue_id(), kRelay));
}

loop::Task<std::optional<std::string>> Expansion::setting_for(std::string_view parameter,
                                                              const std::vector<std::string>& maps,
                                                              const std::string& otherwise,
                                                              const std::string& name,
                                                              const std::string& address) {
  if (maps.empty()) co_return otherwise;
  ipc::tables::Lookup question;
  question.tables = maps;
  question.keys.emplace_back().text = name;
  const auto found =
      co_await agent_.tables_.lookup(std::move(question), loop::Clock::now() + kTablesTime);
  if (!found) {
    log::warning("{}: {}: {}", delivery_.queue_id(), parameter, found.error().text);
    finish(address, "4.3.0", fmt::format("{} lookup error", parameter));
    co_return std::nullopt;
  }
  co_return found->is_found ? found->value : otherwise;
}

void Expansion::pass_to(std::string transport, const std::string& address, const Origin& origin) {
  if (transport.find(':') == std::string::npos) transport += ':';
  if (transport.ends_with(':')) transport += delivery_.request().nexthop;
  // One agent can take the recipient over. More of them, and those with a sender of their own, are
  // messages of their own, which come back here as recipients.
  if (passed_ || origin.owner) return forward(address, origin);
  passed_.emplace(std::move(transport), address);
}

loop::Task<void> Expansion::deliver_unknown(const std::string& local_part,
                                            const std::string& address,
                                            std::shared_ptr<const Origin> origin) {
  const std::string name(mail::split_extension(local_part, settings_->recipient_delimiter,
                                               settings_->owner_request_special)
                             .user);
  const auto mailbox =
      co_await setting_for("mailbox_transport_maps", settings_->mailbox_transport_maps,
                           settings_->mailbox_transport, name, address);
  if (!mailbox) co_return;
  if (!mailbox->empty()) co_return pass_to(*mailbox, address, *origin);
  const auto fallback =
      co_await setting_for("fallback_transport_maps", settings_->fallback_transport_maps,
                           settings_->fallback_transport, name, address);
  if (!fallback) co_return;
  if (!fallback->empty()) co_return pass_to(*fallback, address, *origin);
  if (!settings_->luser_relay.empty() && !origin->is_luser) {
    const CommandContext context = context_of(address, *origin, nullptr);
    const std::string relay =
        expand_for(context, settings_->luser_relay, settings_->recipient_delimiter, {});
    if (relay.empty()) {
      log::warning("luser_relay: bad value \"{}\"", settings_->luser_relay);
      finish(address, "4.3.5", "mail system configuration error");
      co_return;
    }
    auto next = std::make_shared<Origin>(*origin);
    next->is_luser = true;
    next->address = address;
    tasks_.push_front({{DestinationKind::kAddress, mail::unquote_address(relay)}, next, false});
    co_return;
  }
  // local(8): where problems are to be told. A problem of its own would be told there, too.
  if (equal_nocase(name, "postmaster") || equal_nocase(name, "mailer-daemon")) {
    log::warning("required alias not found: {}", name);
    finish(address, "2.0.0", "discarded");
    co_return;
  }
  finish(address, "5.1.1", fmt::format("unknown user: \"{}\"", name));
}

bool Expansion::is_verification() const {
  return delivery_.request().is_probe && !delivery_.request().is_dry_run;
}

std::string Expansion::with_extension(const std::string& address, const Origin& origin) const {
  if (origin.extension.empty()) return address;
  const std::size_t at = std::min(address.rfind('@'), address.size());
  return address.substr(0, at) + origin.extension + address.substr(at);
}

void Expansion::forward(const std::string& address, const Origin& origin) {
  if (!done_.insert("address " + to_lower(address)).second) return;
  if (is_dry(address, "forwards to " + address, origin)) return;
  const std::string sender = sender_of(origin);
  Forward& forward = forwards_[{origin.address, sender}];
  forward.sender = sender;
  forward.has_owner = origin.owner.has_value();
  forward.delivered_to = origin.delivered_to;
  forward.addresses.push_back(address);
}

loop::Task<void> Expansion::send_forwards() {
  for (const auto& [key, forward] : forwards_) {
    const auto sent = co_await submit(forward);
    if (sent) {
      // Who gets the new message reports on it.
      agent::Verdict verdict;
      verdict.status = "2.0.0";
      verdict.text = fmt::format("forwarded as {}", *sent);
      if (is_expanded_) verdict.action = "relayed";
      verdict.relay = kRelay;
      finish(recipient_.address, verdict);
    } else {
      log::warning("{}: forward: {}", delivery_.queue_id(), sent.error().text);
      finish(recipient_.address, "4.3.0", "unable to forward message");
    }
  }
}

loop::Task<Result<std::string>> Expansion::submit(const Forward& forward) {
  const queuefile::Envelope& original = message_.envelope;
  queuefile::Envelope envelope;
  envelope.sender = forward.sender;
  const auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  envelope.arrival = {now / 1'000'000, static_cast<std::int32_t>(now % 1'000'000)};
  envelope.encoding = original.encoding;
  envelope.smtputf8 = original.smtputf8;
  // The header stays as it came: what a stranger left out is not filled in now.
  envelope.rewrite_context = original.rewrite_context;
  envelope.origin = queuefile::Origin::kForward;
  envelope.flags = queuefile::kFlagInternal;
  for (const auto& [name, value] : original.attributes) {
    if (name == queuefile::kRequireTls) envelope.attributes.emplace_back(name, value);
  }
  if (!forward.has_owner) {
    envelope.dsn_ret = original.dsn_ret;
    envelope.dsn_envid = original.dsn_envid;
  }
  for (const std::string& address : forward.addresses) {
    queuefile::Recipient& recipient = envelope.recipients.emplace_back();
    recipient.address = address;
    // A list answers for its members itself; else the sender knows only the first address.
    if (forward.has_owner) continue;
    recipient.orig_to = recipient_.orig_to;
    recipient.dsn_orcpt = recipient_.dsn_orcpt;
    recipient.notify = static_cast<std::uint8_t>(recipient_.notify);
    if (is_expanded_ && (recipient.notify & queuefile::kNotifySuccess) != 0) {
      const unsigned rest = recipient.notify & ~unsigned{queuefile::kNotifySuccess};
      recipient.notify = rest == 0 ? queuefile::kNotifyNever : static_cast<std::uint8_t>(rest);
    }
  }
  CO_DO(queuefile::check_bounds(envelope));
  ipc::SubmissionStart start;
  queuefile::append_envelope(start.envelope, envelope);
  start.is_internal = true;
  ipc::Submission submission(agent_.cleanup_, std::move(start));
  const auto deadline = loop::Clock::now() + kCleanupTime;

  std::string head;
  if (settings_->adds_delivered_to_forward) {
    head = fmt::format("Delivered-To: {}\n", forward.delivered_to);
  }
  head += agent::header_of(delivery_, message_);
  head += '\n';
  CO_DO(co_await submission.add(head, deadline));
  constexpr std::uint64_t kPiece = std::uint64_t{256} << 10;
  queuefile::Extent rest = message_.layout.body;
  while (rest.length > 0) {
    const queuefile::Extent piece{rest.offset, std::min(rest.length, kPiece)};
    CO_TRY(const std::string bytes, queuefile::read_extent(delivery_.fd(), piece, kPiece));
    CO_DO(co_await submission.add(bytes, deadline));
    rest.offset += piece.length;
    rest.length -= piece.length;
  }
  CO_TRY(const auto outcome, co_await submission.finish(deadline));
  if (!outcome.is_accepted) {
    co_return fail_temporary(
        fmt::format("{} {} {}", outcome.reply_code, outcome.status, outcome.text));
  }
  co_return outcome.queue_id;
}

void Expansion::finish(const std::string& address, std::string_view status, std::string text) {
  agent::Verdict verdict;
  verdict.status = status;
  verdict.text = std::move(text);
  verdict.relay = kRelay;
  if (status.starts_with('2')) verdict.action = "delivered";
  finish(address, verdict);
}

void Expansion::finish_final(const std::string& address, agent::Verdict verdict) {
  if (verdict.status.starts_with('2')) verdict.action = "delivered";
  finish(address, verdict);
}

void Expansion::finish(const std::string& address, const agent::Verdict& verdict) {
  finished_.emplace_back(address, verdict);
}

loop::Task<void> Expansion::settle() {
  for (auto& [address, found] : std::exchange(finished_, {})) {
    const agent::Verdict verdict = co_await delivery_.filtered(found);
    const Outcome outcome = outcome_of(verdict.status);
    delivery_.log(index_, outcome, verdict, address);
    if (parts_.size() < kMaxParts) {
      parts_.push_back({outcome, verdict});
      parts_.back().verdict.address = address;
    }
    if (outcome_ && rank(*outcome_) >= rank(outcome)) continue;
    outcome_ = outcome;
    verdict_ = verdict;
    verdict_.address = address;
  }
}

}  // namespace postern::local
