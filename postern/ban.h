// ban.h - postern ban list|add|remove: clients that the SMTP server refuses for a time.

#pragma once

namespace postern::control {

// postern ban list
// postern ban add ADDRESS [TIME]      TIME as in main.cf ("2h"); else smtpd_client_ban_time
// postern ban remove ADDRESS
int ban_main(int argc, char** argv);

}  // namespace postern::control
