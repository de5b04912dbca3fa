// verify.h - the parameters of verify.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct VerifyParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/verify.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
VerifyParams load<VerifyParams>(const Values& values, Problems& problems);

}  // namespace postern::config
