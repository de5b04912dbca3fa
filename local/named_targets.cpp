// named_targets.cpp - what aliases and .forward files name beside addresses: commands, files,
// lists.

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

using ipc::agent::Outcome;

CommandContext Expansion::context_of(const std::string& address, const Origin& origin,
                                     const User* user) const {
  CommandContext context;
  const auto parts = mail::split_address(address);
  context.local_part = to_lower(parts.local_part);
  context.domain = to_lower(parts.has_domain ? parts.domain : std::string_view(domain_));
  const auto split = mail::split_extension(context.local_part, settings_->recipient_delimiter,
                                           settings_->owner_request_special);
  context.user = split.user;
  context.extension = split.extension;
  if (user != nullptr) {
    context.user = user->name;
    context.home = user->home;
    context.shell = user->shell;
    if (context.local_part == user->name) context.extension.clear();
  } else if (origin.list_user) {
    context.home = origin.list_user->home;
    context.shell = origin.list_user->shell;
  }
  context.recipient = address;
  context.sender = sender_of(origin);
  if (!origin.owner) context.orig_to = recipient_.orig_to;
  return context;
}

loop::Task<void> Expansion::run_command(std::string line, const std::string& address,
                                        const Origin& origin, const User* user) {
  if (is_dry(address, "delivers to command: " + line, origin)) co_return;
  const CommandContext context = context_of(address, origin, user);
  const std::string sender = mail::quote_address(context.sender);
  agent::Job job = agent::command_job(
      message_,
      agent::from_line(sender,
                       std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())) +
          agent::mailbox_headers(
              sender, shown_orig_to(origin),
              settings_->adds_delivered_to_command ? origin.delivered_to : std::string()),
      settings_->time_limit);
  job.line = line;
  job.shell = settings_->local_command_shell;
  job.environment = settings_->environment;
  job.limit = static_cast<std::int64_t>(settings_->mailbox.limit);
  for (auto& entry : describe(context, message_.envelope, settings_->command_expansion_filter)) {
    job.environment.push_back(std::move(entry));
  }
  job.directory = settings_->queue_directory;
  if (!settings_->command_execution_directory.empty()) {
    job.directory =
        expand_for(context, settings_->command_execution_directory, settings_->recipient_delimiter,
                   settings_->execution_directory_expansion_filter);
    job.must_have_directory = true;
  }
  agent::Identity who = user != nullptr ? identity_of(*user) : origin.rights;
  co_await place_.go_to(fmt::format("command {} {}", who.uid, line));
  const auto reply =
      co_await agent_.deliverers_.run(std::move(who), std::move(job), delivery_.fd());
  agent::Verdict verdict = agent::verdict_of(reply, delivery_.queue_id(), kRelay);
  if (verdict.status.starts_with('2')) verdict.text = "delivered to command: " + line;
  if (origin.owner) verdict.owner = *origin.owner;
  finish_final(address, std::move(verdict));
}

void Expansion::refuse(const Origin& origin, std::string text) {
  agent::Verdict verdict;
  verdict.status = "5.7.1";
  verdict.text = std::move(text);
  verdict.relay = kRelay;
  if (origin.owner) verdict.owner = *origin.owner;
  finish(origin.address, verdict);
}

loop::Task<void> Expansion::deliver_command(Task task) {
  const Origin& origin = *task.origin;
  const std::string_view where = origin.source == Source::kForward   ? "forward"
                                 : origin.source == Source::kInclude ? "include"
                                                                     : "alias";
  if (!has_word(settings_->allow_mail_to_commands, where)) {
    refuse(origin, "mail to command is restricted");
    co_return;
  }
  if (!done_.insert(fmt::format("command {} {}", origin.rights.uid, task.destination.text))
           .second) {
    co_return;
  }
  const User* user = origin.user ? &*origin.user : nullptr;
  co_await run_command(task.destination.text, origin.address, origin, user);
}

loop::Task<void> Expansion::deliver_file(Task task) {
  const Origin& origin = *task.origin;
  const std::string_view where = origin.source == Source::kForward   ? "forward"
                                 : origin.source == Source::kInclude ? "include"
                                                                     : "alias";
  if (!has_word(settings_->allow_mail_to_files, where)) {
    refuse(origin, "mail to file is restricted");
    co_return;
  }
  std::string path = task.destination.text;
  if (path.starts_with('~')) {
    // Only a .forward file is somebody's, and only its owner's home can be meant.
    if (!path.starts_with("~/") || !origin.user) {
      log::warning("{}: {}: {}", delivery_.queue_id(),
                   path.starts_with("~/") ? "nobody's home directory" : "~/ is expected", path);
      finish(origin.address, "5.3.5", "mail system configuration error");
      co_return;
    }
    path = (origin.user->home == "/" ? std::string() : origin.user->home) + path.substr(1);
  }
  if (!done_.insert("file " + path).second) co_return;
  if (is_dry(origin.address,
             path.ends_with('/') ? "delivers to maildir" : "delivers to file: " + path, origin)) {
    co_return;
  }
  agent::Job job =
      agent::mailbox_job(delivery_, message_, path, prepended(origin), settings_->mailbox);
  job.sender = mail::quote_address(sender_of(origin));
  job.has_owner = false;
  job.allow_device = true;
  if (job.kind == agent::JobKind::kMbox) {
    job.success_text = "delivered to file: " + path;
    job.failure_prefix = fmt::format("cannot append message to file {}: ", path);
    co_await place_.go_to("file " + path);
  }
  agent::Identity who = origin.rights;
  const auto reply =
      co_await agent_.deliverers_.run(std::move(who), std::move(job), delivery_.fd());
  agent::Verdict verdict = agent::verdict_of(reply, delivery_.queue_id(), kRelay);
  if (origin.owner) verdict.owner = *origin.owner;
  finish_final(origin.address, std::move(verdict));
}

