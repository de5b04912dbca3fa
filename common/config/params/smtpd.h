// smtpd.h - the parameters of smtpd.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct SmtpdParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/smtpd.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
SmtpdParams load<SmtpdParams>(const Values& values, Problems& problems);

}  // namespace postern::config
