#include "postmap/commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <functional>

#include "common/base/encode.h"
#include "common/base/text.h"
#include "common/mail/header.h"
#include "common/sys/fd.h"
#include "common/table/table.h"
#include "postmap/batch_query.h"
#include "postmap/default_type.h"

namespace postern::postmap {

namespace {

using table::Builder;
using table::Table;

constexpr std::size_t kMaxSource = std::size_t{1} << 30U;
constexpr std::size_t kMaxHeader = std::size_t{1} << 20U;
constexpr mode_t kDefaultMode = 0644;

// While it lives, files are made with the rights of the source's owner: in a directory of a user
// who is not root, root would follow whatever that user prepares there.
class BorrowedIdentity {
 public:
  BorrowedIdentity() = default;
  BorrowedIdentity(const BorrowedIdentity&) = delete;
  BorrowedIdentity& operator=(const BorrowedIdentity&) = delete;
  ~BorrowedIdentity() {
    if (!taken_) return;
    // Going on with half an identity is worse than dying here.
    if (::seteuid(0) != 0 || ::setegid(0) != 0) std::abort();
  }
  Result<void> take(uid_t uid, gid_t gid) {
    if (::setegid(gid) != 0) return sys::fail_errno("setegid");
    taken_ = true;
    if (::seteuid(uid) != 0) return sys::fail_errno("seteuid");
    return {};
  }

