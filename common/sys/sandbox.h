// sandbox.h - what a process keeps of the kernel for itself, for good: Landlock for files and
// signals, seccomp for system calls, an empty network.
//
// A Sandbox is prepared while its files can still be found, before a chroot, and enforced when
// there is nothing left to do that it forbids and before the first thread. Each means is used where
// the kernel has it.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/sys/fd.h"

namespace postern::sys {

// Groups of system calls that a process may make, besides those with which it computes, waits, and
// uses the descriptors that it holds or is handed.
enum class Calls : std::uint8_t {
  kOpen = 1,        // to open files for reading, to list directories
  kChange = 2,      // to create, write, rename and remove files
  kNeighbours = 4,  // to connect to UNIX sockets
  kInternet = 8,    // to open network sockets
  kMakeCode = 16,   // memory with code that was made at run time
};
constexpr std::uint8_t operator|(Calls a, Calls b) {
  return static_cast<std::uint8_t>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr std::uint8_t operator|(std::uint8_t a, Calls b) {
  return static_cast<std::uint8_t>(a | static_cast<unsigned>(b));
}

struct FileRule {
  std::string path;  // a file, or a directory with all below; one that is not there is left out
  bool may_change = false;
};

struct SandboxSpec {
  std::uint8_t calls = 0;       // of Calls
  std::vector<FileRule> files;  // no other file is reached, but for the time zones
};

// What the kernel has of it.
struct SandboxMeans {
  int landlock = 0;  // version of its interface, 0 for none
  bool has_seccomp = false;
};
[[nodiscard]] SandboxMeans sandbox_means();

class Sandbox {
 public:
  // Opens what the rules name. Errors other than a kernel without Landlock are reported.
  [[nodiscard]] static Result<Sandbox> prepare(const SandboxSpec& spec);
  // Precondition: no_new_privs is set, and there is one thread. A call outside of the groups gives
  // EPERM; in a debug build those that no library tries by itself end the process.
  [[nodiscard]] Result<void> enforce() const;

 private:
  Fd ruleset_;
  std::uint8_t calls_ = 0;
};

// For processes that run what others wrote: commands, modules of PAM. They may do all that programs
// do, but not trace other processes, change mounts, modules, swap or the clock, nor use what few
// programs do and many attacks on the kernel need (bpf, userfaultfd, keyrings, io_uring): there the
// kernel is as if it had been built without. It stays over exec, for set-uid programs, too. Needs
// CAP_SYS_ADMIN or no_new_privs, and one thread.
[[nodiscard]] Result<void> forbid_system_changes();

// A network without any address or route: what runs in it reaches nobody by TCP, UDP or raw
// sockets. Made once and entered by many. Needs root and one thread.
[[nodiscard]] Result<Fd> make_empty_network();

}  // namespace postern::sys
