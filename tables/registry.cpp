#include "tables/registry.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <functional>

#include "common/base/text.h"
#include "common/config/master_cf.h"
#include "common/config/param.h"
#include "common/config/snapshot.h"
#include "common/log/log.h"
#include "common/table/server_wire.h"
#include "common/table/source.h"

namespace postern::tables {

namespace {

constexpr std::size_t kPageSize = 4096;

// What inotify does not tell of (network file systems, accounts from a directory service) is
// looked at, and answers kept elsewhere are called back, this often.
constexpr std::chrono::seconds kPollPeriod{30};

constexpr std::uint32_t kChanges = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MODIFY | IN_CREATE | IN_DELETE;

using config::without_proxy;

constexpr std::string_view kProxy = "proxy:";
constexpr std::string_view kProxyReadMaps = "proxy_read_maps";
constexpr std::string_view kProxyWriteMaps = "proxy_write_maps";
constexpr std::string_view kTablesProgram = "tables";

// Whose results are commands and paths: local(8) and virtual(8) ask with table::kLiteral.
constexpr std::string_view kLiteralMaps[] = {"alias_maps",
                                             "mailbox_command_maps",
                                             "mailbox_transport_maps",
                                             "fallback_transport_maps",
                                             "virtual_mailbox_maps",
                                             "virtual_uid_maps",
                                             "virtual_gid_maps"};

// Only proxymap may use the network or hold what opens a data base.
constexpr std::string_view kServerTypes[] = {"ldap",  "memcache",  "mongodb", "mysql", "pgsql",
                                             "redis", "socketmap", "sqlite",  "tcp"};
constexpr std::string_view kComposites[] = {"pipemap:", "unionmap:"};

bool has_server_type(std::string_view name) {
  return std::ranges::any_of(kServerTypes, [&](std::string_view type) {
    return name.size() > type.size() && name.starts_with(type) && name[type.size()] == ':';
  });
}

std::string_view type_of(std::string_view name) { return name.substr(0, name.find(':')); }

// Of `unionmap:{ part, ... }` and pipemap.
std::optional<std::vector<std::string_view>> parts_of(std::string_view name) {
  for (const auto composite : kComposites) {
    if (!name.starts_with(composite)) continue;
    const auto inside = table::inside_braces(name.substr(composite.size()));
    return split_words_braced(inside.value_or(std::string_view()));
  }
  return std::nullopt;
}

// Whatever looks like type:name in a list. Restrictions may have theirs in braces, with attributes:
// `check_ccert_access { type:name, { search_order = ... } }`.
void collect_tables(const std::string& list, std::set<std::string, std::less<>>& names) {
  for (const auto& word : config::split_list(list)) {
    std::string_view name = word;
    while (name.starts_with('!')) name.remove_prefix(1);
    if (const auto inside = table::inside_braces(name)) {
      collect_tables(std::string(*inside), names);  // as deep as somebody has written braces
      continue;
    }
    const auto colon = name.find(':');
    if (colon != 0 && colon != std::string_view::npos) names.emplace(name);
  }
}

// A part of another table that a server answers for. It is asked like a table by itself: the answer
// may have to come first, and then the whole of the question begins again.
class PartOnServer final : public table::Table {
 public:
  using Ask = std::function<table::Found(const std::string& name, std::string_view key)>;
  PartOnServer(std::string_view type, std::string_view name, Ask ask)
      : Table(type, name, false), ask_(std::move(ask)) {}

 private:
  table::Found do_find(std::string_view key) override { return ask_(name(), key); }

