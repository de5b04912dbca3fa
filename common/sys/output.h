// output.h - standard output of a command, whose failures are told.
//
// Nobody looks at the result of every line that is printed. A full disk behind standard output must
// all the same neither pass for success nor end the program with an exception.

#pragma once

#include <string_view>

namespace postern::sys {

// From now on, also at the end of the program, a failed write of `stdout` ends the process with
// status 1 and one line on standard error; a reader that has gone is no failure to be told of.
// Once, before anything is printed. `program` must live as long as the process.
void guard_standard_output(std::string_view program);

}  // namespace postern::sys
