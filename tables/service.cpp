#include "tables/service.h"

#include <algorithm>

#include "common/config/params/table.h"
#include "common/ipc/connect.h"
#include "common/ipc/identity.h"
#include "common/log/log.h"
#include "tables/anchors.h"

namespace postern::tables {

namespace {

// More than this one question can have to ask of proxymap only where tables go round in circles.
constexpr std::size_t kMaxProxyAnswers = 5000;
constexpr std::chrono::seconds kProxyTimeout{60};

Caller& caller_of(const ipc::ChannelPtr& channel) {
  return *static_cast<Caller*>(channel->context.get());
}

}  // namespace

Service::Service(daemon::Process& process, Role role)
    : process_(process),
      registry_(role),
      server_(process.take_listener()),
      role_(role),
      proxymap_("private/" + process.values().text("proxymap_service_name")),
      servers_([this](std::string endpoint, loop::Deadline deadline) {
        return ipc::connect_to(names_, std::move(endpoint), deadline);
      }) {
  configure();
}

void Service::configure() {
  config::Problems problems;
  resolver_ =
      std::make_unique<Resolver>(registry_, read_resolve_settings(process_.values(), problems));
  config::Problems same_again;
  probe_resolver_ =
      std::make_unique<Resolver>(registry_, read_probe_settings(process_.values(), same_again));
  service_resolvers_.clear();
  for (const auto& problem : problems) log::warning("{}", config::log_text(problem));
  registry_.open_all(process_.values());
  const auto tables = process_.load<config::TableParams>();
  servers_.set_limits({static_cast<std::size_t>(tables.socketmap_max_query_size),
                       static_cast<std::size_t>(tables.socketmap_max_reply_size)});
}

void Service::start() {
  handle<ipc::tables::Lookup>();
  handle<ipc::tables::LookupEach>();
  handle<ipc::tables::Resolve>();
  handle<ipc::tables::Expand>();
  handle<ipc::tables::Map>();
  handle<ipc::tables::Check>();
  handle<ipc::tables::FindAnchors>();
  server_.dispatcher().notice<ipc::Introduce>(
      [](ipc::Introduce& peer, const ipc::ChannelPtr& channel) {
        if (ipc::is_proven(peer)) caller_of(channel).program = peer.program;
      });
  server_.on_connected([this](const ipc::ChannelPtr& channel) {
    auto caller = std::make_shared<Caller>();
    caller->process = channel->peer();
    channel->context = std::move(caller);
    auto page = registry_.generation().share();
    if (!page) return log::warning("{}", page.error().text);
    std::vector<sys::Fd> fds;
    fds.push_back(*std::move(page));
    channel->notify(ipc::tables::Generation{}, std::move(fds));
  });
  proxymap_.on_connected([](const ipc::ChannelPtr& channel) { ipc::introduce(*channel); });
  // A process with root's rights to open tables is only to be had anew.
  registry_.on_rights_missing = [this] {
    log::info("starting anew to read a table that only root may open");
    process_.finish();
  };
  process_.on_reload([this] { configure(); });
  registry_.watch();
  server_.only_for(process_.clients());
  server_.start();
}

template <ipc::Message Question>
void Service::handle() {
  server_.dispatcher().raw(
      Question::kType, [this](const ipc::ChannelPtr& channel, ipc::Frame& frame) {
        auto question = ipc::decode<Question>(frame.payload);
        if (!question) return channel->close();
        ProxyAnswers answers;
        const auto reply = attempt(*question, answers, caller_of(channel));
        if (!answers.missing) return channel->reply(Question::kType, frame.id, reply);
        loop::spawn(answer_later(*std::move(question), channel, frame.id, std::move(answers)));
      });
}

template <ipc::Message Question>
Result<typename Question::Reply> Service::attempt(const Question& question, ProxyAnswers& answers,
                                                  Caller& caller) {
  answers.missing.reset();
  registry_.use(&answers, &caller);
  auto reply = ask(question);
  registry_.use(nullptr);
  // A data base does not tell when it changes: such answers are not for keeping.
  if (reply && !answers.known.empty()) reply->generation = 0;
  return reply;
}

template <ipc::Message Question>
loop::Task<void> Service::answer_later(Question question, ipc::ChannelPtr channel, std::uint32_t id,
                                       ProxyAnswers answers) {
  Result<typename Question::Reply> reply = fail_temporary("too many questions to proxymap");
  while (answers.missing && answers.known.size() < kMaxProxyAnswers) {
    const ProxyAnswers::Missing missing = *answers.missing;
    table::Found value = co_await ask_elsewhere(missing);
    if (!value && role_ == Role::kTables) {
      log::warning("{} lookup error for \"{}\": {}", missing.table, missing.key,
                   value.error().text);
    }
    answers.known.emplace(missing, std::move(value));
    auto next = attempt(question, answers, caller_of(channel));
    if (!answers.missing) reply = std::move(next);
  }
  if (channel->is_open()) channel->reply(Question::kType, id, reply);
}

loop::Task<table::Found> Service::ask_elsewhere(ProxyAnswers::Missing missing) {
  if (role_ == Role::kProxymap) {
    co_return co_await servers_.find(config::without_proxy(missing.table), missing.key);
  }
  ipc::tables::Lookup lookup;
  lookup.tables.push_back(missing.table);
  lookup.keys.push_back({missing.key, false});
  auto found = co_await proxymap_.call(std::move(lookup), loop::Clock::now() + kProxyTimeout);
  if (!found) co_return std::unexpected(std::move(found).error());
  if (!found->is_found) co_return std::nullopt;
  co_return std::move(found->value);
}

Result<ipc::tables::Resolved> Service::ask(const ipc::tables::Resolve& question) {
  return (question.is_for_probe ? probe_resolver_ : resolver_)->resolve(question);
}

Result<ipc::tables::Expanded> Service::ask(const ipc::tables::Expand& question) {
  if (question.is_for_probe) return probe_resolver_->expand(question);
  return resolver_of(question.service).expand(question);
}

Result<ipc::tables::Mapped> Service::ask(const ipc::tables::Map& question) {
  return resolver_of(question.service).map(question);
}

Result<ipc::tables::Checked> Service::ask(const ipc::tables::Check& question) {
  ipc::tables::Checked answer;
  for (std::size_t i = 0; i < question.keys.size(); ++i) {
    const auto& key = question.keys[i];
    if (key.list < 0 || key.list >= std::ssize(question.lists)) {
      return fail_temporary("check of a list that is not there");
    }
    const auto& tables = question.lists[static_cast<std::size_t>(key.list)].tables;
    TRY(auto hit, registry_.find_key(tables, key.text, false));
    if (!hit) continue;
    answer.hits.push_back(
        {static_cast<std::int64_t>(i), std::move(hit->value), tables[hit->table]});
  }
  return answer;
}

Result<ipc::tables::AnchorText> Service::ask(const ipc::tables::FindAnchors& question) {
  ipc::tables::Lookup lookup;
  lookup.tables = question.tables;
  lookup.keys = question.keys;
  TRY(const auto entry, ask(lookup));
  const std::string path = entry.is_found ? anchor_file_of(entry.value) : std::string();
  if (path.empty()) return fail(Error::Kind::kConfig, "no entry with tafile=");
  ipc::tables::AnchorText answer;
  TRY(answer.pem, read_anchors(path));
  return answer;
}

Resolver& Service::resolver_of(const std::string& service) {
  if (service.empty()) return *resolver_;
  const auto known = service_resolvers_.find(service);
  if (known != service_resolvers_.end()) return *known->second;
  const auto& lines = process_.values().snapshot().services;
  const auto line = std::find_if(lines.begin(), lines.end(),
                                 [&](const auto& each) { return each.name == service; });
  if (line == lines.end() || line->overrides.empty()) return *resolver_;
  config::Problems problems;
  auto own = std::make_unique<Resolver>(
      registry_, read_resolve_settings(process_.values().of_service(*line), problems));
  return *service_resolvers_.emplace(service, std::move(own)).first->second;
}

Result<ipc::tables::FoundEach> Service::ask(const ipc::tables::LookupEach& question) {
  ipc::tables::FoundEach each;
  each.generation = registry_.generation().value();
  ipc::tables::Lookup one;
  one.keys = question.keys;
  for (const auto& table : question.tables) {
    one.tables = {table};
    auto found = ask(one);
    auto& answer = each.answers.emplace_back();
    if (found) {
      answer.found = *std::move(found);
    } else {
      answer.error = std::move(found).error().text;
    }
  }
  return each;
}

Result<ipc::tables::Found> Service::ask(const ipc::tables::Lookup& question) {
  ipc::tables::Found found;
  found.generation = registry_.generation().value();
  for (std::size_t i = 0; i < question.keys.size(); ++i) {
    const auto& key = question.keys[i];
    TRY(auto hit, registry_.find_key(question.tables, key.text, key.is_partial));
    if (!hit) continue;
    found.is_found = true;
    found.table = static_cast<std::int64_t>(hit->table);
    found.key = static_cast<std::int64_t>(i);
    found.value = std::move(hit->value);
    break;
  }
  return found;
}

}  // namespace postern::tables
