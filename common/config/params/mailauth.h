// mailauth.h - the parameters of mailauth.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct MailauthParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/mailauth.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
MailauthParams load<MailauthParams>(const Values& values, Problems& problems);

}  // namespace postern::config
