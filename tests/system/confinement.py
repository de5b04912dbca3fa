"""confinement.py - what the running daemons may do, as the kernel sees it."""
import os
import pwd
import re
import socket
import struct

from harness import *

SANITIZED = os.environ.get("POSTERN_TEST_SANITIZE")
OWNER = USERS["postfix"]
# Who may be root: master, and the brokers of local and virtual.
MAY_BE_ROOT = {"master", "local", "virtual"}
CONFINED = {"smtpd", "cleanup", "qmgr", "tables", "resolver", "smtp", "bounce", "pickup", "showq"}
# Whose account is not mail_owner's.
ROLE_OF = {"smtpd": "postern-in", "anvil": "postern-in", "smtp": "postern-out", "sts": "postern-out",
           "local": "postern-out", "virtual": "postern-out", "pipe": "postern-out",
           "error": "postern-out", "discard": "postern-out", "resolver": "postern-chk",
           "mailauth": "postern-chk", "keyring": "postern-key", "auth": "postern-auth",
           "postlog": "postern-log"}
# They hand mail to cleanup.
REACHES_PUBLIC = {"postern-in", "postern-out"}


def status(pid):
    return dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").decode().splitlines()
                if ":\t" in line)


def open_files(pid):
    """{descriptor: what it is}"""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return found


def rights():
    with Mta() as mta:
        mta.sink()
        with Client() as held:
            # One message by every daemon, so that all of them run.
            with Client() as client:
                check_equal(client.send("u1@box.test", ["u1@box.test", "r@away.test",
                                                        "alice@home.test"],
                                        b"Subject: x\n\nx\n"), 250)
            mta.tool("sendmail", "-f", "u1@box.test", "unknown@home.test", data=b"Subject: y\n\ny\n")
            mta.tool("postqueue", "-p")
            mta.wait_drained()
            # In the middle of a message smtpd and cleanup hold what they ever hold.
            held.command("MAIL FROM:<s@away.test>")
            held.command("RCPT TO:<u1@box.test>")
            held.command("DATA")
            held.raw((b"z" * 70 + b"\r\n") * 10_000)
            wait_for("a queue file", lambda: [f for f in queue_files() if "/incoming/" in f])
            running = daemons()
            missing = CONFINED - set(running.values())
            check(not missing, "not running:", *missing)
            roots = []
            for pid, program in running.items():
                facts = status(pid)
                uids = {int(uid) for uid in facts["Uid"].split()}
                if program in CONFINED:
                    role = ROLE_OF.get(program)
                    check_equal(uids, {ROLES[role] if role else OWNER}, f"uids of {program}")
                    check_equal({int(g) for g in facts["Gid"].split()},
                                {GROUPS["postern" if role else "postfix"]}, f"gids of {program}")
                    wanted = {GROUPS["postern" if role else "postfix"]}
                    if role in REACHES_PUBLIC:
                        wanted.add(GROUPS["postdrop"])
                    check_equal({int(g) for g in facts["Groups"].split()}, wanted,
                                f"groups of {program}")
                    check_equal(facts["NoNewPrivs"].strip(), "1", f"NoNewPrivs of {program}")
                    check_equal(int(facts["CapEff"], 16), 0, f"capabilities of {program}")
                elif 0 in uids:
                    roots.append(program)
            check(set(roots) <= MAY_BE_ROOT, "run as root:", *roots)
            for program in ("local", "virtual"):
                check(roots.count(program) <= 1, "more than one broker of", program, *roots)
            smtpd_opens_no_file(running)
            only_cleanup_writes(running)
            is_as_declared(mta, running)


def smtpd_opens_no_file(running):
    for pid, program in running.items():
        if program != "smtpd":
            continue
        for fd, what in open_files(pid).items():
            check(re.match(r"(socket:|pipe:|anon_inode:|/dev/null$|/memfd:)", what),
                  f"smtpd has descriptor {fd} open: {what}")


def only_cleanup_writes(running):
    """Of the message that is coming in; the next hop's agent reads, if anything."""
    for pid, program in running.items():
        for fd, what in open_files(pid).items():
            if "/incoming/" not in what and "/active/" not in what or os.path.isdir(what):
                continue
            flags = int(re.search(rb"^flags:\s+(\d+)", read(f"/proc/{pid}/fdinfo/{fd}"), re.M)[1], 8)
            is_writing = flags & os.O_ACCMODE != os.O_RDONLY
            check(not is_writing or program == "cleanup", f"{program} may write {what}")


