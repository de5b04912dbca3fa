// tls.h - the parameters of tls.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct TlsParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/tls.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
TlsParams load<TlsParams>(const Values& values, Problems& problems);

}  // namespace postern::config
