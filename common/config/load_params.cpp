// Fills the struct of each area, member by member.

#include "common/config/params/address.h"
#include "common/config/params/bounce.h"
#include "common/config/params/cleanup.h"
#include "common/config/params/dns.h"
#include "common/config/params/lmtp.h"
#include "common/config/params/local.h"
#include "common/config/params/log.h"
#include "common/config/params/mailauth.h"
#include "common/config/params/milter.h"
#include "common/config/params/misc.h"
#include "common/config/params/paths.h"
#include "common/config/params/postscreen.h"
#include "common/config/params/process.h"
#include "common/config/params/queue.h"
#include "common/config/params/report.h"
#include "common/config/params/sasl.h"
#include "common/config/params/scheduling.h"
#include "common/config/params/smtp.h"
#include "common/config/params/smtpd.h"
#include "common/config/params/table.h"
#include "common/config/params/tls.h"
#include "common/config/params/verify.h"
#include "common/config/params/virtual.h"

namespace postern::config {

#define PARAM(name, type, initial, standing, doc) \
  load_field(values, problems, #name, ParamType::k##type, params.name);
#define PARAM_NAMED(member, name, type, initial, standing, doc) \
  load_field(values, problems, name, ParamType::k##type, params.member);

template <>
PathsParams load<PathsParams>(const Values& values, Problems& problems) {
  PathsParams params;
#include "common/config/params/paths.def"
  return params;
}

template <>
ProcessParams load<ProcessParams>(const Values& values, Problems& problems) {
  ProcessParams params;
#include "common/config/params/process.def"
  return params;
}

template <>
QueueParams load<QueueParams>(const Values& values, Problems& problems) {
  QueueParams params;
#include "common/config/params/queue.def"
  return params;
}

template <>
SchedulingParams load<SchedulingParams>(const Values& values, Problems& problems) {
  SchedulingParams params;
#include "common/config/params/scheduling.def"
  return params;
}

template <>
SmtpdParams load<SmtpdParams>(const Values& values, Problems& problems) {
  SmtpdParams params;
#include "common/config/params/smtpd.def"
  return params;
}

template <>
CleanupParams load<CleanupParams>(const Values& values, Problems& problems) {
  CleanupParams params;
#include "common/config/params/cleanup.def"
  return params;
}

template <>
AddressParams load<AddressParams>(const Values& values, Problems& problems) {
  AddressParams params;
#include "common/config/params/address.def"
  return params;
}

template <>
TableParams load<TableParams>(const Values& values, Problems& problems) {
  TableParams params;
#include "common/config/params/table.def"
  return params;
}

template <>
SmtpParams load<SmtpParams>(const Values& values, Problems& problems) {
  SmtpParams params;
#include "common/config/params/smtp.def"
  return params;
}

template <>
LmtpParams load<LmtpParams>(const Values& values, Problems& problems) {
  LmtpParams params;
#include "common/config/params/lmtp.def"
  return params;
}

template <>
LocalParams load<LocalParams>(const Values& values, Problems& problems) {
  LocalParams params;
#include "common/config/params/local.def"
  return params;
}

template <>
VirtualParams load<VirtualParams>(const Values& values, Problems& problems) {
  VirtualParams params;
#include "common/config/params/virtual.def"
  return params;
}

template <>
BounceParams load<BounceParams>(const Values& values, Problems& problems) {
  BounceParams params;
#include "common/config/params/bounce.def"
  return params;
}

template <>
LogParams load<LogParams>(const Values& values, Problems& problems) {
  LogParams params;
#include "common/config/params/log.def"
  return params;
}

template <>
DnsParams load<DnsParams>(const Values& values, Problems& problems) {
  DnsParams params;
#include "common/config/params/dns.def"
  return params;
}

template <>
TlsParams load<TlsParams>(const Values& values, Problems& problems) {
  TlsParams params;
#include "common/config/params/tls.def"
  return params;
}

template <>
SaslParams load<SaslParams>(const Values& values, Problems& problems) {
  SaslParams params;
#include "common/config/params/sasl.def"
  return params;
}

template <>
MilterParams load<MilterParams>(const Values& values, Problems& problems) {
  MilterParams params;
#include "common/config/params/milter.def"
  return params;
}

template <>
PostscreenParams load<PostscreenParams>(const Values& values, Problems& problems) {
  PostscreenParams params;
#include "common/config/params/postscreen.def"
  return params;
}

template <>
MailauthParams load<MailauthParams>(const Values& values, Problems& problems) {
  MailauthParams params;
#include "common/config/params/mailauth.def"
  return params;
}

template <>
ReportParams load<ReportParams>(const Values& values, Problems& problems) {
  ReportParams params;
#include "common/config/params/report.def"
  return params;
}

template <>
VerifyParams load<VerifyParams>(const Values& values, Problems& problems) {
  VerifyParams params;
#include "common/config/params/verify.def"
  return params;
}

template <>
MiscParams load<MiscParams>(const Values& values, Problems& problems) {
  MiscParams params;
#include "common/config/params/misc.def"
  return params;
}

#undef PARAM
#undef PARAM_NAMED

}  // namespace postern::config
