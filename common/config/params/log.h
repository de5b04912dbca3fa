// log.h - the parameters of log.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct LogParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/log.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
LogParams load<LogParams>(const Values& values, Problems& problems);

}  // namespace postern::config
