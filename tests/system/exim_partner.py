"""exim_partner.py - Exim, as Debian builds it, is the partner: mail goes both ways, and each keeps the
other's mail while that one is down. Skipped where its package cannot be had."""
from harness import *
from packages import provide
from second_host import *

provide(["exim4"], ["exim4-daemon-light", "exim4-base", "libgnutls-dane0", "libidn12", "libidn2-0"])

HOME = ROOT + "/exim"
# Compiled in. Where this machine has no such user, it gets this number, in this world alone.
USER, UID = "Debian-exim", 2093

ZONE = {
    "partner.test MX": ["10 mx.partner.test", "20 mx.home.test"],
    "mx.partner.test A": [PARTNER],
    "home.test MX": ["10 mx.home.test", "20 mx.partner.test"],
}

# Both ends try again when they are told to, and not before.
PATIENT = {
    "relay_domains": "partner.test",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "queue_run_delay": "1h",
    "minimal_backoff_time": "1h",
    "maximal_backoff_time": "1h",
}

CONFIGURATION = f"""\
primary_hostname = mx.partner.test
qualify_domain = partner.test
exim_path = {HOME}/exim4
spool_directory = {HOME}/spool
log_file_path = {HOME}/log/%slog
pid_file_path = {HOME}/exim.pid
exim_user = {USER}
exim_group = {USER}
deliver_drop_privilege = true
local_interfaces = {PARTNER}
daemon_smtp_ports = 25
disable_ipv6 = true
dns_ipv4_lookup = *
host_lookup =
rfc1413_query_timeout = 0s
keep_environment = LD_LIBRARY_PATH
tls_advertise_hosts =
never_users =
acl_smtp_rcpt = acl_rcpt

begin acl
acl_rcpt:
  accept hosts = :
  accept domains = partner.test
         local_parts = alice : bob
  deny   domains = partner.test
         message = 5.1.1 no such user here
  accept domains = home.test
  deny   message = relay not permitted

begin routers
box:
  driver = accept
  domains = partner.test
  local_parts = lsearch;{HOME}/boxes
  address_data = $local_part_data
  transport = maildir
remote:
  driver = dnslookup
  domains = ! partner.test
  transport = remote_smtp
  ignore_target_hosts = 127.0.0.0/8
  no_more

begin transports
remote_smtp:
  driver = smtp
  hosts_try_fastopen = :
maildir:
  driver = appendfile
  maildir_format
  directory = {HOME}/mail/$address_data
  create_directory
  mode = 0600

begin retry
* * F,4d,1h
"""


