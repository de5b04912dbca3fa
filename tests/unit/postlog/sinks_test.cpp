#include "postlog/sinks.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/config/tool_log.h"

namespace postern::postlog {

namespace {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = "/tmp/postlog-test-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string file(std::string_view name) const {
    return fmt::format("{}/{}", path_, name);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string content(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

config::LogParams params_for(const ScratchDirectory& directory) {
  config::LogParams params;
  params.maillog_file = directory.file("log");
  params.maillog_file_prefixes = {directory.path()};
  params.maillog_file_permissions = "0640";
  params.maillog_format = "classic";
  return params;
}

const Record kText{RecordKind::kText, log::Level::kInfo, "Nov 24 13:53:56 h t[1]: x"};
const Record kJson{RecordKind::kJson, log::Level::kInfo, "{}"};

void put(Sinks& sinks, const Record& record) {
  for (const auto& sink : sinks.sinks) {
    if (sink->wants(record.kind)) sink->put(record);
  }
  for (const auto& sink : sinks.sinks) sink->flush();
}

}  // namespace

TEST_CASE("classic lines go to maillog_file, which is made with its mode") {
  const ScratchDirectory directory;
  Sinks sinks = open_sinks(params_for(directory));
  put(sinks, kText);
  put(sinks, kJson);
  CHECK(content(directory.file("log")) == "Nov 24 13:53:56 h t[1]: x\n");
  struct stat status{};
  REQUIRE(::stat(directory.file("log").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("json lines replace the classic ones, or go to a file of their own") {
  const ScratchDirectory directory;
  config::LogParams params = params_for(directory);
  params.maillog_format = "json";
  const bool is_split = GENERATE(false, true);
  if (is_split) params.maillog_json_file = directory.file("json");
  Sinks sinks = open_sinks(params);
  put(sinks, kText);
  put(sinks, kJson);
  CHECK(content(directory.file("log")) == (is_split ? "Nov 24 13:53:56 h t[1]: x\n" : "{}\n"));
  if (is_split) CHECK(content(directory.file("json")) == "{}\n");
}

TEST_CASE("a file outside of maillog_file_prefixes is not touched") {
  const ScratchDirectory directory;
  config::LogParams params = params_for(directory);
  params.maillog_file_prefixes = {"/var"};
  const Sinks sinks = open_sinks(params);
  CHECK(sinks.problems.size() == 1);
  CHECK_FALSE(std::filesystem::exists(directory.file("log")));
}

TEST_CASE("what a full disk does not take is dropped and counted") {
  sys::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full);
  FileSink sink(std::move(full), RecordKind::kText);
  sink.put(kText);
  sink.put(kText);
  sink.flush();
  CHECK(sink.dropped() == 2);
}

TEST_CASE("prefixes are whole directories") {
  const std::vector<std::string> prefixes = {"/var", "/dev/stdout", "/srv/log/"};
  CHECK(config::is_allowed_log_file("/var/log/maillog", prefixes));
  CHECK(config::is_allowed_log_file("/dev/stdout", prefixes));
  CHECK(config::is_allowed_log_file("/srv/log/mail", prefixes));
  CHECK_FALSE(config::is_allowed_log_file("/variant/log", prefixes));
  CHECK_FALSE(config::is_allowed_log_file("/etc/passwd", prefixes));
  CHECK_FALSE(config::is_allowed_log_file("/dev/stdout2", prefixes));
}

TEST_CASE("facilities have the names of syslog.conf") {
  CHECK(syslog_facility("mail") == LOG_MAIL);
  CHECK(syslog_facility("local3") == LOG_LOCAL3);
  CHECK(syslog_facility("nonsense") == LOG_MAIL);
}

}  // namespace postern::postlog