class Asker:
    """Questions to a service of the suite over its socket, as a daemon with mail_owner's rights."""
    REQUEST, REPLY, ERROR, NOTICE = 1, 2, 3, 4

    def __init__(self, path):
        os.setegid(GROUPS["postfix"])
        os.seteuid(OWNER)
        try:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(10)
            self.socket.connect(path)
        finally:
            os.seteuid(0)
            os.setegid(0)

    @classmethod
    def over(cls, connection):
        """A peer that has connected to us."""
        self = cls.__new__(cls)
        self.socket = connection
        self.socket.settimeout(10)
        return self

    @staticmethod
    def sized(data):
        check(len(data) < 128)
        return bytes([len(data)]) + data

    @classmethod
    def says_delivered(cls, queue_id, offset, delivery=0, is_last=True):
        """A report (ipc::agent::Report) that the recipient whose state is at this offset has his mail."""
        number = bytes([2 * offset & 127 | 128, 2 * offset >> 7 & 127 | 128, 2 * offset >> 14])
        recipient = b"\1" + cls.sized(number) + b"\2" + cls.sized(b"\2")
        return (b"\1" + cls.sized(bytes([2 * delivery])) + b"\2" + cls.sized(queue_id.encode()) +
                b"\3" + cls.sized(cls.sized(recipient)) + b"\4" + cls.sized(b"\2" if is_last else b"\0"))

    def send(self, kind, number, payload):
        self.socket.sendall(struct.pack("<IHBBI", len(payload), number, kind, 0, 7) + payload)

    def ask(self, number, payload):
        """(kind, payload) of the answer."""
        self.send(self.REQUEST, number, payload)
        stream = self.socket.makefile("rb")
        while True:
            size, _, kind, _, _ = struct.unpack("<IHBBI", stream.read(12))
            payload = stream.read(size)
            if kind in (self.REPLY, self.ERROR):
                return kind, payload

    def look_up(self, table, key, introduced_as=None):
        """(kind, payload) of the answer."""
        if introduced_as:
            program, token = introduced_as
            self.send(self.NOTICE, 0x0207,
                      b"\1" + self.sized(program) + b"\2" + self.sized(token))
        return self.ask(0x0201, b"\1" + self.sized(self.sized(table.encode())) +
                        b"\2" + self.sized(self.sized(b"\1" + self.sized(key.encode()))))


def secrets_are_for_those_who_need_them():
    """A daemon that was taken over has a socket to the tables, and mail_owner's rights."""
    secret, common = "texthash:/mnt/conf/passwords", "texthash:/mnt/conf/routes"
    with Mta({"smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": secret,
              "transport_maps": common, "proxy_read_maps": "proxy:" + secret}, start=False) as mta:
        write(CONF + "/passwords", "away.test user:hunter2\n", 0o600)
        write(CONF + "/routes", "x.test discard:\n")
        mta.start()
        mta.sink()
        for path in ("rewrite", "proxymap"):
            with Client() as client:
                check_equal(client.send("s@away.test", ["r@away.test"], b"Subject: x\n\nx\n"), 250)
            mta.wait_drained()
            for name in (secret, "proxy:" + secret):
                for proof in (None, (b"smtp", b"0" * 32), (b"tables", b"0" * 32)):
                    begin = len(mta.log())
                    kind, payload = Asker(f"{VAR}/spool/postern/private/{path}").look_up(
                        name, "away.test", proof)
                    check_equal(kind, Asker.ERROR, (path, name, payload))
                    check(b"hunter2" not in payload, payload)
                    if path == "rewrite":
                        mta.wait_log(rf"trivial-rewrite\[\d+\]: warning: process {os.getpid()} was "
                                     rf"refused {name}: the table is for smtp only", begin)
        kind, payload = Asker(f"{VAR}/spool/postern/private/rewrite").look_up(common, "x.test")
        check(kind == Asker.REPLY and b"discard:" in payload, kind, payload)
        for pid, program in daemons().items():
            check(not re.search(rb"=[0-9a-f]{32}", read(f"/proc/{pid}/environ")),
                  f"{program} shows its token")


