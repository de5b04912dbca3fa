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
#include "tests/support/folder.h"

namespace postern::postlog {

namespace {

std::string content(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

config::LogParams params_for(const Folder& directory) {
  config::LogParams params;
  params.maillog_file = directory / "log";
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
  const Folder directory;
  Sinks sinks = open_sinks(params_for(directory));
  put(sinks, kText);
  put(sinks, kJson);
  CHECK(content(directory / "log") == "Nov 24 13:53:56 h t[1]: x\n");
  struct stat status{};
  REQUIRE(::stat((directory / "log").c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("json lines replace the classic ones, or go to a file of their own") {
  const Folder directory;
  config::LogParams params = params_for(directory);
  params.maillog_format = "json";
  const bool is_split = GENERATE(false, true);
  if (is_split) params.maillog_json_file = directory / "json";
  Sinks sinks = open_sinks(params);
  put(sinks, kText);
  put(sinks, kJson);
  CHECK(content(directory / "log") == (is_split ? "Nov 24 13:53:56 h t[1]: x\n" : "{}\n"));
  if (is_split) CHECK(content(directory / "json") == "{}\n");
}

TEST_CASE("a file outside of maillog_file_prefixes is not touched") {
  const Folder directory;
  config::LogParams params = params_for(directory);
  params.maillog_file_prefixes = {"/var"};
  const Sinks sinks = open_sinks(params);
  CHECK(sinks.problems.size() == 1);
  CHECK_FALSE(std::filesystem::exists(directory / "log"));
}

TEST_CASE("a log file that is a link counts only where root or we have made it") {
  const Folder directory;
  const std::string victim = directory / "victim";
  std::ofstream(victim) << "old\n";
  const auto params = params_for(directory);
  const bool is_relative = GENERATE(false, true);
  std::filesystem::create_symlink(is_relative ? "victim" : victim, params.maillog_file);
  Sinks sinks = open_sinks(params);
  CHECK(sinks.problems.empty());
  put(sinks, kText);
  CHECK(content(victim) == "old\n" + std::string(kText.line) + "\n");
  if (::geteuid() != 0) return;
  // Of whoever may change the directory.
  REQUIRE(::lchown(params.maillog_file.c_str(), 65534, 65534) == 0);
  std::ofstream(victim) << "old\n";
  sinks = open_sinks(params);
  REQUIRE(sinks.problems.size() == 1);
  CHECK(sinks.problems.front().ends_with("/log is a link of somebody else's"));
  put(sinks, kText);
  CHECK(content(victim) == "old\n");
}

TEST_CASE("links of links are followed, and those that go round are not") {
  const Folder directory;
  const auto params = params_for(directory);
  const bool goes_round = GENERATE(false, true);
  std::filesystem::create_symlink("one", params.maillog_file);
  std::filesystem::create_symlink("two", directory / "one");
  if (goes_round) {
    std::filesystem::create_symlink("log", directory / "two");
  } else {
    std::ofstream(directory / "two") << "";
  }
  CHECK(open_sinks(params).problems.size() == (goes_round ? 1 : 0));
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
