// first_contact.h - what a client goes through before it gets a session, where master.cf names the
// `postscreen` service: most of what is to be refused never opens a session.
//
//     access list -> temporary allow list -> greet wait with DNS lists -> protocol tests -> session
//                                                  |                          |
//                                                  +--- a failure: ignored, enforced, or dropped
//
// An enforced failure is told at RCPT by a dialogue of our own (contact_dialogue.cpp), which takes
// no mail, so that the log has HELO, sender and recipient. A client that passes the protocol tests
// has to connect again: this dialogue cannot become a session. The parameters are those of the
// postscreen line, sessions have those of the `pass` line of smtpd.

#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/config/params/postscreen.h"
#include "common/config/values.h"
#include "common/ipc/anvil.h"
#include "common/ipc/client.h"
#include "common/loop/stream.h"
#include "common/policy/dns_list.h"
#include "common/smtpwire/command.h"
#include "common/smtpwire/line.h"
#include "common/smtpwire/proxy_header.h"
#include "common/sys/socket.h"
#include "smtpd/settings.h"

namespace postern::smtpd {

using namespace policy;

struct Neighbours;

enum class ContactAction : unsigned char { kIgnore, kEnforce, kDrop };
[[nodiscard]] ContactAction parse_contact_action(std::string_view text);

// In the order of ipc::anvil::Contact.
enum class ContactTest : unsigned char {
  kPregreet,
  kDnsLists,
  kPipelining,
  kNonSmtpCommand,
  kBareNewline,
};
inline constexpr std::size_t kContactTests = ipc::anvil::kContactTests;

// Those that need a dialogue.
inline constexpr std::array kDeepTests{ContactTest::kPipelining, ContactTest::kNonSmtpCommand,
                                       ContactTest::kBareNewline};

// One name server zone with all that its answers weigh.
struct ScoredZone {
  struct Weight {
    DnsList list;
    std::int64_t weight = 1;
  };
  std::string zone;
  std::vector<Weight> weights;
};
// "zone=127.0.0.[2..11]*3": entries of one zone together. What is wrong goes to `problems`.
[[nodiscard]] std::vector<ScoredZone> parse_scored_zones(const std::vector<std::string>& words,
                                                         const config::Values& values,
                                                         config::Problems& problems);

struct ContactSettings {
  config::PostscreenParams params;
  std::vector<ScoredZone> zones;
  std::vector<ForbiddenCommand> forbidden_commands;
  EhloKeywords discarded_keywords = 0;
  std::string myhostname;
  std::string banner;  // of sessions: smtpd_banner
  config::Networks mynetworks;
  config::Networks allowlist_interfaces;
  bool is_every_interface = true;
  std::uint64_t message_size_limit = 0;
  std::size_t line_length_limit = 2048;
  std::int64_t pre_queue_limit = 0;  // 0: none
  std::int64_t session_limit = 0;    // maxproc of the `pass` line; 0: none
  std::int64_t post_queue_limit = 0;
  bool smtputf8_enable = true;
  bool disable_vrfy_command = false;  // what EHLO says is for sessions
  bool soft_bounce = false;
  // For postscreen_reject_footer, with postscreen_expansion_filter.
  std::shared_ptr<const config::Values> values;
  std::string expansion_filter;
  TlsSettings tls;  // postscreen_tls_security_level and kin; certificates are those of sessions

  [[nodiscard]] bool is_enabled(ContactTest test) const;
  [[nodiscard]] std::chrono::seconds ttl(ContactTest test) const;
  // For how long a failure counts for nothing whose action is `ignore`.
  [[nodiscard]] std::chrono::seconds shortest_ttl() const;
};
using ContactSettingsPtr = std::shared_ptr<const ContactSettings>;
[[nodiscard]] ContactSettingsPtr read_contact_settings(const config::Values& values,
                                                       config::Problems& problems);

// The `pass` line of smtpd in the same master.cf; nullptr when there is none.
[[nodiscard]] const config::Service* find_pass_service(const config::Snapshot& snapshot);

// A client that may have a session, and the proxy's word for who it is.
struct Admitted {
  sys::Accepted client;
  std::optional<smtpwire::ProxyHeader> proxied;
};

class FirstContact {
 public:
  // `tls` is that of the sessions.
  FirstContact(Neighbours& neighbours, ipc::Client& anvil, TlsService& tls)
      : neighbours_(neighbours),
        anvil_(anvil),
        tls_(tls),
        clean_timer_([this] { begin_cleaning(); }) {}

  // `stressed` are the settings under stress.
  void configure(ContactSettingsPtr settings, ContactSettingsPtr stressed);
  void set_stress(bool is_stress) { is_stress_ = is_stress; }
  // Begins to look after the temporary allow list.
  void start();
  // Nothing for a client that was sent away, or left.
  [[nodiscard]] loop::Task<std::optional<Admitted>> receive(sys::Accepted client);
  // Waits until the `pass` line has room for the client, and takes that place. False: the client
  // was sent away, too many wait (postscreen_post_queue_limit) or it has waited too long.
  [[nodiscard]] loop::Task<bool> take_place(const Admitted& admitted);
  void leave_place();
  [[nodiscard]] std::size_t in_test() const { return in_test_; }
  [[nodiscard]] std::size_t waiting() const { return static_cast<std::size_t>(waiting_); }

 private:
  friend class Contact;
  void begin_cleaning();
  loop::Task<void> clean();

