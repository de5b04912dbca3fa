// reply_filter.h - smtp_reply_filter: what takes the place of a line that a server sent.
//
// For servers that say what no client understands. Each line is asked for by itself, before it is
// read as a part of a reply; where there is no filter nothing is asked.

#pragma once

#include <string>

#include "common/base/result.h"
#include "common/ipc/tables_client.h"
#include "common/loop/task.h"
#include "common/smtpclient/settings.h"

namespace postern::smtpclient {

class ReplyFilter {
 public:
  ReplyFilter() = default;
  // `tables` may be null: then nothing is filtered.
  ReplyFilter(ipc::TablesClient* tables, SettingsPtr settings)
      : tables_(tables), settings_(std::move(settings)) {}

  [[nodiscard]] bool is_empty() const {
    return tables_ == nullptr || settings_->params.smtp_reply_filter.empty();
  }
  // The line itself, without its end, or what takes its place. An error: the tables could not be
  // asked, which was logged.
  [[nodiscard]] loop::Task<Result<std::string>> apply(std::string line) const;

 private:
  ipc::TablesClient* tables_ = nullptr;
  SettingsPtr settings_;
};

}  // namespace postern::smtpclient
