#include "smtpd/first_contact.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>

#include "common/base/escape.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/config/params/address.h"
#include "common/config/params/cleanup.h"
#include "common/config/programs.h"
#include "common/dns/wire.h"
#include "common/ipc/resolver.h"
#include "common/log/clean.h"
#include "common/log/event.h"
#include "common/log/log.h"
#include "common/policy/network_list.h"
#include "smtpd/escape.h"
#include "smtpd/server.h"

namespace postern::smtpd {

namespace {

constexpr std::chrono::seconds kTablesTime{100};
constexpr std::chrono::seconds kAnvilTime{10};
constexpr std::chrono::seconds kSendTime{10};
constexpr std::chrono::seconds kPlaceTime{100};  // to wait for a session's end
constexpr std::chrono::seconds kFirstCleaning{1};
constexpr std::size_t kPregreetShown = 100;
constexpr std::string_view kProgram = "postscreen";

template <typename... Args>
void note(fmt::format_string<Args...> format, Args&&... args) {
  const log::ActingAs acting(kProgram);
  log::info(format, std::forward<Args>(args)...);
}

template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  const log::ActingAs acting(kProgram);
  log::warning(format, std::forward<Args>(args)...);
}

std::int64_t wall_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::size_t index_of(ContactTest test) { return static_cast<std::size_t>(test); }

std::string seconds_since(loop::TimePoint start) {
  return log::delay_text(
      std::chrono::duration_cast<std::chrono::microseconds>(loop::Clock::now() - start));
}

}  // namespace

ContactAction parse_contact_action(std::string_view text) {
  if (text == "enforce") return ContactAction::kEnforce;
  return text == "drop" ? ContactAction::kDrop : ContactAction::kIgnore;
}

std::vector<ScoredZone> parse_scored_zones(const std::vector<std::string>& words,
                                           const config::Values& values,
                                           config::Problems& problems) {
  std::vector<ScoredZone> zones;
  for (const auto& word : words) {
    const auto star = word.rfind('*');
    const std::string_view rest = std::string_view(word).substr(0, star);
    std::optional<std::int64_t> weight = 1;
    if (star != std::string::npos) {
      constexpr std::int64_t kMaxWeight = 1'000'000;
      weight = parse_integer<std::int64_t>(std::string_view(word).substr(star + 1), -kMaxWeight,
                                           kMaxWeight);
    }
    auto list = parse_dns_list(rest, DnsListBy::kClientAddress, false);
    if (!weight || !list) {
      problems.push_back(
          values.problem("postscreen_dnsbl_sites",
                         fmt::format("{}: {}", word, list ? "bad weight" : list.error().text)));
      continue;
    }
    auto place = std::find_if(zones.begin(), zones.end(),
                              [&](const ScoredZone& zone) { return zone.zone == list->zone; });
    if (place == zones.end()) place = zones.insert(zones.end(), {list->zone, {}});
    place->weights.push_back({*std::move(list), *weight});
  }
  return zones;
}

bool ContactSettings::is_enabled(ContactTest test) const {
  switch (test) {
    case ContactTest::kPregreet:
      return true;
    case ContactTest::kDnsLists:
      return !zones.empty();
    case ContactTest::kPipelining:
      return params.postscreen_pipelining_enable;
    case ContactTest::kNonSmtpCommand:
      return params.postscreen_non_smtp_command_enable;
    case ContactTest::kBareNewline:
      return params.postscreen_bare_newline_enable;
  }
  return false;
}

std::chrono::seconds ContactSettings::ttl(ContactTest test) const {
  switch (test) {
    case ContactTest::kPregreet:
      return params.postscreen_greet_ttl;
    case ContactTest::kDnsLists:
      return params.postscreen_dnsbl_max_ttl;
    case ContactTest::kPipelining:
      return params.postscreen_pipelining_ttl;
    case ContactTest::kNonSmtpCommand:
      return params.postscreen_non_smtp_command_ttl;
    case ContactTest::kBareNewline:
      return params.postscreen_bare_newline_ttl;
  }
  return {};
}

