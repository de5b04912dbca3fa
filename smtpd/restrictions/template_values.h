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

// `own` goes before the names of main.cf; of `lists` those are taken.
[[nodiscard]] Result<std::string> expand_template(std::string_view text, const TemplateValues& own,
                                                  const RestrictionLists& lists);

}  // namespace postern::smtpd
