// tls_verbs.h - postern tls: keys and certificates, and what a server's TLS is worth.

#pragma once

namespace postern::control {

// enable-client | enable-server | new-server-key | new-server-cert | deploy-server-cert |
// output-server-csr | output-server-tlsa | all-default-client | all-default-server, as
// postfix-tls(1) has them; new-cert, csr and tlsa for short; test HOST.
int tls_main(int argc, char** argv);

}  // namespace postern::control