std::chrono::seconds ContactSettings::shortest_ttl() const {
  auto shortest = params.postscreen_dnsbl_min_ttl;
  for (std::size_t i = 0; i < kContactTests; ++i) {
    shortest = std::min(shortest, ttl(static_cast<ContactTest>(i)));
  }
  return shortest;
}

const config::Service* find_pass_service(const config::Snapshot& snapshot) {
  for (const auto& service : snapshot.services) {
    const auto program = config::find_service_program(service.program);
    if (service.type == config::ServiceType::kPass && service.program != kProgram && program &&
        program->daemon == "smtpd") {
      return &service;
    }
  }
  return nullptr;
}

namespace {

// Values that are templates are not expanded when they are read; what a default names is meant to
// take its place as it was written.
std::string with_value_of_sessions(std::string_view text, std::string_view name,
                                   const config::Values& values) {
  const std::string value = values.text(name);
  return replace_all(replace_all(text, fmt::format("${{{}}}", name), value),
                     fmt::format("${}", name), value);
}

}  // namespace

ContactSettingsPtr read_contact_settings(const config::Values& values, config::Problems& problems) {
  auto settings = std::make_shared<ContactSettings>();
  settings->params = config::load<config::PostscreenParams>(values, problems);
  const auto address = config::load<config::AddressParams>(values, problems);
  const auto cleanup = config::load<config::CleanupParams>(values, problems);
  settings->myhostname = address.myhostname;
  settings->banner = values.text("smtpd_banner");
  settings->mynetworks = address.mynetworks;
  settings->message_size_limit = static_cast<std::uint64_t>(cleanup.message_size_limit);
  settings->line_length_limit = static_cast<std::size_t>(cleanup.line_length_limit);
  settings->smtputf8_enable = cleanup.smtputf8_enable;
  settings->disable_vrfy_command = values.flag("disable_vrfy_command");
  settings->soft_bounce = values.flag("soft_bounce");
  settings->zones = parse_scored_zones(settings->params.postscreen_dnsbl_sites, values, problems);
  for (const auto& word : settings->params.postscreen_forbidden_commands) {
    const bool is_table = word.find(':') != std::string::npos;
    settings->forbidden_commands.push_back({is_table ? word : to_upper(word), is_table});
  }
  settings->values = std::make_shared<const config::Values>(values);
  settings->expansion_filter = unescape_characters(with_value_of_sessions(
      settings->params.postscreen_expansion_filter, "smtpd_expansion_filter", values));
  settings->params.postscreen_reject_footer = with_value_of_sessions(
      settings->params.postscreen_reject_footer, "smtpd_reject_footer", values);
  settings->discarded_keywords =
      parse_ehlo_keywords(settings->params.postscreen_discard_ehlo_keywords);
  std::string level = settings->params.postscreen_tls_security_level;
  if (level.empty()) {
    level = settings->params.postscreen_enforce_tls ? "encrypt"
            : settings->params.postscreen_use_tls   ? "may"
                                                    : "none";
  }
  settings->tls.is_offered = level != "none";
  settings->tls.is_demanded = level == "encrypt";
  settings->tls.timeout = settings->params.postscreen_starttls_timeout;
  settings->tls.names = values.list("tls_server_sni_maps");
  const std::string& interfaces = settings->params.postscreen_allowlist_interfaces;
  settings->is_every_interface = interfaces == "static:all";
  if (!settings->is_every_interface) {
    std::vector<std::string> faults;
    settings->allowlist_interfaces = config::Networks::parse(
        interfaces, [&](std::string_view path) { return values.file(path); }, faults);
    for (const auto& fault : faults) {
      problems.push_back(values.problem("postscreen_allowlist_interfaces", fault));
    }
  }
  // Limits that were made for Postfix's processes count where somebody has set one.
  if (values.is_set("default_process_limit") || values.is_set("postscreen_pre_queue_limit")) {
    settings->pre_queue_limit = settings->params.postscreen_pre_queue_limit;
  }
  settings->post_queue_limit = settings->params.postscreen_post_queue_limit;
  if (const auto* sessions = find_pass_service(values.snapshot())) {
    settings->session_limit = sessions->maxproc ? *sessions->maxproc
                              : values.is_set("default_process_limit")
                                  ? values.count("default_process_limit")
                                  : 0;
  }
  return settings;
}

