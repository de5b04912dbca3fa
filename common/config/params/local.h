// local.h - the parameters of local.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct LocalParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/local.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
LocalParams load<LocalParams>(const Values& values, Problems& problems);

}  // namespace postern::config
