// writer.h - takes log lines from the pipe of all daemons and from the socket of the tools, and
// hands them to the sinks.
//
// It reads until nothing is left, writes each batch with one call, and then rests a little: under
// load that makes few large batches of many small wake-ups.

#pragma once

#include <functional>
#include <list>
#include <string>

#include "common/loop/loop.h"
#include "common/sys/fd.h"
#include "postlog/record.h"
#include "postlog/sinks.h"

namespace postern::postlog {

class Writer {
 public:
  // `tag` and `host` are for lines of its own ("postfix/postlogd").
  Writer(Sinks sinks, std::string tag);

  enum class SourceKind : unsigned char { kStream, kDatagram };
  void add_source(sys::Fd fd, SourceKind kind);

  // Called when a stream has no writer any more.
  void on_end(std::function<void()> call) { on_end_ = std::move(call); }

  // Takes all that is there now and writes it.
  void sweep();

 private:
  class Source final : loop::Watched {
   public:
    Source(Writer& writer, sys::Fd fd, SourceKind kind);
    ~Source();
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;
    // Whether there was anything.
    bool read_all();

   private:
    void on_events(std::uint32_t events) override;
    void rest_over();
    void watch();
    void unwatch();
    Writer& writer_;
    sys::Fd fd_;
    SourceKind kind_;
    LineCutter cutter_;
    bool watching_ = false;
    bool has_ended_ = false;
    loop::CallbackTimer rest_{[this] { rest_over(); }};
  };

  void take(std::string_view line);
  void flush();
  void own_line(log::Level level, std::string_view text);
  void put(const Record& record);

  Sinks sinks_;
  std::string tag_;
  std::string host_;
  std::uint64_t told_dropped_ = 0;
  std::list<Source> sources_;
  std::function<void()> on_end_;
};

}  // namespace postern::postlog