// ---- FirstContact

void FirstContact::configure(ContactSettingsPtr settings, ContactSettingsPtr stressed) {
  settings_ = std::move(settings);
  stressed_ = std::move(stressed);
}

void FirstContact::start() { clean_timer_.arm(loop::Clock::now() + kFirstCleaning); }

void FirstContact::begin_cleaning() { loop::spawn(clean()); }

loop::Task<void> FirstContact::clean() {
  const auto& params = settings_->params;
  if (params.postscreen_cache_cleanup_interval.count() > 0) {
    clean_timer_.arm(loop::Clock::now() + params.postscreen_cache_cleanup_interval);
  }
  if (params.postscreen_cache_map.empty()) co_return;
  ipc::anvil::CleanContacts request;
  request.retention = params.postscreen_cache_retention_time.count();
  const auto cleaned = co_await anvil_.call(request, loop::Clock::now() + kAnvilTime);
  if (cleaned) {
    note("cache {} full cleanup: retained={} dropped={} entries", params.postscreen_cache_map,
         cleaned->retained, cleaned->dropped);
  }
}

loop::Task<std::optional<Admitted>> FirstContact::receive(sys::Accepted client) {
  ++in_test_;
  std::optional<Admitted> admitted;
  {
    Contact contact(*this, std::move(client));
    admitted = co_await contact.run();
  }
  --in_test_;
  co_return admitted;
}

