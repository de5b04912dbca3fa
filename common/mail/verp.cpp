#include "common/mail/verp.h"

namespace postern::mail {

bool is_verp_delimiters(std::string_view delimiters, std::string_view filter) {
  return delimiters.size() == 2 && delimiters.find_first_not_of(filter) == std::string_view::npos;
}

std::string verp_sender(std::string_view sender, std::string_view recipient,
                        std::string_view delimiters) {
  if (sender.empty() || delimiters.size() != 2) return std::string(sender);
  const auto sender_at = sender.rfind('@');
  const auto recipient_at = recipient.rfind('@');
  std::string result(sender.substr(0, sender_at));
  result += delimiters[0];
  result += recipient.substr(0, recipient_at);
  if (recipient_at != std::string_view::npos) {
    result += delimiters[1];
    result += recipient.substr(recipient_at + 1);
  }
  if (sender_at != std::string_view::npos) result += sender.substr(sender_at);
  return result;
}

}  // namespace postern::mail
