// server_table.h - tcp: and socketmap: tables for tools, which may wait for a server.

#pragma once

namespace postern::table {

// Adds the two types to those that open_table() knows. find() waits, up to
// ServerClient::kAnswerTime; the C library looks names up. Not for programs that have a loop.
void register_server_types();

}  // namespace postern::table
