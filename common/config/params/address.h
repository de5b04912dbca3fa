// address.h - the parameters of address.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct AddressParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/address.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
AddressParams load<AddressParams>(const Values& values, Problems& problems);

}  // namespace postern::config
