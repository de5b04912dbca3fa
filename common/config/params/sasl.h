// sasl.h - the parameters of sasl.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct SaslParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/sasl.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
SaslParams load<SaslParams>(const Values& values, Problems& problems);

}  // namespace postern::config
