#include "common/sys/flush.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "common/sys/fd.h"

namespace postern::sys {

namespace {

Fd file_in(const char* directory) {
  std::string name = std::string(directory) + "/flush_test.XXXXXX";
  Fd fd(::mkstemp(name.data()));
  REQUIRE(fd);
  REQUIRE(::unlink(name.c_str()) == 0);
  REQUIRE(::write(fd.get(), "x", 1) == 1);
  return fd;
}

}  // namespace

TEST_CASE("each of several files is flushed, and each has its own outcome") {
  const std::size_t count = GENERATE(1U, 2U, 50U, kMaxFlushes);
  int ends[2] = {-1, -1};
  REQUIRE(::pipe(ends) == 0);
  const Fd reader(ends[0]);
  const Fd writer(ends[1]);
  std::vector<Fd> files;
  std::vector<int> fds;
  std::vector<int> expected;
  for (std::size_t i = 0; i < count; ++i) {
    files.push_back(file_in("."));
    // Some are no files, and one is not open at all.
    const bool is_pipe = i % 7 == 3;
    const bool is_closed = i == 11;
    fds.push_back(is_closed ? 1'000'000 : is_pipe ? writer.get() : files.back().get());
    expected.push_back(is_closed ? EBADF : is_pipe ? EINVAL : 0);
  }
  for (int round = 0; round < 3; ++round) {
    std::vector<int> errors(count, -1);
    flush_all(fds, errors);
    CHECK(errors == expected);
  }
}

TEST_CASE("threads flush beside each other") {
  std::vector<std::thread> threads;
  std::vector<int> sums(8, -1);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    threads.emplace_back([&sums, i] {
      std::vector<Fd> files;
      std::vector<int> fds;
      for (int n = 0; n < 20; ++n) {
        files.push_back(Fd(::memfd_create("flush", MFD_CLOEXEC)));
        fds.push_back(files.back().get());
      }
      std::vector<int> errors(fds.size(), -1);
      flush_all(fds, errors);
      sums[i] = 0;
      for (const int error : errors) sums[i] += error;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(sums == std::vector<int>(8, 0));
}

}  // namespace postern::sys