# Besides mail_owner, which owns the queue.
CLIENTS = {"private/keyring": {"postern-in", "postern-out", "postern-chk"},
           "private/anvil": {"postern-in"},
           "private/broker": {"postern-in"},
           "private/resolver": {"postern-in", "postern-out", "postern-chk"},
           "private/rewrite": {"postern-in", "postern-out", "postern-chk", "postern-key", "postern-auth"},
           "private/proxymap": set(),
           "private/mailauth": {"postern-in"},
           "private/sts": {"postern-out"},
           "private/reports": {"postern-out", "postern-chk"},
           "private/postern-auth": {"postern-in", "postern-out"},
           "private/verify": {"postern-in"},
           "public/pickup": set(),
           "public/cleanup": {"postern-in", "postern-out"},
           "public/qmgr": set(),
           "private/bounce": set(),
           "public/flush": {"postern-in"},
           "public/showq": set(),
           "private/local": set(),
           "private/smtp": set()}
TOOLS = {"public/pickup": {"a set-gid tool"}, "public/qmgr": {"a set-gid tool"},
         "public/flush": {"a set-gid tool"}, "public/showq": {"a set-gid tool", "a member"}}


def who_is_let_in(path, callers, seconds):
    """Of {name: (uid, gid, groups)} those whose connection stays for so long, all made at once."""
    answers, children = {}, []
    for name, (uid, gid, groups) in callers.items():
        answers[name], writing = os.pipe()
        children.append(os.fork())
        if children[-1] == 0:
            with contextlib.suppress(BaseException):
                os.setgroups(list(groups))
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                client = socket.socket(socket.AF_UNIX)
                client.connect(path)
                client.settimeout(seconds)
                try:
                    # What greets its clients has let this one in.
                    answer = b"in" if client.recv(1) else b"refused"
                except TimeoutError:
                    answer = b"in"
                os.write(writing, answer)
            os._exit(0)
        os.close(writing)
    found = {name: os.read(reading, 10) for name, reading in answers.items()}
    for reading in answers.values():
        os.close(reading)
    for child in children:
        os.waitpid(child, 0)
    check(all(found.values()), path, "was not reached by all of", found)
    return {name for name, answer in found.items() if answer == b"in"}


def services_are_for_their_clients():
    """The account that is let into the directory of a socket is not let into every service."""
    with Mta({"fast_flush_domains": "away.test"},
             ["verify unix - - n - 1 verify", "flush unix n - n - - flush"]) as mta:
        with Client() as client:
            # One that starts cleanup, virtual, and, by the open connections, the rest.
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
        wait_for("delivery", lambda: len(maildir("u1")) == 1)
        # Whoever has found the way into the directory.
        groups = [GROUPS["postern"], GROUPS["postdrop"]]
        roles = {role: (uid, GROUPS["postern"], groups) for role, uid in ROLES.items()}
        ours = {"root": (0, 0, []), "mail_owner": (OWNER, GROUPS["postfix"], [GROUPS["postdrop"]])}
        alice, drop = USERS["alice"], GROUPS["postdrop"]
        # The set-gid tools of users speak to those that are meant for them. What a site lets into the
        # directory by a further group reads the listing, and no more.
        users = {"a set-gid tool": (alice, drop, []), "a member": (alice, alice, [drop])}
        refused = 0
        for name, wanted in CLIENTS.items():
            callers = roles | ours | (users if name.startswith("public/") else {})
            wanted = wanted | set(ours) | TOOLS.get(name, set())
            others = callers.keys() - wanted
            # Once these are refused the service is there.
            found = who_is_let_in(f"{QUEUE}/{name}", {who: callers[who] for who in others}, 20)
            check_equal(found, set(), name)
            refused += len(others)
            found = who_is_let_in(f"{QUEUE}/{name}", {who: callers[who] for who in wanted}, 0.3)
            check_equal(found, wanted, name)
        # The tool's own bit gives it the group of the machine that built it.
        os.chmod(shutil.copyfile(f"{PREFIX}/sbin/postqueue", f"{ROOT}/postqueue"), 0o755)
        run(f"{ROOT}/postqueue", "-c", CONF, "-s", "away.test", user=USERS["alice"],
            group=GROUPS["postdrop"], extra_groups=[], cwd="/", env={"POSTERN_PREFIX": PREFIX})
        # Each service says it once.
        told = re.findall(r"([\w-]+)\[\d+\]: warning: process \d+ of user 20\d\d was refused", mta.log())
        told_of = {"postern-auth": "auth", "rewrite": "trivial-rewrite"}
        wanted = sorted(told_of.get(name, name) for name in (path.split("/")[1] for path in CLIENTS))
        check_equal(sorted(told), wanted)
        print(f"     {refused} connections of our own accounts were refused")
        # With one account for all there is nobody to be told apart, and mail flows.
        mta.write_main_cf(process_confinement="none")
        mta.stop()
        mta.start()
        for name in CLIENTS:
            check_equal(who_is_let_in(f"{QUEUE}/{name}", ours, 0.3), set(ours), name)


