// jobs.h - what the front of the auth daemon has its workers do, one packet each way.

#pragma once

#include <string>
#include <vector>

#include "common/ipc/auth.h"
#include "common/ipc/message.h"

namespace postern::auth {

enum class JobKind : std::uint8_t {
  kListMechanisms = 1,  // Cyrus
  kBegin = 2,           // Cyrus: a login begins, known as `login` from then on
  kContinue = 3,        // Cyrus
  kCancel = 4,          // Cyrus
  kCheckPassword = 5,   // `password` against `entry`
  kMakeScram = 6,       // what SCRAM needs of a {PLAIN} `entry`
  kAskPam = 7,
  kFindToken = 8,  // in the file `path`, by the command `entry`
};

struct Job {
  JobKind kind = JobKind::kListMechanisms;
  // of the profile
  std::string path;
  std::string config_path;
  std::string settings;  // the text of the library's file
  std::string service;
  std::string local_domain;
  std::string hostname;
  std::uint64_t login = 0;
  ipc::auth::Begin begin;  // kBegin
  std::string response;    // kContinue
  std::string username;    // kAskPam
  std::string password;
  std::string entry;
  bool is_refused = false;  // kFindToken
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
    field("path", self.path);
    field("config_path", self.config_path);
    field("service", self.service);
    field("local_domain", self.local_domain);
    field("hostname", self.hostname);
    field("login", self.login);
    field("begin", self.begin);
    field("response", self.response);
    field("username", self.username);
    field("password", self.password);
    field("entry", self.entry);
    field("is_refused", self.is_refused);
    field("settings", self.settings);
  }
};

struct JobReply {
  ipc::auth::StepKind kind = ipc::auth::StepKind::kTemporary;
  std::string text;
  std::optional<std::string> username;
  std::vector<std::string> mechanisms;
  std::vector<std::string> warnings;  // for the log
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("kind", self.kind);
    field("text", self.text);
    field("username", self.username);
    field("mechanisms", self.mechanisms);
    field("warnings", self.warnings);
  }
};

// After so long a worker that is stuck in a library ends itself; the front has given it up shortly
// before.
inline constexpr std::chrono::seconds kJobTime{60};
inline constexpr std::chrono::seconds kWorkerPatience{70};
// Logins that are open at once in one worker.
inline constexpr std::size_t kMaxLoginsPerWorker = 200;
// Of the library's file: a job is one packet.
inline constexpr std::size_t kMaxSettings = std::size_t{24} << 10;

}  // namespace postern::auth
