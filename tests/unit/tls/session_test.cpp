#include "common/tls/session.h"

#include <sys/socket.h>

#include <catch2/catch.hpp>

#include "common/loop/gather.h"
#include "common/sys/socket.h"
#include "common/tls/signer.h"
#include "make_certificate.h"

namespace postern::tls {

using namespace std::chrono_literals;
using loop::Io;
using loop::Stream;
using loop::Task;

namespace {

// For a busy machine; what is to time out has its own.
constexpr auto kPatience = 60s;

struct Certificates {
  MadeCertificate ca = make_certificate({.common_name = "Test CA", .is_authority = true});
  MadeCertificate other_ca = make_certificate({.common_name = "Other CA", .is_authority = true});
  MadeCertificate server = make_certificate({.common_name = "mx.example.com",
                                             .dns_names = {"mx.example.com", "*.example.net"},
                                             .issuer = &ca});
  MadeCertificate old = make_certificate(
      {.common_name = "old.example.com", .issuer = &ca, .valid_from = -7200, .valid_for = 3600});
  MadeCertificate rsa =
      make_certificate({.common_name = "rsa.example.com", .issuer = &ca, .is_rsa = true});
  MadeCertificate client = make_certificate({.common_name = "client.example.com", .issuer = &ca});
  MadeCertificate lonely = make_certificate({.common_name = "lonely.example.com"});
};

const Certificates& certificates() {
  static const Certificates made;
  return made;
}

IdentityPtr identity(const MadeCertificate& made, std::string_view issuers = {}) {
  return parse_identity(made.certificate + std::string(issuers), made.key).value();
}

X509& leaf(const MadeCertificate& made) {
  static std::vector<IdentityPtr> kept;
  return *kept.emplace_back(identity(made))->certificate;
}

ServerConfig server_config(const MadeCertificate& made) {
  ServerConfig config;
  config.identities = {identity(made, certificates().ca.certificate)};
  return config;
}

// Both sides of one handshake, and what they said to each other afterwards.
struct Talk {
  Handshake<Session> server = std::unexpected(Failure{});
  Handshake<Session> client = std::unexpected(Failure{});
  std::string server_heard;
  std::string client_heard;
  std::optional<std::string> bindings[2][3];
};

Task<void> hear(Stream& stream, std::string& heard) {
  for (;;) {
    const Io io = co_await stream.fill(loop::Clock::now() + kPatience);
    if (io != Io::kOk) co_return;
    heard += stream.input();
    stream.consume(stream.input().size());
    if (heard.ends_with('\n')) co_return;
  }
}

void note_bindings(const Stream& stream, std::optional<std::string> (&out)[3]) {
  out[0] = channel_binding(stream, Binding::kServerEndPoint);
  out[1] = channel_binding(stream, Binding::kExporter);
  out[2] = channel_binding(stream, Binding::kUnique);
}

Task<void> serve(sys::Fd fd, ContextPtr context, AcceptOptions options, Talk& talk) {
  Stream stream(std::move(fd));
  auto done = co_await accept(stream, context, std::move(options), loop::Clock::now() + kPatience);
  talk.server = std::move(done);
  if (!talk.server) co_return;
  note_bindings(stream, talk.bindings[0]);
  co_await hear(stream, talk.server_heard);
  stream.put("hello ");
  const std::string text = "client\n";
  co_await stream.write(text, loop::Clock::now() + kPatience);
}

Task<void> call(sys::Fd fd, ContextPtr context, ConnectOptions options, Talk& talk) {
  Stream stream(std::move(fd));
  auto done = co_await connect(stream, context, std::move(options), loop::Clock::now() + kPatience);
  talk.client = std::move(done);
  if (!talk.client) co_return;
  note_bindings(stream, talk.bindings[1]);
  const std::string text = "hello server\n";
  co_await stream.write(text, loop::Clock::now() + kPatience);
  co_await hear(stream, talk.client_heard);
  // Until the server's goodbye.
  std::string rest;
  co_await hear(stream, rest);
}

Task<void> talk_to_the_end(ContextPtr server, AcceptOptions accepting, ContextPtr client,
                           ConnectOptions connecting, Talk& talk) {
  auto pair = sys::socket_pair().value();
  loop::Gather both;
  both.add(serve(std::move(pair.first), server, std::move(accepting), talk));
  both.add(call(std::move(pair.second), client, std::move(connecting), talk));
  co_await both.done();
  loop::Loop::current().stop();
}

Talk run(const ContextPtr& server, const ContextPtr& client, ConnectOptions connecting = {},
         AcceptOptions accepting = {}) {
  loop::Loop loop;
  Talk talk;
  loop::spawn(talk_to_the_end(server, std::move(accepting), client, std::move(connecting), talk));
  loop.run();
  return talk;
}

ContextPtr client_context(std::string_view protocols = ">=TLSv1") {
  ClientConfig config;
  config.algorithms.protocols = parse_protocols(protocols).value();
  config.trust.authorities = certificates().ca.certificate;
  return Context::client(std::move(config)).value();
}

ContextPtr server_context(const MadeCertificate& made) {
  return Context::server(server_config(made)).value();
}

ConnectOptions by_name(std::vector<std::string> names) {
  ConnectOptions options;
  options.verify = Verify::kName;
  options.names = std::move(names);
  return options;
}

ConnectOptions by_tlsa(std::vector<dns::Tlsa> records) {
  ConnectOptions options;
  options.server_name = "mx.example.com";
  options.names = {"mx.example.com"};
  options.verify = Verify::kDane;
  options.tlsa = std::move(records);
  return options;
}

}  // namespace

TEST_CASE("both sides talk, over TLS 1.2 and 1.3, and agree on channel bindings") {
  const bool is_old = GENERATE(true, false);
  const auto talk =
      run(server_context(certificates().server), client_context(is_old ? "TLSv1.2" : "TLSv1.3"));
  REQUIRE(talk.server);
  REQUIRE(talk.client);
  CHECK(talk.server_heard == "hello server\n");
  CHECK(talk.client_heard == "hello client\n");
  CHECK(talk.server->protocol == (is_old ? "TLSv1.2" : "TLSv1.3"));
  CHECK(talk.server->cipher == talk.client->cipher);
  CHECK(talk.server->used_bits == 256);
  CHECK(talk.server->worth == Worth::kAnonymous);
  CHECK(talk.client->worth == Worth::kTrusted);
  CHECK(talk.client->peer_subject == "mx.example.com");
  CHECK(talk.client->peer_issuer == "Test CA");
  CHECK(talk.client->distrust.empty());
  CHECK(talk.bindings[0][0].value().size() == 32);
  CHECK(talk.bindings[0][1].value().size() == 32);
  CHECK(talk.bindings[0][2].has_value() == is_old);
  for (int i = 0; i < 3; ++i) CHECK(talk.bindings[0][i] == talk.bindings[1][i]);
}

TEST_CASE("what was agreed on is told as Postfix tells it") {
  const auto talk = run(server_context(certificates().rsa), client_context("TLSv1.3"));
  REQUIRE(talk.server);
  CHECK(talk.server->describe() ==
        "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 "
        "server-signature RSA-PSS (2048 bits) server-digest SHA256");
  CHECK(talk.client->describe() == talk.server->describe());
}

TEST_CASE("names decide what is verified") {
  struct Case {
    std::string wanted;
    Worth worth;
  };
  const auto c = GENERATE(values<Case>({
      {"mx.example.com", Worth::kVerified},
      {"a.example.net", Worth::kVerified},
      {".example.com", Worth::kVerified},
      {"mx.example.org", Worth::kUntrusted},
  }));
  const auto talk =
      run(server_context(certificates().server), client_context(), by_name({c.wanted}));
  REQUIRE(talk.client);
  CHECK(talk.client->worth == c.worth);
  CHECK(talk.client->distrust.empty() == (c.worth == Worth::kVerified));
}

TEST_CASE("who vouches for a certificate, and until when, decides whether it is trusted") {
  const auto lonely = run(server_context(certificates().lonely), client_context());
  REQUIRE(lonely.client);
  CHECK(lonely.client->worth == Worth::kUntrusted);
  CHECK(lonely.client->distrust == "self-signed certificate");

  const auto old = run(server_context(certificates().old), client_context());
  REQUIRE(old.client);
  CHECK(old.client->worth == Worth::kUntrusted);
  CHECK(old.client->distrust == "certificate has expired");

  ClientConfig stranger;
  stranger.trust.authorities = certificates().other_ca.certificate;
  const auto strange =
      run(server_context(certificates().server), Context::client(std::move(stranger)).value(),
          by_name({"mx.example.com"}));
  REQUIRE(strange.client);
  CHECK(strange.client->worth == Worth::kUntrusted);
}

TEST_CASE("a fingerprint of the certificate or of its key verifies, whoever signed it") {
  X509& certificate = leaf(certificates().lonely);
  ConnectOptions options;
  options.verify = Verify::kFingerprint;
  std::string lower = key_fingerprint(certificate, "sha256");
  for (char& c : lower) c = static_cast<char>(std::tolower(c));
  const std::string upper = fingerprint(certificate, "sha256");
  const std::string good = GENERATE_COPY(upper, lower);
  options.fingerprints = {"00:11", good};
  const auto talk =
      run(server_context(certificates().lonely), client_context(), std::move(options));
  REQUIRE(talk.client);
  CHECK(talk.client->worth == Worth::kVerified);

  ConnectOptions wrong;
  wrong.verify = Verify::kFingerprint;
  wrong.fingerprints = {fingerprint(leaf(certificates().server), "sha256")};
  const auto refused = run(server_context(certificates().lonely), client_context(), wrong);
  REQUIRE(refused.client);
  CHECK(refused.client->worth == Worth::kUntrusted);
  CHECK(refused.client->distrust == "no fingerprint matches");
}

TEST_CASE("TLSA records verify, of the certificate's key and of its authority") {
  const bool is_old = GENERATE(true, false);
  const auto client = client_context(is_old ? "TLSv1.2" : "TLSv1.3");
  const auto server = server_context(certificates().server);
  X509& own = leaf(certificates().server);
  X509& ca = leaf(certificates().ca);
  X509& other = leaf(certificates().lonely);

  const auto ee = run(server, client, by_tlsa({make_tlsa(own, 3, 1, 1).value()}));
  REQUIRE(ee.client);
  CHECK(ee.client->worth == Worth::kVerified);
  CHECK(ee.client->matched == "TLSA 3 1 1");

  const auto ta = run(server, client, by_tlsa({make_tlsa(ca, 2, 0, 1).value()}));
  REQUIRE(ta.client);
  CHECK(ta.client->worth == Worth::kVerified);
  CHECK(ta.client->matched == "TLSA 2 0 1");

  auto options = by_tlsa({make_tlsa(ca, 2, 0, 1).value()});
  options.names = {"elsewhere.example.org"};
  const auto misnamed = run(server, client, options);
  REQUIRE(misnamed.client);
  CHECK(misnamed.client->worth == Worth::kUntrusted);

  for (const auto& record : {make_tlsa(other, 3, 1, 1).value(), make_tlsa(other, 2, 0, 1).value(),
                             make_tlsa(other, 3, 0, 2).value()}) {
    const auto wrong = run(server, client, by_tlsa({record}));
    REQUIRE(wrong.client);
    CHECK(wrong.client->worth == Worth::kUntrusted);
    CHECK_FALSE(wrong.client->distrust.empty());
  }
  // Names and dates do not matter with usage 3 (RFC 7672 3.1.1).
  const auto expired = run(server_context(certificates().old), client,
                           by_tlsa({make_tlsa(leaf(certificates().old), 3, 1, 1).value()}));
  REQUIRE(expired.client);
  CHECK(expired.client->worth == Worth::kVerified);
}

TEST_CASE("trust anchors of a file stand in for authorities") {
  auto options = by_name({"mx.example.com"});
  options.server_name = "mx.example.com";
  options.tlsa = anchors_of(certificates().ca.certificate).value();
  const auto context = Context::client({}).value();
  const auto good = run(server_context(certificates().server), context, options);
  REQUIRE(good.client);
  CHECK(good.client->worth == Worth::kVerified);
  options.tlsa = anchors_of(certificates().other_ca.certificate).value();
  const auto bad = run(server_context(certificates().server), context, options);
  REQUIRE(bad.client);
  CHECK(bad.client->worth == Worth::kUntrusted);
}

TEST_CASE("unusable TLSA records are known as such") {
  const std::string sha256(32, 'x');
  CHECK(is_usable({3, 1, 1, sha256}));
  CHECK(is_usable({2, 0, 2, sha256 + sha256}));
  CHECK_FALSE(is_usable({1, 1, 1, sha256}));
  CHECK_FALSE(is_usable({0, 1, 1, sha256}));
  CHECK_FALSE(is_usable({3, 2, 1, sha256}));
  CHECK_FALSE(is_usable({3, 1, 3, sha256}));
  CHECK_FALSE(is_usable({3, 1, 1, sha256.substr(1)}));
  CHECK_FALSE(is_usable({3, 1, 0, ""}));
}

TEST_CASE("a client's certificate is asked for, and judged, never demanded") {
  auto config = server_config(certificates().server);
  config.ask_certificate = true;
  config.trust.authorities = certificates().ca.certificate;
  const auto server = Context::server(std::move(config)).value();

  const auto none = run(server, client_context());
  REQUIRE(none.server);
  CHECK(none.server->worth == Worth::kAnonymous);

  const auto with = [&](const MadeCertificate& made) {
    ClientConfig client;
    client.identities = {identity(made)};
    return run(server, Context::client(std::move(client)).value());
  };
  const auto good = with(certificates().client);
  REQUIRE(good.server);
  CHECK(good.server->worth == Worth::kTrusted);
  CHECK(good.server->peer_subject == "client.example.com");
  CHECK(good.server->peer_fingerprint == fingerprint(leaf(certificates().client), "sha256"));
  CHECK(good.server->client_digest == "SHA256");
  const auto lonely = with(certificates().lonely);
  REQUIRE(lonely.server);
  CHECK(lonely.server->worth == Worth::kUntrusted);
}

TEST_CASE("sessions are resumed through keys that several servers share") {
  const bool is_old = GENERATE(true, false);
  const auto client = client_context(is_old ? "TLSv1.2" : "TLSv1.3");
  const auto key = TicketKey::random().value();
  const auto make_server = [&](const std::vector<TicketKey>& keys) {
    auto config = server_config(certificates().server);
    config.ticket_keys = TicketKeys::make("aes-256-cbc").value();
    config.ticket_keys->set(keys);
    return Context::server(std::move(config)).value();
  };
  std::vector<std::string> sessions;
  auto options = by_name({"mx.example.com"});
  options.on_session = [&](std::string session) { sessions.push_back(std::move(session)); };
  const auto first = run(make_server({key}), client, options);
  REQUIRE(first.client);
  CHECK_FALSE(first.client->is_reused);
  REQUIRE_FALSE(sessions.empty());

  options.session = sessions.back();
  const auto again = run(make_server({TicketKey::random().value(), key}), client, options);
  REQUIRE(again.client);
  CHECK(again.client->is_reused);
  CHECK(again.server->is_reused);
  CHECK(again.client->worth == Worth::kVerified);
  CHECK(again.client->peer_subject == "mx.example.com");

  const auto forgotten = run(make_server({TicketKey::random().value()}), client, options);
  REQUIRE(forgotten.client);
  CHECK_FALSE(forgotten.client->is_reused);

  options.session = "no session at all";
  const auto broken = run(make_server({key}), client, options);
  REQUIRE(broken.client);
  CHECK_FALSE(broken.client->is_reused);
}

namespace {

struct OneName final : NamedIdentities {
  std::string known;
  Result<IdentityPtr> answer = IdentityPtr();
  std::vector<std::string> asked;
  Task<Result<IdentityPtr>> find(std::string name, loop::Deadline) override {
    asked.push_back(name);
    co_await loop::Yield();
    if (name != known) co_return IdentityPtr();
    co_return answer;
  }
};

}  // namespace

TEST_CASE("the name that a client sends picks the certificate, after a look-up that waits") {
  const bool is_old = GENERATE(true, false);
  const auto client = client_context(is_old ? "TLSv1.2" : "TLSv1.3");
  OneName names;
  names.known = "rsa.example.com";
  names.answer = identity(certificates().rsa);
  AcceptOptions accepting;
  accepting.names = &names;
  ConnectOptions connecting;
  connecting.server_name = "RSA.example.com";
  const auto found = run(server_context(certificates().server), client, connecting, accepting);
  REQUIRE(found.server);
  CHECK(found.client->peer_subject == "rsa.example.com");
  CHECK(found.server->server_name == "rsa.example.com");
  CHECK(names.asked == std::vector<std::string>{"rsa.example.com"});

  connecting.server_name = "unknown.example.com";
  const auto other = run(server_context(certificates().server), client, connecting, accepting);
  REQUIRE(other.client);
  CHECK(other.client->peer_subject == "mx.example.com");
  CHECK(other.server->server_name.empty());

  names.known = "unknown.example.com";
  names.answer = fail_temporary("table is gone");
  const auto broken = run(server_context(certificates().server), client, connecting, accepting);
  CHECK_FALSE(broken.client);
  REQUIRE_FALSE(broken.server);
  CHECK(broken.server.error().is_ours);
  CHECK(broken.server.error().text == "table is gone");
}

namespace {

// Has the key, and takes a turn of the loop for each signature.
struct OneKey final : Signer {
  KeyPtr key;
  std::vector<SignRequest> requests;
  bool refuses = false;
  Task<Result<std::string>> sign(SignRequest request, loop::Deadline) override {
    requests.push_back(request);
    co_await loop::Yield();
    if (refuses) co_return fail_temporary("keyring is gone");
    co_return tls::sign(*key, request.scheme, request.bytes);
  }
};

IdentityPtr without_key(const MadeCertificate& made) {
  auto identity = std::make_shared<Identity>();
  identity->certificate = std::move(parse_certificates(made.certificate).value().front());
  identity->key = remote_key(*X509_get0_pubkey(identity->certificate.get())).value();
  return identity;
}

}  // namespace

TEST_CASE("the key may be elsewhere: a signer is asked, and handshakes wait for it") {
  const bool is_old = GENERATE(true, false);
  const bool is_rsa = GENERATE(true, false);
  const auto& made = is_rsa ? certificates().rsa : certificates().server;
  const auto signer = std::make_shared<OneKey>();
  signer->key = parse_private_key(made.key).value();
  ServerConfig config;
  config.identities = {without_key(made)};
  CHECK(is_remote(*config.identities[0]->key));
  config.signer = signer;
  const auto server = Context::server(std::move(config)).value();
  const auto client = client_context(is_old ? "TLSv1.2" : "TLSv1.3");

  const auto talk = run(server, client);
  REQUIRE(talk.client);
  CHECK(talk.client->worth == Worth::kTrusted);
  CHECK(talk.client_heard == "hello client\n");
  REQUIRE(signer->requests.size() == 1);
  CHECK(signer->requests[0].key == key_id(*signer->key));
  CHECK(signer->requests[0].purpose == ipc::keyring::Purpose::kTlsServer);
  CHECK(signer->requests[0].scheme == (is_rsa ? 0x0804 : 0x0403));

  signer->refuses = true;
  const auto refused = run(server, client);
  CHECK_FALSE(refused.client);
  REQUIRE_FALSE(refused.server);
  CHECK(refused.server.error().is_ours);
  CHECK(refused.server.error().text == "keyring is gone");
}

namespace {

// Answers nobody before all that may ask at once have asked.
struct SlowKey final : Signer {
  KeyPtr key;
  unsigned asked = 0;
  unsigned together = 0;
  loop::Condition ready;
  Task<Result<std::string>> sign(SignRequest request, loop::Deadline deadline) override {
    if (++asked == together) ready.notify_all();
    if (asked < together) co_await ready.wait(deadline);
    co_return tls::sign(*key, request.scheme, request.bytes);
  }
};

Task<void> talk_many(ContextPtr server, ContextPtr client, std::vector<Talk>& talks) {
  co_await loop::Yield();
  loop::Gather all;
  for (auto& talk : talks) {
    auto pair = sys::socket_pair().value();
    all.add(serve(std::move(pair.first), server, {}, talk));
    all.add(call(std::move(pair.second), client, {}, talk));
  }
  co_await all.done();
  loop::Loop::current().stop();
}

}  // namespace

TEST_CASE(
    "hundreds of handshakes at once come to their end, though they wait for places and jobs") {
  const auto signer = std::make_shared<SlowKey>();
  signer->key = parse_private_key(certificates().server.key).value();
  signer->together = 64;  // as many as may be begun
  ServerConfig config;
  config.identities = {without_key(certificates().server)};
  config.signer = signer;
  loop::Loop loop;
  std::vector<Talk> talks(300);
  const auto server = Context::server(std::move(config)).value();
  const auto client = client_context();
  loop::spawn(talk_many(server, client, talks));
  loop.run();
  for (const auto& talk : talks) {
    CHECK(talk.client.has_value());
    CHECK(talk.client_heard == "hello client\n");
  }
}

TEST_CASE("a client's key may be elsewhere, too") {
  const bool is_old = GENERATE(true, false);
  auto config = server_config(certificates().server);
  config.ask_certificate = true;
  config.trust.authorities = certificates().ca.certificate;
  const auto signer = std::make_shared<OneKey>();
  signer->key = parse_private_key(certificates().client.key).value();
  ClientConfig client;
  client.algorithms.protocols = parse_protocols(is_old ? "TLSv1.2" : "TLSv1.3").value();
  client.identities = {without_key(certificates().client)};
  client.signer = signer;
  const auto talk =
      run(Context::server(std::move(config)).value(), Context::client(std::move(client)).value());
  REQUIRE(talk.server);
  CHECK(talk.server->worth == Worth::kTrusted);
  REQUIRE(signer->requests.size() == 1);
  CHECK(signer->requests[0].purpose == ipc::keyring::Purpose::kTlsClient);
}

TEST_CASE("application protocols: mail's own or none, a browser's is refused") {
  ConnectOptions options;
  options.application_protocols = {"h2", "smtp"};
  const auto good = run(server_context(certificates().server), client_context(), options);
  REQUIRE(good.server);
  CHECK(good.server->application_protocol == "smtp");
  options.application_protocols = {"h2", "http/1.1"};
  CHECK_FALSE(run(server_context(certificates().server), client_context(), options).server);
}

TEST_CASE("peers without a protocol in common part with the library's reason") {
  auto config = server_config(certificates().server);
  config.algorithms.protocols = parse_protocols(">=TLSv1.3").value();
  const auto talk = run(Context::server(std::move(config)).value(), client_context("TLSv1.2"));
  CHECK_FALSE(talk.client);
  REQUIRE_FALSE(talk.server);
  CHECK(talk.server.error().text == "-1");
  REQUIRE(talk.server.error().library_errors.size() == 1);
  CHECK(talk.server.error().library_errors[0].find("unsupported protocol") != std::string::npos);
}

namespace {

Task<void> send_and_accept(std::string bytes, bool closes, loop::Clock::duration patience,
                           Talk& talk) {
  co_await loop::Yield();
  auto pair = sys::socket_pair().value();
  ::send(pair.second.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (closes) pair.second.reset();
  Stream stream(std::move(pair.first));
  const auto context = server_context(certificates().server);
  auto done = co_await accept(stream, context, {}, loop::Clock::now() + patience);
  talk.server = std::move(done);
  loop::Loop::current().stop();
}

Failure refused(const std::string& bytes, bool closes, loop::Clock::duration patience = kPatience) {
  loop::Loop loop;
  Talk talk;
  loop::spawn(send_and_accept(bytes, closes, patience, talk));
  loop.run();
  REQUIRE_FALSE(talk.server);
  return talk.server.error();
}

}  // namespace

TEST_CASE("garbage, oversized records, silence and a lost client end the handshake") {
  CHECK(refused("GET / HTTP/1.0\r\n\r\n", false).text == "-1");
  CHECK(refused(std::string(100, '\0'), false).text == "-1");
  std::string huge("\x16\x03\x01\xff\xff", 5);
  huge += std::string(20000, 'x');
  CHECK(refused(huge, false).text == "-1");
  CHECK(refused("", true).text == "lost connection");
  CHECK(refused(std::string("\x16\x03\x01\x02\x00\x01", 6), true).text == "lost connection");
  const auto late = refused("", false, 50ms);
  CHECK(late.io == Io::kTimeout);
  CHECK(late.text == "Connection timed out");
}

namespace {

Task<void> exchange_much(Stream& stream, bool is_server, ContextPtr context, std::size_t size,
                         std::size_t& got) {
  if (is_server) {
    auto done = co_await accept(stream, context, {}, loop::Clock::now() + kPatience);
    if (!done) co_return;
  } else {
    auto done = co_await connect(stream, context, {}, loop::Clock::now() + kPatience);
    if (!done) co_return;
    stream.put(std::string(1000, 'a'));
    const std::string text(size - 1000, 'b');
    co_await stream.write(text, loop::Clock::now() + kPatience);
    stream.close();
    co_return;
  }
  for (;;) {
    const Io io = co_await stream.fill(loop::Clock::now() + kPatience);
    if (io != Io::kOk) co_return;
    got += stream.input().size();
    stream.consume(stream.input().size());
  }
}

Task<void> exchange(std::size_t size, std::size_t& got) {
  auto pair = sys::socket_pair().value();
  Stream server(std::move(pair.first));
  Stream client(std::move(pair.second));
  std::size_t unused = 0;
  loop::Gather both;
  const auto server_side = server_context(certificates().server);
  const auto client_side = client_context();
  both.add(exchange_much(server, true, server_side, size, got));
  both.add(exchange_much(client, false, client_side, size, unused));
  co_await both.done();
  loop::Loop::current().stop();
}

}  // namespace

TEST_CASE("many megabytes pass whole, though the socket takes them in parts") {
  loop::Loop loop;
  std::size_t got = 0;
  constexpr std::size_t kSize = std::size_t{8} << 20;
  loop::spawn(exchange(kSize, got));
  loop.run();
  CHECK(got == kSize);
}

TEST_CASE("certificates and keys that do not fit, or are broken, are told apart") {
  const auto& c = certificates();
  CHECK(parse_identity(c.server.certificate, c.client.key).error().text ==
        "the private key does not belong to the certificate: key values mismatch");
  CHECK(parse_identity("", c.client.key).error().text == "no certificate in it");
  CHECK(parse_identity(c.server.certificate, "").error().text == "no private key in it");
  CHECK(parse_identity(c.server.certificate, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
            .error()
            .text == "the private key is under a passphrase");
  std::string torn = c.server.certificate;
  torn[100] = '!';
  CHECK_FALSE(parse_identity(torn, c.server.key));
  const auto two = parse_identities(c.server.key + c.server.certificate + c.ca.certificate +
                                    c.rsa.key + c.rsa.certificate);
  REQUIRE(two);
  REQUIRE(two->size() == 2);
  CHECK((*two)[0]->issuers.size() == 1);
  CHECK((*two)[1]->issuers.empty());
  CHECK(parse_identities(c.rsa.certificate + c.rsa.key).value().size() == 1);
  CHECK_FALSE(parse_identities(c.rsa.key));
}

}  // namespace postern::tls
