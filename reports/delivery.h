// delivery.h - a report on its way to those who asked for it: by mail through cleanup, or over
// HTTPS through sts, which alone speaks HTTP to strangers.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/cleanup_client.h"
#include "common/ipc/client.h"
#include "common/ipc/sts.h"
#include "common/loop/task.h"
#include "common/mail/report_address.h"
#include "reports/report_mail.h"

namespace postern::reports {

// What became of it at one address.
struct Handed {
  bool is_accepted = false;
  bool is_final = false;  // no use to try again
  std::string remark;     // "mailto:a@b: queued as 3F2..."
};

class Delivery {
 public:
  struct Settings {
    Submitter submitter;
    std::string envelope_sender;
    bool is_signed = false;  // dkim_sign_enable
  };

  void configure(Settings settings) { settings_ = std::move(settings); }
  [[nodiscard]] const Submitter& submitter() const { return settings_.submitter; }

  [[nodiscard]] loop::Task<Handed> hand_over(const Report& report, mail::ReportAddress address);

 private:
  [[nodiscard]] loop::Task<Handed> mail(const Report& report, std::string recipient);
  [[nodiscard]] loop::Task<Handed> post(const Report& report, std::string url);

  Settings settings_;
  ipc::CleanupClient cleanup_;
  ipc::Client sts_{"private/sts"};
};

}  // namespace postern::reports