def only_agents_report():
    """qmgr believes those whom it connected to: nobody who connects to it can say that mail was
    delivered."""
    with Mta({"defer_transports": "smtp"}) as mta:
        sink = mta.sink()
        with Client() as client:
            check_equal(client.send("s@away.test", ["r@away.test"], b"Subject: x\n\nx\n"), 250)
            name = re.search(r"queued as (\w+)", client.last[1]).group(1)
        path = wait_for("a deferred message", lambda: glob.glob(f"{QUEUE}/deferred/**/{name}",
                                                                recursive=True))[0]
        asker = Asker(f"{QUEUE}/public/qmgr")
        for offset in range(os.stat(path).st_size):
            asker.ask(0x0503, Asker.says_delivered(name, offset))
        mta.write_main_cf(defer_transports="")
        mta.tool("postern", "reload")
        mta.tool("postqueue", "-f")
        check_equal(sink.wait(1)[0].recipients, ["r@away.test"])
        mta.wait_drained()


def agents_report_their_own_deliveries_only():
    """Who has taken over an agent cannot say that mail was delivered which the agent was not given:
    neither that of another agent, nor that of other recipients of its own message."""
    with Mta({"defer_transports": "smtp",
              "transport_maps": "inline:{ taken.test=taken: }"}) as mta:
        sink = mta.sink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{QUEUE}/private/taken")
        os.chmod(f"{QUEUE}/private/taken", 0o666)
        listener.listen()
        listener.settimeout(15)
        with Client() as client:
            check_equal(client.send("s@away.test", ["r@away.test"], b"Subject: x\n\nx\n"), 250)
            others = re.search(r"queued as (\w+)", client.last[1]).group(1)
            wait_for("a deferred message", lambda: glob.glob(f"{QUEUE}/deferred/**/{others}", recursive=True))
            check_equal(client.send("s@away.test", ["a@taken.test", "b@away.test"], b"Subject: x\n\nx\n"), 250)
            own = re.search(r"queued as (\w+)", client.last[1]).group(1)
        agent = Asker.over(listener.accept()[0])
        agent.send(agent.NOTICE, 0x0501, b"\1" + agent.sized(b"\2"))
        check(agent.socket.recv(1 << 16), "a delivery")
        for offset in range(1500):
            for queue_id, delivery in ((others, 0), (others, 1), (own, 0), (own, 2)):
                agent.ask(0x0503, agent.says_delivered(queue_id, offset, delivery))
        mta.wait_log(f"{others}: process {os.getpid()} reports on a delivery that it was not given")
        # In its own delivery it has the last word, but not of others.
        for offset in range(1500):
            agent.ask(0x0503, agent.says_delivered(own, offset, 1, is_last=False))
        agent.socket.close()
        listener.close()
        os.unlink(f"{QUEUE}/private/taken")
        mta.write_main_cf(defer_transports="")
        mta.restart()
        mta.tool("postqueue", "-f")
        got = [address for letter in sink.wait(2) for address in letter.recipients]
        check_equal(sorted(got), ["b@away.test", "r@away.test"])


# Who reaches the outside, and who runs what others wrote.
HAS_NETWORK = {"master", "broker", "resolver", "smtp", "lmtp", "local", "pipe", "sts", "auth",
               "proxymap"}
