// delivery.h - delivers to the users of this machine: aliases, .forward, mailboxes.
//
// main decides and has no rights; files are opened and written by deliverers that are the
// recipient. A recipient is expanded into a list of things to do, worked off one by one:
//
//     local part -> alias -> addresses of this machine (here), others (forwarded), files, lists
//                -> user  -> .forward, or the mailbox
//
// Forwarded are, as a new message through cleanup: addresses of other machines, and all addresses
// of lists with an owner, of :include: files and of .forward. The recipient as a whole is deferred
// if any part of it is, and then nothing is forwarded: the next attempt would do it again.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/agent/deliverers.h"
#include "common/agent/delivery.h"
#include "common/agent/mailbox_job.h"
#include "common/config/values.h"
#include "common/ipc/cleanup_client.h"
#include "common/ipc/tables_client.h"
#include "common/loop/named_locks.h"
#include "common/sys/privilege.h"
#include "local/order.h"
#include "local/users.h"

namespace postern::local {

// Whether a list of main.cf has the word.
[[nodiscard]] bool has_word(const std::vector<std::string>& words, std::string_view word);

struct Settings {
  std::string service{};  // the transport that resolves to us
  std::string myhostname{};
  std::vector<std::string> alias_maps{};
  std::string recipient_delimiter{};
  bool owner_request_special = true;
  bool expand_owner_alias = false;
  bool adds_original_to = true;  // enable_original_recipient
  bool frozen_delivered_to = true;
  bool require_home_directory = false;
  bool biff = true;
  std::string home_mailbox{};
  std::string mail_spool_directory{};
  std::vector<std::string> forward_path{};  // one element each, not expanded
  std::string forward_expansion_filter{};
  // propagate_unmatched_extensions
  bool propagates_from_alias = false;
  bool propagates_from_forward = false;
  bool propagates_from_include = false;
  bool adds_delivered_to_file = true;  // prepend_delivered_header
  bool adds_delivered_to_forward = true;
  bool adds_delivered_to_command = true;
  std::vector<std::string> allow_mail_to_commands{};
  std::vector<std::string> allow_mail_to_files{};
  agent::MailboxSettings mailbox{};
  // Commands.
  std::string mailbox_command{};
  std::vector<std::string> mailbox_command_maps{};
  std::string local_command_shell{};
  std::string command_execution_directory{};  // not expanded
  std::string execution_directory_expansion_filter{};
  std::string command_expansion_filter{};
  std::chrono::seconds time_limit{1000};
  std::vector<std::string> environment{};  // export_environment, as NAME=value
  std::string queue_directory{};
  // Other agents.
  std::string mailbox_transport{};
  std::vector<std::string> mailbox_transport_maps{};
  std::string fallback_transport{};
  std::vector<std::string> fallback_transport_maps{};
  std::string luser_relay{};  // not expanded
};
[[nodiscard]] Settings load_settings(const config::Values& values, std::string service);

// The place of a user's mailbox: below home, or in the spool.
struct MailboxPlace {
  std::string path{};
  bool is_spool = false;
};
[[nodiscard]] MailboxPlace mailbox_place(const Settings& settings, const User& user);

// One element of forward_path with its values, or empty where it does not apply: it speaks of an
// extension and there is none.
[[nodiscard]] std::string expand_forward_path(const Settings& settings, std::string_view element,
                                              const User& user, std::string_view local_part,
                                              std::string_view domain, std::string_view extension);

class Expansion;

class Agent {
 public:
  // `fallback` is default_privs.
  Agent(const config::Values& values, std::string service, sys::Account fallback, sys::Fd broker);
  void configure(const config::Values& values);
  [[nodiscard]] loop::Task<void> deliver(std::shared_ptr<agent::Delivery> delivery);

 private:
  friend class Expansion;
  std::string service_;
  sys::Account fallback_;
  // Deliveries under way keep the settings that they began with.
  std::shared_ptr<const Settings> settings_;
  loop::WorkerPool pool_;
  Users users_;
  ipc::TablesClient tables_;
  ipc::CleanupClient cleanup_;
  agent::Deliverers deliverers_;
  // Users whose spool file is being written, or made for the first.
  loop::NamedLocks spools_;
  Order order_;
};

}  // namespace postern::local