loop::Task<bool> FirstContact::take_place(const Admitted& admitted) {
  const auto is_full = [this] {
    return settings_->session_limit > 0 && in_session_ >= settings_->session_limit;
  };
  const auto until = loop::Clock::now() + kPlaceTime;
  bool is_late = false;
  if (is_full() && waiting_ < settings_->post_queue_limit) {
    ++waiting_;
    while (is_full() && !is_late) is_late = co_await place_.wait(until) == loop::Wait::kTimeout;
    --waiting_;
  }
  if (!is_full()) {
    ++in_session_;
    co_return true;
  }
  const std::string name =
      fmt::format("[{}]:{}", admitted.client.peer.host(), admitted.client.peer.port());
  note("NOQUEUE: reject: CONNECT from {}: all server ports busy", name);
  // As much as the client takes at once.
  constexpr std::string_view kReply = "421 4.3.2 All server ports are busy\r\n";
  (void)::send(admitted.client.fd.get(), kReply.data(), kReply.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  note("DISCONNECT {}", name);
  co_return false;
}

void FirstContact::leave_place() {
  --in_session_;
  place_.notify_one();
}

// ---- Contact

Contact::Contact(FirstContact& room, sys::Accepted client)
    : room_(room),
      settings_(room.is_stress_ ? room.stressed_ : room.settings_),
      stream_(std::move(client.fd), loop::Copies::kNone),
      peer_(client.peer),
      address_(peer_.host()),
      port_(std::to_string(peer_.port())),
      splitter_(settings_->line_length_limit),
      discarded_keywords_(settings_->discarded_keywords) {
  if (const auto local = sys::local_address(stream_.fd())) {
    server_address_ = local->host();
    server_port_ = std::to_string(local->port());
  }
}

loop::Task<std::optional<Admitted>> Contact::run() {
  const auto& params = settings_->params;
  if (!co_await learn_from_proxy()) {
    co_await drop(fmt::format("421 4.3.2 {} No system resources\r\n", settings_->myhostname));
    co_return std::nullopt;
  }
  name_ = fmt::format("[{}]:{}", address_, port_);
  ip_ = config::parse_ip_address(address_);
  note("CONNECT from {} to [{}]:{}", name_, server_address_, server_port_);

  std::int64_t& same = room_.by_client_[address_];
  ++same;
  Step step = Step::kGoOn;
  if (params.postscreen_client_connection_count_limit > 0 &&
      same > params.postscreen_client_connection_count_limit) {
    note("NOQUEUE: reject: CONNECT from {}: too many connections", name_);
    co_await drop(
        fmt::format("421 4.7.0 {} Error: too many connections\r\n", settings_->myhostname));
    step = Step::kEnd;
  } else if (settings_->pre_queue_limit > 0 &&
             static_cast<std::int64_t>(room_.in_test_) > settings_->pre_queue_limit) {
    note("NOQUEUE: reject: CONNECT from {}: all screening ports busy", name_);
    co_await drop("421 4.3.2 All server ports are busy\r\n");
    step = Step::kEnd;
  }
  if (step == Step::kGoOn) step = co_await check_access();
  if (step == Step::kGoOn && !is_failed_) step = co_await check_allow_list();
  if (step == Step::kGoOn && !is_failed_) step = co_await early_tests();
  if (step == Step::kGoOn) {
    if (is_failed_ || !may_be_listed_ || has_deep_tests()) {
      co_await converse();
      save();
      step = Step::kEnd;
    } else {
      save();
      step = Step::kAdmit;
    }
  }
  const auto counted = room_.by_client_.find(address_);
  if (counted != room_.by_client_.end() && --counted->second == 0) room_.by_client_.erase(counted);
  if (step != Step::kAdmit) co_return std::nullopt;

  // The connection goes on under another number: this watch must not hear of it any more.
  stream_.watch().close();
  auto fd = sys::duplicate(stream_.fd());
  if (!fd) {
    warn("{}: {}", name_, fd.error().text);
    co_return std::nullopt;
  }
  Admitted admitted;
  admitted.client = {*std::move(fd), peer_};
  admitted.proxied = std::move(proxied_);
  co_return admitted;
}

loop::Task<bool> Contact::learn_from_proxy() {
  if (settings_->params.postscreen_upstream_proxy_protocol.empty()) co_return true;
  using State = smtpwire::ProxyHeader::State;
  const auto until = loop::Clock::now() + settings_->params.postscreen_upstream_proxy_timeout;
  smtpwire::ProxyHeader header;
  for (;;) {
    // What follows the header belongs to the pregreet test: it stays with the kernel.
    std::array<char, smtpwire::kMaxProxyHeader> buffer;
    const ssize_t count =
        ::recv(stream_.fd(), buffer.data(), buffer.size(), MSG_PEEK | MSG_DONTWAIT);
    if (count > 0) {
      header = smtpwire::parse_proxy_header({buffer.data(), static_cast<std::size_t>(count)});
      if (header.state == State::kDone) {
        // Exactly the header is taken off.
        if (::recv(stream_.fd(), buffer.data(), header.consumed, MSG_DONTWAIT) !=
            static_cast<ssize_t>(header.consumed)) {
          co_return false;
        }
        break;
      }
      if (header.state == State::kBad) {
        warn("haproxy read from {}: {}", address_, header.fault);
        co_return false;
      }
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
      warn("haproxy read from {}: lost connection", address_);
      co_return false;
    }
    stream_.watch().clear_read();
    if (co_await stream_.watch().readable(until) != loop::Wait::kReady) {
      warn("haproxy read from {}: time limit exceeded", address_);
      co_return false;
    }
  }
  if (header.is_local) co_return true;
  address_ = header.client_address;
  port_ = std::to_string(header.client_port);
  server_address_ = header.server_address;
  server_port_ = std::to_string(header.server_port);
  proxied_ = std::move(header);
  co_return true;
}

loop::Task<Contact::Access> Contact::find_access() {
  for (const auto& word : settings_->params.postscreen_access_list) {
    std::string action;
    if (word.find(':') == std::string::npos) {
      action = to_lower(word);
    } else {
      ipc::tables::Lookup question;
      question.tables.push_back(word);
      question.keys.push_back({address_, false});
      const auto found = co_await room_.neighbours_.tables.lookup(std::move(question),
                                                                  loop::Clock::now() + kTablesTime);
      if (!found) {
        warn("postscreen_access_list: {}: {}; the table is left out", word, found.error().text);
        continue;
      }
      if (!found->is_found) continue;
      action = to_lower(trim(found->value));
    }
    if (action == "permit") co_return Access::kPermit;
    if (action == "reject") co_return Access::kReject;
    if (action == "dunno") co_return Access::kDunno;
    if (action == "permit_mynetworks") {
      if (!ip_) continue;
      const auto is_ours =
          co_await is_in_networks(room_.neighbours_.tables, settings_->mynetworks, *ip_);
      if (!is_ours) warn("postscreen_access_list: {}", is_ours.error().text);
      if (is_ours.value_or(false)) co_return Access::kPermit;
      continue;
    }
    warn("postscreen_access_list: unknown command: {}", log::clean(action, 100));
  }
  co_return Access::kDunno;
}

loop::Task<Contact::Step> Contact::check_access() {
  switch (co_await find_access()) {
    case Access::kPermit:
      note("ALLOWLISTED {}", name_);
      co_return Step::kAdmit;
    case Access::kReject:
      note("DENYLISTED {}", name_);
      co_return co_await fail(parse_contact_action(settings_->params.postscreen_denylist_action),
                              "5.3.2 Service currently unavailable");
    case Access::kDunno:
      break;
  }
  co_return Step::kGoOn;
}

loop::Task<Contact::Step> Contact::check_allow_list() {
  for (std::size_t i = 0; i < kContactTests; ++i) {
    todo_[i] = settings_->is_enabled(static_cast<ContactTest>(i));
  }
  if (co_await is_on_allow_list()) {
    note("PASS OLD {}", name_);
    is_saved_ = true;
    co_return Step::kAdmit;
  }
  if (!settings_->is_every_interface) {
    const auto server = config::parse_ip_address(server_address_);
    may_be_listed_ = false;
    if (server) {
      const auto is_listed = co_await is_in_networks(room_.neighbours_.tables,
                                                     settings_->allowlist_interfaces, *server);
      if (!is_listed) warn("postscreen_allowlist_interfaces: {}", is_listed.error().text);
      may_be_listed_ = is_listed.value_or(false);
    }
    if (!may_be_listed_) {
      note("ALLOWLIST VETO {}", name_);
    }
  }
  co_return Step::kGoOn;
}

// Takes what the client has passed before off the tests that it has to pass; true where that was
// all of them.
loop::Task<bool> Contact::is_on_allow_list() {
  if (settings_->params.postscreen_cache_map.empty()) co_return false;
  ipc::anvil::FindContact question;
  question.client = address_;
  const auto known = co_await room_.anvil_.call(question, loop::Clock::now() + kAnvilTime);
  if (!known) {
    warn("temporary allow list: {}; {} is tested", known.error().text, name_);
    co_return false;
  }
  if (!known->is_known) co_return false;
  is_known_ = true;
  const std::int64_t now = wall_seconds();
  bool is_anything_left = false;
  for (std::size_t i = 0; i < std::min(kContactTests, known->passed_until.size()); ++i) {
    passed_until_[i] = known->passed_until[i];
    // New is who has never passed some test.
    if (todo_[i] && passed_until_[i] == 0) is_known_ = false;
    if (passed_until_[i] > now) todo_[i] = false;
    is_anything_left = is_anything_left || todo_[i];
  }
  co_return !is_anything_left;
}

// "550 5.7.1 text" is "450 4.7.1 text" where failures are not for good (soft_bounce).
std::string Contact::softened(std::string reply) const {
  if (!settings_->soft_bounce) return reply;
  constexpr std::size_t kStatus = 4;  // where the status begins
  reply[0] = '4';
  if (reply.size() > kStatus && reply[kStatus] == '5') reply[kStatus] = '4';
  return reply;
}

loop::Task<Contact::Step> Contact::fail(ContactAction action, std::string text) {
  switch (action) {
    case ContactAction::kIgnore:
      break;
    case ContactAction::kEnforce:
      if (!is_failed_) rcpt_text_ = softened("550 " + text);
      is_failed_ = true;
      break;
    case ContactAction::kDrop:
      co_await drop(softened("521 " + text) + "\r\n");
      co_return Step::kEnd;
  }
  co_return Step::kGoOn;
}

void Contact::pass(ContactTest test, std::int64_t until) {
  passed_until_[index_of(test)] = until;
  todo_[index_of(test)] = false;
}

bool Contact::has_deep_tests() const {
  return std::ranges::any_of(kDeepTests, [&](ContactTest test) { return is_todo(test); });
}

// A client may pass its tests one by one, in several connections, as long as it fails none.
void Contact::save() {
  if (is_failed_ || is_saved_ || !may_be_listed_) return;
  is_saved_ = true;
  if (std::ranges::none_of(todo_, std::identity())) {
    note("PASS {} {}", is_known_ ? "OLD" : "NEW", name_);
  }
  const bool has_passed = std::ranges::any_of(passed_until_, [](auto until) { return until > 0; });
  if (settings_->params.postscreen_cache_map.empty() || !has_passed) return;
  ipc::anvil::SaveContact contact;
  contact.client = address_;
  contact.passed_until.assign(passed_until_.begin(), passed_until_.end());
  room_.anvil_.notify(contact);
}

loop::Task<void> Contact::drop(std::string reply) {
  reply = co_await with_footer(std::move(reply));
  stream_.put(reply);
  (void)co_await stream_.flush(loop::Clock::now() + kSendTime);
  if (!name_.empty()) note("DISCONNECT {}", name_);
}

void Contact::log_hang_up(Phase phase) const {
  note("HANGUP after {} from {} in tests {} SMTP handshake", seconds_since(start_), name_,
       phase == Phase::kBeforeHandshake ? "before" : "after");
  note("DISCONNECT {}", name_);
}

// The first line of a greeting invites whoever does not wait for its last one.
loop::Task<Contact::Step> Contact::early_tests() {
  const auto& params = settings_->params;
  if (!is_todo(ContactTest::kPregreet) && !is_todo(ContactTest::kDnsLists)) co_return Step::kGoOn;
  if (is_todo(ContactTest::kDnsLists)) ask_dns_lists();
  if (is_todo(ContactTest::kPregreet) && !params.postscreen_greet_banner.empty()) {
    stream_.put(fmt::format("220-{}\r\n", params.postscreen_greet_banner));
    if (co_await stream_.flush(loop::Clock::now() + kSendTime) != loop::Io::kOk) {
      log_hang_up(Phase::kBeforeHandshake);
      co_return Step::kEnd;
    }
  }
  start_ = loop::Clock::now();
  const auto until = start_ + params.postscreen_greet_wait;
  while (!has_pregreeted_) {
    std::array<char, 1024> buffer;
    const ssize_t count =
        ::recv(stream_.fd(), buffer.data(), buffer.size(), MSG_PEEK | MSG_DONTWAIT);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) {
      log_hang_up(Phase::kBeforeHandshake);
      co_return Step::kEnd;
    }
    if (count > 0 && is_todo(ContactTest::kPregreet)) {
      has_pregreeted_ = true;
      note("PREGREET {} after {} from {}: {}", count, seconds_since(start_), name_,
           escape_text({buffer.data(), static_cast<std::size_t>(count)}, kPregreetShown));
      if (co_await fail(parse_contact_action(params.postscreen_greet_action),
                        "5.5.1 Protocol error") == Step::kEnd) {
        co_return Step::kEnd;
      }
      break;
    }
    // What was only looked at is still there: nothing will tell of it again.
    if (count > 0) break;
    stream_.watch().clear_read();
    if (co_await stream_.watch().readable(until) != loop::Wait::kReady) break;
  }
  if (!has_pregreeted_ && is_todo(ContactTest::kPregreet)) {
    pass(ContactTest::kPregreet, wall_seconds() + settings_->ttl(ContactTest::kPregreet).count());
  }
  if (is_todo(ContactTest::kDnsLists)) co_return co_await judge_score();
  co_return Step::kGoOn;
}