IS_UNFILTERED = {"master"}


def is_as_declared(mta, running):
    """By the kernel's own files, and as `postern check -v` tells it."""
    told = mta.tool("postern", "check", "-v", "-c", CONF).stdout.decode()
    rows = {row.split()[2]: row for row in told.splitlines() if re.match(r"\w+ +\S+ +\d+ ", row)}
    host = os.readlink("/proc/self/ns/net")
    for pid, program in running.items():
        facts = status(pid)
        # Brokers and deliverers have names of their own; nobody keeps them to a list of calls.
        is_itself = facts["Name"].strip() == program
        if is_itself and program not in IS_UNFILTERED:
            role = ROLE_OF.get(program)
            check_equal(facts["Uid"].split()[0], str(ROLES[role] if role else OWNER), program)
        has_network = os.readlink(f"/proc/{pid}/ns/net") == host
        check_equal(has_network, program in HAS_NETWORK, f"network of {program}")
        if SANITIZED:
            continue
        if program not in IS_UNFILTERED:
            check_equal(facts["Seccomp"].strip(), "2", f"system calls of {program}")
        row = rows.get(str(pid))
        check(row is not None, program, pid, "is not in", told)
        uid = int(facts["Uid"].split()[0])
        users = [entry.pw_name for entry in pwd.getpwall() if entry.pw_uid == uid] or [str(uid)]
        check(row.split()[3] in users, row, users)
        word = "all" if program in IS_UNFILTERED else "filtered" if is_itself else "restricted"
        check(f" {word} " in row, word, row)
        check_equal(" empty " in row, not has_network, row)
        if program == "smtpd":
            check(row.rstrip().endswith("none"), row)


ATTEMPTS = ["open-queue", "open-passwd", "connect", "signal", "memory", "execute", "code"]


def attempts(mta):
    """What a taken smtpd could do: {attempt: whether it was done}"""
    found = {}
    for name in ATTEMPTS:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{QUEUE}/private/try-{name}")
            # A debug build ends whoever calls what is not his.
            told = mta.wait_log(rf"try-{name}: (.*)|smtpd pid \d+ killed by signal 31")
            found[name] = told.group(1) == "done"
        time.sleep(0.1)
        os.truncate(LOG, 0)
    return found


def hostile_code_gets_nowhere():
    """The same program with the confinement of smtpd and, to see that it is no fake, without."""
    lines = [f"try-{name} unix - - n - - smtpd" for name in ATTEMPTS]
    target = f"{PREFIX}/libexec/postern/smtpd"
    run("mount", "--bind", f"{SUPPORT}/hostile", target)
    try:
        with Mta({"process_confinement": "none"}, lines, may_log=r".*") as mta:
            found = attempts(mta)
            for name in ATTEMPTS:
                check(found[name], "nothing forbids it:", name, found)
        if SANITIZED:
            return
        with Mta({"process_confinement": "best_effort"}, lines, may_log=r".*") as mta:
            found = attempts(mta)
            check_equal([name for name in ATTEMPTS if found[name]], [], "done by a confined smtpd")
    finally:
        run("umount", target)


def tables_open_no_mail():
    """Their account owns the queue, and they open files everywhere else."""
    if SANITIZED:
        return
    names = ["open-queue", "open-passwd"]
    # The same directories under another name would be let in by that.
    run("umount", REAL)
    for program, daemon in (("trivial-rewrite", "tables"), ("proxymap", "proxymap")):
        target = f"{PREFIX}/libexec/postern/{daemon}"
        run("mount", "--bind", f"{SUPPORT}/hostile", target)
        try:
            with Mta({"process_confinement": "best_effort"},
                     [f"try-{name} unix - - n - - {program}" for name in names], may_log=r".*") as mta:
                found = {}
                for name in names:
                    with socket.socket(socket.AF_UNIX) as client:
                        client.connect(f"{QUEUE}/private/try-{name}")
                        found[name] = mta.wait_log(rf"try-{name}: (.*)").group(1) == "done"
                check_equal(found, {"open-queue": False, "open-passwd": True}, daemon)
        finally:
            run("umount", "-l", target)
    run("mount", "--bind", PREFIX, REAL)


