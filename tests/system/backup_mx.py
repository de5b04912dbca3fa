"""backup_mx.py - two hosts that keep each other's mail: what waits at the backup while the partner is
down, how it is sent on when the partner is back, and what becomes of mail that goes round between
them. Each has a network of its own, joined by one cable, its own configuration and its own queue."""
from harness import *
from second_host import *

HOME = ROOT + "/partner"  # what the partner has for itself
SERVICES = ["flush unix n - n 1000? 0 flush", "verify unix - - n - 1 verify"]

PARTNER_ZONE = {
    "partner.test MX": ["10 mx.partner.test", "20 mx.home.test"],
    "mx.partner.test A": [PARTNER],
    "home.test MX": ["10 mx.home.test", "20 mx.partner.test"],
}

BACKUP = {
    "relay_domains": "partner.test",
    "fast_flush_domains": "$relay_domains",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    # Nothing is tried again by itself while a test runs.
    "queue_run_delay": "1h",
    "minimal_backoff_time": "1h",
    "maximal_backoff_time": "1h",
}


class Partner:
    """The second mail system. It starts and stops as often as a test likes."""

    def __init__(self, mta, parameters=None, aliases=""):
        self.mta = mta
        network()
        PARTNER_DNS[0].zone = mta.dns.zone
        shutil.rmtree(HOME, ignore_errors=True)
        for folder in ("conf", "mail"):
            os.makedirs(f"{HOME}/{folder}")
        os.chmod(HOME + "/mail", 0o1777)
        values = PARAMETERS | {
            "myhostname": "mx.partner.test",
            "mydomain": "partner.test",
            "mynetworks": "127.0.0.0/8",
            "inet_interfaces": f"{PARTNER}, 127.0.0.1",
            "queue_directory": HOME + "/spool",
            "data_directory": HOME + "/lib",
            "mail_spool_directory": HOME + "/mail",
            "maillog_file": HOME + "/log",
            "alias_maps": f"texthash:{HOME}/conf/aliases",
            "virtual_mailbox_domains": "",
            "relay_domains": "home.test",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
            "syslog_name": "partner",
        } | (parameters or {})
        write(HOME + "/conf/main.cf", "".join(f"{k} = {v}\n" for k, v in values.items()))
        write(HOME + "/conf/master.cf", MASTER + "\n".join(SERVICES) + "\n")
        write(HOME + "/conf/aliases", aliases)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print("-- the partner's log", *self.log().splitlines()[-40:], sep="\n")
        self.tool("postern", "-c", HOME + "/conf", "stop")

    def tool(self, *words):
        with at_partner():
            return self.mta.tool(*words)

    def start(self):
        done = self.tool("postern", "-c", HOME + "/conf", "start")
        check_equal(done.returncode, 0, b"start of the partner: " + done.stderr)

    def stop(self):
        done = self.tool("postern", "-c", HOME + "/conf", "stop")
        check_equal(done.returncode, 0, b"stop of the partner: " + done.stderr)

    def log(self):
        with contextlib.suppress(FileNotFoundError):
            return read(HOME + "/log").decode("utf-8", "replace")
        return ""

    def mailbox(self, user="alice"):
        with contextlib.suppress(FileNotFoundError):
            return read(f"{HOME}/mail/{user}")
        return b""

    def wait_subjects(self, wanted, user="alice"):
        """Each of these subjects once, in any order, and nothing else."""
        wait_for(f"{len(wanted)} messages at the partner",
                 lambda: len(self.subjects(user)) >= len(wanted))
        check_equal(sorted(self.subjects(user)), sorted(wanted), "at the partner")

    def subjects(self, user="alice"):
        return re.findall(rb"^Subject: (\S+)$", self.mailbox(user), re.M)


def send(subject, recipient="alice@partner.test", host=HOST):
    with Client(host) as client:
        return client.send("s@away.test", [recipient],
                           f"From: s@away.test\nSubject: {subject}\n\nx\n".encode())


def both(parameters=None, zone=None, **options):
    return Mta(BACKUP | (parameters or {}), master=SERVICES, zone=PARTNER_ZONE | (zone or {}),
               **options)


