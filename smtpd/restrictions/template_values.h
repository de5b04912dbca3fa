// template_values.h - the names that reply templates may use (default_rbl_reply,
// smtpd_reject_footer): facts of the session, which are never expanded themselves.

#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/policy/list.h"

namespace postern::smtpd {

using namespace policy;

class Session;

using TemplateValues = std::map<std::string, std::string, std::less<>>;

[[nodiscard]] TemplateValues template_values(const Session& session, std::string_view recipient);

// Of a client in the dialogue of first contact.
struct ContactFacts {
  std::string_view address, port, helo, myhostname;
  const std::string* sender = nullptr;
  const std::string* recipient = nullptr;
};
[[nodiscard]] TemplateValues template_values(const ContactFacts& facts);

// `own` goes before the names of main.cf, which are those of `values`. What a name stands for keeps
// the characters of `allowed` (smtpd_expansion_filter) only: others become "_".
[[nodiscard]] Result<std::string> expand_template(std::string_view text, const TemplateValues& own,
                                                  const config::Values* values,
                                                  std::string_view allowed);

}  // namespace postern::smtpd
