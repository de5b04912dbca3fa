// reject_reply.cpp - what administrators add to replies that refuse: smtpd_reject_footer (and its
// maps, by the whole reply), and smtpd_reject_filter_maps, which replaces a reply.

#include "common/log/log.h"
#include "smtpd/reject_footer.h"
#include "smtpd/restrictions/template_values.h"
#include "smtpd/session.h"

namespace postern::smtpd {

bool Session::has_reject_text() const {
  const auto& params = settings_->smtpd;
  return !params.smtpd_reject_footer.empty() || !params.smtpd_reject_footer_maps.empty() ||
         !params.smtpd_reject_filter_maps.empty();
}

loop::Task<mail::Reply> Session::with_reject_text(mail::Reply reply) {
  const auto& params = settings_->smtpd;
  auto& tables = neighbours().tables;
  const auto other = co_await find_reply_text(tables, params.smtpd_reject_filter_maps,
                                              reply.to_line(), "smtpd_reject_filter_maps");
  if (other) {
    auto parsed = mail::parse_reply_text(*other);
    // A refusal becomes no permission.
    if (parsed && parsed->code >= 400) {
      reply = *std::move(parsed);
    } else {
      log::warning("smtpd_reject_filter_maps: \"{}\" is no 4XX or 5XX reply", *other);
    }
  }
  std::string footer = params.smtpd_reject_footer;
  if (auto own = co_await find_reply_text(tables, params.smtpd_reject_footer_maps, reply.to_line(),
                                          "smtpd_reject_footer_maps")) {
    footer = *std::move(own);
  }
  if (footer.empty()) co_return reply;
  const auto& lists = settings_->restrictions;
  const auto expanded = expand_template(footer, template_values(*this, recipient_in_check_),
                                        lists.values.get(), lists.expansion_filter);
  if (!expanded) {
    log::warning("smtpd_reject_footer: {}", expanded.error().text);
    co_return reply;
  }
  append_footer(reply, *expanded);
  co_return reply;
}

}  // namespace postern::smtpd
