#include "postmap/batch_query.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <string>

#include "common/sys/fd.h"

namespace postern::postmap {

namespace {

// What is read at once. Sorted, the keys of so much share the pages of a table of a million.
constexpr std::size_t kPiece = std::size_t{4} << 20U;
constexpr std::size_t kMaxLine = std::size_t{1} << 30U;

class Batch {
 public:
  Batch(const Tables& tables, const BatchCalls& calls) : tables_(tables), calls_(calls) {}

  void add(std::string_view line) { lines_.push_back(line); }

  Result<void> run() {
    if (!find_all()) {
      for (const auto line : lines_) DO(calls_.ask_alone(line));
    } else {
      for (std::size_t i = 0; i < lines_.size(); ++i) {
        const Answer& answer = answers_[i];
        if (answer.table == nullptr) continue;
        calls_.answer(*answer.table, lines_[i],
                      std::string_view(values_).substr(answer.at, answer.size));
      }
    }
    lines_.clear();
    return {};
  }

 private:
  struct Answer {
    std::size_t at = 0;  // in values_
    std::size_t size = 0;
    const table::Table* table = nullptr;  // that has it
  };

  // False: some table failed.
  bool find_all() {
    values_.clear();
    answers_.assign(lines_.size(), {});
    indices_.clear();  // of the lines that `keys` are; empty: all of them
    std::vector<std::string_view> rest;
    std::span<const std::string_view> keys = lines_;
    for (const auto& table : tables_) {
      const auto done = table->find_each(keys, [&](std::size_t index, std::string_view value) {
        Answer& answer = answers_[indices_.empty() ? index : indices_[index]];
        answer = {values_.size(), value.size(), table.get()};
        values_ += value;
      });
      if (!done) return false;
      if (&table == &tables_.back()) break;
      rest.clear();
      indices_.clear();
      for (std::size_t i = 0; i < lines_.size(); ++i) {
        if (answers_[i].table != nullptr) continue;
        rest.push_back(lines_[i]);
        indices_.push_back(i);
      }
      if (rest.empty()) break;
      keys = rest;
    }
    return true;
  }

  const Tables& tables_;
  const BatchCalls& calls_;
  std::vector<std::string_view> lines_;
  std::vector<std::size_t> indices_;
  std::vector<Answer> answers_;
  std::string values_;
};

}  // namespace

bool can_ask_in_batches(const Tables& tables) {
  return std::ranges::all_of(tables,
                             [](const auto& table) { return table->is_faster_in_batches(); });
}

Result<void> ask_in_batches(const Tables& tables, const BatchCalls& calls) {
  Batch batch(tables, calls);
  std::string input;
  for (;;) {
    calls.before_read();
    const std::size_t before = input.size();
    ssize_t got = 0;
    input.resize_and_overwrite(before + kPiece, [&](char* bytes, std::size_t size) {
      got = ::read(STDIN_FILENO, bytes + before, size - before);
      return before + (got > 0 ? static_cast<std::size_t>(got) : 0);
    });
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return sys::fail_errno("read standard input");
    std::string_view rest = input;
    while (!rest.empty()) {
      const auto end = rest.find('\n');
      if (end == std::string_view::npos && got > 0) break;
      batch.add(rest.substr(0, end));
      rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    DO(batch.run());
    if (got == 0) return {};
    input.erase(0, input.size() - rest.size());
    if (input.size() > kMaxLine) return fail_temporary("standard input: line too long");
  }
}

}  // namespace postern::postmap
