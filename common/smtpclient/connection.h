// connection.h - one connection to a server: connect, greeting, hello, and replies one by one.
//
// Everything that is sent and received goes through stream(), encrypted or not: after STARTTLS the
// features are asked for again. Authentication follows hello(), before the first MAIL.

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/loop/stream.h"
#include "common/loop/task.h"
#include "common/smtpclient/plan.h"
#include "common/smtpclient/reply_filter.h"
#include "common/smtpclient/settings.h"
#include "common/smtpclient/tls_client.h"
#include "common/smtpclient/transcript.h"
#include "common/smtpwire/ehlo.h"
#include "common/smtpwire/reply_reader.h"

namespace postern::smtpclient {

class Connection {
 public:
  Connection(Endpoint endpoint, sys::Fd fd)
      : endpoint_(std::move(endpoint)), stream_(std::move(fd), loop::Copies::kNone) {}

  // The error's text is what stands behind "connect to H[IP]:25: ".
  [[nodiscard]] static loop::Task<Result<std::unique_ptr<Connection>>> open(Endpoint endpoint,
                                                                            SettingsPtr settings);

  // Greeting and EHLO, HELO or LHLO. `nexthop` is for the text of a loop, which is looked for
  // where `detect_loop` is set. A verdict with status: the server is not to be used.
  [[nodiscard]] loop::Task<Verdict> hello(SettingsPtr settings, TlsPlanPtr plan,
                                          std::string nexthop, bool detect_loop);

  struct Reply {
    loop::Io io = loop::Io::kOk;
    smtpwire::ServerReply reply{};
    std::string garbage{};  // why the bytes that came are no reply
    bool is_ours = false;   // what came could not be filtered

    [[nodiscard]] bool is_ok() const { return io == loop::Io::kOk && garbage.empty() && !is_ours; }
  };
  // The whole reply within `timeout`.
  [[nodiscard]] loop::Task<Reply> read_reply(std::chrono::seconds timeout);
  [[nodiscard]] Verdict failure(const Reply& reply, Step step) const;

  // For a kept one: the peer has not closed it, and has said nothing unasked.
  [[nodiscard]] bool is_idle();

  [[nodiscard]] loop::Stream& stream() { return stream_; }
  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] const smtpwire::Features& features() const { return features_; }

  [[nodiscard]] bool is_encrypted() const { return stream_.transport() != nullptr; }
  // TLS was begun and came to nothing: the same server might take the mail in the clear.
  [[nodiscard]] bool has_tls_failed() const { return has_tls_failed_; }
  // What it was made under.
  std::string source{};  // the address that it was told to come from
  [[nodiscard]] bool comes_from(const Settings& settings) const;
  TlsPolicy asked_policy{};
  TlsPlanPtr plan{};
  // How the handshake went, for who wants to know.
  bool wants_session = false;
  std::unique_ptr<tls::Session> session{};

  // How the try to encrypt it went; nothing before it was made.
  std::optional<TlsTry> tls_try{};

  bool is_logged_in = false;
  // The message under way goes with REQUIRETLS.
  bool sends_require_tls = false;

  // For all replies from now on.
  ReplyFilter reply_filter{};
  // smtp_discard_ehlo_keyword_address_maps; nothing: smtp_discard_ehlo_keywords counts.
  std::optional<std::vector<std::string>> discarded_keywords{};

  // debug_peer_list, or -v: what is said and heard is logged, but for content and logins.
  bool is_dialogue_logged = false;
  void log_command(std::string_view line);
  // Kept where the postmaster is to hear of a server that does not understand us.
  std::unique_ptr<Transcript> transcript{};

  // Asked with a greeting of nothing but asterisks, as an old firewall leaves it: whether EHLO is
  // to be done without (smtp_pix_workarounds). Valid as long as hello() runs.
  std::function<loop::Task<bool>()> avoids_esmtp{};

  // Deliveries so far, the one under way included.
  unsigned uses = 0;
  // Other servers were known for its destination when it was made.
  bool has_alternatives = false;
  // An envelope that was not used up may stand; and as Postfix does, a kept connection begins with
  // RSET, which also tells whether it still lives.
  bool needs_reset = false;
  [[nodiscard]] loop::TimePoint since() const { return since_; }

 private:
  // Feeds the reader with the next line, as the filter leaves it. False: there is no whole line
  // yet.
  [[nodiscard]] loop::Task<Result<bool>> feed_filtered(Reply& out);
  [[nodiscard]] loop::Task<Reply> ask(std::string command, std::chrono::seconds timeout);
  [[nodiscard]] loop::Task<Verdict> say_hello(SettingsPtr settings, bool may_say_ehlo,
                                              bool says_esmtp, std::string nexthop,
                                              bool detect_loop);
  // starttls.cpp
  [[nodiscard]] loop::Task<Verdict> begin_tls(SettingsPtr settings);
  [[nodiscard]] loop::Task<Verdict> shake_hands(SettingsPtr settings);

  Endpoint endpoint_;
  loop::Stream stream_;
  smtpwire::ReplyReader reader_;
  smtpwire::Features features_;
  bool has_tls_failed_ = false;
  loop::TimePoint since_ = loop::Clock::now();
};
using ConnectionPtr = std::unique_ptr<Connection>;

// Sends QUIT and closes, in the background, waiting for the answer only where the settings say so.
void say_goodbye(ConnectionPtr connection, SettingsPtr settings);

}  // namespace postern::smtpclient
