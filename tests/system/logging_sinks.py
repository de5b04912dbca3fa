"""logging_sinks.py - where log lines go, and what the supervisor tells the init system."""
import json
import socket

from harness import *

SYSLOG = "/run/systemd/journal/dev-log"
NOTIFY = CONF + "/notify"


class Listener:
    """A datagram socket of syslogd, the journal or the init system."""

    def __init__(self, path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)
        os.chmod(path, 0o666)
        self.seen = []

    def datagrams(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.seen.append(self.socket.recv(65536).decode())
        return self.seen

    def wait(self, pattern, seconds=30):
        return wait_for(f"datagram {pattern!r}",
                        lambda: [d for d in self.datagrams() if re.search(pattern, d, re.M)], seconds)

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def syslog_and_json():
    if os.path.exists("/dev/log") and not os.path.islink("/dev/log"):
        print("     this system's own /dev/log would be written to: left out")
        return
    run("mount", "-t", "tmpfs", "tmpfs", "/run")
    syslog = Listener(SYSLOG)
    objects = VAR + "/log.json"
    with Mta({"maillog_file": "", "maillog_format": "json", "maillog_json_file": objects,
              "maillog_file_prefixes": "/mnt", "syslog_facility": "local3"}) as mta:
        with Client() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nHi.\n"), 250)
        [sent] = syslog.wait(r"status=sent")
        # local3 is 19, info 6; the time, but no host: syslogd knows it.
        check(re.match(r"<158>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d postfix/virtual\[\d+\]: "
                       r"[0-9A-F]+: to=<u1@box.test>, ", sent), sent)
        queue_id = re.search(r"\]: (\w+): to=", sent)[1]

        def delivery():
            # The last line may be half written.
            lines = [json.loads(line) for line in read(objects).split(b"\n")[:-1]]
            return [o for o in lines if queue_id in o.values() and "sent" in o.values()]
        [event] = wait_for("the JSON object", lambda: os.path.exists(objects) and delivery())
        check("u1@box.test" in event.values() or "<u1@box.test>" in event.values(), event)

        # syslogd is started again.
        syslog.close()
        again = Listener(SYSLOG)
        with Client() as client:
            client.command("QUIT")
        again.wait(r"disconnect from ")
        check_equal(read(LOG) if os.path.exists(LOG) else b"", b"", "maillog_file")
        again.close()
    run("umount", "-l", "/run")


def init_is_told():
    with Mta(start=False) as mta:
        init = Listener(NOTIFY)
        master = subprocess.Popen([f"{PREFIX}/sbin/postern", "start-fg"], cwd="/",
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                                       "NOTIFY_SOCKET": NOTIFY})
        try:
            [ready] = init.wait(r"^READY=1$")
            check(f"MAINPID={master.pid}" in ready.splitlines() or "MAINPID=" in ready, ready)
            with Client() as client:
                check_equal(client.banner[0], 220)
            init.seen.clear()
            check_equal(mta.tool("postern", "reload").returncode, 0)
            init.wait(r"^READY=1$")
            reloading = init.seen[0].splitlines()
            check_equal(reloading[0], "RELOADING=1")
            check(reloading[1].startswith("MONOTONIC_USEC="), reloading)
            init.seen.clear()
            check_equal(mta.tool("postern", "stop").returncode, 0)
            init.wait(r"^STOPPING=1")
            check_equal(master.wait(30), 0, "exit status")
        finally:
            if master.poll() is None:
                master.kill()
                master.wait()
        init.close()


main([syslog_and_json, init_is_told])
