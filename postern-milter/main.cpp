// postern-milter - SPF, DKIM, DMARC, ARC and greylisting for mail systems that speak milter.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmilter/mfapi.h>
#include <netinet/in.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "common/base/number.h"
#include "common/config/install_paths.h"
#include "common/config/load.h"
#include "common/config/params/address.h"
#include "postern-milter/filter.h"

namespace {

using namespace postern;
using milterd::Filter;
using milterd::Reply;
using milterd::Setup;

// libmilter's callbacks are plain functions.
Setup& setup() {
  static Setup shared;
  return shared;
}

Filter* filter_of(SMFICTX* context) { return static_cast<Filter*>(smfi_getpriv(context)); }

std::string symbol(SMFICTX* context, const char* name) {
  std::string copy(name);
  const char* value = smfi_getsymval(context, copy.data());
  return value == nullptr ? "" : value;
}

sfsistat answer(SMFICTX* context, const Reply& reply) {
  if (reply.text.empty()) return SMFIS_CONTINUE;
  std::string code = reply.code;
  std::string status = reply.status;
  // `%` begins a directive there.
  std::string text;
  for (const char c : reply.text) {
    text += c;
    if (c == '%') text += '%';
  }
  smfi_setreply(context, code.data(), status.data(), text.data());
  return reply.code.starts_with('4') ? SMFIS_TEMPFAIL : SMFIS_REJECT;
}

std::string text_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address == nullptr) return "";
  const void* bytes = address;
  if (address->sa_family == AF_INET) {
    const auto* four = static_cast<const sockaddr_in*>(bytes);
    ::inet_ntop(AF_INET, &four->sin_addr, text.data(), text.size());
  } else if (address->sa_family == AF_INET6) {
    const auto* six = static_cast<const sockaddr_in6*>(bytes);
    ::inet_ntop(AF_INET6, &six->sin6_addr, text.data(), text.size());
  }
  return text.data();
}

sfsistat on_negotiate(SMFICTX* /*context*/, unsigned long actions, unsigned long steps,
                      unsigned long /*f2*/, unsigned long /*f3*/, unsigned long* wanted_actions,
                      unsigned long* wanted_steps, unsigned long* f2, unsigned long* f3) {
  *wanted_actions = actions & (SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_QUARANTINE);
  // Simple canonicalization needs the blank behind the colon.
  *wanted_steps = steps & (SMFIP_HDR_LEADSPC | SMFIP_NOUNKNOWN | SMFIP_NODATA);
  *f2 = *f3 = 0;
  return SMFIS_CONTINUE;
}

sfsistat on_connect(SMFICTX* context, char* /*name*/, _SOCK_ADDR* address) {
  smfi_setpriv(context, new Filter(setup(), text_of(address)));
  return SMFIS_CONTINUE;
}

sfsistat on_helo(SMFICTX* context, char* name) {
  filter_of(context)->helo(name == nullptr ? "" : name);
  return SMFIS_CONTINUE;
}

sfsistat on_mail(SMFICTX* context, char** words) {
  const bool is_authenticated = !symbol(context, "{auth_authen}").empty();
  return answer(context,
                filter_of(context)->sender(milterd::parse_path(words[0]), is_authenticated));
}

sfsistat on_rcpt(SMFICTX* context, char** words) {
  return answer(context, filter_of(context)->recipient(milterd::parse_path(words[0])));
}

sfsistat on_header(SMFICTX* context, char* name, char* value) {
  filter_of(context)->header(name, value);
  return SMFIS_CONTINUE;
}

sfsistat on_header_end(SMFICTX* context) {
  filter_of(context)->header_end();
  return SMFIS_CONTINUE;
}

sfsistat on_body(SMFICTX* context, unsigned char* bytes, size_t size) {
  filter_of(context)->body({static_cast<const char*>(static_cast<const void*>(bytes)), size});
  return SMFIS_CONTINUE;
}

sfsistat on_end(SMFICTX* context) {
  const std::string queue_id = symbol(context, "i");
  Filter::Outcome outcome = filter_of(context)->end(queue_id);
  if (!outcome.summary.empty()) syslog(LOG_INFO, "%s", outcome.summary.c_str());
  if (!outcome.refusal.text.empty()) return answer(context, outcome.refusal);
  std::string results = "Authentication-Results";
  // From the last one on, or the others would change their numbers.
  for (auto number = outcome.forged.rbegin(); number != outcome.forged.rend(); ++number) {
    smfi_chgheader(context, results.data(), *number, nullptr);
  }
  int place = 0;
  for (auto& [name, value] : outcome.fields) {
    value.insert(0, " ");
    smfi_insheader(context, place++, name.data(), value.data());
  }
  std::string reason = "DMARC policy";
  if (outcome.is_held) smfi_quarantine(context, reason.data());
  return SMFIS_CONTINUE;
}

