// service.h - the policies that are known, and when to look again.
//
// A policy stands for its max_age, over restarts too: without that, whoever breaks DNS or HTTPS for
// a while could take a domain's policy away. The TXT record's id tells whether it has changed
// (RFC 8461 3.3); it is asked for once in kLookAgain. A fetch that failed is tried again after
// kFetchAgain; until then the former policy counts, or none.

#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "common/base/keyed_hash.h"
#include "common/daemon/daemon.h"
#include "common/ipc/client.h"
#include "common/ipc/resolver.h"
#include "common/ipc/server.h"
#include "common/ipc/sts.h"
#include "common/loop/worker_pool.h"
#include "common/table/kept.h"
#include "common/tls/sts.h"
#include "sts/fetch.h"

namespace postern::sts {

struct Surroundings {
  table::Kept store;
  std::string authorities;  // PEM
};
// Before the rights are dropped. What is missing is logged: without authorities no policy can be
// fetched, without a file none is kept over a restart.
[[nodiscard]] Surroundings open_surroundings(daemon::Process& process);

// A policy as the store keeps it.
struct Kept {
  std::string id;
  std::int64_t expires = 0;  // seconds since 1970
  std::string text;          // the file as it was fetched
};
[[nodiscard]] std::string print_kept(const Kept& kept);
[[nodiscard]] std::optional<Kept> parse_kept(std::string_view text);

class Service {
 public:
  Service(daemon::Process& process, Surroundings surroundings);
  void start();

 private:
  struct Domain {
    std::optional<Kept> kept;
    tls::StsPolicy policy;  // of kept
    std::chrono::system_clock::time_point look_again{};
    std::string failure;  // of the last fetch
    bool is_looking = false;
    loop::Condition looked;
  };
  using DomainPtr = std::shared_ptr<Domain>;

  [[nodiscard]] loop::Task<Result<ipc::sts::Policy>> find(ipc::sts::FindPolicy question);
  loop::Task<void> look(std::string name, DomainPtr domain);
  [[nodiscard]] loop::Task<Result<Kept>> fetch(std::string name, std::string id, DomainPtr domain);
  [[nodiscard]] loop::Task<Result<ipc::sts::Posted>> post(ipc::sts::Post request);
  [[nodiscard]] loop::Task<Result<HttpsPeer>> find_peer(std::string host);
  [[nodiscard]] DomainPtr domain_of(const std::string& name);
  void finish_if_idle();

  daemon::Process& process_;
  Surroundings surroundings_;
  ipc::Server server_;
  ipc::Client resolver_{"private/resolver"};
  loop::WorkerPool pool_;
  StringMap<DomainPtr> domains_;
  std::size_t under_way_ = 0;
};

}  // namespace postern::sts
