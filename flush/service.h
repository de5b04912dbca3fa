// service.h - fast flush: notes of deferrals from qmgr, and sites whose mail is wanted now.
//
// Only sites of fast_flush_domains are kept, each in a SiteLog. A site that was not asked for is
// tried every fast_flush_refresh_time; notes older than fast_flush_purge_time are forgotten.

#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/config/site_list.h"
#include "common/daemon/daemon.h"
#include "common/ipc/client.h"
#include "common/ipc/flush.h"
#include "common/ipc/server.h"
#include "common/ipc/tables_client.h"
#include "flush/site_log.h"

namespace postern::flush {

class Service {
 public:
  explicit Service(daemon::Process& process);
  void start();

 private:
  [[nodiscard]] loop::Task<Result<ipc::flush::Sent>> send(ipc::flush::SendSite request);
  loop::Task<void> note(ipc::flush::Waiting notice);
  [[nodiscard]] loop::Task<Result<bool>> is_served(std::string site);
  // The log of a site, read when it is first touched.
  [[nodiscard]] Result<SiteLog*> log_of(const std::string& file);
  [[nodiscard]] bool hand_to_qmgr(SiteLog& log);
  void refresh();
  void configure();

  daemon::Process& process_;
  config::SiteList sites_;
  std::chrono::seconds purge_time_{};
  std::chrono::seconds refresh_time_{};
  ipc::Server server_;
  ipc::TablesClient tables_;
  ipc::Client qmgr_;
  std::map<std::string, SiteLog, std::less<>> logs_;  // by file name
  loop::CallbackTimer refresh_timer_;
};

}  // namespace postern::flush
