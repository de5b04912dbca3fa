// sinks.h - where log lines end: files, standard output, syslog.
//
// A sink never stops the daemon: what it does not take is dropped and counted, and the count is
// written when it takes lines again.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/params/log.h"
#include "common/sys/fd.h"
#include "postlog/record.h"

namespace postern::postlog {

class Sink {
 public:
  Sink() = default;
  virtual ~Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  [[nodiscard]] virtual bool wants(RecordKind kind) const = 0;
  virtual void put(const Record& record) = 0;
  // The end of a batch.
  virtual void flush() {}
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 protected:
  std::uint64_t dropped_ = 0;
};

// A file or standard output: one write for a batch.
class FileSink final : public Sink {
 public:
  FileSink(sys::Fd fd, RecordKind kind) : fd_(std::move(fd)), kind_(kind) {}
  [[nodiscard]] bool wants(RecordKind kind) const override { return kind == kind_; }
  void put(const Record& record) override;
  void flush() override;

 private:
  sys::Fd fd_;
  RecordKind kind_;
  std::string batch_;
};

// The socket of syslogd or of the journal, which speaks the same on its own.
class SyslogSink final : public Sink {
 public:
  SyslogSink(std::string path, int facility) : path_(std::move(path)), facility_(facility) {
    connect();
  }
  [[nodiscard]] bool is_open() const { return static_cast<bool>(fd_); }
  [[nodiscard]] bool wants(RecordKind kind) const override { return kind == RecordKind::kText; }
  void put(const Record& record) override;

 private:
  void connect();
  std::string path_;
  int facility_;
  sys::Fd fd_;
};

// LOG_MAIL for "mail"; LOG_MAIL, too, for what is no facility.
[[nodiscard]] int syslog_facility(std::string_view name);

struct Sinks {
  std::vector<std::unique_ptr<Sink>> sinks;
  std::vector<std::string> problems;
};

// As the parameters say. With the rights of root: files are opened before the daemon gives them up.
[[nodiscard]] Sinks open_sinks(const config::LogParams& params);

// Opens a log file for appending, making it with `mode`.
[[nodiscard]] Result<sys::Fd> open_log_file(const std::string& path, unsigned mode);

}  // namespace postern::postlog