# With the account of smtpd alone, on a kernel that has nothing else.
BARE = ["qmgr-signal", "qmgr-trace", "qmgr-memory", "qmgr-open", "qmgr-descriptor",
        "keyring-signal", "keyring-trace", "keyring-memory", "keyring-open", "keyring-descriptor",
        "queue-list", "queue-file", "data-list", "data-file", "maildrop-list", "agent-local",
        "agent-smtp", "agent-proxymap"]
# What mail_owner's own may do, whatever the kernel forbids to all.
BARE_OF_OWNER = ["qmgr-signal", "queue-list", "queue-file", "data-list", "data-file", "maildrop-list",
                 "agent-local", "agent-proxymap"]


def accounts_are_apart():
    """Without seccomp and Landlock a taken smtpd still has nothing of qmgr's and keyring's."""
    lines = [f"bare-{name} unix - - n - - smtpd" for name in BARE]
    target = f"{PREFIX}/libexec/postern/smtpd"
    for is_apart in (False, True):
        run("mount", "--bind", f"{SUPPORT}/hostile", target)
        try:
            with Mta({"process_confinement": "best_effort" if is_apart else "none",
                      "defer_transports": "smtp"}, lines, may_log=r".*") as mta:
                with socket.socket(socket.AF_UNIX) as keyring:
                    keyring.connect(f"{QUEUE}/private/keyring")
                    wait_for("keyring", lambda: daemons("keyring"))
                mta.tool("sendmail", "-f", "u1@box.test", "r@away.test", data=b"Subject: x\n\nx\n")
                wait_for("a deferred message", lambda: glob.glob(f"{QUEUE}/deferred/*"))
                found = {}
                for name in BARE:
                    with socket.socket(socket.AF_UNIX) as client:
                        client.connect(f"{QUEUE}/private/bare-{name}")
                        found[name] = mta.wait_log(rf"bare-{name}: (.*)").group(1)
                done = [name for name in BARE if found[name] == "done"]
                if is_apart:
                    check_equal(done, [], f"done by smtpd with an account of its own: {found}")
                else:
                    check_equal([name for name in BARE_OF_OWNER if name not in done], [],
                                f"nothing forbids it to mail_owner: {found}")
        finally:
            run("umount", target)


def one_account_is_enough():
    """As on a system of Postfix's making: no accounts, or a private/ that lets none of them in."""
    with Mta() as mta:
        mta.stop()
        check(b"note:" not in mta.tool("postern", "check").stdout)
        os.chmod(QUEUE + "/private", 0o700)
        told = mta.tool("postern", "check")
        check(told.returncode == 0 and b"note: daemons share the account of mail_owner" in told.stdout,
              told)
        mta.start()
        mta.wait_log(r"daemons share the account of mail_owner: .*/private is closed to the group of "
                     r"postern-in")
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
        wait_for("delivery", lambda: len(maildir("u1")) == 1)
        for program in ("smtpd", "postlog", "anvil"):
            for pid in daemons(program):
                check_equal(status(pid)["Uid"].split()[0], str(OWNER), program)
        # And back: what one account has kept is taken over by the other.
        mta.tool("postern", "ban", "add", "198.51.100.77", "1h")
        mta.stop()
        kept = f"{VAR}/lib/postern/anvil/bans"
        check_equal(os.stat(kept).st_uid, OWNER, kept)
        os.rename(kept, f"{VAR}/lib/postern/bans")  # where it was once
        os.chmod(QUEUE + "/private", 0o710)
        check(b"note:" not in mta.tool("postern", "check").stdout)
        mta.start()
        listed = mta.tool("postern", "ban", "list")
        check(b"198.51.100.77" in listed.stdout, listed)
        check_equal(os.stat(kept).st_uid, ROLES["postern-in"], kept)
        mta.tool("postern", "ban", "remove", "198.51.100.77")
        check(b"198.51.100.77" not in mta.tool("postern", "ban", "list").stdout)
        for program in ("postlog", "anvil"):
            for pid in daemons(program):
                check_equal(status(pid)["Uid"].split()[0], str(ROLES[ROLE_OF[program]]), program)


