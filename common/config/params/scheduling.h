// scheduling.h - the parameters of scheduling.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct SchedulingParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/scheduling.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
SchedulingParams load<SchedulingParams>(const Values& values, Problems& problems);

}  // namespace postern::config
