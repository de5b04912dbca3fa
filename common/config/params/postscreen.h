// postscreen.h - the parameters of postscreen.def as one struct.

#pragma once

#include "common/config/values.h"

namespace postern::config {

struct PostscreenParams {
#define PARAM(name, type, initial, standing, doc) type name{};
#define PARAM_NAMED(member, name, type, initial, standing, doc) type member{};
#include "common/config/params/postscreen.def"
#undef PARAM
#undef PARAM_NAMED
};

template <>
PostscreenParams load<PostscreenParams>(const Values& values, Problems& problems);

}  // namespace postern::config
