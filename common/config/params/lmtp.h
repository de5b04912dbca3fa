// lmtp.h - the parameters of lmtp.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct LmtpParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/lmtp.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
LmtpParams load<LmtpParams>(const Values& values, Problems& problems);

}  // namespace postern::config