  Ask ask_;
};

}  // namespace

GenerationPage::GenerationPage()
    : fd_(::memfd_create("generation", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  assert(fd_);
  const int sized = ::ftruncate(fd_.get(), kPageSize);
  assert(sized == 0);
  void* page = ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  assert(page != MAP_FAILED);
  // Peers get no way to write to it: our mapping is the only one.
  ::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE);
  page_ = static_cast<std::atomic<std::uint64_t>*>(page);
  page_->store(1);
}

GenerationPage::~GenerationPage() { ::munmap(page_, kPageSize); }

Result<sys::Fd> GenerationPage::share() const { return sys::duplicate(fd_.get()); }

bool is_proxied(std::string_view name) {
  const auto needs_server = [](std::string_view part) {
    while (part.starts_with(kProxy)) part.remove_prefix(kProxy.size());
    return has_server_type(part);
  };
  if (needs_server(name)) return true;
  for (const auto composite : kComposites) {
    if (!name.starts_with(composite)) continue;
    const auto parts = split_words(name.substr(composite.size()), ", \t\r\n{}");
    if (std::ranges::any_of(parts, needs_server)) return true;
  }
  return false;
}

bool is_pattern_table(std::string_view name) {
  if (name.starts_with(table::kLiteral)) name.remove_prefix(table::kLiteral.size());
  const std::string bare = without_proxy(name);
  if (const auto parts = parts_of(bare)) return std::ranges::all_of(*parts, is_pattern_table);
  const std::string_view type = type_of(bare);
  return type == "regexp" || type == "pcre" || type == "cidr" || table::is_server_table(bare);
}

Registry::~Registry() {
  if (inotify_) loop::Loop::current().unwatch(inotify_.get(), *this);
}

void Registry::open_all(const config::Values& values) {
  std::set<std::string, std::less<>> wanted;
  const auto collect = [&](std::string_view text) {
    const auto expanded = values.expand_text(text);
    collect_tables(expanded ? *expanded : std::string(text), wanted);
  };
  for (const auto& setting : values.snapshot().settings) collect(setting.value);
  for (const auto& service : values.snapshot().services) {
    for (const auto& [name, value] : service.overrides) collect(value);
  }
  const auto written = wanted;
  for (const auto param : config::all_params()) {
    // Those that are there for proxymap name the caches of other daemons, too.
    if (param.name == kProxyReadMaps || param.name == kProxyWriteMaps) continue;
    if (param.type == config::ParamType::kTables || param.type == config::ParamType::kList ||
        param.type == config::ParamType::kNetworks) {
      collect(values.text(param.name));
    }
  }
  const auto literal = [&](const std::vector<std::string>& names) {
    for (const auto& name : table::literal_names(names)) wanted.insert(name);
  };
  for (const std::string_view map : kLiteralMaps) literal(values.list(map));
  for (const auto& service : values.snapshot().services) {
    for (const auto& [name, value] : service.overrides) {
      if (std::ranges::find(kLiteralMaps, name) == std::end(kLiteralMaps)) continue;
      const auto expanded = values.expand_text(value);
      literal(config::split_list(expanded ? *expanded : value));
    }
  }
  allowed_ = std::move(wanted);
  secret_ = config::find_secret_tables(values);
  if (role_ == Role::kProxymap) {
    allow_proxied(values);
    register_parts();
  }
  const auto types = table::known_types();
  for (const auto& name : allowed_) {
    if (is_elsewhere(name)) continue;
    std::string bare = without_proxy(name);
    if (bare.starts_with(table::kLiteral)) bare.erase(0, table::kLiteral.size());
    if (std::find(types.begin(), types.end(), type_of(bare)) == types.end()) continue;
    // A table that only a default names may well be missing.
    const auto opened = find(name);
    if (!opened && written.contains(name)) log::warning("{}", opened.error().text);
  }
  std::erase_if(open_, [&](const auto& entry) { return !allowed_.contains(entry.first); });
  generation_.grow();
}

// For proxymap, of all that the configuration names: what only it can open, and what
// proxy_read_maps and proxy_write_maps approve of.
void Registry::allow_proxied(const config::Values& values) {
  std::erase_if(allowed_, [](const std::string& name) {
    return name.starts_with(kProxy) || !is_proxied(name);
  });
  for (const std::string_view list : {kProxyReadMaps, kProxyWriteMaps}) {
    for (const auto& word : values.list(list)) {
      if (word.starts_with(kProxy)) allowed_.insert(word);
    }
  }
}

// The secret ones go to the program that needs them; proxymap leaves that question to `tables`.
Result<void> Registry::check_caller(const std::string& name) {
  if (secret_.empty()) return {};
  const std::string bare = without_proxy(name);
  const auto secret = secret_.find(bare);
  if (secret == secret_.end()) return {};
  const std::string_view program =
      caller_ == nullptr ? std::string_view() : std::string_view(caller_->program);
  const bool is_reader =
      role_ == Role::kProxymap ? program == kTablesProgram : secret->second.contains(program);
  if (is_reader) return {};
  if (caller_ == nullptr || !std::exchange(caller_->was_refused, true)) {
    log::warning("process {} was refused {}: the table is for {} only",
                 caller_ == nullptr ? 0 : caller_->process, name,
                 join(std::vector(secret->second.begin(), secret->second.end()), ", "));
  }
  return fail(Error::Kind::kConfig, fmt::format("{}: not for this program", name));
}

table::Found Registry::find_elsewhere(const std::string& name, std::string_view key) {
  if (!allowed_.contains(name)) {
    return fail(Error::Kind::kConfig, fmt::format("{}: no table of the configuration", name));
  }
  return find_answer(name, key);
}

table::Found Registry::find_answer(const std::string& name, std::string_view key) {
  if (answers_ == nullptr) return fail_temporary(fmt::format("{}: nobody was asked", name));
  const ProxyAnswers::Missing wanted{name, std::string(key)};
  const auto found = answers_->known.find(wanted);
  if (found != answers_->known.end()) return found->second;
  answers_->missing = wanted;
  return fail_temporary(fmt::format("{}: there is no answer yet", name));
}

void Registry::register_parts() {
  for (const std::string_view type : {"tcp", "socketmap"}) {
    table::register_type(
        std::string(type),
        [this, type](std::string_view name, const table::OpenOptions&) -> table::OpenedTable {
          TRY(const auto address, table::parse_server_table(fmt::format("{}:{}", type, name)));
          static_cast<void>(address);
          return std::make_unique<PartOnServer>(
              type, name, [this](const std::string& part, std::string_view key) {
                return find_answer(part, key);
              });
        });
  }
}

bool Registry::is_elsewhere(const std::string& name) const {
  return role_ == Role::kTables ? is_proxied(name) : table::is_server_table(without_proxy(name));
}

Result<table::Table*> Registry::find(const std::string& name) {
  const auto found = open_.find(name);
  if (found != open_.end()) return found->second.get();
  if (!allowed_.contains(name)) {
    if (role_ == Role::kProxymap && name.starts_with(kProxy)) {
      log::warning("request for unapproved table: \"{}\"", without_proxy(name));
      return fail(Error::Kind::kConfig,
                  fmt::format("{}: to approve of this table, list it in proxy_read_maps", name));
    }
    return fail(Error::Kind::kConfig, fmt::format("{}: no table of the configuration", name));
  }
  watch_directory_of(name);  // before opening: a change in between is seen as one
  auto opened = table::open_table(name);
  if (!opened) return std::unexpected(std::move(opened).error());
  for (const auto& warning : (*opened)->warnings()) log::warning("{}", warning);
  return open_.emplace(name, *std::move(opened)).first->second.get();
}

Result<std::optional<Registry::Hit>> Registry::find_key(const std::vector<std::string>& tables,
                                                        std::string_view key, bool is_partial) {
  for (std::size_t i = 0; i < tables.size(); ++i) {
    if (is_partial && is_pattern_table(tables[i])) continue;
    DO(check_caller(tables[i]));
    table::Found value = std::nullopt;
    if (is_elsewhere(tables[i])) {
      value = find_elsewhere(tables[i], key);
    } else {
      TRY(table::Table * table, find(tables[i]));
      value = table->find(key);
    }
    if (!value) return fail_in(tables[i], std::move(value).error());
    if (*value) return Hit{i, **std::move(value)};
  }
  return std::nullopt;
}

void Registry::watch() {
  inotify_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (inotify_) {
    loop::Loop::current().watch_level(inotify_.get(), *this);
    for (const auto& name : allowed_) watch_directory_of(name);
    ::inotify_add_watch(inotify_.get(), "/etc/passwd", kChanges | IN_DELETE_SELF | IN_ATTRIB);
  }
  poll_ = std::make_unique<loop::CallbackTimer>([this] {
    generation_.grow();
    refresh();
    poll_->arm(loop::Clock::now() + kPollPeriod);
  });
  poll_->arm(loop::Clock::now() + kPollPeriod);
  refresh();  // what has changed since it was opened
}

// A table is replaced by a rename or written in place: both show in its directory.
void Registry::watch_directory_of(const std::string& name) {
  if (!inotify_) return;
  std::string bare = without_proxy(name);
  if (bare.starts_with(table::kLiteral)) bare.erase(0, table::kLiteral.size());
  const auto colon = bare.find(':');
  if (colon == std::string::npos || colon + 1 >= bare.size() || bare[colon + 1] != '/') return;
  const std::string path = bare.substr(colon + 1);
  const std::string directory = path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
  if (!watched_directories_.insert(directory).second) return;
  ::inotify_add_watch(inotify_.get(), directory.c_str(), kChanges);
}

void Registry::on_events(std::uint32_t /*events*/) {
  alignas(inotify_event) std::array<char, 16384> buffer;
  bool any = false;
  while (::read(inotify_.get(), buffer.data(), buffer.size()) > 0) any = true;
  if (any) refresh();
  // A file written in place changes what is found in it, too.
  if (any) generation_.grow();
}

void Registry::refresh() {
  bool is_changed = false;
  for (auto& [name, table] : open_) {
    if (!table->changed()) continue;
    auto opened = table::open_table(name);
    if (opened) {
      for (const auto& warning : (*opened)->warnings()) log::warning("{}", warning);
      table = *std::move(opened);
      is_changed = true;
    } else {
      // It may be half-way through being replaced; the old one answers until then.
      log::warning("{}; the earlier table stays in use", opened.error().text);
      if (opened.error().text.ends_with(sys::errno_text(EACCES)) && on_rights_missing) {
        on_rights_missing();
      }
    }
  }
  if (is_changed) generation_.grow();
}

}  // namespace postern::tables