def wait_deferred(mta, count, seconds=30):
    return wait_for(f"{count} deferred messages",
                    lambda: len([m for m in mta.queue() if m["queue_name"] == "deferred" and
                                 m["recipients"][0].get("delay_reason")]) == count, seconds)


# -- the exercise -------------------------------------------------------------------------------

def mail_waits_at_the_backup():
    with both() as mta, Partner(mta) as partner:
        sent = [f"waits-{n}".encode() for n in range(5)]
        for subject in sent:
            check_equal(send(subject.decode()), 250, "the backup takes it")
        wait_deferred(mta, 5)
        check(all("Connection refused" in m["recipients"][0]["delay_reason"]
                  for m in mta.queue()), "the reason:", mta.queue())
        # Nor does it help to ask as long as the partner is down; nothing is lost, nothing loops.
        asked = mta.tool("postqueue", "-s", "partner.test")
        check_equal(asked.returncode, 0, asked.stderr)
        mta.wait_log(r"(?s)(status=deferred.*){6}")
        wait_deferred(mta, 5)
        check("loops back" not in mta.log(), "it tried itself")

        partner.start()
        # RFC 1985: the partner's administrator, or its own start, asks for the mail.
        with at_partner(), Client(HOST) as client:
            check_equal(client.command("ETRN partner.test"), (250, "250 Queuing started"))
            check_equal(client.command("ETRN away.test")[0], 459, "a site that is not served")
        partner.wait_subjects(sent)
        mta.wait_drained()
        check(PARTNER in partner.mailbox().decode() or "mx.home.test" in partner.mailbox().decode(),
              "it came through the backup")


def site_is_flushed():
    """postqueue -s for one site, and no mail for others moves."""
    with both() as mta, Partner(mta) as partner:
        check_equal(send("for-partner"), 250)
        with Client("127.0.0.1", source="127.0.0.1") as client:
            check_equal(client.send("s@home.test", ["r@away.test"], b"Subject: other\n\nx\n"), 250)
        wait_deferred(mta, 2)
        partner.start()
        check_equal(mta.tool("postqueue", "-s", "partner.test").returncode, 0)
        partner.wait_subjects([b"for-partner"])
        wait_for("the other message alone", lambda: len(mta.queue()) == 1)
        check_equal(len(re.findall(r"to=<r@away.test>", mta.log())), 1, "attempts for the other")


def everything_is_flushed():
    with both() as mta, Partner(mta) as partner:
        sent = [f"forced-{n}".encode() for n in range(3)]
        for subject in sent:
            check_equal(send(subject.decode()), 250)
        wait_deferred(mta, 3)
        partner.start()
        check_equal(mta.tool("postqueue", "-f").returncode, 0)
        partner.wait_subjects(sent)
        mta.wait_drained()


def flush_tells_outcomes():
    """postern flush --wait: what became of each recipient, and a status that says whether all is
    well."""
    with both() as mta, Partner(mta) as partner:
        check_equal(flush_and_wait(mta), (0, ["0 messages are tried", "0 recipients"]), "nothing")
        for recipient in ("alice", "bob", "zacharias"):
            check_equal(send("told", recipient + "@partner.test"), 250)
        wait_deferred(mta, 3)
        status, lines = flush_and_wait(mta)
        check_equal((status, lines[0], lines[-1]),
                    (75, "3 messages are tried", "3 recipients: 3 still wait"), lines)
        check_equal(len([line for line in lines if re.fullmatch(
            r"[0-9A-F]+  \w+@partner.test  waits: .*Connection refused.*", line)]), 3, lines)
        partner.start()
        status, lines = flush_and_wait(mta)
        # The sender of the one that does not exist gets a notice, which is not part of the flush.
        check_equal((status, lines[-1]),
                    (1, "3 recipients: 2 delivered, 1 returned to its sender"), lines)
        check(any("zacharias@partner.test  returned: host mx.partner.test" in line
                  for line in lines), lines)
        partner.wait_subjects([b"told"])


def flush_and_wait(mta):
    done = mta.tool("postern", "flush", "--wait", "--time", "20s")
    return done.returncode, done.stdout.decode().splitlines()


