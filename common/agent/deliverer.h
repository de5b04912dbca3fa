// deliverer.h - the process that has the recipient's rights and touches the recipient's files.
//
// It reads jobs from its socket and answers each; some at once, so that their flushes share the
// disk's work. Its threads all wait on the one socket: a job costs one wake-up, and under load
// none. It ends when the other side closes. main never has two jobs for one mbox under way here.

#pragma once

#include "common/agent/jobs.h"
#include "common/sys/fd.h"

namespace postern::agent {

// Jobs at once in one deliverer; main keeps the rest.
inline constexpr unsigned kDelivererThreads = 24;
// Deliveries to Maildirs that are flushed together.
inline constexpr unsigned kMaxBatch = 64;

// Serves until the socket closes.
void serve_jobs(int socket);

// One job. `fd` is the queue file; for kOpen the opened file goes to *opened.
[[nodiscard]] JobReply do_job(const Job& job, int fd, sys::Fd* opened);

}  // namespace postern::agent
