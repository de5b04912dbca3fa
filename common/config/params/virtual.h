// virtual.h - the parameters of virtual.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct VirtualParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/virtual.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
VirtualParams load<VirtualParams>(const Values& values, Problems& problems);

}  // namespace postern::config
