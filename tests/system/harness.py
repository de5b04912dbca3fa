"""harness.py - what every system test stands on: a private machine, a mail system in it, its peers.

A test is a program that calls main() with its scenarios. main() starts itself again in mount,
network and PID namespaces of its own, so that ports, /etc and processes are private and nothing
is left running whatever happens. Without root or namespaces the test is skipped (status 77).

    /mnt/postern          the installed tree (POSTERN_TEST_PREFIX); conf and var are private
    /mnt/real             the same again, for wrappers that stand in the place of a daemon
    /mnt/conf             main.cf, master.cf, tables
    /mnt/mail, /mnt/log   mailboxes, the mail log
    192.0.2.1             the mail system; any address of 198.51.100.0/24 can be a peer
    127.0.0.53            the name server

Nothing here sleeps for a fixed time to wait for something: wait_for() looks until a deadline. Such a
deadline is for what never comes, and long; how fast something has to be is asserted apart, for a machine
that has nothing else to do: is_quiet() says whether it has.
"""
import contextlib
import glob
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

SKIPPED = 77
ROOT = "/mnt"
PREFIX, REAL = ROOT + "/postern", ROOT + "/real"
CONF, VAR, MAIL, LOG, SUPPORT = (ROOT + d for d in ("/conf", "/postern/var", "/mail", "/log", "/support"))
QUEUE = VAR + "/spool/postern"
HOST = "192.0.2.1"
CLIENT = "198.51.100.200"  # a stranger
USERS = {"postfix": 2090, "alice": 2001, "bob": 2002, "vmail": 2005}
# The accounts of daemons; they share a group.
ROLES = {"postern-in": 2093, "postern-out": 2094, "postern-chk": 2095, "postern-key": 2096,
         "postern-auth": 2097, "postern-log": 2098}
GROUPS = {"postfix": 2090, "postdrop": 2091, "postern": 2092, "alice": 2001, "bob": 2002, "vmail": 2005}

PARAMETERS = {
    "compatibility_level": "3.6",
    "myhostname": "mx.home.test",
    "mydomain": "home.test",
    "myorigin": "$mydomain",
    "mydestination": "$myhostname, localhost.$mydomain, localhost, $mydomain",
    "mynetworks": "127.0.0.0/8, 192.0.2.1/32",
    "inet_interfaces": HOST + ", 127.0.0.1",
    "inet_protocols": "ipv4",
    "maillog_file": LOG,
    "maillog_file_prefixes": ROOT,
    "mail_spool_directory": MAIL,
    "alias_maps": "",
    "alias_database": "",
    "virtual_mailbox_domains": "box.test",
    "virtual_mailbox_base": MAIL,
    "virtual_mailbox_maps": "texthash:" + CONF + "/boxes",
    "virtual_uid_maps": "static:2005",
    "virtual_gid_maps": "static:2005",
    "virtual_minimum_uid": "100",
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "1000",
    "smtpd_junk_command_limit": "10000",
    "in_flow_delay": "0",
    "biff": "no",
    # Soon again, so that a test need not wait.
    "queue_run_delay": "1s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "2s",
    "transport_retry_time": "1s",
}

MASTER = """\
smtp      inet  n  -  n  -  -  smtpd
pickup    unix  n  -  n  1  1  pickup
cleanup   unix  n  -  n  -  0  cleanup
qmgr      unix  n  -  n  300 1 qmgr
rewrite   unix  -  -  n  -  -  trivial-rewrite
bounce    unix  -  -  n  -  0  bounce
defer     unix  -  -  n  -  0  bounce
trace     unix  -  -  n  -  0  bounce
showq     unix  n  -  n  -  -  showq
error     unix  -  -  n  -  -  error
retry     unix  -  -  n  -  -  error
discard   unix  -  -  n  -  -  discard
local     unix  -  n  n  -  -  local
virtual   unix  -  n  n  -  -  virtual
smtp      unix  -  -  n  -  -  smtp
relay     unix  -  -  n  -  -  smtp
lmtp      unix  -  -  n  -  -  lmtp
anvil     unix  -  -  n  -  1  anvil
postlog   unix-dgram n - n  -  1  postlogd
"""