void Contact::ask_dns_lists() {
  score_ = std::make_shared<Score>();
  const auto address = dns::parse_address(address_);
  if (!address) return;
  const auto until = loop::Clock::now() + settings_->params.postscreen_dnsbl_timeout;
  for (const ScoredZone& zone : settings_->zones) {
    ++score_->under_way;
    loop::spawn(ask(room_.neighbours_.resolver, settings_, zone, address_,
                    fmt::format("{}.{}", dns::reverse_labels(*address), zone.zone), until, score_));
  }
}

loop::Task<void> Contact::ask(ipc::Client& resolver, [[maybe_unused]] ContactSettingsPtr settings,
                              const ScoredZone& zone, std::string client, std::string name,
                              loop::Deadline until, std::shared_ptr<Score> score) {
  ipc::resolver::Query question;
  question.name = std::move(name);
  question.type = "A";
  const auto answer = co_await resolver.call(std::move(question), until);
  if (answer && answer->status == ipc::resolver::Status::kFound) {
    for (const auto& record : answer->records) {
      const log::ActingAs acting("dnsblog");
      log::info("addr {} listed by domain {} as {}", client, zone.zone, log::clean(record.data));
    }
    for (const auto& [list, weight] : zone.weights) {
      const bool is_listed =
          std::any_of(answer->records.begin(), answer->records.end(), [&](const auto& record) {
            return judge_dns_list_answer(list, record.data) == DnsListAnswer::kListed;
          });
      if (!is_listed) continue;
      score->rank += weight;
      if (weight > score->heaviest) {
        score->heaviest = weight;
        score->zone = zone.zone;
      }
    }
    for (const auto& record : answer->records) {
      score->ttl = score->ttl < 0 ? record.ttl : std::min(score->ttl, record.ttl);
    }
  }
  --score->under_way;
  score->arrived.notify_all();
}

