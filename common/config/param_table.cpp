// The table of all parameters: a file of its own, so that nothing else pays for compiling it.

#include <algorithm>
#include <array>

#include "common/config/param.h"

namespace postern::config {

namespace {

constexpr ParamInfo kParams[] = {
#define PARAM(name, type, initial, standing, doc) \
  {#name, ParamType::k##type, initial, Standing::standing, doc, AREA},
#define PARAM_NAMED(member, name, type, initial, standing, doc) \
  {name, ParamType::k##type, initial, Standing::standing, doc, AREA},
#define AREA "paths"
#include "common/config/params/paths.def"
#undef AREA
#define AREA "process"
#include "common/config/params/process.def"
#undef AREA
#define AREA "queue"
#include "common/config/params/queue.def"
#undef AREA
#define AREA "scheduling"
#include "common/config/params/scheduling.def"
#undef AREA
#define AREA "smtpd"
#include "common/config/params/smtpd.def"
#undef AREA
#define AREA "cleanup"
#include "common/config/params/cleanup.def"
#undef AREA
#define AREA "address"
#include "common/config/params/address.def"
#undef AREA
#define AREA "table"
#include "common/config/params/table.def"
#undef AREA
#define AREA "smtp"
#include "common/config/params/smtp.def"
#undef AREA
#define AREA "lmtp"
#include "common/config/params/lmtp.def"
#undef AREA
#define AREA "local"
#include "common/config/params/local.def"
#undef AREA
#define AREA "virtual"
#include "common/config/params/virtual.def"
#undef AREA
#define AREA "bounce"
#include "common/config/params/bounce.def"
#undef AREA
#define AREA "log"
#include "common/config/params/log.def"
#undef AREA
#define AREA "dns"
#include "common/config/params/dns.def"
#undef AREA
#define AREA "tls"
#include "common/config/params/tls.def"
#undef AREA
#define AREA "sasl"
#include "common/config/params/sasl.def"
#undef AREA
#define AREA "milter"
#include "common/config/params/milter.def"
#undef AREA
#define AREA "postscreen"
#include "common/config/params/postscreen.def"
#undef AREA
#define AREA "verify"
#include "common/config/params/verify.def"
#undef AREA
#define AREA "mailauth"
#include "common/config/params/mailauth.def"
#undef AREA
#define AREA "report"
#include "common/config/params/report.def"
#undef AREA
#define AREA "misc"
#include "common/config/params/misc.def"
#undef AREA
#undef PARAM
#undef PARAM_NAMED
};

// Sorted by the compiler: commands that run once for each message have no time for it.
constexpr auto kSorted = [] {
  auto params = std::to_array(kParams);
  std::ranges::sort(params, {}, &ParamInfo::name);
  return params;
}();

}  // namespace

std::span<const ParamInfo> all_params() { return kSorted; }

const ParamInfo* find_param(std::string_view name) {
  const auto params = all_params();
  const auto it = std::ranges::lower_bound(params, name, {}, &ParamInfo::name);
  return it != params.end() && it->name == name ? &*it : nullptr;
}

}  // namespace postern::config
