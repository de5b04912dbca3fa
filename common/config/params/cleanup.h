// cleanup.h - the parameters of cleanup.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct CleanupParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/cleanup.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
CleanupParams load<CleanupParams>(const Values& values, Problems& problems);

}  // namespace postern::config
