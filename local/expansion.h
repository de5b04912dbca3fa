// expansion.h - one recipient and everything that is delivered because of it.

#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "local/command.h"
#include "local/delivery.h"
#include "local/destinations.h"
#include "local/list_owner.h"

namespace postern::local {

// The relay in log lines of what this agent has delivered itself.
inline constexpr std::string_view kRelay = "local";

class Expansion {
 public:
  Expansion(Agent& agent, agent::Delivery& delivery, const queuefile::Message& message,
            std::size_t recipient, Order::Place& place);

  // Delivers, logs and records.
  [[nodiscard]] loop::Task<void> run();

 private:
  enum class Source : unsigned char { kRecipient, kAlias, kInclude, kForward };

  // How a thing to do came about.
  struct Origin {
    Source source = Source::kRecipient;
    std::string address{};               // what is logged: the address that is expanded
    agent::Identity rights{};            // whose files these are
    std::optional<std::string> owner{};  // the sender from here on
    std::vector<std::string> names{};    // of the aliases on the way here: loops
    std::optional<User> user{};          // whose .forward this is
    std::optional<User> list_user{};     // whose :include: file this is, where that counts
    std::string extension{};             // propagate_unmatched_extensions: for what is named here
    bool is_luser = false;               // luser_relay has been here
    std::string delivered_to{};          // of Delivered-To:, quoted
  };
  // Where an address goes, as soon as the tables have said it.
  using Answer = std::optional<Result<ipc::tables::Resolved>>;
  struct Task {
    Destination destination{};
    std::shared_ptr<const Origin> origin{};
    bool is_resolved = false;  // kAddress: the text is an address of ours
    std::shared_ptr<Answer> answer{};
  };
  struct Forward {
    std::string sender{};
    bool has_owner = false;
    std::string logged_as{};  // the address that was expanded
    std::string delivered_to{};
    std::vector<std::string> addresses{};
  };

  [[nodiscard]] loop::Task<void> work(Task task);
  [[nodiscard]] loop::Task<void> deliver_address(Task task);
  static loop::Task<void> ask(ipc::TablesClient& tables, ipc::tables::Resolve question,
                              std::shared_ptr<Answer> answer,
                              std::shared_ptr<loop::Condition> answered);
  void ask_ahead(Task& first);
  [[nodiscard]] loop::Task<void> deliver_local(std::string address,
                                               std::shared_ptr<const Origin> origin);
  // False: no such alias.
  [[nodiscard]] loop::Task<bool> deliver_alias(const std::string& name, const std::string& address,
                                               std::shared_ptr<const Origin> origin);
  // owner-NAME's own address, or with expand_owner_alias what stands behind it. Nothing: reported.
  [[nodiscard]] loop::Task<std::optional<std::string>> sender_of_list(std::string name,
                                                                      std::string value,
                                                                      std::string address);
  // require_home_directory. False: reported.
  [[nodiscard]] loop::Task<bool> has_home(const User& user, const std::string& address);
  [[nodiscard]] loop::Task<void> deliver_user(const std::string& local_part,
                                              const std::string& address,
                                              std::shared_ptr<const Origin> origin);
  [[nodiscard]] loop::Task<bool> deliver_forward_file(const User& user,
                                                      const std::string& local_part,
                                                      const std::string& address,
                                                      std::shared_ptr<const Origin> origin);
  // Opened with the user's rights, but for root's own, which the broker gives.
  [[nodiscard]] loop::Task<Result<agent::JobReply>> open_forward_file(const User& user,
                                                                      const std::string& path,
                                                                      sys::Fd& file);
  // The mailbox of a user, or what stands in its place.
  [[nodiscard]] loop::Task<void> deliver_mailbox(const User& user, const std::string& address,
                                                 std::shared_ptr<const Origin> origin);
  [[nodiscard]] loop::Task<void> deliver_unknown(const std::string& local_part,
                                                 const std::string& address,
                                                 std::shared_ptr<const Origin> origin);
  // The value for this user name, else `otherwise`; an error was reported for `address`.
  [[nodiscard]] loop::Task<std::optional<std::string>> setting_for(
      std::string_view parameter, const std::vector<std::string>& maps,
      const std::string& otherwise, const std::string& name, const std::string& address);
  // Another agent delivers: at the end, when no part of the recipient waits.
  void pass_to(std::string transport, const std::string& address, const Origin& origin);
  [[nodiscard]] loop::Task<void> run_command(std::string line, const std::string& address,
                                             const Origin& origin, const User* user);
  [[nodiscard]] CommandContext context_of(const std::string& address, const Origin& origin,
                                          const User* user) const;
  [[nodiscard]] loop::Task<void> deliver_file(Task task);
  [[nodiscard]] loop::Task<void> deliver_include(Task task);
  [[nodiscard]] loop::Task<void> deliver_command(Task task);
  void forward(const std::string& address, const Origin& origin);
  [[nodiscard]] loop::Task<void> send_forwards();
  [[nodiscard]] loop::Task<Result<std::string>> submit(const Forward& forward);

