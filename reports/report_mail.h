// report_mail.h - a finished report, and the mail that carries it. Pure.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace postern::reports {

// Who reports.
struct Submitter {
  std::string organization;
  std::string contact;
  std::string sender;  // the address in From
  std::string domain;
  std::string host;  // for Message-Id
};

struct Report {
  std::string domain;  // whom it is about
  std::string id;
  std::string file_name;   // of the attachment
  std::string media_type;  // "application/tlsrpt+gzip"
  std::string bytes;       // packed
  std::string text;        // for people: lines
  bool is_tls = false;     // RFC 8460 5.3: multipart/report and its header fields
  std::uint64_t good = 0, bad = 0;
};

[[nodiscard]] Result<std::string> gzip(std::string_view bytes);

// With header; lines end in LF. `now` in seconds.
[[nodiscard]] std::string compose_mail(const Report& report, const Submitter& submitter,
                                       const std::string& recipient, std::int64_t now);

}  // namespace postern::reports
