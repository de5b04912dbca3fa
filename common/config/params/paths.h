// paths.h - the parameters of paths.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct PathsParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/paths.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
PathsParams load<PathsParams>(const Values& values, Problems& problems);

}  // namespace postern::config
