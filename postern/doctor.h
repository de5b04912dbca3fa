// doctor.h - `postern doctor`: all that can be looked at from here, in one go.

#pragma once

namespace postern::control {

int doctor_main(int argc, char** argv);

}  // namespace postern::control