BOXES = "".join(f"u{n}@box.test u{n}/\n" for n in range(10))

ZONE = {
    "mx.home.test A": ["192.0.2.1"],
    "home.test MX": ["10 mx.home.test"],
    "away.test MX": ["10 mx.away.test"],
    "mx.away.test A": ["198.51.100.25"],
}


# -- the private machine ------------------------------------------------------------------------

def run(*argv, **options):
    return subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, **options)


def main(scenarios):
    """Runs each function of `scenarios`; an argument of the program names the ones wanted."""
    if os.environ.get("POSTERN_TEST_WORLD") != "1":
        start_world()
    os.environ["POSTERN_TEST_WORLD"] = "0"
    # The first process of a PID namespace inherits what daemons leave behind.
    child = os.fork()
    if child:
        while True:
            pid, status = os.wait()
            if pid == child:
                os._exit(os.waitstatus_to_exitcode(status) & 255)
    try:
        build_world()
        wanted = sys.argv[1:]
        for scenario in scenarios:
            if wanted and scenario.__name__ not in wanted:
                continue
            begun = time.monotonic()
            scenario()
            print(f"ok   {scenario.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)
        status = 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def start_world():
    if os.geteuid() != 0:
        print("skipped: needs root")
        sys.exit(SKIPPED)
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    if subprocess.run(words + ["ip", "link", "set", "lo", "up"], stderr=subprocess.DEVNULL,
                      check=False).returncode:
        print("skipped: this system gives no namespaces")
        sys.exit(SKIPPED)
    os.environ["POSTERN_TEST_WORLD"] = "1"
    os.execvp(words[0], words + [sys.executable] + sys.argv)


def build_world():
    prefix = os.open(os.environ["POSTERN_TEST_PREFIX"], os.O_PATH)
    support = os.open(os.environ.get("POSTERN_TEST_SUPPORT", "/"), os.O_PATH)
    run("ip", "link", "set", "lo", "up")
    run("ip", "addr", "add", HOST + "/32", "dev", "lo")
    run("ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", ROOT)
    for path, fd in ((PREFIX, prefix), (REAL, prefix), (SUPPORT, support)):
        os.mkdir(path)
        run("mount", "--bind", f"/proc/self/fd/{fd}", path, pass_fds=[fd])
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", VAR)
    for path in (CONF, MAIL, ROOT + "/etc", ROOT + "/home"):
        os.mkdir(path)
    os.mkdir(PREFIX + "/etc") if not os.path.isdir(PREFIX + "/etc") else None
    run("mount", "--bind", CONF, PREFIX + "/etc/postern")
    private_etc()


def private_etc():
    """Accounts with the same numbers on every machine, our own name server, no other hosts."""
    with open("/etc/passwd", encoding="utf-8") as file:
        passwd = [line for line in file.read().splitlines()
                  if line.split(":")[0] not in USERS | ROLES]
    with open("/etc/group", encoding="utf-8") as file:
        group = [line for line in file.read().splitlines() if line.split(":")[0] not in GROUPS]
    passwd += [f"{name}:x:{uid}:{uid}:{name.capitalize()} Test:{ROOT}/home/{name}:/bin/sh"
               for name, uid in USERS.items()]
    passwd += [f"{name}:x:{uid}:{GROUPS['postern']}::/nonexistent:/usr/sbin/nologin"
               for name, uid in ROLES.items()]
    group += [f"{name}:x:{gid}:" for name, gid in GROUPS.items()]
    files = {
        "passwd": "\n".join(passwd) + "\n",
        "group": "\n".join(group) + "\n",
        "hosts": "127.0.0.1 localhost\n",
        "resolv.conf": "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n",
    }
    for name, text in files.items():
        write(f"{ROOT}/etc/{name}", text)
        target = "/etc/" + name
        if os.path.exists(target):
            # resolv.conf is often a link to a place that this machine does not have.
            run("mount", "--bind", f"{ROOT}/etc/{name}", os.path.realpath(target))
    for name in ("alice", "bob"):
        os.makedirs(f"{ROOT}/home/{name}", exist_ok=True)
        os.chown(f"{ROOT}/home/{name}", USERS[name], USERS[name])


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def wait_for(what, condition, seconds=30.0):
    """The first true value of condition(); an AssertionError that says `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def is_quiet(seconds=0.3):
    """Whether others leave us this machine, looked at for a moment in which we do nothing. Bounds of
    time that ordinary work of others would break are for quiet machines."""
    def ticks():
        user, nice, system, idle, wait, *rest = map(int, read("/proc/stat").split(b"\n")[0].split()[1:9])
        return idle + wait, user + nice + system + idle + wait + sum(rest)
    idle, every = ticks()
    time.sleep(seconds)
    idle_later, every_later = ticks()
    return (idle_later - idle > 0.7 * (every_later - every) and
            os.getloadavg()[0] < os.cpu_count() + 1 and not os.environ.get("POSTERN_TEST_SANITIZE"))


def check(condition, *what):
    if not condition:
        raise AssertionError(" ".join(str(w) for w in what))


def check_equal(seen, wanted, what=""):
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r} instead of {wanted!r}")


def digest(content):
    return hashlib.sha256(content).hexdigest()[:16]


# -- the mail system ----------------------------------------------------------------------------

class Mta:
    """One mail system, from its configuration to its end. Use as `with Mta(...) as mta:`."""

    def __init__(self, parameters=None, master=(), boxes=BOXES, zone=None, start=True,
                 may_log=r"(?!)", var_options=None):
        self.parameters = dict(PARAMETERS)
        self.parameters.update(parameters or {})
        self.master = list(master)
        self.boxes = boxes
        self.zone = dict(ZONE)
        self.zone.update(zone or {})
        self.wants_start = start
        self.may_log = may_log
        self.var_options = var_options
        self.closers = []

    def __enter__(self):
        for folder in (MAIL, CONF, VAR):
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        if os.path.exists(LOG):
            os.unlink(LOG)
        if self.var_options:
            run("mount", "-t", "tmpfs", "-o", "mode=755," + self.var_options, "tmpfs", VAR)
        os.chmod(MAIL, 0o1777)
        for number in range(10):
            os.mkdir(f"{MAIL}/u{number}")
            os.chown(f"{MAIL}/u{number}", USERS["vmail"], USERS["vmail"])
        self.dns = name_server(self.zone)
        write(CONF + "/boxes", self.boxes)
        self.write_main_cf()
        text = MASTER
        for line in self.master:
            # A fifo takes the place of the socket of its name.
            key = line.replace("fifo", "unix").split()[:2]
            text = "".join(old for old in text.splitlines(True) if old.split()[:2] != key)
            text += line + "\n"
        write(CONF + "/master.cf", text)
        if self.wants_start:
            self.start()
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.stop()
                self.check_log()
        except BaseException:
            self.tell()
            raise
        else:
            if kind is not None:
                self.tell()
        finally:
            for pid in daemons():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(AssertionError):
                wait_for("end of all daemons", lambda: not daemons(), 5)
            for closer in self.closers:
                closer.close()
            if self.var_options:
                run("umount", "-l", VAR)

    def tell(self):
        """What a person needs to see of a failure."""
        lines = self.log().splitlines()
        print(f"-- the last of {len(lines)} log lines", *lines[-60:], sep="\n")
        odd = [line for line in lines if re.search(r"warning|error|fatal|panic|signal", line)]
        print(f"-- the first of {len(odd)} odd ones", *odd[:30], sep="\n")
        with contextlib.suppress(Exception):
            print("-- queue", *self.queue()[:20], sep="\n")
        sys.stdout.flush()

    def write_main_cf(self, **changes):
        self.parameters.update(changes)
        write(CONF + "/main.cf", "".join(f"{k} = {v}\n" for k, v in self.parameters.items()))

    # A daemon that ends in an unplanned way says so in the log; a scenario that plans it says
    # may_log.
    def check_log(self):
        odd = [line for line in self.log().splitlines()
               if re.search(r" (panic|fatal): |killed by signal|exit status [1-9]|Assert", line)
               and not re.search(self.may_log, line)]
        check(not odd, "unexpected in the log:", *odd[:5])

    def sink(self, address="198.51.100.25", **options):
        sink = Sink(address, **options)
        self.closers.append(sink)
        return sink

    def start(self):
        done = self.tool("postern", "start")
        check_equal(done.returncode, 0, "postern start: " + done.stderr.decode())

    def stop(self):
        if not daemons():
            return
        done = self.tool("postern", "stop")
        check_equal(done.returncode, 0, "postern stop: " + done.stderr.decode())
        wait_for("end of all daemons", lambda: not daemons())

    def restart(self):
        """With a new configuration, for a scenario that does not look until it counts: a reload is over
        before each daemon has taken it up."""
        self.stop()
        self.start()

    def tool(self, name, *words, data=b"", user=None, timeout=60):
        """A command of the installed tree; gives the finished process."""
        path = next(p for p in (f"{PREFIX}/{d}/{name}" for d in ("sbin", "bin"))
                    if os.path.exists(p))
        extra = {}
        if user:
            extra = {"user": USERS[user], "group": USERS[user], "extra_groups": []}
        return subprocess.run([path, *words], input=data, capture_output=True, cwd="/",
                              timeout=timeout, check=False, **extra,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"})

    def log(self):
        try:
            return read(LOG).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def wait_log(self, pattern, after=0, seconds=30.0):
        return wait_for(f"log line {pattern!r}",
                        lambda: re.search(pattern, self.log()[after:], re.M), seconds)

    def queue(self):
        done = self.tool("postqueue", "-j")
        return [json.loads(line) for line in done.stdout.decode().splitlines() if line.strip()]

    def wait_drained(self, seconds=40.0, may_be_unfinished=False):
        """Until no message is left; says which ones are when they do not go."""
        deadline = time.monotonic() + seconds
        flushed = 0.0
        while True:
            left = [path for path in queue_files()
                    if not (may_be_unfinished and is_unfinished(path))]
            if not left:
                return
            now = time.monotonic()
            if now > deadline:
                raise AssertionError(f"still queued after {seconds} s: {left[:5]} of {len(left)}")
            if now - flushed > 1.0:
                self.tool("postqueue", "-f")
                flushed = now
            time.sleep(0.05)


def queue_files():
    """Everything in the queue. deferred/ is looked at before and after active/, so that a message
    that moves between them is not overlooked."""
    return sorted({
        os.path.join(folder, name)
        for queue in ("maildrop", "incoming", "deferred", "active", "deferred", "hold", "corrupt")
        for folder, _, names in os.walk(f"{QUEUE}/{queue}") for name in names})


def is_unfinished(path):
    """Left behind by a cleanup that died: nobody was told that it is a message."""
    with contextlib.suppress(FileNotFoundError):
        return "/incoming/" in path and os.stat(path).st_mode & 0o777 == 0o600
    return True


def daemons(program=None):
    """{pid: program} of what runs from the installed tree's daemon directory."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            exe = os.readlink(f"/proc/{entry}/exe")
        except OSError:
            continue
        folder, name = os.path.split(exe.removesuffix(" (deleted)"))
        if folder.endswith("/libexec/postern") and program in (None, name):
            found[int(entry)] = name
    return found


def maildir(name):
    """The messages of a mailbox, as bytes."""
    return [read(path) for path in sorted(glob.glob(f"{MAIL}/{name}/new/*"))]


def body_of(message):
    """What stands behind the header, line ends as LF."""
    return message.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


# -- faults -------------------------------------------------------------------------------------

class Faults:
    """The control page of the preloaded library (tests/support/faults.cpp) in one daemon."""
    CALLS = {"open": 1, "write": 2, "fchmod": 4, "fsync": 8, "close": 16, "unlink": 32, "rename": 64,
             "pwrite": 128, "fork": 256, "utimens": 512, "connect": 1024, "send": 2048, "receive": 4096}
    FAIL, KILL_BEFORE, KILL_AFTER, DELAY = 1, 2, 3, 4  # DELAY: a flush takes `error` milliseconds
    PATH = ROOT + "/faults"

    def __init__(self, program):
        write(self.PATH, "\0" * 4096, 0o666)
        self.file = open(self.PATH, "r+b", buffering=0)
        script = f"{ROOT}/faulty-{program}"
        write(script, "#!/bin/sh\n"
              f"LD_PRELOAD={SUPPORT}/libfaults.so POSTERN_TEST_FAULTS={self.PATH}\n"
              "export LD_PRELOAD POSTERN_TEST_FAULTS\n"
              f'exec {REAL}/libexec/postern/{program} "$@"\n', 0o755)
        self.target = f"{PREFIX}/libexec/postern/{program}"
        run("mount", "--bind", script, self.target)

    def plan(self, calls, action, error=0, at=0, chance=0):
        """The call number `at` of these kinds, or each of them when 0; or so many of a thousand."""
        mask = sum(self.CALLS[call] for call in calls)
        self.file.seek(0)
        self.file.write(struct.pack("=IiIiII", mask, error, action, at, 0, chance))

    def off(self):
        self.plan((), 0)

    def hits(self):
        """How many calls were counted since the last plan()."""
        self.file.seek(0)
        return struct.unpack("=IiIiI", self.file.read(20))[4]

    def close(self):
        self.file.close()
        run("umount", self.target)


class LaterClock:
    """One daemon that starts from now on sees a later time of day (tests/support/clock.cpp), which
    set() changes while it runs."""
    PATH = ROOT + "/clock"

    def __init__(self, program, seconds):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.PATH)  # it may be mapped
        self.file = open(self.PATH, "w+b", buffering=0)
        self.set(seconds)
        script = f"{ROOT}/later-{program}"
        write(script, "#!/bin/sh\n"
              f"LD_PRELOAD={SUPPORT}/libclock.so POSTERN_TEST_CLOCK={self.PATH}\n"
              "export LD_PRELOAD POSTERN_TEST_CLOCK\n"
              f'exec {REAL}/libexec/postern/{program} "$@"\n', 0o755)
        self.target = f"{PREFIX}/libexec/postern/{program}"
        run("mount", "--bind", script, self.target)

    def set(self, seconds):
        self.file.seek(0)
        self.file.write(struct.pack("=q", seconds))

    def close(self):
        self.file.close()
        run("umount", self.target)


