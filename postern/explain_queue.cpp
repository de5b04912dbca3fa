#include "postern/explain_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "common/base/text.h"
#include "common/ipc/tables.h"
#include "common/log/clean.h"
#include "postern/ask_service.h"

namespace postern::control {

namespace {

using ipc::tables::AddressRole;

// receive_override_options has the word: what it names is not done here.
bool is_overridden(const config::Values& values, std::string_view word) {
  const auto words = values.list("receive_override_options");
  return std::ranges::find(words, word) != words.end();
}

void print_setting(const config::Values& values, std::string_view name, std::string_view note) {
  const std::string text = values.text(name);
  if (!text.empty()) fmt::print("    {:<56} {}\n", fmt::format("{} = {}", name, text), note);
}

void print_content_checks(const config::Values& smtpd, const config::Values& cleanup) {
  print_setting(smtpd, "smtpd_proxy_filter", "sees the mail before it is queued");
  if (!is_overridden(smtpd, "no_milters")) {
    print_setting(smtpd, "smtpd_milters", "not asked: they see the whole session");
    print_setting(smtpd, "smtpd_milter_maps", "may choose other milters for the client");
  }
  if (is_overridden(smtpd, "no_header_body_checks")) return;
  for (const std::string_view name : {"header_checks", "mime_header_checks", "nested_header_checks",
                                      "body_checks", "milter_header_checks"}) {
    print_setting(cleanup, name, "looks at the content");
  }
}

std::string shown(const std::string& address) { return "<" + log::clean(address) + ">"; }

// Also what is only put off: it will be the same until the configuration is another.
bool refuse_mail(std::string_view what, const std::string& why) {
  fmt::print("    {}: {}\n", what, log::clean(why));
  return false;
}

bool print_recipient(const std::string& recipient, const ipc::tables::Expanded& found) {
  if (!found.error.empty()) return refuse_mail("recipient " + shown(recipient), found.error);
  if (!found.canonical.empty() && found.canonical != recipient) {
    fmt::print("    recipient {} is rewritten to {}\n", shown(recipient), shown(found.canonical));
  }
  for (const auto& to : found.recipients) {
    if (to.transport.empty()) return refuse_mail("recipient " + shown(to.address), to.error);
    fmt::print("    {} {} goes to {}:{} as {}\n", found.is_aliased ? "alias" : "recipient",
               shown(to.address), to.transport, log::clean(to.nexthop), shown(to.recipient));
  }
  for (const auto& address : found.bcc) {
    fmt::print("    recipient_bcc_maps adds {}\n", shown(address));
  }
  return true;
}

}  // namespace

bool explain_queue(const config::Values& smtpd, const config::Values& cleanup,
                   const std::string& sender, const std::string& recipient) {
  fmt::print("queueing\n");
  print_content_checks(smtpd, cleanup);
  const bool is_mapped = !is_overridden(smtpd, "no_address_mappings");
  const std::string service = cleanup.text("cleanup_service_name");
  std::string from = sender;
  if (is_mapped && !sender.empty()) {
    ipc::tables::Map question;
    question.service = service;
    question.items.push_back({sender, AddressRole::kEnvelopeSender});
    const auto mapped = ask_service("rewrite", question);
    if (!mapped) return refuse_mail("sender", mapped.error().text);
    if (mapped->addresses.size() == 1) from = mapped->addresses.front();
    if (from != sender)
      fmt::print("    sender {} is rewritten to {}\n", shown(sender), shown(from));
    for (const auto& address : mapped->sender_bcc) {
      fmt::print("    sender_bcc_maps adds {}\n", shown(address));
    }
  }
  ipc::tables::Expand question;
  question.sender = from;
  question.address = recipient;
  question.skip_aliases = !is_mapped;
  question.service = service;
  const auto expanded = ask_service("rewrite", question);
  if (!expanded) return refuse_mail("recipient", expanded.error().text);
  if (!print_recipient(recipient, *expanded)) return false;
  if (is_mapped) print_setting(cleanup, "always_bcc", "gets a copy");
  print_setting(smtpd, "content_filter", "gets the mail instead");
  return true;
}

}  // namespace postern::control
