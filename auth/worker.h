// worker.h - one worker of the auth daemon: takes a job, does it, however long that takes.

#pragma once

namespace postern::auth {

// Until the front closes its end of the socket.
void serve_auth_jobs(int socket);

}  // namespace postern::auth
