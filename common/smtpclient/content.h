// content.h - the message out of its queue file and onto the connection, in large pieces.

#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "common/loop/stream.h"
#include "common/loop/task.h"
#include "common/smtpclient/job.h"
#include "common/smtpclient/outgoing.h"

namespace postern::smtpclient {

// A buffer that is lent out, and kept hot for the next one.
class BufferPool {
 public:
  static constexpr std::size_t kSize = std::size_t{160} << 10;
  using Buffer = std::unique_ptr<char[]>;

  [[nodiscard]] Buffer take();
  void give(Buffer buffer);

 private:
  static constexpr std::size_t kMaxKept = 64;
  std::vector<Buffer> free_;
};

struct ContentResult {
  loop::Io io = loop::Io::kOk;
  // The file could not be read: nothing more may be sent over this connection.
  std::string read_error{};
};

// Header, empty line, body and the final dot. A small message leaves in one write. Each write has
// `timeout`. `changes` is what becomes of it on the way.
[[nodiscard]] loop::Task<ContentResult> send_content(loop::Stream& stream, Job& job,
                                                     BufferPool& buffers, std::size_t line_limit,
                                                     std::chrono::seconds timeout,
                                                     Outgoing* changes = nullptr);

}  // namespace postern::smtpclient
