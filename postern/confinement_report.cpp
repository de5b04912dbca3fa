#include "postern/confinement_report.h"

#include <dirent.h>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "common/base/number.h"
#include "common/base/text.h"
#include "common/daemon/confinement.h"
#include "common/sys/sandbox.h"

namespace postern::control {

namespace {

struct Running {
  pid_t pid = 0;
  pid_t parent = 0;
  std::string program;
  std::string service;
  std::map<std::string, std::string, std::less<>> status;  // of /proc/PID/status
  std::string root;
  std::string network;
};

std::string link_of(pid_t pid, std::string_view name) {
  const std::string path = fmt::format("/proc/{}/{}", pid, name);
  std::string target(4096, '\0');
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  target.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
  return target;
}

// What follows -n on the command line of a daemon.
std::string service_of(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/cmdline", pid), std::ios::binary);
  std::string word;
  bool is_next = false;
  while (std::getline(file, word, '\0')) {
    if (is_next) return word;
    is_next = word == "-n";
  }
  return "-";
}

std::optional<Running> read_process(pid_t pid) {
  Running running;
  running.pid = pid;
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  std::string line;
  while (std::getline(file, line)) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    running.status[line.substr(0, colon)] = trim(std::string_view(line).substr(colon + 1));
  }
  running.parent = parse_integer<pid_t>(running.status["PPid"], 0).value_or(0);
  const std::string program = link_of(pid, "exe");
  if (program.empty()) return std::nullopt;
  running.program = program.substr(program.rfind('/') + 1);
  running.service = service_of(pid);
  running.root = link_of(pid, "root");
  running.network = link_of(pid, "ns/net");
  return running;
}

std::vector<Running> read_all() {
  std::vector<Running> all;
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
  if (!proc) return all;
  while (const dirent* const entry = ::readdir(proc.get())) {
    const auto pid = parse_integer<pid_t>(entry->d_name, 1);
    if (!pid) continue;
    if (auto running = read_process(*pid)) all.push_back(*std::move(running));
  }
  return all;
}

// master itself and all that descend from it.
std::vector<Running> family_of(pid_t master) {
  const std::vector<Running> all = read_all();
  std::vector<Running> family;
  const auto is_in = [&family](pid_t pid) {
    return std::ranges::any_of(family, [pid](const Running& each) { return each.pid == pid; });
  };
  for (bool has_grown = true; has_grown;) {
    has_grown = false;
    for (const Running& each : all) {
      if (is_in(each.pid) || (each.pid != master && !is_in(each.parent))) continue;
      family.push_back(each);
      has_grown = true;
    }
  }
  std::ranges::sort(family, [](const Running& a, const Running& b) {
    return std::tie(a.program, a.service, a.pid) < std::tie(b.program, b.service, b.pid);
  });
  return family;
}

std::string field(const Running& running, std::string_view name) {
  const auto found = running.status.find(name);
  return found == running.status.end() ? std::string() : found->second;
}

std::string user_of(const Running& running) {
  const std::string ids = field(running, "Uid");
  // Real, effective, saved and that of the file system: a confined process has one.
  const auto uid = parse_integer<uid_t>(ids.substr(0, ids.find('\t')), 0).value_or(0);
  const passwd* const entry = ::getpwuid(uid);
  return entry == nullptr ? fmt::format("{}", uid) : entry->pw_name;
}

// Brokers, workers and deliverers have the program of their daemon, and a name of their own. The
// kernel shows 15 characters of it.
bool is_daemon_itself(const Running& running) {
  return field(running, "Name") == running.program.substr(0, 15);
}

std::string calls_of(const Running& running) {
  if (field(running, "Seccomp") != "2") return "all";
  return is_daemon_itself(running) && daemon::is_confined(running.program) ? "filtered"
                                                                           : "restricted";
}

// Only a process that confines itself has a filter; the same code gives it its Landlock rules.
std::string files_of(const Running& running, std::string_view calls) {
  if (calls != "filtered" || sys::sandbox_means().landlock == 0) return "by owner and mode";
  return daemon::describe_files(running.program);
}

}  // namespace

std::string print_confinement(pid_t master) {
  std::vector<std::vector<std::string>> rows = {{"DAEMON", "SERVICE", "PID", "USER", "ROOT",
                                                 "NETWORK", "SYSTEM CALLS", "NEW RIGHTS",
                                                 "CAPABILITIES", "FILES"}};
  const std::string own_network = link_of(master, "ns/net");
  for (const Running& running : family_of(master)) {
    const std::string calls = calls_of(running);
    const std::string capabilities = field(running, "CapEff");
    const bool has_none = capabilities.find_first_not_of('0') == std::string::npos;
    rows.push_back({running.program, running.service, fmt::format("{}", running.pid),
                    user_of(running), running.root,
                    running.network == own_network ? "host" : "empty", calls,
                    field(running, "NoNewPrivs") == "1" ? "never" : "by exec",
                    has_none ? "none" : capabilities, files_of(running, calls)});
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t width = 0;
      for (const auto& other : rows) width = std::max(width, other[column].size());
      const bool is_last = column + 1 == row.size();
      line += is_last ? row[column] : fmt::format("{:<{}}  ", row[column], width);
    }
    out += line + "\n";
  }
  return out;
}

}  // namespace postern::control
