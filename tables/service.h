// service.h - the questions of ipc/tables.h, answered.

#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/daemon/daemon.h"
#include "common/ipc/client.h"
#include "common/ipc/server.h"
#include "common/ipc/tables_many.h"
#include "common/table/server_client.h"
#include "tables/registry.h"
#include "tables/resolve.h"

namespace postern::tables {

class Service {
 public:
  // Opens the tables: call it before rights are dropped.
  explicit Service(daemon::Process& process, Role role = Role::kTables);
  void start();

 private:
  [[nodiscard]] Result<ipc::tables::Found> ask(const ipc::tables::Lookup& question);
  [[nodiscard]] Result<ipc::tables::FoundEach> ask(const ipc::tables::LookupEach& question);
  [[nodiscard]] Result<ipc::tables::Resolved> ask(const ipc::tables::Resolve& question);
  [[nodiscard]] Result<ipc::tables::Expanded> ask(const ipc::tables::Expand& question);
  [[nodiscard]] Result<ipc::tables::Mapped> ask(const ipc::tables::Map& question);
  [[nodiscard]] Result<ipc::tables::Checked> ask(const ipc::tables::Check& question);
  [[nodiscard]] Result<ipc::tables::AnchorText> ask(const ipc::tables::FindAnchors& question);

  // Answers at once where no table of proxymap is needed, else when proxymap has answered.
  template <ipc::Message Question>
  void handle();
  // `answers` has the first answer that is missing.
  template <ipc::Message Question>
  [[nodiscard]] loop::Task<void> answer_later(Question question, ipc::ChannelPtr channel,
                                              std::uint32_t id, ProxyAnswers answers);
  template <ipc::Message Question>
  [[nodiscard]] Result<typename Question::Reply> attempt(const Question& question,
                                                         ProxyAnswers& answers, Caller& caller);
  // By proxymap, or in proxymap by the server behind the table.
  [[nodiscard]] loop::Task<table::Found> ask_elsewhere(ProxyAnswers::Missing missing);
  void configure();
  // With the -o values of that line of master.cf, if it has any.
  [[nodiscard]] Resolver& resolver_of(const std::string& service);

  daemon::Process& process_;
  Registry registry_;
  std::unique_ptr<Resolver> resolver_;
  std::unique_ptr<Resolver> probe_resolver_;
  std::map<std::string, std::unique_ptr<Resolver>, std::less<>> service_resolvers_;
  ipc::Server server_;
  Role role_;
  ipc::Client proxymap_;
  ipc::Client names_{"private/resolver"};
  table::ServerClient servers_;
};

}  // namespace postern::tables
