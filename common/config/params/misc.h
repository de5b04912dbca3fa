// misc.h - the parameters of misc.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct MiscParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/misc.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
MiscParams load<MiscParams>(const Values& values, Problems& problems);

}  // namespace postern::config