 private:
  bool taken_ = false;
};

std::string name_of(std::string_view type_and_name) {
  return std::string(split_at_first(type_and_name, ':').second);
}

std::string type_of(std::string_view type_and_name) {
  return std::string(split_at_first(type_and_name, ':').first);
}

// Only when the directory is not root's own: there nobody else prepares anything, and the source's
// owner could not make a file in it at all.
bool must_drop_rights(const Options& options, const std::string& path, uid_t owner) {
  if (options.keep_root || ::geteuid() != 0 || owner == 0) return false;
  const auto slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  struct stat st{};
  if (::stat(directory.c_str(), &st) != 0) return true;
  return st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

// Answers on standard output, many of them in one write. On a terminal, or to a program that asks
// and waits, they come before more is read.
class Answers {
 public:
  void add(std::string_view key, std::string_view separator, std::string_view value) {
    ((text_ += key) += separator) += value;
    text_ += '\n';
    if (text_.size() >= kPiece) flush();
  }
  void flush() {
    std::fwrite(text_.data(), 1, text_.size(), stdout);
    text_.clear();
    // run() looks at what becomes of it.
    static_cast<void>(std::fflush(stdout));
  }

 private:
  static constexpr std::size_t kPiece = std::size_t{64} << 10U;
  std::string text_;
};

// A NUL ends a line, as it ends a string in C.
std::string_view before_nul(std::string_view line) { return line.substr(0, line.find('\0')); }

// Calls `each` with the lines of standard input, line ends taken off, and `before_read` before it
// may have to wait.
Result<void> for_each_input_line(const std::function<Result<void>(std::string_view)>& each,
                                 const std::function<void()>& before_read = {}) {
  std::string pending;
  std::array<char, 65536> buffer{};
  for (;;) {
    if (before_read) before_read();
    const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys::fail_errno("read standard input");
    if (got == 0) break;
    pending.append(buffer.data(), static_cast<std::size_t>(got));
    std::size_t start = 0;
    for (auto end = pending.find('\n'); end != std::string::npos; end = pending.find('\n', start)) {
      DO(each(before_nul(std::string_view(pending).substr(start, end - start))));
      start = end + 1;
    }
    pending.erase(0, start);
    if (pending.size() > kMaxSource) return fail_temporary("standard input: line too long");
  }
  if (!pending.empty()) DO(each(before_nul(pending)));
  return {};
}

Result<std::string> read_input() {
  std::string all;
  DO(for_each_input_line([&](std::string_view line) -> Result<void> {
    all.append(line).append("\n");
    if (all.size() > kMaxSource) return fail_temporary("standard input: too much");
    return {};
  }));
  return all;
}

class Command {
 public:
  explicit Command(const Options& options) : options_(options) {}

  Result<int> run() {
    if (options_.query_key) return query();
    if (options_.delete_key) return erase();
    if (options_.list) return list();
    for (const auto& name : options_.tables) DO(build(typed(name)));
    return 0;
  }

 private:
  std::string typed(const std::string& name) {
    const bool has_type = table::with_type(name, "").front() != ':';
    if (has_type) return name;
    if (default_type_.empty()) default_type_ = default_database_type(options_.config_directory);
    return table::with_type(name, default_type_);
  }

  void warn(std::string_view text) { say(options_, "warning", text); }

  void print_pair(std::string_view key, std::string_view value) {
    answers_.add(key, options_.program == Program::kPostalias ? ":\t" : "\t", value);
  }

  // Nothing in ASCII depends on it.
  bool is_utf8() {
    if (!utf8_) utf8_ = options_.utf8.value_or(is_utf8_enabled(options_.config_directory));
    return *utf8_;
  }

  table::OpenOptions open_options() {
    table::OpenOptions open;
    open.fold_keys = options_.fold_keys;
    open.utf8 = is_utf8();
    open.values_are_files = options_.values_are_files;
    open.bad_rules = table::BadRules::kSkip;  // shown as warnings, the rest can still be tried
    return open;
  }

  Result<std::unique_ptr<Table>> open(const std::string& name) {
    TRY(auto table, table::open_table(name, open_options()));
    for (const auto& text : table->warnings()) warn(text);
    warn_if_outdated(name);
    return table;
  }

  void warn_if_outdated(const std::string& name) {
    if (!table::can_build(type_of(name))) return;
    const std::string file = table::file_of_table(type_of(name), name_of(name));
    const auto made = table::stamp_of(file);
    const auto source = table::stamp_of(name_of(name));
    // Whoever has just written the source is about to run postmap.
    constexpr std::int64_t kJustWritten = 100;
    if (made && source && source->seconds > made->seconds &&
        source->seconds < static_cast<std::int64_t>(std::time(nullptr)) - kJustWritten) {
      warn(fmt::format("database {} is older than source file {}", file, name_of(name)));
    }
  }

  // --- asking ---

  Result<int> query() {
    if (options_.mime && !options_.match_headers && !options_.match_body) {
      warn("ignoring -m option without -b or -h");
    }
    std::vector<std::unique_ptr<Table>> tables;
    if (*options_.query_key != "-") {
      std::string value;
      for (const auto& name : options_.tables) {
        TRY(const auto table, open(typed(name)));
        TRY(const bool is_found, find_shown(*table, *options_.query_key, value));
        if (!is_found) continue;
        fmt::print("{}\n", value);
        return 0;
      }
      return 1;
    }
    for (const auto& name : options_.tables) {
      TRY(auto table, open(typed(name)));
      tables.push_back(std::move(table));
    }
    bool found = false;
    std::string value;
    const auto ask = [&](std::string_view key) -> Result<void> {
      for (const auto& table : tables) {
        TRY(const bool is_found, find_shown(*table, key, value));
        if (!is_found) continue;
        print_pair(key, value);
        found = true;
        break;
      }
      return {};
    };
    const auto flush = [this] { answers_.flush(); };
    Result<void> asked;
    if (options_.match_headers || options_.match_body) {
      asked = ask_message(ask);
    } else if (can_ask_in_batches(tables) && !options_.values_are_files) {
      const auto answer = [&](const Table& table, std::string_view key, std::string_view text) {
        if (text.empty()) warn_of_empty_value(table, key);
        print_pair(key, text);
        found = true;
      };
      asked = ask_in_batches(tables, {answer, ask, flush});
    } else {
      asked = for_each_input_line(ask, flush);
    }
    flush();
    DO(asked);
    return found ? 0 : 1;
  }

  // False: there is no such key. `value` becomes what is shown of it.
  Result<bool> find_shown(Table& table, std::string_view key, std::string& value) {
    TRY(const bool is_found, table.find_into(key, value));
    if (!is_found) return false;
    if (value.empty()) warn_of_empty_value(table, key);
    if (options_.values_are_files) {
      auto bytes = base64_decode_folded(value);
      if (!bytes) return fail(Error::Kind::kConfig, malformed_base64(table, key, value));
      value = *std::move(bytes);
    }
    return true;
  }

  void warn_of_empty_value(const Table& table, std::string_view key) {
    warn(fmt::format("table {}: key {}: empty string result is not allowed", table.name(), key));
    warn(fmt::format("table {} should return NO RESULT in case of NOT FOUND", table.name()));
  }

  static std::string malformed_base64(const Table& table, std::string_view key,
                                      std::string_view value) {
    return fmt::format("table {}: key {}: malformed BASE64 value: {}", table.name(), key, value);
  }

  static std::string without_blank_before_colon(const mail::HeaderField& field) {
    return std::string(field.name).append(field.raw.substr(field.raw.find(':', field.name.size())));
  }

  // Header fields and body lines of the message on standard input. A part's header within a
  // multipart body is a header too with -m, and body without.
  Result<void> ask_message(const std::function<Result<void>(std::string_view)>& ask) {
    TRY(const std::string message, read_input());
    mail::HeaderScanner scanner(std::max(kMaxHeader, message.size()));
    scanner.scan(message, true);
    // A line of a mailbox in front is no field, and all below it content.
    const bool has_header = !mail::is_mailbox_from_line(message);
    const std::size_t header_size = has_header ? scanner.header_size() : 0;
    const std::size_t body_start = has_header ? scanner.body_start() : 0;
    if (options_.match_headers) {
      const auto block = std::string_view(message).substr(0, header_size);
      for (const auto& field : mail::split_header(block))
        DO(ask(without_blank_before_colon(field)));
    }
    if (!options_.match_body && !options_.mime) return {};
    std::string_view rest = std::string_view(message).substr(body_start);
    // The empty line behind a header is one of the body, and one that is missing stands there, too.
    if (options_.match_body && (body_start > header_size || !rest.empty())) DO(ask({}));
    while (!rest.empty()) {
      const auto end = std::min(rest.find('\n'), rest.size());
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (options_.mime && line.starts_with("--")) {
        if (options_.match_body) DO(ask(line));
        DO(ask_part_headers(rest, ask));
        continue;
      }
      if (options_.match_body) DO(ask(line));
    }
    return {};
  }

  // The header of a part at the start of `rest`, and of the message that the part may be.
  Result<void> ask_part_headers(std::string_view& rest,
                                const std::function<Result<void>(std::string_view)>& ask) {
    for (bool is_message = true; is_message && mail::is_header_line(rest);) {
      is_message = false;
      mail::HeaderScanner part(rest.size());
      part.scan(rest, true);
      for (const auto& field : mail::split_header(rest.substr(0, part.header_size()))) {
        if (options_.match_headers) DO(ask(field.raw));
        const auto [name, value] = split_at_first(field.raw, ':');
        is_message = is_message || (equal_nocase(trim(name), "Content-Type") &&
                                    starts_with_nocase(trim(value), "message/"));
      }
      if (options_.match_body && part.body_start() > part.header_size()) DO(ask({}));
      rest.remove_prefix(part.body_start());
    }
    return {};
  }

  Result<int> list() {
    for (const auto& name : options_.tables) {
      TRY(const auto table, open(typed(name)));
      const auto walked = table->for_each([&](std::string_view key, std::string_view value) {
        if (!options_.values_are_files) {
          print_pair(key, value);
        } else if (const auto bytes = base64_decode_folded(value)) {
          print_pair(key, *bytes);
        } else {
          warn(malformed_base64(*table, key, value));
        }
        return true;
      });
      answers_.flush();
      DO(walked);
    }
    return 0;
  }

  // --- making and changing ---

  table::BuildOptions build_options(const std::string& name, bool keep_entries) {
    table::BuildOptions build;
    build.fold_keys = options_.fold_keys;
    build.utf8 = options_.utf8.value_or(true);
    build.trailing_nul = options_.trailing_nul;
    build.keep_entries = keep_entries;
    build.duplicates = options_.duplicates;
    build.mode = kDefaultMode;
    struct stat source{};
    if (::stat(name_of(name).c_str(), &source) == 0) {
      if (options_.inherit_mode) build.mode = source.st_mode & 0666U;
      if (!options_.keep_root) {
        build.owner = source.st_uid;
        build.group = source.st_gid;
      }
    }
    return build;
  }

  Result<int> erase() {
    std::vector<std::string> keys;
    if (*options_.delete_key == "-") {
      DO(for_each_input_line([&](std::string_view line) -> Result<void> {
        keys.emplace_back(line);
        return {};
      }));
    } else {
      keys.push_back(*options_.delete_key);
    }
    bool found = false;
    for (const auto& given : options_.tables) {
      TRY(const std::string name, changeable(typed(given)));
      if (!table::can_build(type_of(name))) return cannot_change(name);
      const auto build = build_options(name, true);
      BorrowedIdentity identity;
      DO(drop_rights(name, build, identity));
      const std::string file = table::file_of_table(type_of(name), name_of(name));
      if (!table::stamp_of(file)) return sys::fail_errno("open database " + file, ENOENT);
      TRY(const auto builder, Builder::open(name, build));
      bool changed = false;
      for (const auto& key : keys) {
        TRY(const bool erased, builder->erase(key));
        changed = changed || erased;
      }
      if (changed) DO(builder->commit());
      found = found || changed;
      if (changed && keys.size() == 1) break;
    }
    return found ? 0 : 1;
  }

  // Who may run postmap on the table's file needs no proxymap to change it for him; the approval of
  // the administrator still counts.
  Result<std::string> changeable(const std::string& name) {
    constexpr std::string_view kProxy = "proxy:";
    if (!name.starts_with(kProxy)) return name;
    if (!may_write_through_proxy(options_.config_directory, name)) {
      return fail(Error::Kind::kConfig,
                  fmt::format("{}: not approved for changes; see proxy_write_maps", name));
    }
    return name.substr(kProxy.size());
  }

  Result<void> drop_rights(const std::string& name, const table::BuildOptions& build,
                           BorrowedIdentity& identity) {
    const uid_t owner = build.owner.value_or(0);
    if (!must_drop_rights(options_, name_of(name), owner)) return {};
    return identity.take(owner, build.group.value_or(0));
  }

  Result<void> build(const std::string& name) {
    if (name.starts_with("proxy:")) {
      return fail(Error::Kind::kConfig, "can't create maps via the proxy service");
    }
    const std::string path = options_.incremental ? "stdin" : name_of(name);
    std::string text;
    if (options_.incremental) {
      if (!table::can_build(type_of(name))) return cannot_make(name);
      TRY(text, read_input());
    } else {
      TRY(text, table::read_text_file(path, kMaxSource));
      if (!table::can_build(type_of(name))) return cannot_make(name);
    }
    auto build_with = build_options(name, options_.incremental);
    table::SourceRules rules{options_.format(), true};
    if (!is_all_ascii(text)) build_with.utf8 = rules.utf8 = is_utf8();
    build_with.expected_entries = static_cast<std::size_t>(std::ranges::count(text, '\n'));
    if (options_.duplicates == table::Duplicates::kWarn) {
      build_with.on_duplicate = [&](std::string_view key) {
        warn(fmt::format("{}: duplicate entry: \"{}\"", file_in_warnings(name), key));
      };
    }
    BorrowedIdentity identity;
    DO(drop_rights(name, build_with, identity));
    TRY(const auto builder, Builder::open(name, build_with));
    Result<void> outcome;
    const auto take = [&](const table::RecordView& record) {
      if (!outcome) return;
      if (!options_.values_are_files) {
        outcome = builder->enqueue(record.key, record.value);
        return;
      }
      const auto bytes = table::files_in_base64(record.value);
      if (!bytes) {
        return warn(fmt::format("{}, line {}: {}: skipping this entry", path, record.line,
                                bytes.error().text));
      }
      outcome = builder->enqueue(record.key, *bytes);
    };
    const std::string_view source = builder->adopt(std::move(text));
    table::walk_source(source, rules, path, take, [&](const std::string& warning) {
      // Duplicates of lines above it come first.
      if (outcome) outcome = builder->settle();
      warn(warning);
    });
    DO(outcome);
    DO(builder->settle());
    if (options_.program == Program::kPostalias) {
      // Tells sendmail and NIS clients that the database is complete, of when and whose it is.
      DO(builder->put("@", "@"));
      DO(builder->put("YP_LAST_MODIFIED", std::to_string(::time(nullptr))));
      DO(builder->put("YP_MASTER_NAME", host_name(options_.config_directory)));
    }
    return builder->commit();
  }

  // What Postfix calls a table when it speaks of an entry.
  static std::string file_in_warnings(const std::string& name) {
    const std::string type = type_of(name);
    if (type == "lmdb") return name;
    return type == "cdb" ? name_of(name) : table::file_of_table(type, name_of(name));
  }

  static std::unexpected<Error> unknown_type(const std::string& name) {
    // What opening says of it.
    auto error = table::open_table(type_of(name) + ":x").error();
    error.text += fmt::format(". Is the postfix-{} package installed?", type_of(name));
    return std::unexpected(std::move(error));
  }

  static bool is_known_type(const std::string& name) {
    const auto types = table::known_types();
    return std::ranges::find(types, type_of(name)) != types.end();
  }

  static std::unexpected<Error> cannot_make(const std::string& name) {
    if (!is_known_type(name)) return unknown_type(name);
    return fail(Error::Kind::kConfig,
                fmt::format("unsupported dictionary type: {} does not support bulk-mode creation.",
                            type_of(name)));
  }

  static std::unexpected<Error> cannot_change(const std::string& name) {
    if (!is_known_type(name)) {
      return std::unexpected(table::open_table(type_of(name) + ":x").error());
    }
    if (type_of(name) == "static") {
      return fail(Error::Kind::kConfig,
                  fmt::format("table {}: delete operation is not supported", name));
    }
    return fail(Error::Kind::kConfig, fmt::format("{} map requires O_RDONLY access mode", name));
  }

  const Options& options_;
  std::string default_type_;
  std::optional<bool> utf8_;
  Answers answers_;
};

}  // namespace

void say(const Options& options, std::string_view level, std::string_view text) {
  fmt::print(stderr, "{}: {}: {}\n", options.program == Program::kPostmap ? "postmap" : "postalias",
             level, text);
}

Result<int> run(const Options& options) {
  TRY(const int status, Command(options).run());
  // A full disk or a closed pipe behind standard output is a failure of the query.
  if (std::fflush(stdout) != 0) return sys::fail_errno("write standard output");
  return status;
}

}  // namespace postern::postmap
