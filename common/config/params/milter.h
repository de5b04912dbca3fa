// milter.h - the parameters of milter.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct MilterParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/milter.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
MilterParams load<MilterParams>(const Values& values, Problems& problems);

}  // namespace postern::config