  Neighbours& neighbours_;
  ipc::Client& anvil_;
  TlsService& tls_;
  ContactSettingsPtr settings_;
  ContactSettingsPtr stressed_;
  bool is_stress_ = false;
  std::size_t in_test_ = 0;
  std::int64_t in_session_ = 0;
  std::int64_t waiting_ = 0;
  loop::Condition place_;
  std::map<std::string, std::int64_t, std::less<>> by_client_;  // in test
  loop::CallbackTimer clean_timer_;
};

// One client on its way.
class Contact {
 public:
  Contact(FirstContact& room, sys::Accepted client);
  [[nodiscard]] loop::Task<std::optional<Admitted>> run();

 private:
  enum class Step : unsigned char { kGoOn, kAdmit, kEnd };
  enum class Access : unsigned char { kDunno, kPermit, kReject };
  // Where the time of a test ends in its client's leaving.
  enum class Phase : unsigned char { kBeforeHandshake, kAfterHandshake };

  // The answers of all DNS lists so far; outlives the contact that does not wait for the last one.
  struct Score {
    std::int64_t rank = 0;
    std::int64_t heaviest = 0;
    std::string zone;  // of the heaviest
    std::int64_t ttl = -1;
    std::size_t under_way = 0;
    loop::Condition arrived;
  };

  [[nodiscard]] loop::Task<bool> learn_from_proxy();
  [[nodiscard]] loop::Task<Step> check_access();
  [[nodiscard]] loop::Task<Access> find_access();
  [[nodiscard]] loop::Task<Step> check_allow_list();
  [[nodiscard]] loop::Task<bool> is_on_allow_list();
  [[nodiscard]] loop::Task<Step> early_tests();
  void ask_dns_lists();
  // `zone` is one of `settings`, which is kept for that.
  static loop::Task<void> ask(ipc::Client& resolver, [[maybe_unused]] ContactSettingsPtr settings,
                              const ScoredZone& zone, std::string client, std::string name,
                              loop::Deadline until, std::shared_ptr<Score> score);
  [[nodiscard]] loop::Task<Step> judge_score();
  [[nodiscard]] loop::Task<std::string> shown_zone(std::string zone);

  // What follows from a failed test. `text` is "5.5.1 Protocol error".
  [[nodiscard]] loop::Task<Step> fail(ContactAction action, std::string text);
  [[nodiscard]] std::string softened(std::string reply) const;
  void pass(ContactTest test, std::int64_t until);
  [[nodiscard]] bool is_todo(ContactTest test) const {
    return todo_[static_cast<std::size_t>(test)];
  }
  [[nodiscard]] bool has_deep_tests() const;
  void save();
  [[nodiscard]] loop::Task<void> drop(std::string reply);
  void log_hang_up(Phase phase) const;

  // contact_dialogue.cpp
  [[nodiscard]] loop::Task<void> converse();
  [[nodiscard]] loop::Task<std::optional<std::string>> read_line();
  [[nodiscard]] loop::Task<bool> answer(std::string_view line);  // false: the end
  [[nodiscard]] loop::Task<std::string> reply_to(const smtpwire::CommandLine& command);
  [[nodiscard]] loop::Task<std::string> ehlo_reply();
  // postscreen_discard_ehlo_keyword_address_maps
  [[nodiscard]] loop::Task<EhloKeywords> choose_keywords();
  // postscreen_reject_footer and its maps, where the reply refuses.
  [[nodiscard]] loop::Task<std::string> with_footer(std::string reply);
  [[nodiscard]] std::string starttls_refusal(const smtpwire::CommandLine& command) const;
  [[nodiscard]] loop::Task<bool> start_tls();  // false: the end
  [[nodiscard]] bool is_encrypted() const { return stream_.transport() != nullptr; }
  [[nodiscard]] bool is_tls_due(smtpwire::Verb verb) const;
  [[nodiscard]] std::string rcpt_reply(const smtpwire::CommandLine& command);
  [[nodiscard]] loop::Task<bool> is_forbidden(std::string_view line, std::string name);
  [[nodiscard]] loop::Task<std::string> filtered(std::string line);
  [[nodiscard]] loop::Task<bool> say(std::string reply);
  // For whoever asks for more than there is.
  [[nodiscard]] std::string busy_reply() const;
  // A protocol test failed; false when that ends the dialogue.
  [[nodiscard]] loop::Task<bool> fail_deep(ContactTest test, ContactAction action,
                                           std::string text);

  FirstContact& room_;
  ContactSettingsPtr settings_;
  loop::Stream stream_;
  sys::SocketAddress peer_;
  std::string address_;
  std::string port_;
  std::string server_address_;
  std::string server_port_;
  std::string name_;  // "[192.0.2.1]:51234"
  std::optional<config::IpAddress> ip_;
  std::optional<smtpwire::ProxyHeader> proxied_;
  std::array<bool, kContactTests> todo_{};
  std::array<std::int64_t, kContactTests> passed_until_{};
  bool is_known_ = false;
  bool is_failed_ = false;
  bool is_saved_ = false;
  bool may_be_listed_ = true;  // postscreen_allowlist_interfaces
  bool has_pregreeted_ = false;
  loop::TimePoint start_ = loop::Clock::now();
  std::shared_ptr<Score> score_;
  // ---- of the dialogue
  std::string rcpt_text_;  // "550 5.3.2 Service currently unavailable"
  smtpwire::LineSplitter splitter_;
  std::string helo_;
  std::string protocol_ = "SMTP";
  std::optional<std::string> sender_;
  std::optional<std::string> recipient_;  // of the command that is answered
  EhloKeywords discarded_keywords_ = 0;
  std::string last_command_ = "CONNECT";
  std::int64_t commands_ = 0;
};

}  // namespace postern::smtpd
