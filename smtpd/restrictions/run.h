// run.h - runs restriction lists for one command of a session.
//
//     client_checks.cpp     by address and name of the client, its login and certificate
//     helo_checks.cpp       by what the client calls itself
//     address_checks.cpp    by sender and recipient
//     access_table.cpp      check_*_access: which keys, what the actions mean
//     dns_checks.cpp        whether a domain is there, which hosts it names
//     dns_lists.cpp         DNS block and allow lists
//     policy_service.cpp    policy delegation
//     verification.cpp      reject_unverified_*
//     greylist.cpp          smtpd_greylist
//     spf_checks.cpp        reject_spf_*
//
// A list ends with the first restriction that permits or refuses. Whatever cannot be decided
// because a table or a neighbour fails is a temporary refusal, never a permit.

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/ipc/mailauth.h"
#include "common/ipc/resolver.h"
#include "common/ipc/tables.h"
#include "common/loop/task.h"
#include "common/mail/reply.h"
#include "common/policy/list.h"
#include "smtpd/restrictions/state.h"

namespace postern::smtpd {

using namespace policy;

class Session;

struct Verdict {
  enum class Kind : unsigned char { kDunno, kPermit, kRefuse };
  Kind kind = Kind::kDunno;
  mail::Reply reply{};

  [[nodiscard]] static Verdict dunno() { return {}; }
  [[nodiscard]] static Verdict permit() { return {Kind::kPermit, {}}; }
  [[nodiscard]] static Verdict refuse(mail::Reply reply) {
    return {Kind::kRefuse, std::move(reply)};
  }
};

class RestrictionRun {
 public:
  RestrictionRun(Session& session, Stage stage);

  // The refusal, if there is one.
  [[nodiscard]] loop::Task<std::optional<mail::Reply>> run();

 private:
  // What a reply speaks of.
  struct Subject {
    std::string name;        // "a@b", "helo", "host[ip]"; without class_name it is not shown
    std::string class_name;  // "Recipient address", "Helo command", "Client host"
    AccessBy by = AccessBy::kClient;
  };
  // One name with its addresses, as DNS has them.
  struct NamedHost {
    std::string name;
    std::vector<std::string> addresses;
  };
  struct Prefetched;

  // ---- run.cpp
  struct Step {
    const RestrictionList* list;
    Stage stage;
  };
  [[nodiscard]] std::vector<Step> steps() const;
  [[nodiscard]] std::optional<Deferral> earlier_deferral();
  void keep_deferral();
  void explain(const Restriction& restriction, const Verdict& verdict, unsigned depth) const;
  loop::Task<Verdict> run_list(const RestrictionList& list, Stage stage, unsigned depth);
  loop::Task<Verdict> apply(const Restriction& restriction, Stage stage, unsigned depth);
  [[nodiscard]] Subject subject_of(Stage stage) const;
  [[nodiscard]] Subject subject_of(AccessBy by) const;
  [[nodiscard]] RestrictionState& state();
  // The recipient in question, or of a message that has one only.
  [[nodiscard]] const std::string& recipient() const;
  [[nodiscard]] bool has_recipient() const { return !recipient().empty(); }
  [[nodiscard]] std::string_view where() const;
  // What a list did other than refuse: "hold", "warn", "reject_warning", ...
  void log_line(std::string_view action, std::string_view text) const;
  [[nodiscard]] Verdict permit(std::string_view action, const Subject& subject,
                               std::string_view from = {}) const;
  [[nodiscard]] Verdict refuse(int code, std::string_view status, const Subject& subject,
                               std::string_view text);
  // A temporary failure where the restriction might have refused: deferred in the end unless
  // refused for another reason, or refused at once where `action` is "defer".
  [[nodiscard]] Verdict defer_if_permit(std::string_view action, int code, std::string_view status,
                                        const Subject& subject, std::string_view text);
  void defer_if_reject(int code, std::string_view status, const Subject& subject,
                       std::string_view text);
  // 451 4.3.5, with one log line that says where to look.
  [[nodiscard]] Verdict config_error(std::string_view why);
  // An access table that cannot be read.
  [[nodiscard]] Verdict table_error(const Restriction& restriction, std::string_view why,
                                    const Subject& who);
  [[nodiscard]] static std::string text_of(const Subject& subject, std::string_view text);
  [[nodiscard]] bool is_warning_only() const { return warn_depth_ != 0; }