bool Expansion::is_dry(const std::string& address, std::string text, const Origin& origin) {
  if (!delivery_.request().is_probe) return false;
  agent::Verdict would;
  would.status = "2.0.0";
  would.text = std::move(text);
  would.relay = kRelay;
  if (origin.owner) would.owner = *origin.owner;
  finish(address, would);
  return true;
}

void Expansion::refuse_include(const Origin& origin, std::string warning) {
  log::warning("{}", warning);
  finish(origin.address, "5.3.5", "mail system configuration error");
}

loop::Task<bool> Expansion::take_rights(const std::string& path, Origin& next,
                                        std::optional<ListOwner>& list) {
  const auto found = co_await agent_.pool_.run([&] { return find_list_owner(path); });
  if (!found) co_return true;  // opening it tells the rest
  if (!found->uid) {
    log::warning(
        "{}: {}: a link on the way belongs to somebody else than the file, whose owner's "
        "rights are not used",
        delivery_.queue_id(), path);
    co_return true;
  }
  if (*found->uid == 0) co_return true;
  const auto owner = co_await agent_.users_.find(*found->uid);
  if (owner && *owner) {
    list = *found;
    next.list_user = **owner;
    next.rights = identity_of(**owner);
    co_return true;
  }
  log::warning("{}: cannot find username for uid {}", path, *found->uid);
  finish(next.address, "4.3.5", "mail system configuration error");
  co_return false;
}

loop::Task<void> Expansion::deliver_include(Task task) {
  const Origin& origin = *task.origin;
  const std::string path = task.destination.text;
  if (!done_.insert("include " + path).second) co_return;
  if (!path.starts_with('/')) {
    refuse_include(origin, fmt::format(":include:{} uses a relative path", path));
    co_return;
  }
  auto next = std::make_shared<Origin>(origin);
  next->source = Source::kInclude;
  if (!settings_->propagates_from_include) next->extension.clear();
  std::optional<ListOwner> list;
  // A list that root's alias names has the rights of its owner: he can write in it. One that a
  // user's file names has no more than that user's.
  if (!origin.user && origin.rights.uid == agent_.fallback_.uid) {
    if (!co_await take_rights(path, *next, list)) co_return;
  }
  agent::Job job;
  job.kind = agent::JobKind::kOpen;
  job.path = path;
  agent::Identity who = next->rights;
  sys::Fd file;
  auto reply = co_await agent_.deliverers_.run(std::move(who), job, -1, &file);
  if (!file && next->list_user) {
    // Some owners' rights are given to nobody: the mail system's own. Everybody's may do.
    next->list_user.reset();
    next->rights = origin.rights;
    who = next->rights;
    reply = co_await agent_.deliverers_.run(std::move(who), std::move(job), -1, &file);
  }
  if (!reply) {
    finish(origin.address, "4.3.0",
           fmt::format("cannot open include file {}: {}", path, reply.error().text));
    co_return;
  }
  if (reply->outcome == agent::JobOutcome::kMissing) {
    refuse_include(origin,
                   fmt::format("unable to lookup :include: file {}: {}", path, reply->text));
    co_return;
  }
  struct stat status{};
  if (!file || ::fstat(file.get(), &status) < 0) {
    finish(origin.address, "4.2.0",
           fmt::format("cannot open include file {}: {}", path, reply->text));
    co_return;
  }
  if (list && (status.st_dev != list->device || status.st_ino != list->inode)) {
    finish(origin.address, "4.2.0", fmt::format("include file {} was replaced meanwhile", path));
    co_return;
  }
  if ((status.st_mode & S_IWOTH) != 0) {
    refuse_include(origin, fmt::format(":include: file {} is world writable", path));
    co_return;
  }
  const auto text = read_list_file(file.get());
  if (!text) {
    finish(origin.address, "4.2.0",
           fmt::format("cannot read include file {}: {}", path, text.error().text));
    co_return;
  }
  add(parse_destination_file(*text), std::move(next));
}

}  // namespace postern::local
