#include "master/means.h"

#include <fmt/format.h>

#include <utility>

#include "common/daemon/confinement.h"
#include "common/log/log.h"
#include "common/sys/sandbox.h"

namespace postern::master {

Result<void> Means::choose(const config::Values& values, std::string_view confinement) {
  is_wanted_ = confinement != "none";
  if (is_wanted_ && !std::exchange(was_probed_, true)) probe();
  const std::string shared = daemon::why_accounts_are_shared(values);
  if (confinement == "strict") {
    for (const std::string& why : {withheld_, shared}) {
      if (why.empty()) continue;
      return fail(Error::Kind::kConfig, fmt::format("process_confinement = strict: {}", why));
    }
  }
  // Each daemon finds its own account; here it is said when they are not apart.
  if (!shared.empty() && !std::exchange(has_told_of_accounts_, true)) {
    log::info("daemons share the account of mail_owner: {}", shared);
  }
  return {};
}

void Means::probe() {
  const auto means = sys::sandbox_means();
  if (means.landlock == 0) {
    withheld_ = "this kernel has no Landlock: files are kept by chroot and ownership alone";
  } else if (!means.has_seccomp) {
    withheld_ = "this kernel has no seccomp: system calls are not confined";
  }
  auto made = sys::make_empty_network();
  if (made) {
    empty_network_ = *std::move(made);
  } else {
    withheld_ = fmt::format("daemons keep the host's network: {}", made.error().text);
  }
  if (!withheld_.empty()) log::info("{}", withheld_);
}

}  // namespace postern::master