  // ---- client_checks.cpp
  [[nodiscard]] Verdict apply_client_check(const Restriction& restriction, Stage list);
  [[nodiscard]] Verdict reject_unknown_client();
  [[nodiscard]] Verdict reject_unknown_reverse_client();
  [[nodiscard]] loop::Task<Verdict> permit_tls(const Restriction& restriction);
  // ---- helo_checks.cpp
  [[nodiscard]] Verdict reject_invalid_helo();
  [[nodiscard]] Verdict reject_non_fqdn_helo();
  [[nodiscard]] loop::Task<Verdict> reject_unknown_helo();
  // ---- address_checks.cpp
  [[nodiscard]] loop::Task<Verdict> destination(const Restriction& restriction);
  [[nodiscard]] loop::Task<Verdict> permit_mx_backup(const Restriction& restriction);
  [[nodiscard]] Verdict reject_non_fqdn(const std::string& address, const Subject& subject);
  [[nodiscard]] loop::Task<Verdict> reject_unknown_domain(std::string address, Subject subject);
  [[nodiscard]] loop::Task<Verdict> reject_unlisted_recipient();
  [[nodiscard]] loop::Task<Verdict> reject_unlisted_sender();
  [[nodiscard]] Verdict reject_multi_recipient_bounce(const Subject& about);
  [[nodiscard]] loop::Task<Verdict> sender_login(const Restriction& restriction);
  [[nodiscard]] loop::Task<Result<ipc::tables::Resolved>> resolve(std::string address);
  [[nodiscard]] std::vector<ipc::tables::Key> login_keys(const ipc::tables::Resolved& sender) const;
  [[nodiscard]] Verdict refuse_by_route(const ipc::tables::Resolved& resolved,
                                        const Subject& about);
  [[nodiscard]] Verdict unlisted(const ipc::tables::Resolved& resolved, const Subject& subject);
  // ---- access_table.cpp
  [[nodiscard]] loop::Task<Verdict> check_access(const Restriction& restriction, Stage list,
                                                 unsigned depth);
  [[nodiscard]] loop::Task<Verdict> check_host_access(const Restriction& restriction, Stage list,
                                                      unsigned depth);
  [[nodiscard]] bool has_subject(AccessBy by) const;
  [[nodiscard]] std::vector<ipc::tables::Key> access_keys(AccessBy by) const;
  [[nodiscard]] std::vector<ipc::tables::Key> access_keys(const Restriction& restriction) const;
  void add_domain_keys(std::vector<ipc::tables::Key>& keys, std::string_view domain) const;
  static void add_address_keys(std::vector<ipc::tables::Key>& keys, std::string address);
  [[nodiscard]] loop::Task<Result<ipc::tables::Found>> find_access(const Restriction& restriction);
  void prefetch_access();
  // What stays the same for all recipients; nothing for what does not.
  [[nodiscard]] const std::string* lasting_subject(AccessBy by) const;
  [[nodiscard]] bool is_known_absent(const Restriction& restriction);
  void keep_absent(const Restriction& restriction);
  [[nodiscard]] loop::Task<Verdict> act(std::string action, std::string source, std::string key,
                                        Subject who, Stage list, unsigned depth, int defer_code);
  [[nodiscard]] std::optional<Verdict> act_on_message(std::string_view word, std::string_view text,
                                                      const std::string& source,
                                                      const std::string& key, const Subject& who);
  // ---- dns_checks.cpp
  [[nodiscard]] loop::Task<ipc::resolver::Answer> query(std::string name, std::string type);
  [[nodiscard]] loop::Task<DomainState> find_domain(std::string domain);
  [[nodiscard]] loop::Task<std::vector<NamedHost>> find_hosts(std::string domain, AccessVia via,
                                                              Subject subject);
  // ---- dns_lists.cpp
  [[nodiscard]] loop::Task<Verdict> check_dns_list(const Restriction& restriction);
  [[nodiscard]] std::string dns_list_name(const DnsList& list) const;
  void prefetch_dns_lists();
  void ask_dns_list(const Restriction& restriction);
  [[nodiscard]] std::string dns_list_reply(const DnsList& list, const DnsListResult& result,
                                           std::string_view text_template) const;
  // ---- policy_service.cpp
  [[nodiscard]] loop::Task<Verdict> check_policy_service(const Restriction& restriction, Stage list,
                                                         unsigned depth);
  [[nodiscard]] std::string policy_request(const PolicySettings& policy);
  // ---- verification.cpp
  [[nodiscard]] loop::Task<Verdict> reject_unverified(std::string address, Subject subject,
                                                      bool is_sender);
  // ---- greylist.cpp
  [[nodiscard]] loop::Task<Verdict> greylist();
  // ---- spf_checks.cpp
  [[nodiscard]] loop::Task<SpfResult> find_spf(ipc::mailauth::Identity identity);
  [[nodiscard]] loop::Task<Verdict> check_spf(Check check, Subject about);
  // BATV: bounces to addresses that have sent nothing.
  [[nodiscard]] bool is_in_tagged_domain() const;
  [[nodiscard]] loop::Task<Verdict> reject_untagged_bounce();
  // A recipient that SRS has made: known as long as its hash is good.
  [[nodiscard]] bool is_rewritten_sender() const;
  [[nodiscard]] loop::Task<Verdict> check_rewritten_sender(Subject about);

  Session& session_;
  Stage stage_;
  std::string only_recipient_;
  unsigned warn_depth_ = 0;  // the depth at which warn_if_reject stands in front
  std::optional<Deferral> defer_if_permit_;
  std::optional<Deferral> defer_if_reject_;
  bool recipient_checked_ = false;  // whether somebody is there
  bool sender_checked_ = false;
  const Restriction* current_ = nullptr;
  const Restriction* place_ = nullptr;       // the latest that main.cf names
  const Subject* nested_subject_ = nullptr;  // of the access table whose entry is a list
  std::vector<Step> steps_;
  std::size_t step_ = 0;
  std::shared_ptr<Prefetched> prefetched_;
};

// The status code of an access table's text, made to fit what it is said of: "5.1.1 no such user"
// about a sender is 5.1.7 (RFC 3463 3.2).
[[nodiscard]] mail::Status fit_status(mail::Status status, AccessBy by, bool is_address);

}  // namespace postern::smtpd
