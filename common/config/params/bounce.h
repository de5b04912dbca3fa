// bounce.h - the parameters of bounce.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct BounceParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/bounce.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
BounceParams load<BounceParams>(const Values& values, Problems& problems);

}  // namespace postern::config
