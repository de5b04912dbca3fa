// proxy_filter.h - a content filter that sees mail before it is queued (SMTPD_PROXY_README): the
// accepted part of the dialogue is repeated to it, and its answers are the client's.
//
// The filter hands the mail back to another smtpd; nothing of it is queued here.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/ipc/client.h"
#include "common/loop/stream.h"
#include "common/mail/reply.h"
#include "common/queuefile/envelope.h"
#include "common/smtpwire/dot.h"
#include "common/smtpwire/ehlo.h"
#include "common/smtpwire/reply_reader.h"

namespace postern::smtpd {

class ProxyFilter {
 public:
  struct Settings {
    std::uint64_t number = 0;  // what broker knows it by; 0: there is none
    std::string endpoint;
    std::string ehlo;
    std::chrono::seconds timeout{100};
    // speed_adjust: it is connected to when the content comes, not while the client speaks.
    bool is_late = false;
  };

  explicit ProxyFilter(Settings settings) : settings_(std::move(settings)) {}
  ~ProxyFilter();
  ProxyFilter(const ProxyFilter&) = delete;
  ProxyFilter& operator=(const ProxyFilter&) = delete;

  // Connects, and says whom we speak for.
  [[nodiscard]] loop::Task<Result<void>> open(ipc::Client& broker, queuefile::Client client,
                                              std::string ident, bool is_local);
  // One command, without line end, and its answer.
  [[nodiscard]] loop::Task<Result<mail::Reply>> command(std::string text);
  // Content with LF line ends.
  [[nodiscard]] loop::Task<Result<void>> add(std::string content);
  // The final dot, and the answer that is the client's.
  [[nodiscard]] loop::Task<Result<mail::Reply>> finish();

  [[nodiscard]] const smtpwire::Features& features() const { return features_; }
  [[nodiscard]] const Settings& settings() const { return settings_; }

 private:
  [[nodiscard]] loop::Task<Result<smtpwire::ServerReply>> read_reply();
  [[nodiscard]] loop::Task<Result<smtpwire::ServerReply>> ask(std::string text);
  [[nodiscard]] loop::Deadline deadline() const { return loop::Clock::now() + settings_.timeout; }

  Settings settings_;
  std::unique_ptr<loop::Stream> stream_;
  smtpwire::ReplyReader reader_;
  smtpwire::Features features_;
  smtpwire::DotEncoder encoder_{0};
};

}  // namespace postern::smtpd
