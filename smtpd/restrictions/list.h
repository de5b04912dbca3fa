// list.h - restriction lists as main.cf writes them: parsed once, run for each command.

#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/params/smtpd.h"
#include "common/config/values.h"

namespace postern::smtpd {

// Where in the dialogue a list is run; it decides what `reject` and a bare table are about.
enum class Stage : unsigned char { kClient, kHelo, kSender, kRecipient, kData, kEndOfData };

struct Restriction {
  std::string name;      // lower case; a bare table becomes its stage's check_*_access
  std::string argument;  // the table of check_*_access, the class of a sender, ...
};
using RestrictionList = std::vector<Restriction>;

struct RestrictionLists {
  RestrictionList client, helo, sender, relay, recipient, data, end_of_data;
  std::map<std::string, RestrictionList, std::less<>> classes;  // smtpd_restriction_classes
  bool is_relay_first = true;  // smtpd_relay_before_recipient_restrictions
};

// The words of one list; what is known by name but not built yet, or not known at all, is named in
// `problems` and left out.
[[nodiscard]] RestrictionList parse_restrictions(const std::vector<std::string>& words, Stage stage,
                                                 std::string_view parameter,
                                                 const std::vector<std::string>& classes,
                                                 const config::Values& values,
                                                 config::Problems& problems);

[[nodiscard]] RestrictionLists parse_restriction_lists(const config::SmtpdParams& params,
                                                       const config::Values& values,
                                                       config::Problems& problems);

}  // namespace postern::smtpd
