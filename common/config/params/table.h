// table.h - the parameters of table.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct TableParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/table.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
TableParams load<TableParams>(const Values& values, Problems& problems);

}  // namespace postern::config
