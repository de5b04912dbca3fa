#include "common/mailauth/public_suffix.h"

#include <libpsl.h>

#include "common/base/text.h"

namespace postern::mailauth {

void PublicSuffixes::Free::operator()(psl_ctx_st* list) const {
  if (list != psl_builtin()) psl_free(list);
}

Result<PublicSuffixes> PublicSuffixes::open(const std::string& path) {
  psl_ctx_t* list = path.empty() ? psl_latest(nullptr) : psl_load_file(path.c_str());
  if (list == nullptr) {
    return fail(Error::Kind::kConfig,
                (path.empty() ? "the system's public suffix list" : path) + ": cannot be read");
  }
  return PublicSuffixes(list);
}

PublicSuffixes PublicSuffixes::built_in() {
  return PublicSuffixes(const_cast<psl_ctx_t*>(psl_builtin()));
}

std::string PublicSuffixes::organizational_domain(std::string_view domain) const {
  const std::string name = to_lower(domain);
  if (list_ == nullptr) return name;
  const char* found = psl_registrable_domain(list_.get(), name.c_str());
  return found == nullptr ? name : std::string(found);
}

}  // namespace postern::mailauth