# -- peers --------------------------------------------------------------------------------------

class Client:
    """A small SMTP client. Every wait has a deadline."""

    def __init__(self, address=HOST, port=25, source=None, timeout=30.0, greet=True):
        self.socket = socket.create_connection((address, port), timeout,
                                               (source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if greet:
            self.banner = self.reply()
            self.ehlo = self.command("EHLO client.away.test")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reply(self):
        """(code, text); code 0 is the end of the connection."""
        lines = []
        while True:
            while b"\n" not in self.buffer:
                try:
                    more = self.socket.recv(65536)
                except (ConnectionResetError, BrokenPipeError):
                    more = b""
                if not more:
                    return 0, ""
                self.buffer += more
            line, self.buffer = self.buffer.split(b"\n", 1)
            line = line.rstrip(b"\r").decode("utf-8", "replace")
            lines.append(line)
            if line[3:4] != "-":
                return int(line[:3]), "\n".join(lines)

    def raw(self, data):
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            pass

    def command(self, line):
        self.raw(line.encode() + b"\r\n")
        return self.reply()

    def send(self, sender, recipients, message):
        """One transaction; the code of the first refusal or that of the end of the data."""
        for line in [f"MAIL FROM:<{sender}>"] + [f"RCPT TO:<{r}>" for r in recipients] + ["DATA"]:
            self.last = self.command(line)
            if self.last[0] not in (250, 354):
                return self.last[0]
        self.raw(wire(message) + b".\r\n")
        self.last = self.reply()
        return self.last[0]


def wire(message):
    """With CRLF and doubled dots, as DATA wants it."""
    text = message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if not text.endswith(b"\r\n"):
        text += b"\r\n"
    text = text.replace(b"\r\n.", b"\r\n..")
    return b"." + text if text.startswith(b".") else text


class Server:
    """Accepts until close(); serve(connection) runs in a thread of its own for each."""

    def __init__(self, address, port):
        self.listener = socket.create_server((address, port), backlog=128)
        self.connections = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.add(connection)
            threading.Thread(target=self.guarded, args=(connection,), daemon=True).start()

    def guarded(self, connection):
        try:
            self.serve(connection)
        except OSError:
            pass
        finally:
            self.connections.discard(connection)
            connection.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Message:
    def __init__(self, sender, recipients, content):
        self.sender, self.recipients, self.content = sender, recipients, content


class Sink(Server):
    """An SMTP and LMTP server that keeps what it gets. `replies` gives the bytes said to a verb
    instead, b"" for none; `banner` those said first; `talk(connection)` replaces the whole
    conversation."""

    KEYWORDS = ("PIPELINING", "SIZE 100000000", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN")

    def __init__(self, address, port=25, replies=None, banner=b"220 mx.away.test ESMTP\r\n",
                 talk=None):
        self.messages = []
        self.mail_commands = []
        self.replies = replies or {}
        self.banner = banner
        self.talk = talk
        super().__init__(address, port)

    def serve(self, connection):
        connection.settimeout(60)
        if self.talk:
            self.talk(connection)
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(self.banner)
        buffer = bytearray()
        sender, recipients, is_lmtp = None, [], False
        while True:
            while b"\r\n" not in buffer:
                more = connection.recv(65536)
                if not more:
                    return
                buffer += more
            line, _, rest = bytes(buffer).partition(b"\r\n")
            buffer = bytearray(rest)
            verb = line[:4].decode("latin-1").upper()
            answer = b"250 2.0.0 Ok\r\n"
            if verb in ("EHLO", "LHLO"):
                is_lmtp = verb == "LHLO"
                lines = ["mx.away.test", *self.KEYWORDS]
                answer = "".join(f"250{'- '[i == len(lines) - 1]}{text}\r\n"
                                 for i, text in enumerate(lines)).encode()
            elif verb == "MAIL":
                self.mail_commands.append(line.decode("latin-1"))
                sender, recipients = line[line.find(b"<") + 1:line.find(b">")].decode(), []
            elif verb == "RCPT" and verb not in self.replies:
                recipients.append(line[line.find(b"<") + 1:line.find(b">")].decode())
            elif verb == "DATA" and not recipients:
                answer = b"554 5.5.1 No valid recipients\r\n"
            elif verb == "DATA" and verb not in self.replies:
                connection.sendall(b"354 Go on\r\n")
                end = -1
                while True:
                    if buffer.startswith(b".\r\n"):
                        content, buffer = b"", buffer[3:]
                        break
                    end = buffer.find(b"\r\n.\r\n", max(0, end))
                    if end >= 0:
                        content, buffer = bytes(buffer[:end + 2]), buffer[end + 5:]
                        break
                    end = len(buffer) - 4
                    more = connection.recv(1 << 20)
                    if not more:
                        return
                    buffer += more
                content = content.replace(b"\r\n..", b"\r\n.")
                self.messages.append(
                    Message(sender, recipients, content[content.startswith(b".."):]))
                # RFC 2033 4.2: one answer for each of them.
                answer *= len(recipients) if is_lmtp else 1
            connection.sendall(self.replies.get(verb, answer))
            if verb == "QUIT":
                return

    def wait(self, count, seconds=30.0):
        wait_for(f"{count} messages at the sink", lambda: len(self.messages) >= count, seconds)
        return self.messages


class Dns:
    """A name server on 127.0.0.53. The zone maps "name TYPE" to a list of values, or to SERVFAIL,
    or to SILENCE; a name without any record does not exist."""

    TYPES = {1: "A", 2: "NS", 5: "CNAME", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA",
             33: "SRV"}

    def __init__(self, zone):
        self.zone = zone
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.53", 53))
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                query, source = self.socket.recvfrom(4096)
                answer = self.answer(query)
            except OSError:
                return
            except (IndexError, struct.error):
                continue
            if answer:
                self.socket.sendto(answer, source)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1").lower())
            at += 1 + query[at]
        kind = self.TYPES.get(struct.unpack(">H", query[at + 1:at + 3])[0], "?")
        question = query[12:at + 5]
        name = ".".join(labels)
        values = self.zone.get(f"{name} {kind}", [])
        if values == "SILENCE":
            return None
        exists = any(key.split()[0] == name for key in self.zone)
        code = 2 if values == "SERVFAIL" else 0 if exists else 3
        records = [] if code else [self.record(kind, value) for value in values]
        return (query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(records), 0, 0) + question +
                b"".join(records))

    def record(self, kind, value):
        number = next(n for n, name in self.TYPES.items() if name == kind)
        if kind == "A":
            data = socket.inet_aton(value)
        elif kind == "MX":
            data = struct.pack(">H", int(value.split()[0])) + self.name(value.split()[1])
        elif kind == "SRV":
            *numbers, target = value.split()
            data = struct.pack(">HHH", *map(int, numbers)) + self.name(target)
        elif kind == "TXT":
            text = value.encode()
            parts = [text[at:at + 255] for at in range(0, len(text), 255)] or [b""]
            data = b"".join(bytes([len(part)]) + part for part in parts)
        else:
            data = self.name(value)
        return struct.pack(">HHHIH", 0xC00C, number, 1, 60, len(data)) + data

    @staticmethod
    def name(text):
        return b"".join(bytes([len(p)]) + p.encode() for p in text.split(".") if p) + b"\0"


def name_server(zone, servers=[]):
    """The one of this machine, with another zone."""
    if not servers:
        servers.append(Dns(zone))
    servers[0].zone = zone
    return servers[0]


# -- load ---------------------------------------------------------------------------------------

class Load:
    """Clients that send without pause and remember what was answered with 250."""

    def __init__(self, threads=4, recipients=("u1@box.test", "r@away.test"), size=500, seed=0):
        self.acknowledged = set()
        self.refusals = []
        self.drops, self.reasons = 0, []
        self.slowest = 0.0
        self.is_over = False
        self.recipients, self.size = recipients, size
        self.threads = [threading.Thread(target=self.work, args=(seed, n), daemon=True)
                        for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def work(self, seed, number):
        count = 0
        chance = random.Random(seed * 100 + number)
        while not self.is_over:
            try:
                with Client(timeout=30) as client:
                    if client.banner[0] != 220:
                        raise ConnectionError(client.banner)
                    for _ in range(chance.randint(1, 20)):
                        if self.is_over:
                            return
                        name = f"{seed}-{number}-{count}"
                        count += 1
                        recipient = chance.choice(self.recipients)
                        # Now and then one that does not fit into a single write.
                        filler = b"x" * 70 + b"\n"
                        size = self.size if chance.random() < 0.9 else 300_000
                        text = (f"Subject: load\nX-Load: {name}\n\n".encode() +
                                filler * (size // len(filler)) + f"end {name}\n".encode())
                        begun = time.monotonic()
                        code = client.send("s@away.test", [recipient], text)
                        self.slowest = max(self.slowest, time.monotonic() - begun)
                        if code == 250:
                            self.acknowledged.add(name)
                        elif code == 0:
                            raise ConnectionError("connection closed")
                        else:
                            self.refusals.append(client.last)
                            if code == 421:
                                raise ConnectionError("421")
                            client.command("RSET")
            except OSError as error:
                if not self.is_over:
                    self.drops += 1
                    self.reasons.append(f"{time.strftime('%H:%M:%S')} {error}")
                    time.sleep(0.02)  # a client that was dropped comes back after a moment

    def end(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(60)
            check(not thread.is_alive(), "a client of the load hangs")


def delivered_names(sink=None):
    """{name: copies} of load messages in u0 to u4 and at the sink; a partial one is an
    AssertionError."""
    found = {}
    messages = [m for n in range(5) for m in maildir(f"u{n}")]
    messages += [m.content.replace(b"\r\n", b"\n") for m in (sink.messages if sink else [])]
    for message in messages:
        name = re.search(rb"^X-Load: (\S+)$", message, re.M)
        check(name, "a message without its header:", message[:300])
        check(message.endswith(b"end " + name.group(1) + b"\n"), "a partial message:",
              name.group(1), len(message))
        found[name.group(1).decode()] = found.get(name.group(1).decode(), 0) + 1
    return found


def check_nothing_lost(load, sink=None):
    missing = load.acknowledged - set(delivered_names(sink=sink))
    check(not missing, f"{len(missing)} of {len(load.acknowledged)} acknowledged messages are lost:",
          *sorted(missing)[:5])
