// filter.h - one SMTP connection of another mail system, as libmilter tells of it.
//
// libmilter has a thread for each connection, so that what waits (DNS) waits there. The header is
// kept, the body only hashed.

#pragma once

#include <string>
#include <vector>

#include "common/config/networks.h"
#include "common/mailauth/examination.h"
#include "postern-milter/greylist.h"

namespace postern::milterd {

enum class SpfRefusal : unsigned char { kNone, kFail, kSoftfail };

// What all connections share; never changes after start.
struct Setup {
  mailauth::VerdictRules rules;
  mailauth::PublicSuffixes suffixes = mailauth::PublicSuffixes::built_in();
  std::int64_t wanted = 0;  // ipc::mailauth::Wanted
  config::Networks mynetworks;
  SpfRefusal spf = SpfRefusal::kNone;
  std::unique_ptr<Greylist> greylist;  // none: nobody waits
};

// What is to be said to the client; an empty text: nothing.
struct Reply {
  std::string code, status, text;
};

class Filter {
 public:
  Filter(const Setup& setup, std::string client_address);

  // Own and logged-in clients are nobody's to judge.
  [[nodiscard]] bool is_trusted() const { return is_trusted_; }
  void helo(std::string name) { helo_ = std::move(name); }
  [[nodiscard]] Reply sender(std::string address, bool is_authenticated);
  [[nodiscard]] Reply recipient(const std::string& address);
  // As they come, `value` with the blank in front.
  void header(std::string_view name, std::string_view value);
  void header_end();
  void body(std::string_view chunk);

  struct Outcome {
    Reply refusal;
    bool is_held = false;
    std::vector<std::pair<std::string, std::string>> fields;  // to stand above all others, in order
    std::vector<int> forged;  // which of the Authentication-Results fields go, from 1
    std::string summary;
  };
  [[nodiscard]] Outcome end(const std::string& queue_id);
  // The next message of the same client.
  void reset();

 private:
  const Setup& setup_;
  std::string address_;
  bool is_trusted_ = false;
  std::string helo_;
  std::string sender_;
  mailauth::SpfVerdict spf_;
  std::string header_;
  bool has_cr_ = false;  // at the end of the last chunk
  std::unique_ptr<mailauth::Examination> examination_;
  mailauth::BodyHashes* hashes_ = nullptr;
};

// "<a@b>" as MAIL and RCPT have it, as an address.
[[nodiscard]] std::string parse_path(std::string_view path);

}  // namespace postern::milterd