def commands_change_no_system():
    """Commands of users, set-uid ones too, do what they did, but for what no mail needs."""
    probe = f"{ROOT}/probe"
    shutil.copy(f"{SUPPORT}/probe", probe)
    os.chmod(probe, 0o4755)
    os.makedirs(f"{ROOT}/told", exist_ok=True)
    os.chmod(f"{ROOT}/told", 0o1777)
    subprocess.run([probe, f"{ROOT}/told/control"], check=True)
    check(b"let through" in read(f"{ROOT}/told/control"), "the machine itself allows none of it")
    with Mta({"process_confinement": "best_effort", "alias_maps": f"texthash:{CONF}/aliases",
              "command_time_limit": "20s"},
             [f"probe unix - n n - - pipe user=bob argv={probe} {ROOT}/told/pipe",
              f"127.0.0.1:2526 inet n n n - 0 spawn user=bob argv={probe} {ROOT}/told/spawn"],
             start=False) as mta:
        write(CONF + "/aliases", "")
        write(f"{ROOT}/home/alice/.forward", f'"|{probe} {ROOT}/told/forward"\n', 0o644)
        os.chown(f"{ROOT}/home/alice/.forward", USERS["alice"], USERS["alice"])
        mta.write_main_cf(transport_maps=f"inline:{{p.test=probe:}}", relay_domains="p.test")
        mta.start()
        with Client() as client:
            check_equal(client.send("s@away.test", ["alice@home.test", "x@p.test"],
                                    b"Subject: x\n\nx\n"), 250)
        socket.create_connection(("127.0.0.1", 2526), 10).close()
        for name in ("pipe", "spawn", "forward"):
            told = wait_for(name, lambda: os.path.exists(f"{ROOT}/told/{name}") and
                            read(f"{ROOT}/told/{name}").decode())
            facts = dict(line.split(": ", 1) for line in told.splitlines())
            check_equal(facts["uid"], "0", f"set-uid program of {name}: {told}")
            for call in ("ptrace", "mount", "keyctl", "bpf", "userfaultfd"):
                check_equal(facts[call], "refused" if not SANITIZED else facts[call],
                            f"{call} of {name}")
            print(f"     {name}:", ", ".join(told.split("\n")))
        mta.wait_drained()


def a_container_gives_less():
    """Without the right to make namespaces the rest is in force, and the log says what is missing."""
    with Mta(start=False) as mta:
        words = ["setpriv", "--bounding-set=-sys_admin", f"{PREFIX}/sbin/postern"]
        check_equal(subprocess.run(words + ["start"], check=False).returncode, 0)
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
        mta.wait_log(r"daemons keep the host's network: network namespace: Operation not permitted")
        wait_for("delivery", lambda: len(maildir("u1")) == 1)
        for pid, program in daemons("smtpd").items():
            check_equal(os.readlink(f"/proc/{pid}/ns/net"), os.readlink("/proc/self/ns/net"))
            if not SANITIZED:
                check_equal(status(pid)["Seccomp"].strip(), "2", program)


def a_strict_system_does_not_start_with_less():
    with Mta({"process_confinement": "strict"}, start=False, may_log=r"strict") as mta:
        words = ["setpriv", "--bounding-set=-sys_admin", f"{PREFIX}/sbin/postern", "start"]
        done = subprocess.run(words, check=False, capture_output=True)
        check(done.returncode != 0, done)
        mta.wait_log(r"process_confinement = strict: daemons keep the host's network")
        wait_for("the end of master", lambda: not daemons())
        mta.start()
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)


def set_gid_tools_only():
    """Nothing is set-uid; set-gid are the two that local users need."""
    found = {}
    for folder, _, names in os.walk(PREFIX):
        for name in names:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if mode & 0o6000:
                found[name] = mode & 0o7777
    check_equal(found, {"postdrop": 0o2755, "postqueue": 0o2755}, "set-id programs")


main([rights, hostile_code_gets_nowhere, tables_open_no_mail, accounts_are_apart, one_account_is_enough,
      commands_change_no_system, secrets_are_for_those_who_need_them,
      a_container_gives_less, a_strict_system_does_not_start_with_less, set_gid_tools_only,
      services_are_for_their_clients, only_agents_report, agents_report_their_own_deliveries_only])
