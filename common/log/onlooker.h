// onlooker.h - the lines that this process writes, for somebody who looks on.

#pragma once

#include <functional>
#include <string_view>

namespace postern::log {

// Shows each line to somebody else, too; an empty function: to nobody. What he writes himself
// meanwhile is not shown to him.
void set_onlooker(std::function<void(std::string_view line)> onlooker);

}  // namespace postern::log