def trace_shows_mail_live():
    with both() as mta, Partner(mta) as partner:
        everything, chosen, here, elsewhere = (LiveTrace(words) for words in (
            [], ["--json", "bob@partner.test"], ["--client", "192.0.2.0/24", "--json"],
            ["--json", "--client", "203.0.113.1", "--time", "1h"]))
        check_equal(mta.tool("postern", "trace", "--live", "--client", "no address").returncode, 64)
        partner.start()
        for recipient in ("alice", "bob"):
            check_equal(send("live", recipient + "@partner.test"), 250)
        mta.wait_drained()
        everything.wait(r"(?s)(.*done: nothing is left to deliver){2}")
        chosen.wait(r'"event":"done"')
        ids = set(line.split()[0] for line in everything.lines() if not line.startswith("smtpd/"))
        check_equal(len(ids), 2, everything.lines())
        events = [json.loads(line) for line in chosen.lines()]
        check_equal([event["event"] for event in events], ["arrived", "outcome", "done"])
        check_equal((events[1]["outcome"], events[1]["recipient"], events[1]["dsn"]),
                    ("delivered", "bob@partner.test", "2.0.0"))
        here.wait(r'(?s)(.*"event":"done"){2}')
        events = [json.loads(line) for line in here.lines()]
        check_equal({event["client"] for event in events if event["event"] == "arrived"}, {HOST})
        check_equal(len([event for event in events if event["event"] == "outcome"]), 2, events)
        check_equal(elsewhere.lines(), [], "of other clients")
        refusals_are_seen(here, elsewhere)
        for trace in (everything, chosen, here, elsewhere):
            trace.close()


def refusals_are_seen(here, elsewhere):
    check_equal(send("refused", "nosuch@home.test"), 550)
    here.wait(r'(?s)"event":"refused".*disconnect from')
    events = [json.loads(line) for line in here.lines()]
    refused = next(event for event in events if event["event"] == "refused")
    check_equal((refused["client"], refused["recipient"], refused["service"]),
                (HOST, "nosuch@home.test", "smtp"))
    check("User unknown" in refused["text"], refused)
    check_equal(elsewhere.lines(), [], "of other clients")


class LiveTrace:
    """postern trace --live, and what it has written so far."""

    def __init__(self, words):
        self.output = open(f"{ROOT}/trace{len(words)}", "w+b")
        self.process = subprocess.Popen([PREFIX + "/sbin/postern", "trace", "--live", *words],
                                        stdout=self.output, stderr=subprocess.PIPE)
        check(b"looking on" in self.process.stderr.readline(), "the start of the trace")

    def lines(self):
        return read(self.output.name).decode().splitlines()

    def wait(self, pattern):
        wait_for(pattern, lambda: re.search(pattern, read(self.output.name).decode()))

    def close(self):
        self.process.terminate()
        self.process.wait(30)
        self.output.close()


def partner_has_more_time():
    """Mail for the partner waits longer than other mail, also when both are one message."""
    longer = {
        "maximal_queue_lifetime": "0s",
        "destination_queue_lifetime_maps": "inline:{ partner.test=30d, .short.test=0s }",
    }
    zone = {"a.short.test MX": ["10 mx.away.test"]}
    with both(longer, zone=zone) as mta, Partner(mta) as partner:
        with Client("127.0.0.1", source="127.0.0.1") as client:
            check_equal(client.send("alice@home.test",
                                    ["alice@partner.test", "r@away.test", "r@a.short.test"],
                                    b"Subject: split\n\nx\n"), 250)
        mta.wait_log(r"from=<alice@home.test>, status=expired, returned to sender")
        wait_for("the notice", lambda: os.path.exists(MAIL + "/alice") and
                 b"r@a.short.test" in read(MAIL + "/alice"))
        notice = read(MAIL + "/alice")
        check(b"Final-Recipient: rfc822; r@away.test" in notice, notice)
        check(b"Action: failed" in notice and b"Connection refused" in notice, notice)
        check(b"alice@partner.test" not in notice.partition(b"message/rfc822")[0], notice)
        wait_for("the rest", lambda: [[r["address"] for r in m["recipients"]]
                                      for m in mta.queue()] == [["alice@partner.test"]])
        told = mta.tool("postern", "why", "alice@partner.test").stdout.decode()
        check(re.search(r"gives up .*\(destination_queue_lifetime_maps 30 d\)\n", told), told)
        partner.start()
        check_equal(mta.tool("postqueue", "-f").returncode, 0)
        partner.wait_subjects([b"split"])
        mta.wait_drained()
        check_equal(len(re.findall(rb"(?m)^Content-Type: multipart/report", read(MAIL + "/alice"))), 1,
                    "notices")


