// smtp.h - the parameters of smtp.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct SmtpParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/smtp.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
SmtpParams load<SmtpParams>(const Values& values, Problems& problems);

}  // namespace postern::config