loop::Task<Contact::Step> Contact::judge_score() {
  const auto& params = settings_->params;
  const auto until = start_ + params.postscreen_greet_wait;
  while (score_->under_way > 0) {
    if (co_await score_->arrived.wait(until) != loop::Wait::kReady) break;
  }
  const std::int64_t rank = score_->rank;
  if (rank >= params.postscreen_dnsbl_threshold) {
    note("DNSBL rank {} for {}", rank, name_);
    const std::string zone = co_await shown_zone(score_->zone);
    co_return co_await fail(
        parse_contact_action(params.postscreen_dnsbl_action),
        fmt::format("5.7.1 Service unavailable; client [{}] blocked using {}", address_, zone));
  }
  const auto now = wall_seconds();
  const std::int64_t longest = params.postscreen_dnsbl_max_ttl.count();
  const std::int64_t ttl =
      score_->ttl < 0
          ? longest
          : std::clamp(score_->ttl, std::min(params.postscreen_dnsbl_min_ttl.count(), longest),
                       longest);
  pass(ContactTest::kDnsLists, now + ttl);
  // Somebody vouches for the client: the other tests are spared it.
  if (params.postscreen_dnsbl_allowlist_threshold < 0 &&
      rank <= params.postscreen_dnsbl_allowlist_threshold && !has_pregreeted_) {
    for (std::size_t i = 0; i < kContactTests; ++i) {
      if (todo_[i]) pass(static_cast<ContactTest>(i), now + ttl);
    }
  }
  co_return Step::kGoOn;
}

// Zones with a password in them are shown under another name (postscreen_dnsbl_reply_map).
loop::Task<std::string> Contact::shown_zone(std::string zone) {
  const auto& maps = settings_->params.postscreen_dnsbl_reply_map;
  if (maps.empty()) co_return zone;
  ipc::tables::Lookup question;
  question.tables = maps;
  question.keys.push_back({zone, false});
  const auto found = co_await room_.neighbours_.tables.lookup(std::move(question),
                                                              loop::Clock::now() + kTablesTime);
  if (!found) {
    warn("postscreen_dnsbl_reply_map: {}", found.error().text);
    co_return std::string("a DNS block list");
  }
  co_return found->is_found ? found->value : zone;
}

}  // namespace postern::smtpd
