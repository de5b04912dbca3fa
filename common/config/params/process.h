// process.h - the parameters of process.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct ProcessParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/process.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
ProcessParams load<ProcessParams>(const Values& values, Problems& problems);

}  // namespace postern::config