  // The header lines of a mailbox or file delivery.
  [[nodiscard]] std::string prepended(const Origin& origin) const;
  [[nodiscard]] std::string sender_of(const Origin& origin) const;
  [[nodiscard]] agent::Identity identity_of(const User& user) const;
  void add(const std::vector<Destination>& destinations, std::shared_ptr<const Origin> origin);
  [[nodiscard]] std::string with_extension(const std::string& address, const Origin& origin) const;
  // Whose rights an :include: file of a list of root's brings along. False: reported.
  [[nodiscard]] loop::Task<bool> take_rights(const std::string& path, Origin& next,
                                             std::optional<ListOwner>& list);
  // What X-Original-To says; empty: there is none.
  [[nodiscard]] std::string shown_orig_to(const Origin& origin) const;
  // Of an address, for verify(8): what is behind an alias or .forward counts for nothing.
  [[nodiscard]] bool is_verification() const;
  // A dry run (sendmail -bv): what would be done is all that is done. True: said.
  [[nodiscard]] bool is_dry(const std::string& address, std::string text, const Origin& origin);
  // What allow_mail_to_commands or _files does not allow; the list's owner hears of it.
  void refuse(const Origin& origin, std::string text);
  void refuse_include(const Origin& origin, std::string warning);
  // The recipient as a whole, its parts, and the note for who wants to hear of success.
  void report();
  // Logs and remembers what has become of one part.
  void finish(const std::string& address, const agent::Verdict& verdict);
  // Logs what has been finished, and keeps the worst of it for the recipient as a whole.
  loop::Task<void> settle();
  // The same for what was delivered here, and not passed on.
  void finish_final(const std::string& address, agent::Verdict verdict);
  void finish(const std::string& address, std::string_view status, std::string text);

  Agent& agent_;
  Order::Place& place_;
  std::shared_ptr<const Settings> settings_;
  agent::Delivery& delivery_;
  const queuefile::Message& message_;
  std::size_t index_;
  const ipc::agent::Recipient& recipient_;
  std::string delivered_to_;  // external form
  std::string domain_;

  std::deque<Task> tasks_;
  // Some of the answers have come; who asks may live longer than this.
  std::shared_ptr<loop::Condition> answered_ = std::make_shared<loop::Condition>();
  std::size_t done_tasks_ = 0;
  std::set<std::string, std::less<>> done_;  // mailboxes, files and addresses: each once
  std::map<std::pair<std::string, std::string>, Forward> forwards_;
  std::optional<std::pair<std::string, std::string>> passed_{};     // transport:nexthop, address
  std::vector<std::pair<std::string, agent::Verdict>> finished_{};  // for settle()
  std::optional<ipc::agent::Outcome> outcome_{};
  agent::Verdict verdict_{};
  // What each part came to; no more of them than a report would list.
  struct Part {
    ipc::agent::Outcome outcome{};
    agent::Verdict verdict{};
  };
  std::vector<Part> parts_{};
  bool is_expanded_ = false;  // by an alias or .forward: no success of a part is the recipient's
  bool is_list_ = false;      // by an alias with an owner: its success is the recipient's
};

}  // namespace postern::local
