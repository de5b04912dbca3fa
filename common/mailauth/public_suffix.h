// public_suffix.h - which part of a domain somebody has registered (publicsuffix.org). libpsl.

#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"

struct psl_ctx_st;

namespace postern::mailauth {

class PublicSuffixes {
 public:
  // A list in text or DAFSA form; an empty path takes the newer of the system's and libpsl's own.
  [[nodiscard]] static Result<PublicSuffixes> open(const std::string& path);
  // The list that libpsl carries.
  [[nodiscard]] static PublicSuffixes built_in();

  // RFC 7489 3.2: `a.b.example.co.uk` gives `example.co.uk`; a public suffix is its own.
  [[nodiscard]] std::string organizational_domain(std::string_view domain) const;

 private:
  struct Free {
    void operator()(psl_ctx_st* list) const;
  };
  explicit PublicSuffixes(psl_ctx_st* list) : list_(list) {}
  std::unique_ptr<psl_ctx_st, Free> list_;
};

}  // namespace postern::mailauth
