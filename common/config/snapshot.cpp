#include "common/config/snapshot.h"

#include <fmt/format.h>

#include <cstdint>

#include "common/base/number.h"

namespace postern::config {

namespace {

constexpr std::string_view kMagic = "POSTERN-CONFIG 1\n";
constexpr std::size_t kMaxElements = 1'000'000;  // of one list

class FieldWriter {
 public:
  void operator()(const std::string& text) { out_ += fmt::format("{}:{}", text.size(), text); }
  void operator()(bool flag) { (*this)(std::string(flag ? "1" : "0")); }
  void operator()(std::uint64_t number) { (*this)(std::to_string(number)); }
  void operator()(unsigned number) { (*this)(std::to_string(number)); }
  void operator()(std::chrono::seconds time) { (*this)(std::to_string(time.count())); }
  void operator()(ServiceType type) { (*this)(std::string(name_of(type))); }
  void operator()(const std::optional<unsigned>& number) {
    (*this)(number ? std::to_string(*number) : std::string("-"));
  }

  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  std::string out_{kMagic};
};

// After a field that is malformed all others read as empty, and failed() says so.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

  void operator()(std::string& text) { text = field(); }
  void operator()(bool& flag) { flag = field() == "1"; }
  void operator()(std::uint64_t& number) { number = integer<std::uint64_t>(field()); }
  void operator()(unsigned& number) { number = integer<unsigned>(field()); }
  void operator()(std::chrono::seconds& time) {
    time = std::chrono::seconds(integer<std::uint32_t>(field()));
  }
  void operator()(ServiceType& type) {
    const auto parsed = parse_service_type(field());
    if (parsed)
      type = *parsed;
    else
      failed_ = true;
  }
  void operator()(std::optional<unsigned>& number) {
    const std::string_view text = field();
    if (text == "-")
      number.reset();
    else
      number = integer<unsigned>(text);
  }

 private:
  std::string_view field() {
    const std::size_t colon = rest_.substr(0, 21).find(':');
    if (failed_ || colon == std::string_view::npos) return bad();
    const auto length = parse_integer<std::size_t>(rest_.substr(0, colon));
    rest_.remove_prefix(colon + 1);
    if (!length || *length > rest_.size()) return bad();
    const std::string_view text = rest_.substr(0, *length);
    rest_.remove_prefix(*length);
    return text;
  }
  std::string_view bad() {
    failed_ = true;
    return {};
  }
  template <typename Integer>
  Integer integer(std::string_view text) {
    const auto number = parse_integer<Integer>(text);
    if (!number) failed_ = true;
    return number.value_or(0);
  }

  std::string_view rest_;
  bool failed_ = false;
};

// One description of the sequence of fields serves writer and reader.
template <typename Fields, typename List, typename Each>
void each_of(Fields& fields, List& list, const Each& each) {
  std::uint64_t count = list.size();
  fields(count);
  if constexpr (!std::is_const_v<List>) {
    // An element takes two bytes at least, but the count is checked before it makes us allocate.
    if (fields.failed() || count > kMaxElements) count = 0;
    list.clear();
    for (std::uint64_t i = 0; i < count && !fields.failed(); ++i) each(list.emplace_back());
  } else {
    for (const auto& element : list) each(element);
  }
}

template <typename Fields, typename Paths>
void visit_paths(Fields& f, Paths& p) {
  f(p.prefix), f(p.command_directory), f(p.bin_directory), f(p.daemon_directory);
  f(p.config_directory), f(p.aliases), f(p.queue_directory), f(p.data_directory);
}

template <typename Fields, typename S>
void visit_service(Fields& f, S& s) {
  f(s.name), f(s.type), f(s.is_private), f(s.is_unprivileged), f(s.is_chroot), f(s.wakeup);
  f(s.wakeup_only_if_used), f(s.maxproc), f(s.program), f(s.file), f(s.line);
  each_of(f, s.args, [&](auto& text) { f(text); });
  each_of(f, s.overrides, [&](auto& pair) { f(pair.first), f(pair.second); });
  for (auto& column : s.columns) f(column);
  each_of(f, s.raw_args, [&](auto& text) { f(text); });
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs pairs_of(const Snapshot::Texts& texts) { return {texts.begin(), texts.end()}; }

void write_texts(FieldWriter& f, const Snapshot::Texts& texts) {
  const Pairs pairs = pairs_of(texts);
  each_of(f, pairs, [&](auto& pair) { f(pair.first), f(pair.second); });
}

void read_texts(FieldReader& f, Snapshot::Texts& texts) {
  Pairs pairs;
  each_of(f, pairs, [&](auto& pair) { f(pair.first), f(pair.second); });
  texts = Snapshot::Texts(pairs.begin(), pairs.end());
}

}  // namespace

void Snapshot::index() {
  place_of_name_.clear();
  for (std::size_t i = 0; i < settings.size(); ++i) place_of_name_[settings[i].name] = i;
}

const Setting* Snapshot::find(std::string_view name) const {
  const auto it = place_of_name_.find(name);
  return it == place_of_name_.end() ? nullptr : &settings[it->second];
}

const Service* Snapshot::find_service(std::string_view name, ServiceType type) const {
  for (const Service& service : services) {
    if (service.name == name && service.type == type) return &service;
  }
  return nullptr;
}

std::string serialize(const Snapshot& snapshot) {
  FieldWriter f;
  f(snapshot.config_directory);
  visit_paths(f, snapshot.paths);
  each_of(f, snapshot.settings,
          [&](const Setting& s) { f(s.name), f(s.value), f(s.file), f(s.line); });
  each_of(f, snapshot.services, [&](const Service& s) { visit_service(f, s); });
  write_texts(f, snapshot.computed);
  write_texts(f, snapshot.replaced);
  write_texts(f, snapshot.files);
  each_of(f, snapshot.own_addresses, [&](const std::string& s) { f(s); });
  return f.take();
}

Result<Snapshot> parse_snapshot(std::string_view bytes) {
  if (bytes.size() > kMaxSnapshot) {
    return fail(Error::Kind::kConfig, "configuration snapshot is too large");
  }
  if (!bytes.starts_with(kMagic)) {
    return fail(Error::Kind::kConfig, "not a configuration snapshot of this version");
  }
  FieldReader f(bytes.substr(kMagic.size()));
  Snapshot snapshot;
  f(snapshot.config_directory);
  visit_paths(f, snapshot.paths);
  each_of(f, snapshot.settings, [&](Setting& s) { f(s.name), f(s.value), f(s.file), f(s.line); });
  each_of(f, snapshot.services, [&](Service& s) { visit_service(f, s); });
  read_texts(f, snapshot.computed);
  read_texts(f, snapshot.replaced);
  read_texts(f, snapshot.files);
  each_of(f, snapshot.own_addresses, [&](std::string& s) { f(s); });
  if (f.failed() || !f.at_end()) {
    return fail(Error::Kind::kDamaged, "configuration snapshot is damaged");
  }
  snapshot.index();
  return snapshot;
}

}  // namespace postern::config
