#include "common/ipc/tables_client.h"

#include <sys/mman.h>

#include <algorithm>

#include "common/ipc/identity.h"

namespace postern::ipc {

namespace {

// Answers kept by one process: some hundred bytes each.
constexpr std::size_t kMaxKept = 5000;
constexpr std::size_t kPageSize = 4096;

std::string key_of(const tables::Resolve& question, bool with_sender) {
  std::string key = "r";
  key += question.is_local_context ? 'l' : 'r';
  key += question.check_existence ? 'e' : '-';
  key += question.is_for_probe ? 'p' : '-';
  key += question.address;
  if (with_sender) (key += '\0') += question.sender;
  return key;
}

std::string key_of(const tables::Expand& question, bool with_sender) {
  std::string key = "x";
  key += question.is_local_context ? 'l' : 'r';
  key += question.skip_aliases ? 's' : '-';
  key += question.is_for_probe ? 'p' : '-';
  if (!question.service.empty()) (key += question.service) += '\0';
  key += question.address;
  if (with_sender) (key += '\0') += question.sender;
  return key;
}

}  // namespace

TablesClient::TablesClient(std::string path) : client_(std::move(path)) {
  client_.dispatcher().notice_with_fds<tables::Generation>(
      [this](tables::Generation&, const ChannelPtr&, std::vector<sys::Fd> fds) {
        adopt_page(std::move(fds));
      });
  // A new process of the service counts anew: nothing of the old one stands.
  client_.on_connected([this](const ChannelPtr& channel) {
    introduce(*channel);
    kept_.clear();
    by_age_.clear();
    kept_generation_ = 0;
    ++connections_;
  });
}

TablesClient::~TablesClient() {
  if (page_ != nullptr) {
    ::munmap(const_cast<void*>(static_cast<const void*>(page_)), kPageSize);
  }
}

void TablesClient::adopt_page(std::vector<sys::Fd> fds) {
  if (fds.empty()) return;
  void* page = ::mmap(nullptr, kPageSize, PROT_READ, MAP_SHARED, fds.front().get(), 0);
  if (page == MAP_FAILED) return;
  if (page_ != nullptr) {
    ::munmap(const_cast<void*>(static_cast<const void*>(page_)), kPageSize);
  }
  page_ = static_cast<const std::atomic<std::uint64_t>*>(page);
}

std::uint64_t TablesClient::generation() const {
  return page_ == nullptr ? 0 : page_->load(std::memory_order_acquire);
}

std::uint64_t TablesClient::standing() {
  constexpr unsigned kGenerationBits = 40;
  const std::uint64_t now = generation();
  if (now == 0 || client_.channel_now() == nullptr) return 0;
  return (connections_ << kGenerationBits) | now;
}

template <typename T>
const T* TablesClient::find(const std::string& key) {
  const std::uint64_t now = generation();
  if (now == 0 || now != kept_generation_) return nullptr;
  if (client_.channel_now() == nullptr) return nullptr;
  const auto found = kept_.find(key);
  if (found == kept_.end()) return nullptr;
  by_age_.splice(by_age_.end(), by_age_, found->second.place);
  return std::get_if<T>(&found->second.answer);
}

void TablesClient::keep(std::string key, Answer answer, std::uint64_t generation_of_answer) {
  if (generation_of_answer == 0 || generation_of_answer != generation()) return;
  if (generation_of_answer != kept_generation_) {
    kept_.clear();
    by_age_.clear();
    kept_generation_ = generation_of_answer;
  }
  if (kept_.contains(key)) return;
  if (kept_.size() >= kMaxKept) {
    kept_.erase(by_age_.front());
    by_age_.pop_front();
  }
  by_age_.push_back(key);
  kept_.emplace(std::move(key), Kept{std::move(answer), std::prev(by_age_.end())});
}

const tables::Resolved* TablesClient::find_kept(const tables::Resolve& question) {
  const auto* kept = find<tables::Resolved>(key_of(question, false));
  return kept != nullptr ? kept : find<tables::Resolved>(key_of(question, true));
}

const tables::Expanded* TablesClient::find_kept(const tables::Expand& question) {
  const auto* kept = find<tables::Expanded>(key_of(question, false));
  return kept != nullptr ? kept : find<tables::Expanded>(key_of(question, true));
}

loop::Task<Result<tables::Resolved>> TablesClient::resolve(tables::Resolve question,
                                                           loop::Deadline deadline) {
  if (const auto* kept = find_kept(question)) co_return *kept;
  auto answer = co_await client_.call(question, deadline);
  if (answer && answer->existence != tables::Existence::kError) {
    keep(key_of(question, answer->depends_on_sender), *answer, answer->generation);
  }
  co_return answer;
}

loop::Task<Result<tables::Expanded>> TablesClient::expand(tables::Expand question,
                                                          loop::Deadline deadline) {
  if (const auto* kept = find_kept(question)) co_return *kept;
  auto answer = co_await client_.call(question, deadline);
  if (answer) keep(key_of(question, answer->depends_on_sender), *answer, answer->generation);
  co_return answer;
}

loop::Task<Result<tables::Found>> TablesClient::lookup(tables::Lookup question,
                                                       loop::Deadline deadline) {
  std::string key = "l" + encode(question);
  if (const auto* kept = find<tables::Found>(key)) co_return *kept;
  auto answer = co_await client_.call(std::move(question), deadline);
  if (answer) keep(std::move(key), *answer, answer->generation);
  co_return answer;
}

loop::Task<Result<tables::FoundEach>> TablesClient::lookup_each(tables::LookupEach question,
                                                                loop::Deadline deadline) {
  std::string key = "e" + encode(question);
  if (const auto* kept = find<tables::FoundEach>(key)) co_return *kept;
  auto answer = co_await client_.call(std::move(question), deadline);
  if (!answer) co_return answer;
  const bool is_whole =
      std::ranges::all_of(answer->answers, [](const auto& one) { return one.error.empty(); });
  if (is_whole) keep(std::move(key), *answer, answer->generation);
  co_return answer;
}

loop::Task<Result<tables::Mapped>> TablesClient::map(tables::Map question,
                                                     loop::Deadline deadline) {
  co_return co_await client_.call(std::move(question), deadline);
}

loop::Task<Result<tables::Checked>> TablesClient::check(tables::Check question,
                                                        loop::Deadline deadline) {
  co_return co_await client_.call(std::move(question), deadline);
}

}  // namespace postern::ipc
