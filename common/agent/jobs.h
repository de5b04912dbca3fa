// jobs.h - what passes between an agent's main process, its broker and the deliverers.
//
// All three sockets are SOCK_SEQPACKET pairs: one packet is one record, so there is no framing to
// get wrong. Who trusts whom: main is unprivileged and parses what comes from outside; broker is
// root, believes nothing that main says and reads nothing else; a deliverer has the recipient's
// rights and may be fooled by the recipient, but then only into what the recipient could do.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/ipc/message.h"

namespace postern::agent {

// ---- main to broker ----

enum class BrokerAction : std::uint8_t {
  kSpawn = 1,        // a deliverer with these rights; its socket comes back
  kMakeMailbox = 2,  // an empty mbox for `user` in mail_spool_directory
  // The .forward file of that name in the home of `user`, who is root: it comes back open for
  // reading, or nothing when there is none.
  kOpenRootForward = 3,
};

struct BrokerRequest {
  BrokerAction action = BrokerAction::kSpawn;
  std::int64_t uid = 0;
  std::int64_t gid = 0;
  std::string user;  // from passwd; empty: rights without a user (virtual, owner of a file)
  std::string file;  // kOpenRootForward: ".forward", or that with more behind it
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("action", self.action);
    field("uid", self.uid);
    field("gid", self.gid);
    field("user", self.user);
    field("file", self.file);
  }
};

struct BrokerReply {
  bool is_done = false;  // one of the two is set: an empty packet would look like the end
  std::string error;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("is_done", self.is_done);
    field("error", self.error);
  }
};

// ---- main to deliverer ----

enum class JobKind : std::uint8_t {
  kMaildir = 1,
  kMbox = 2,
  kOpen = 3,  // a file for reading: .forward, :include:
  kCommand = 4,
};

// A message to be delivered (its descriptor comes along), or a file to be opened.
struct Job {
  std::int64_t id = 0;  // of the answer
  JobKind kind = JobKind::kMaildir;
  std::string path;
  // Of the queue file.
  std::string prepended;
  std::int64_t header_offset = 0;
  std::int64_t header_length = 0;
  std::int64_t body_offset = 0;
  std::int64_t body_length = 0;
  std::string host;
  std::string sender;
  std::int64_t limit = 0;
  bool has_owner = false;  // the file must belong to who delivers
  bool allow_device = false;
  bool open_failures_defer = false;
  bool must_exist = false;  // a missing mbox is told, not made
  bool use_dotlock = false;
  bool use_fcntl = false;
  bool use_flock = false;
  std::int64_t lock_attempts = 0;
  std::chrono::milliseconds lock_delay{};
  std::chrono::seconds stale_after{};
  std::string failure_prefix;
  std::string success_text;
  std::string biff_user;  // who is told of the new message in this mbox, or empty
  // Of a command (command.h).
  std::vector<std::string> arguments;
  std::string line;
  std::string shell;
  std::vector<std::string> environment;
  std::string directory;
  bool must_have_directory = false;
  std::chrono::seconds time_limit{};
  std::string eol;
  bool quote_from = false;
  bool stuff_dots = false;
  bool end_blank = false;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("id", self.id);
    field("kind", self.kind);
    field("path", self.path);
    field("prepended", self.prepended);
    field("header_offset", self.header_offset);
    field("header_length", self.header_length);
    field("body_offset", self.body_offset);
    field("body_length", self.body_length);
    field("host", self.host);
    field("sender", self.sender);
    field("limit", self.limit);
    field("has_owner", self.has_owner);
    field("allow_device", self.allow_device);
    field("open_failures_defer", self.open_failures_defer);
    field("must_exist", self.must_exist);
    field("use_dotlock", self.use_dotlock);
    field("use_fcntl", self.use_fcntl);
    field("use_flock", self.use_flock);
    field("lock_attempts", self.lock_attempts);
    field("lock_delay", self.lock_delay);
    field("stale_after", self.stale_after);
    field("failure_prefix", self.failure_prefix);
    field("success_text", self.success_text);
    field("arguments", self.arguments);
    field("line", self.line);
    field("shell", self.shell);
    field("environment", self.environment);
    field("directory", self.directory);
    field("must_have_directory", self.must_have_directory);
    field("time_limit", self.time_limit);
    field("eol", self.eol);
    field("quote_from", self.quote_from);
    field("stuff_dots", self.stuff_dots);
    field("end_blank", self.end_blank);
    field("biff_user", self.biff_user);
  }
};

// What travels to a deliverer at once. Only deliveries to Maildirs come several in a packet: they
// are flushed together.
struct JobPacket {
  std::vector<std::string> jobs;  // each a Job
  // For each the number of its message among the packet's descriptors, from 1; 0 if it has none.
  std::vector<std::int64_t> messages;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("jobs", self.jobs);
    field("messages", self.messages);
  }
};

enum class JobOutcome : std::uint8_t { kDelivered = 1, kDeferred = 2, kBounced = 3, kMissing = 4 };

struct JobReply {
  std::int64_t id = 0;
  JobOutcome outcome = JobOutcome::kDeferred;
  std::string status;
  std::string text;
  std::string warning;     // for the administrator
  std::string diagnostic;  // of a command
  std::string output;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("id", self.id);
    field("outcome", self.outcome);
    field("status", self.status);
    field("text", self.text);
    field("warning", self.warning);
    field("diagnostic", self.diagnostic);
    field("output", self.output);
  }
};

// What comes back at once; the descriptor of an opened file comes with its reply alone.
struct JobReplies {
  std::vector<JobReply> replies;
  template <typename Self, typename Fields>
  static void fields(Self& self, Fields& field) {
    field("replies", self.replies);
  }
};

}  // namespace postern::agent
