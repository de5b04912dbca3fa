#include "postlog/writer.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <ctime>

#include "common/log/clean.h"

namespace postern::postlog {

namespace {

constexpr auto kRest = std::chrono::milliseconds(5);
constexpr std::size_t kReadSize = std::size_t{64} << 10;
// A writer that never stops has its batches written all the same.
constexpr unsigned kReadsPerSweep = 64;

std::string time_stamp() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%b %e %H:%M:%S", &local);
  return {text.data(), size};
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "localhost";
  std::string host = name.data();
  host.resize(std::min(host.find('.'), host.size()));
  return host.empty() ? "localhost" : host;
}

std::array<char, kReadSize>& read_buffer() {
  static std::array<char, kReadSize> buffer;
  return buffer;
}

}  // namespace

Writer::Writer(Sinks sinks, std::string tag)
    : sinks_(std::move(sinks)), tag_(std::move(tag)), host_(host_name()) {
  for (const std::string& problem : sinks_.problems) own_line(log::Level::kError, problem);
  flush();
}

void Writer::add_source(sys::Fd fd, SourceKind kind) {
  sources_.emplace_back(*this, std::move(fd), kind);
}

void Writer::sweep() {
  for (Source& source : sources_) source.read_all();
  flush();
}

void Writer::put(const Record& record) {
  for (const auto& sink : sinks_.sinks) {
    if (sink->wants(record.kind)) sink->put(record);
  }
}

void Writer::own_line(log::Level level, std::string_view text) {
  const std::string_view word = level == log::Level::kError ? "error: " : "warning: ";
  const std::string line =
      fmt::format("{} {} {}[{}]: {}{}", time_stamp(), host_, tag_, ::getpid(), word, text);
  put({RecordKind::kText, level, line});
}

void Writer::take(std::string_view line) {
  if (line.empty()) return;
  const Record record = parse_record(line);
  if (record.kind == RecordKind::kForeign) {
    own_line(log::Level::kWarning, fmt::format("a process says: {}", log::clean(line)));
  } else {
    put(record);
  }
}

void Writer::flush() {
  for (const auto& sink : sinks_.sinks) sink->flush();
  std::uint64_t dropped = 0;
  for (const auto& sink : sinks_.sinks) dropped += sink->dropped();
  if (dropped == told_dropped_) return;
  const std::uint64_t news = dropped - told_dropped_;
  own_line(log::Level::kWarning,
           fmt::format("{} log lines were dropped because they could not be written", news));
  for (const auto& sink : sinks_.sinks) sink->flush();
  std::uint64_t after = 0;
  for (const auto& sink : sinks_.sinks) after += sink->dropped();
  // Told only if that line, at least, was taken.
  if (after == dropped) told_dropped_ = dropped;
}

Writer::Source::Source(Writer& writer, sys::Fd fd, SourceKind kind)
    : writer_(writer), fd_(std::move(fd)), kind_(kind) {
  watch();
}

Writer::Source::~Source() { unwatch(); }

void Writer::Source::watch() {
  if (watching_ || has_ended_) return;
  loop::Loop::current().watch_level(fd_.get(), *this);
  watching_ = true;
}

void Writer::Source::unwatch() {
  if (!watching_) return;
  loop::Loop::current().unwatch(fd_.get(), *this);
  watching_ = false;
}

bool Writer::Source::read_all() {
  auto& buffer = read_buffer();
  bool was_any = false;
  for (unsigned i = 0; i < kReadsPerSweep && !has_ended_; ++i) {
    const ssize_t count = ::read(fd_.get(), buffer.data(), buffer.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (count == 0) {
      if (kind_ == SourceKind::kStream) has_ended_ = true;
      break;
    }
    was_any = true;
    std::string bytes(buffer.data(), static_cast<std::size_t>(count));
    make_printable(bytes);
    cutter_.add(bytes);
    const bool is_whole = kind_ == SourceKind::kDatagram;
    while (const auto line = cutter_.next(is_whole)) writer_.take(*line);
  }
  if (has_ended_) {
    unwatch();
    while (const auto line = cutter_.next(true)) writer_.take(*line);
  }
  return was_any;
}

void Writer::Source::on_events(std::uint32_t /*events*/) {
  unwatch();
  rest_over();
}

void Writer::Source::rest_over() {
  const bool was_any = read_all();
  writer_.flush();
  if (has_ended_) {
    if (writer_.on_end_) writer_.on_end_();
  } else if (was_any) {
    rest_.arm(loop::Loop::current().after(kRest));
  } else {
    watch();
  }
}

}  // namespace postern::postlog