def senders_have_addresses_of_their_own():
    """sender_bind_address_maps: the partner sees news from a pool, notices from another address, and
    all other mail from where it always comes."""
    pools = {"news@home.test": "10.9.0.11, 10.9.0.12", "@bulk.test": "10.9.0.13", "<>": "10.9.0.14",
             "bad@home.test": "nowhere"}
    with both({"sender_bind_address_maps": f"texthash:{CONF}/pools"}, start=False) as mta, \
            Partner(mta) as partner:
        write(CONF + "/pools", "".join(f"{key} {value}\n" for key, value in pools.items()))
        for last in range(11, 15):
            subprocess.run(["ip", "addr", "add", f"10.9.0.{last}/24", "dev", "cable0"], check=False,
                           stderr=subprocess.DEVNULL)
        mta.start()
        partner.start()
        seen = {}
        for sender in ["news@home.test"] * 12 + ["x@bulk.test", "", "s@home.test", "bad@home.test"]:
            with Client("127.0.0.1", source="127.0.0.1") as client:
                check_equal(client.send(sender, ["alice@partner.test"], b"Subject: s\n\nx\n"), 250)
        wait_for("fifteen messages", lambda: len(partner.subjects()) == 15)
        # The log writer may be a moment behind.
        wait_for("fifteen lines", lambda: len(re.findall(r"qmgr\[\d+\]: \w+: from=",
                                                         partner.log())) == 15)
        log = partner.log()
        clients = dict(re.findall(r"smtpd\[\d+\]: ([0-9A-F]+): client=\S+\[([\d.]+)\]", log))
        for queue_id, sender in re.findall(r"qmgr\[\d+\]: ([0-9A-F]+): from=<(.*?)>", log):
            seen.setdefault(sender, set()).add(clients[queue_id])
        check_equal(seen, {"news@home.test": {"10.9.0.11", "10.9.0.12"},
                           "x@bulk.test": {"10.9.0.13"}, "": {"10.9.0.14"},
                           "s@home.test": {"10.9.0.1"}}, "sources")
        # What names no address is not sent from just anywhere.
        mta.wait_log(r"warning: .*sender_bind_address_maps: \"nowhere\" is no address")
        check_equal([m["sender"] for m in mta.queue()], ["bad@home.test"], "what waits")


def partner_dies_meanwhile():
    """Nothing is lost and nothing is there twice when the partner comes and goes."""
    with both() as mta, Partner(mta) as partner:
        sent = []
        for turn in range(3):
            for number in range(3):
                sent.append(f"turn-{turn}-{number}".encode())
                check_equal(send(sent[-1].decode()), 250)
            partner.start()
            check_equal(mta.tool("postqueue", "-f").returncode, 0)
            partner.stop()
        partner.start()
        mta.wait_drained()
        partner.wait_subjects(sent)


def each_is_the_others_backup():
    """The same the other way round: what the partner keeps for home.test."""
    with both(start=False) as mta, Partner(mta, BACKUP | {"relay_domains": "home.test"}) as partner:
        partner.start()
        check_equal(send("for-home", "bob@home.test", PARTNER), 250)
        wait_for("deferral at the partner", lambda: "status=deferred" in partner.log())
        mta.start()
        done = partner.tool("postqueue", "-c", HOME + "/conf", "-s", "home.test")
        check_equal(done.returncode, 0, done.stderr)
        wait_for("mail at home", lambda: os.path.exists(MAIL + "/bob") and
                 b"Subject: for-home" in read(MAIL + "/bob"))
        check("loops back" not in partner.log(), "it tried itself")


