// dns.h - the parameters of dns.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct DnsParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/dns.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
DnsParams load<DnsParams>(const Values& values, Problems& problems);

}  // namespace postern::config
