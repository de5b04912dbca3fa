// tls.h - TLS for servers and clients, on a loop::Stream. Everything that this library offers.
//
// 1. Turn parameters into values: parse_protocols(), cipher_string() and the like (policy.h), or
//    all of a role's at once (settings.h).
// 2. Make a Context from them and from PEM texts (context.h). It is shared, immutable and lives as
//    long as somebody holds it.
// 3. For each connection accept() or connect() on its Stream (session.h). Afterwards the Stream's
//    fill(), write() and close() are as before, and the Session says what was agreed on and what
//    the peer's certificate is worth.
//
//     tls::ServerConfig config;
//     CO_TRY(config.algorithms.protocols, tls::parse_protocols(">=TLSv1.2"));
//     CO_TRY(config.identities, tls::parse_identities(key_and_chain_pem));
//     CO_TRY(const auto context, tls::Context::server(std::move(config)));
//     ...
//     const auto session = co_await tls::accept(stream, context, {}, deadline);
//     if (!session) co_return give_up(session.error());
//     log::info("{} TLS connection established from {}: {}", tls::worth_name(session->worth),
//               client, session->describe());
//
// Private keys need not be in this process: a KeyPtr may stand for one elsewhere.
// One thread uses a Context and all Streams made with it.

#pragma once

#include "common/tls/certificate.h"
#include "common/tls/context.h"
#include "common/tls/key_files.h"
#include "common/tls/keyring_client.h"
#include "common/tls/policy.h"
#include "common/tls/session.h"
#include "common/tls/settings.h"
#include "common/tls/ticket_keys.h"