def never_to_itself():
    """A backup uses only servers that are better than itself; where it is the best one, nobody else
    can take the mail, and the sender learns that at once."""
    zone = {"partner.test MX": ["10 mx.home.test", "20 mx.partner.test"]}
    with both(zone=zone) as mta, Partner(mta) as partner:
        partner.start()
        sink = mta.sink()
        check_equal(send("loop"), 250)
        mta.wait_log(r"status=bounced \(mail for partner.test loops back to myself\)")
        sink.wait(1)
        check(b"loops back to myself" in sink.messages[0].content, "the bounce says why")
        check_equal(partner.subjects(), [], "at the worse server")


def unknown_recipients_are_learned():
    """The backup asks the partner who exists, and still knows when the partner is down: it takes no
    mail that it could only bounce."""
    learning = {
        "smtpd_recipient_restrictions": "reject_unverified_recipient",
        "unverified_recipient_reject_code": "550",
        "unverified_recipient_defer_code": "250",
        "address_verify_map": "lmdb:$data_directory/verify_cache",
        "address_verify_poll_count": "5",
        "address_verify_poll_delay": "1s",
    }
    with both(learning) as mta, Partner(mta) as partner:
        partner.start()
        check_equal(send("known"), 250)
        check_equal(send("unknown", "zacharias@partner.test"), 550)
        partner.wait_subjects([b"known"])
        partner.stop()
        check_equal(send("later"), 250)
        check_equal(send("unknown", "zacharias@partner.test"), 550, "from the cache")
        # Of others nothing is known: they are taken rather than refused.
        check_equal(send("new", "bob@partner.test"), 250)
        partner.start()
        mta.wait_drained()
        partner.wait_subjects([b"known", b"later"])
        partner.wait_subjects([b"new"], "bob")


# -- mail that goes round -----------------------------------------------------------------------

def loop_through_aliases():
    """ping at home goes to ping at the partner, which goes to ping at home: Delivered-To stops it."""
    maps = {"alias_maps": f"texthash:{CONF}/aliases"}
    with both(maps, start=False) as mta, Partner(mta, aliases="ping ping@home.test\n") as partner:
        write(CONF + "/aliases", "ping ping@partner.test\n")
        mta.start()
        partner.start()
        sink = mta.sink()
        check_equal(send("ping", "ping@home.test"), 250)
        mta.wait_log(r"to=<ping@home.test>, .*dsn=5.4.6, status=bounced "
                     r"\(mail forwarding loop for ping@home.test\)")
        sink.wait(1)
        check(b"mail forwarding loop for ping@home.test" in sink.messages[0].content,
              "the bounce says why")
        mta.wait_drained()
        check_equal(len(sink.messages), 1, "bounces")


def loop_through_virtual_aliases():
    """Addresses that are only rewritten leave no Delivered-To: the number of hops ends it."""
    maps = {"virtual_alias_maps": "inline:{ pong@home.test=pong@partner.test }"}
    with both(maps | {"hopcount_limit": "10"}) as mta, Partner(mta, {
            "virtual_alias_maps": "inline:{ pong@partner.test=pong@home.test }",
            "hopcount_limit": "10"}) as partner:
        partner.start()
        sink = mta.sink()
        check_equal(send("pong", "pong@home.test"), 250)
        sink.wait(1)
        check(b"too many hops" in sink.messages[0].content.lower(), sink.messages[0].content)
        check(re.search(r"dsn=5.4.\d, status=bounced .*too many hops", mta.log() + partner.log(),
                        re.I), "the log says why")
        mta.wait_drained()
        check_equal(len(sink.messages), 1, "bounces")


main([mail_waits_at_the_backup, site_is_flushed, everything_is_flushed, flush_tells_outcomes,
      trace_shows_mail_live, partner_has_more_time, senders_have_addresses_of_their_own,
      partner_dies_meanwhile, each_is_the_others_backup, never_to_itself,
      unknown_recipients_are_learned, loop_through_aliases, loop_through_virtual_aliases])