class Exim:
    def __init__(self, mta):
        network()
        PARTNER_DNS[0].zone = mta.dns.zone
        for path, line in (("/etc/passwd", f"{USER}:x:{UID}:{UID}::{HOME}:/bin/sh"),
                           ("/etc/group", f"{USER}:x:{UID}:")):
            if f"{USER}:" not in read(path).decode():
                with open(path, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
        shutil.rmtree(HOME, ignore_errors=True)
        for name in ("", "spool", "log", "mail"):
            os.makedirs(f"{HOME}/{name}", exist_ok=True)
            shutil.chown(f"{HOME}/{name}", USER, USER)
        # Without the set-user-ID bit: what runs with it does not look for libraries elsewhere.
        shutil.copyfile(shutil.which("exim4"), HOME + "/exim4")
        os.chmod(HOME + "/exim4", 0o755)
        write(HOME + "/exim.conf", CONFIGURATION)
        write(HOME + "/boxes", "alice: alice\nbob: bob\n")
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.stop()
        if kind is not None:
            print("-- Exim's log", self.log(), sep="\n", flush=True)

    def command(self, *words):
        return [HOME + "/exim4", "-C", HOME + "/exim.conf", *words]

    def run(self, *words, data=b""):
        with at_partner():
            return subprocess.run(self.command(*words), input=data, capture_output=True, check=False,
                                  timeout=60)

    def start(self):
        with at_partner():
            self.process = subprocess.Popen(self.command("-bdf", "-oX", f"{PARTNER}.25"),
                                            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

        def answers():
            check(self.process.poll() is None, "Exim ended:",
                  self.process.stderr.read() if self.process.poll() is not None else "")
            with contextlib.suppress(OSError):
                socket.create_connection((PARTNER, 25), 1).close()
                return True
            return False
        wait_for("Exim", answers)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)
        self.process = None

    def log(self):
        text = ""
        for path in glob.glob(HOME + "/log/*"):
            text += read(path).decode("utf-8", "replace")
        return text

    def queued(self):
        return len(glob.glob(HOME + "/spool/input/*-H"))

    def subjects(self, user):
        messages = [read(path) for path in glob.glob(f"{HOME}/mail/{user}/new/*")]
        return sorted(s for m in messages for s in re.findall(rb"^Subject: (\S+)$", m, re.M))


def send(subject, recipient, host, sender="s@away.test"):
    with Client(host) as client:
        return client.send(sender, [recipient],
                           f"From: s@away.test\nSubject: {subject}\n\n.dot\nx\n".encode())


def home_subjects(user):
    with contextlib.suppress(FileNotFoundError):
        return sorted(re.findall(rb"^Subject: (\S+)$", read(f"{MAIL}/{user}"), re.M))
    return []


def mail_goes_both_ways():
    with Mta(PATIENT, zone=ZONE) as mta, Exim(mta) as exim:
        exim.start()
        sent = [f"there-{n}".encode() for n in range(3)]
        for subject in sent:
            check_equal(send(subject.decode(), "alice@partner.test", HOST), 250)
        wait_for("mail at Exim", lambda: exim.subjects("alice") == sent)
        # Local submission there, to here; and what is refused here comes back to its sender there.
        for number, user in enumerate(("bob", "bob", "zacharias")):
            done = exim.run("-i", "-f", "alice@partner.test", f"{user}@home.test",
                            data=f"Subject: back-{number}\n\n.dot\nx\n".encode())
            check_equal(done.returncode, 0, done.stderr)
        wait_for("mail at home", lambda: home_subjects("bob") == [b"back-0", b"back-1"])
        wait_for("the notice", lambda: len(exim.subjects("alice")) == 4)
        # And the other way round: Exim refuses, and the sender here is told.
        check_equal(send("refused", "zacharias@partner.test", HOST, "bob@home.test"), 250)
        wait_for("the notice", lambda: len(home_subjects("bob")) == 4 or
                 b"no such user here" in read(MAIL + "/bob"))
        mta.wait_drained()
        wait_for("an empty queue at Exim", lambda: exim.queued() == 0)


def postern_keeps_exims_mail():
    with Mta(PATIENT, zone=ZONE) as mta, Exim(mta) as exim:
        sent = [f"kept-{n}".encode() for n in range(5)]
        for subject in sent:
            check_equal(send(subject.decode(), "alice@partner.test", HOST), 250)
        wait_for("deferral", lambda: len([m for m in mta.queue() if m["queue_name"] == "deferred"])
                 == 5)
        exim.start()
        check_equal(mta.tool("postern", "flush", "--wait", "--time", "30s").returncode, 0)
        wait_for("mail at Exim", lambda: exim.subjects("alice") == sent)
        check("loops back" not in mta.log(), "it tried itself")


def exim_keeps_posterns_mail():
    with Mta(PATIENT, zone=ZONE, start=False) as mta, Exim(mta) as exim:
        exim.start()
        sent = [f"kept-{n}".encode() for n in range(5)]
        for subject in sent:
            check_equal(send(subject.decode(), "bob@home.test", PARTNER), 250)
        wait_for("five waiting at Exim", lambda: exim.queued() == 5)
        wait_for("the first attempts", lambda: exim.log().count("Connection refused") >= 1)
        mta.start()
        exim.run("-qff")
        wait_for("mail at home", lambda: home_subjects("bob") == sent)
        wait_for("an empty queue at Exim", lambda: exim.queued() == 0)


main([mail_goes_both_ways, postern_keeps_exims_mail, exim_keeps_posterns_mail])
