// dns.h - `postern dns DOMAIN [--zone]`: the records that this host and a domain of its mail should
// have, and which of them DNS has.

#pragma once

namespace postern::control {

int dns_main(int argc, char** argv);

}  // namespace postern::control
