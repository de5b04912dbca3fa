// queue.h - the parameters of queue.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct QueueParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/queue.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
QueueParams load<QueueParams>(const Values& values, Problems& problems);

}  // namespace postern::config
