// dkim.h - `postern dkim`: keys of DKIM made, listed, replaced, and compared with DNS.
//
//     postern dkim new DOMAIN SELECTOR [rsa[:BITS]|ed25519]
//     postern dkim list
//     postern dkim record DOMAIN SELECTOR
//     postern dkim test [DOMAIN [SELECTOR]]
//     postern dkim rotate DOMAIN OLD NEW [-w SECONDS]
//
// Keys are where dkim_key_path says. A rotation has two steps, so that no mail is signed with a key
// that nobody can see: it makes the new key, and once DNS has its record, it puts the new selector
// in the place of the old one in the signing table. It may be called again until that is done.

#pragma once

namespace postern::control {

int dkim_main(int argc, char** argv);

}  // namespace postern::control