sfsistat on_abort(SMFICTX* context) {
  if (Filter* filter = filter_of(context)) filter->reset();
  return SMFIS_CONTINUE;
}

sfsistat on_close(SMFICTX* context) {
  const std::unique_ptr<Filter> filter(filter_of(context));
  smfi_setpriv(context, nullptr);
  return SMFIS_CONTINUE;
}

int usage() {
  fmt::print(stderr, "usage: postern-milter [-c DIR] [-g SECONDS] [-s fail|softfail] -p SOCKET\n");
  return 64;
}

bool configure(const std::string& directory) {
  const config::InstallPaths paths = config::find_install_paths();
  const auto chosen = config::choose_config_directory(directory, paths);
  if (!chosen) {
    fmt::print(stderr, "postern-milter: {}\n", chosen.error().text);
    return false;
  }
  auto loaded = config::load_configuration(chosen->path, paths);
  if (!loaded) {
    fmt::print(stderr, "postern-milter: {}\n", loaded.error().text);
    return false;
  }
  const config::Values values(loaded->snapshot);
  config::Problems problems;
  const auto params = config::load<config::MailauthParams>(values, problems);
  const auto address = config::load<config::AddressParams>(values, problems);
  Setup& shared = setup();
  shared.rules = mailauth::read_verdict_rules(params, address.myhostname);
  shared.mynetworks = address.mynetworks;
  auto suffixes = mailauth::PublicSuffixes::open(params.dmarc_public_suffix_list);
  if (suffixes) shared.suffixes = *std::move(suffixes);
  using ipc::mailauth::Wanted;
  const auto add = [&](bool is_wanted, Wanted what) {
    if (is_wanted) shared.wanted |= what;
  };
  add(params.smtpd_spf_enable, Wanted::kSpf);
  add(params.smtpd_dkim_verify_enable, Wanted::kDkim);
  add(params.smtpd_dmarc_enable, Wanted::kDmarc);
  add(params.smtpd_arc_verify_enable, Wanted::kArc);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  std::string directory;
  std::string socket;
  int option = 0;
  while ((option = ::getopt(argc, argv, "c:g:p:s:")) != -1) {
    const std::string_view value = optarg == nullptr ? "" : optarg;
    if (option == 'c') {
      directory = value;
    } else if (option == 'p') {
      socket = value;
    } else if (option == 'g') {
      const auto seconds = parse_integer<unsigned>(value, 1, 86400);
      if (!seconds) return usage();
      setup().greylist = std::make_unique<milterd::Greylist>(std::chrono::seconds(*seconds));
    } else if (option == 's' && (value == "fail" || value == "softfail")) {
      setup().spf = value == "fail" ? milterd::SpfRefusal::kFail : milterd::SpfRefusal::kSoftfail;
    } else {
      return usage();
    }
  }
  if (socket.empty() || optind != argc) return usage();
  if (!configure(directory)) return 78;
  openlog("postern-milter", LOG_PID, LOG_MAIL);
  std::string name = "postern-milter";
  smfiDesc description{};
  description.xxfi_name = name.data();
  description.xxfi_version = SMFI_VERSION;
  description.xxfi_flags = SMFIF_ADDHDRS | SMFIF_CHGHDRS | SMFIF_QUARANTINE;
  description.xxfi_connect = on_connect;
  description.xxfi_helo = on_helo;
  description.xxfi_envfrom = on_mail;
  description.xxfi_envrcpt = on_rcpt;
  description.xxfi_header = on_header;
  description.xxfi_eoh = on_header_end;
  description.xxfi_body = on_body;
  description.xxfi_eom = on_end;
  description.xxfi_abort = on_abort;
  description.xxfi_close = on_close;
  description.xxfi_negotiate = on_negotiate;
  if (smfi_register(description) == MI_FAILURE || smfi_setconn(socket.data()) == MI_FAILURE ||
      smfi_opensocket(true) == MI_FAILURE) {
    fmt::print(stderr, "postern-milter: cannot listen on {}\n", socket);
    return 71;
  }
  return smfi_main() == MI_SUCCESS ? 0 : 71;
}
