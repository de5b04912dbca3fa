// report.h - the parameters of report.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct ReportParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/report.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
ReportParams load<ReportParams>(const Values& values, Problems& problems);

}  // namespace postern::config
