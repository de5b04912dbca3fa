// run.h - runs restriction lists for one command of a session.
//
//     client_checks.cpp     by address and name of the client
//     helo_checks.cpp       by what the client calls itself
//     address_checks.cpp    by sender and recipient
//     access_table.cpp      check_*_access: which keys, what the actions mean
//
// A list ends with the first restriction that permits or refuses. Whatever cannot be decided
// because a table or a neighbour fails is a temporary refusal, never a permit.

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/ipc/tables.h"
#include "common/loop/task.h"
#include "common/mail/reply.h"
#include "smtpd/restrictions/list.h"

namespace postern::smtpd {

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
  // What a restriction speaks of, by the list that it stands in.
  struct Subject {
    Stage stage;
    std::string name;        // "<a@b>", "<helo>", "<host[ip]>"
    std::string class_name;  // "Recipient address", "Helo command", "Client host"
  };

  loop::Task<Verdict> run_list(const RestrictionList& list, Stage stage, unsigned depth);
  loop::Task<Verdict> apply(const Restriction& restriction, Stage stage, unsigned depth);
  [[nodiscard]] Subject subject(Stage stage) const;
  // What a list did other than refuse: "hold", "warn", "reject_warning", ...
  void log_line(std::string_view action, std::string_view text) const;
  [[nodiscard]] Verdict refuse(int code, std::string_view status, const Subject& subject,
                               std::string_view text) const;

  // client_checks.cpp
  [[nodiscard]] Verdict permit_mynetworks() const;
  [[nodiscard]] Verdict permit_inet_interfaces() const;
  // helo_checks.cpp
  [[nodiscard]] Verdict reject_invalid_helo_hostname() const;
  [[nodiscard]] Verdict reject_non_fqdn_helo_hostname() const;
  // address_checks.cpp
  [[nodiscard]] loop::Task<Verdict> destination(std::string name);
  [[nodiscard]] Verdict reject_non_fqdn(const std::string& address, const Subject& subject) const;
  [[nodiscard]] loop::Task<Verdict> reject_unlisted_recipient();
  [[nodiscard]] loop::Task<Verdict> reject_unlisted_sender();
  [[nodiscard]] loop::Task<Result<ipc::tables::Resolved>> resolve(std::string address);
  [[nodiscard]] Verdict unlisted(const ipc::tables::Resolved& resolved,
                                 const Subject& subject) const;
  // access_table.cpp
  [[nodiscard]] loop::Task<Verdict> check_access(std::string table, Stage about, Stage list,
                                                 unsigned depth);
  [[nodiscard]] std::vector<ipc::tables::Key> access_keys(Stage about) const;
  void add_domain_keys(std::vector<ipc::tables::Key>& keys, std::string_view domain) const;
  [[nodiscard]] loop::Task<Verdict> act(std::string action, std::string table, Stage about,
                                        Stage list, unsigned depth);

  Session& session_;
  Stage stage_;
  bool warn_only_ = false;  // warn_if_reject stands in front
  bool unlisted_checked_ = false;
};

}  // namespace postern::smtpd
