#include "cleanup/header_pass.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/keyed_hash.h"
#include "common/base/text.h"
#include "common/mail/address.h"
#include "common/mail/date.h"
#include "common/mail/encoded_word.h"
#include "common/mail/header.h"
#include "common/mail/message_id.h"

namespace postern::cleanup {

namespace {

// Which of the fields that may have to be added were there.
struct Seen {
  bool message_id = false, date = false, from = false, visible_recipient = false;
};

bool rewrites(const HeaderContext& context) { return context.is_local || context.is_rewritten; }

ipc::tables::AddressRole role_of(const mail::HeaderInfo& info) {
  return info.has(mail::HeaderInfo::kSender) ? ipc::tables::AddressRole::kHeaderSender
                                             : ipc::tables::AddressRole::kHeaderRecipient;
}

std::string complete(const HeaderRules& rules, const HeaderContext& context,
                     std::string_view address) {
  return mail::rewrite_external(
      rules.rewrite,
      context.is_local ? mail::RewriteContext::kLocal : mail::RewriteContext::kRemote, address);
}

class HeaderPass {
 public:
  HeaderPass(const HeaderRules& rules, const HeaderContext& context)
      : rules_(rules), context_(context) {}

  HeaderResult run(std::string_view block) {
    if (!context_.received.empty()) {
      add_line(context_.received);
      ++result_.hops;
    }
    for (const auto& field : mail::split_header(block)) take(field);
    add_missing();
    return std::move(result_);
  }

 private:
  void take(const mail::HeaderField& field) {
    const std::string name = to_lower(field.name);
    note(name, field.body);
    if (std::find(rules_.message_drop_headers.begin(), rules_.message_drop_headers.end(), name) !=
        rules_.message_drop_headers.end()) {
      return;
    }
    const auto* info = mail::find_header_info(field.name);
    if (rewrites(context_) && info != nullptr && info->has_addresses() && rewrite(field, *info)) {
      return;
    }
    // "Subject : x" is legal only for readers (RFC 5322 4.5.3): what we send has no blank there.
    if (field.raw.size() > field.name.size() && field.raw[field.name.size()] != ':') {
      const auto colon = field.raw.find(':');
      add_line(fmt::format("{}{}", field.name, field.raw.substr(colon)));
    } else {
      add_line(field.raw);
    }
  }

  void note(const std::string& name, std::string_view body) {
    const bool resent = name.starts_with("resent-");
    is_resent_ = is_resent_ || resent;
    Seen& seen = resent ? resent_ : plain_;
    const std::string_view bare = resent ? std::string_view(name).substr(7) : name;
    if (bare == "message-id") {
      seen.message_id = true;
      if (result_.message_id.empty() || resent) {
        result_.message_id = mail::find_message_id(body);
        result_.is_resent_id = resent;
      }
    } else if (bare == "date") {
      seen.date = true;
    } else if (bare == "from") {
      seen.from = true;
    } else if (bare == "to" || bare == "cc") {
      seen.visible_recipient = true;
    } else if (name == "received") {
      ++result_.hops;
    }
  }

  bool rewrite(const mail::HeaderField& field, const mail::HeaderInfo& info) {
    auto list = mail::AddressList::parse(field.body, rules_.header_address_token_limit);
    const auto role = role_of(info);
    const bool changed = list.rewrite([&](const std::string& address) {
      std::string completed = complete(rules_, context_, address);
      if (context_.map == nullptr) return completed;
      const auto found = context_.map->find(map_key(role, completed));
      return found == context_.map->end() ? completed : found->second;
    });
    if (!changed) return false;
    add_line(mail::format_address_header(field.name, list));
    return true;
  }

  void add_missing() {
    const std::string_view prefix = is_resent_ ? "Resent-" : "";
    const Seen& seen = is_resent_ ? resent_ : plain_;
    if (rewrites(context_) || rules_.always_add_missing_headers) {
      if (!seen.message_id) {
        result_.message_id =
            mail::make_message_id(context_.arrival, context_.queue_id, rules_.myhostname);
        result_.is_resent_id = is_resent_;
        add_line(fmt::format("{}Message-Id: {}", prefix, result_.message_id));
      }
      if (!seen.date)
        add_line(fmt::format("{}Date: {}", prefix, mail::format_date(context_.arrival)));
      if (!seen.from) add_line(fmt::format("{}From: {}", prefix, from_value()));
    }
    if (!plain_.visible_recipient && !resent_.visible_recipient &&
        !rules_.undisclosed_recipients_header.empty()) {
      add_line(rules_.undisclosed_recipients_header);
    }
  }

  std::string from_value() const {
    if (context_.sender.empty()) return "MAILER-DAEMON";
    const std::string address = mail::rewrite_external(rules_.rewrite, mail::RewriteContext::kLocal,
                                                       mail::quote_address(context_.sender));
    if (context_.full_name.empty()) return address;
    // As it is it would make mail that only servers with SMTPUTF8 take (RFC 6532).
    const std::string& charset = rules_.full_name_encoding_charset;
    const bool is_known = !equal_nocase(charset, "utf-8") || is_valid_utf8(context_.full_name);
    if (!charset.empty() && is_known && !is_all_ascii(context_.full_name)) {
      const std::string words = mail::encode_words(context_.full_name, charset);
      return rules_.header_from_format == "obsolete" ? fmt::format("{} ({})", address, words)
                                                     : fmt::format("{} <{}>", words, address);
    }
    if (rules_.header_from_format == "obsolete") {
      return fmt::format("{} ({})", address, context_.full_name);
    }
    // A name of plain words needs no quotes (RFC 5322 3.2.5).
    const bool is_plain =
        std::all_of(context_.full_name.begin(), context_.full_name.end(), [](char c) {
          return is_alnum(c) || !is_ascii(c) ||
                 std::string_view(" !#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos;
        });
    if (is_plain) return fmt::format("{} <{}>", context_.full_name, address);
    std::string quoted;
    for (const char c : context_.full_name) {
      if (c == '"' || c == '\\') quoted += '\\';
      quoted += c;
    }
    return fmt::format("\"{}\" <{}>", quoted, address);
  }

  void add_line(std::string_view line) {
    result_.header += line;
    result_.header += '\n';
  }

  const HeaderRules& rules_;
  const HeaderContext& context_;
  HeaderResult result_;
  bool is_resent_ = false;
  Seen plain_;
  Seen resent_;
};

}  // namespace

std::string map_key(ipc::tables::AddressRole role, std::string_view address) {
  std::string key(1, static_cast<char>(role));
  key += address;
  return key;
}

std::vector<HeaderAddress> header_addresses(const HeaderRules& rules, const HeaderContext& context,
                                            std::string_view block) {
  std::vector<HeaderAddress> result;
  if (!rewrites(context)) return result;
  StringSet seen;
  for (const auto& field : mail::split_header(block)) {
    const auto* info = mail::find_header_info(field.name);
    if (info == nullptr || !info->has_addresses()) continue;
    const auto list = mail::AddressList::parse(field.body, rules.header_address_token_limit);
    for (const auto& address : list.addresses()) {
      HeaderAddress each{role_of(*info), complete(rules, context, address)};
      if (seen.insert(map_key(each.role, each.address)).second) result.push_back(std::move(each));
    }
  }
  return result;
}

HeaderResult pass_header(const HeaderRules& rules, const HeaderContext& context,
                         std::string_view block) {
  return HeaderPass(rules, context).run(block);
}

}  // namespace postern::cleanup
