// results_header.h - Authentication-Results (RFC 8601): ours built, those of others that pretend to
// be ours found. Pure.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/mailauth/arc.h"
#include "common/mailauth/dkim.h"
#include "common/mailauth/dmarc.h"
#include "common/mailauth/spf.h"

namespace postern::mailauth {

class ResultsHeader {
 public:
  explicit ResultsHeader(std::string_view authserv_id);

  void add_spf(const SpfVerdict& verdict, SpfIdentity identity, std::string_view address);
  void add_dkim(const DkimResult& result);
  void add_dkim_none();
  void add_dmarc(const DmarcVerdict& verdict);
  void add_arc(const ArcVerdict& verdict);

  // The value, folded with LF and TAB: "id;\n\tspf=pass smtp.mailfrom=...". With no result at all
  // it is "id; none".
  [[nodiscard]] std::string value() const;

 private:
  void begin(std::string_view method, std::string_view result, std::string_view reason);
  void property(std::string_view name, std::string_view value);
  std::string id_;
  std::vector<std::string> results_;
};

// The authserv-id of a value, without comments and quotes; nothing where there is none.
[[nodiscard]] std::optional<std::string> authserv_id_of(std::string_view value);

// A field of somebody who pretends to be us, or one that nobody can read (RFC 8601 5).
[[nodiscard]] bool is_forged_results(std::string_view value, std::string_view authserv_id);

// "dmarc=pass" somewhere among the results of `value` (which may lack an authserv-id).
[[nodiscard]] std::optional<std::string> find_result(std::string_view value,
                                                     std::string_view method);

}  // namespace postern::mailauth
