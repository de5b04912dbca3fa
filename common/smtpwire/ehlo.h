// ehlo.h - what a server offers in its answer to EHLO or LHLO.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::smtpwire {

struct Features {
  std::string greeting_name;  // the server's name for itself
  bool pipelining = false;
  bool eight_bit_mime = false;
  bool dsn = false;
  bool smtputf8 = false;
  bool chunking = false;
  bool starttls = false;
  bool enhanced_status_codes = false;
  bool etrn = false;
  bool requiretls = false;
  bool verp = false;     // XVERP
  bool xclient = false;  // with its attributes below
  bool xforward = false;
  bool size = false;
  std::optional<std::uint64_t> size_limit;   // none: no limit given, or 0
  std::vector<std::string> auth_mechanisms;  // upper case, each once
  std::vector<std::string> xclient_attributes;
  std::vector<std::string> xforward_attributes;
  std::map<std::string, std::uint64_t> limits;  // RFC 9422: MAILMAX, RCPTMAX, RCPTDOMAINMAX
};

// `lines` are the texts of the reply, the first being the server's name. Keywords in `discard`
// (upper case, smtp_discard_ehlo_keywords) count as not given. Unknown ones are passed over.
[[nodiscard]] Features parse_ehlo(const std::vector<std::string>& lines,
                                  const std::vector<std::string>& discard = {});

}  // namespace postern::smtpwire
