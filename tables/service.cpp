#include "tables/service.h"

#include "common/log/log.h"

namespace postern::tables {

Service::Service(daemon::Process& process) : process_(process), server_(process.take_listener()) {
  configure();
}

void Service::configure() {
  config::Problems problems;
  resolver_ =
      std::make_unique<Resolver>(registry_, read_resolve_settings(process_.values(), problems));
  for (const auto& problem : problems) log::warning("{}", config::log_text(problem));
  registry_.open_all(process_.values());
}

void Service::start() {
  auto& dispatcher = server_.dispatcher();
  dispatcher.answer<ipc::tables::Lookup>(
      [this](ipc::tables::Lookup& question, const ipc::ChannelPtr&) { return lookup(question); });
  dispatcher.answer<ipc::tables::Resolve>(
      [this](ipc::tables::Resolve& question,
             const ipc::ChannelPtr&) -> Result<ipc::tables::Resolved> {
        return resolver_->resolve(question);
      });
  dispatcher.answer<ipc::tables::Expand>(
      [this](ipc::tables::Expand& question, const ipc::ChannelPtr&) {
        return resolver_->expand(question);
      });
  server_.on_connected([this](const ipc::ChannelPtr& channel) {
    auto page = registry_.generation().share();
    if (!page) return log::warning("{}", page.error().text);
    std::vector<sys::Fd> fds;
    fds.push_back(*std::move(page));
    channel->notify(ipc::tables::Generation{}, std::move(fds));
  });
  // A process with root's rights to open tables is only to be had anew.
  registry_.on_rights_missing = [this] {
    log::info("starting anew to read a table that only root may open");
    process_.finish();
  };
  process_.on_reload([this] { configure(); });
  registry_.watch();
  server_.start();
}

Result<ipc::tables::Found> Service::lookup(const ipc::tables::Lookup& question) {
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
