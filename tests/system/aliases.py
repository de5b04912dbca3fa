"""aliases.py - what parameters make of lists, of their owners and of users without a home."""
from harness import *

ALIASES = """\
list r@away.test
owner-list alice
plain s@away.test
outer inner
inner bob
sub t@away.test
nested sub
owner-nested alice
"""


def start(mta):
    write(CONF + "/aliases", ALIASES)
    mta.start()


def send(*recipients):
    with Client() as client:
        for recipient in recipients:
            check_equal(client.send("s@away.test", [recipient + "@home.test"],
                                    f"Subject: {recipient}\n\nx\n".encode()), 250, recipient)


def senders_of(sink, count):
    return {message.recipients[0]: message.sender for message in sink.wait(count)}


def owners():
    maps = {"alias_maps": f"texthash:{CONF}/aliases"}
    for extra, list_sender, sub_sender in (
            ({}, "owner-list@home.test", "owner-nested@home.test"),
            ({"expand_owner_alias": "yes"}, "alice@home.test", "alice@home.test")):
        with Mta(maps | extra, start=False) as mta:
            start(mta)
            sink = Sink("198.51.100.25")
            mta.closers.append(sink)
            send("list", "plain", "nested")
            seen = senders_of(sink, 3)
            check_equal(seen["r@away.test"], list_sender, extra)
            check_equal(seen["s@away.test"], "s@away.test", extra)
            check_equal(seen["t@away.test"], sub_sender, extra)
            mta.wait_drained()


def delivered_to():
    for frozen, wanted in (("yes", b"outer@home.test"), ("no", b"inner@home.test")):
        with Mta({"alias_maps": f"texthash:{CONF}/aliases", "frozen_delivered_to": frozen,
                  "home_mailbox": "Maildir/"}, start=False) as mta:
            shutil.rmtree(f"{ROOT}/home/bob/Maildir", ignore_errors=True)
            start(mta)
            send("outer")
            mail = wait_for("bob's mail", lambda: mails_of("bob"))
            check(b"Delivered-To: " + wanted + b"\n" in mail[0], frozen, mail[0])


def mails_of(user):
    new = f"{ROOT}/home/{user}/Maildir/new"
    return [read(f"{new}/{name}") for name in os.listdir(new)] if os.path.isdir(new) else []


def homes():
    home = f"{ROOT}/home/bob"
    with Mta({"require_home_directory": "yes", "home_mailbox": "Maildir/"}) as mta:
        shutil.rmtree(home + "/Maildir", ignore_errors=True)
        os.rename(home, home + ".away")
        try:
            send("bob")
            mta.wait_log(r"to=<bob@home\.test>.*dsn=4\.3\.0, status=deferred \(cannot access home "
                         r"directory .*/bob: No such file or directory\)")
        finally:
            os.rename(home + ".away", home)
        mta.wait_log(r"to=<bob@home\.test>.*status=sent")
        check_equal(len(mails_of("bob")), 1)


def biff():
    """comsat(8) is told whose mailbox has new mail, and where it begins; without it nothing fails."""
    def deliver():
        before = len(re.findall(r"to=<alice@home\.test>.*status=sent", mta.log()))
        send("alice")
        wait_for("alice's mail", lambda: len(re.findall(r"to=<alice@home\.test>.*status=sent",
                                                        mta.log())) > before)

    comsat = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    comsat.bind(("127.0.0.1", 512))
    comsat.settimeout(15)
    with Mta({"biff": "yes"}) as mta:
        deliver()
        check_equal(comsat.recv(100), b"alice@0\0")
        size = os.path.getsize(MAIL + "/alice")
        deliver()
        check_equal(comsat.recv(100), b"alice@%d\0" % size)
        comsat.close()
        for _ in range(3):
            deliver()
    comsat = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    comsat.bind(("127.0.0.1", 512))
    comsat.setblocking(False)
    with Mta({"biff": "no"}) as mta:
        deliver()
        try:
            check(False, "told, though nobody asked:", comsat.recv(100))
        except BlockingIOError:
            pass
        comsat.close()


def required_aliases():
    """local(8): mail for the postmaster that nobody gets makes no mail for the postmaster."""
    with Mta({"alias_maps": f"texthash:{CONF}/aliases", "local_recipient_maps": ""}, start=False,
             may_log="required alias not found") as mta:
        start(mta)
        sink = Sink("198.51.100.25")
        mta.closers.append(sink)
        send("postmaster", "Mailer-Daemon", "nobody-here")
        for name in ("postmaster", "[Mm]ailer-[Dd]aemon"):
            mta.wait_log(rf"to=<{name}@home\.test>, relay=local, .* dsn=2\.0\.0, status=sent \(discarded\)")
            mta.wait_log(f"warning: required alias not found: {name}")
        mta.wait_log(r"to=<nobody-here@home\.test>, .*status=bounced")
        mta.wait_drained()
        check_equal(len(sink.wait(1)), 1)


def forward_with_extension():
    """Who is named in his .forward+x gets what his .forward makes of it, and the mailbox only where
    he is named in the very file that names him."""
    home = f"{ROOT}/home/bob"
    files = {".forward": "\\bob, r@away.test\n", ".forward+x": "\\bob\n", ".forward+y": "bob\n"}
    with Mta({"recipient_delimiter": "+", "home_mailbox": "Maildir/"}) as mta:
        shutil.rmtree(home + "/Maildir", ignore_errors=True)
        try:
            for name, text in files.items():
                write(f"{home}/{name}", text)
                shutil.chown(f"{home}/{name}", "bob")
            sink = Sink("198.51.100.25")
            mta.closers.append(sink)
            send("bob", "bob+x", "bob+y")
            check_equal([m.recipients for m in sink.wait(3)], [["r@away.test"]] * 3)
            wait_for("three mails for bob", lambda: len(mails_of("bob")) == 3)
            mta.wait_log(r"to=<bob@home\.test>, orig_to=<bob\+x@home\.test>.*delivered to maildir")
        finally:
            for name in files:
                os.unlink(f"{home}/{name}")


def error_returns_and_retry_keeps():
    """What the transport is called decides, not the code in front of its text (error(8))."""
    routes = "inline:{ {e.test=error:4.2.1 soft}, {f.test=error:5.7.1 hard}, {r.test=retry:5.1.1 later} }"
    with Mta({"transport_maps": routes}) as mta:
        done = mta.tool("sendmail", "-f", "alice@home.test", "u@e.test", "u@f.test", "u@r.test",
                        data=b"Subject: x\n\nx\n")
        check_equal(done.returncode, 0, done.stderr)
        for wanted in (r"to=<u@e\.test>.*dsn=5\.0\.0, status=bounced \(soft\)",
                       r"to=<u@f\.test>.*dsn=5\.7\.1, status=bounced \(hard\)",
                       r"to=<u@r\.test>.*dsn=4\.0\.0, status=deferred \(later\)"):
            mta.wait_log(wanted)
        mta.tool("postsuper", "-d", "ALL")


def dropped_mail_is_reported():
    """NOTIFY=SUCCESS: nobody further on could report what discard(8) drops."""
    with Mta({"transport_maps": "inline:{ {gone.test=discard:} }"}) as mta:
        with Client() as client:
            for line, code in (("MAIL FROM:<alice@home.test>", 250),
                               ("RCPT TO:<x@gone.test> NOTIFY=SUCCESS", 250), ("DATA", 354),
                               ("Subject: x\r\n\r\nx\r\n.", 250)):
                check_equal(client.command(line)[0], code, line)
        mta.wait_log("sender delivery status notification")


def forward_of_root():
    """A file that only root can read, with commands that are nobody's."""
    run("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", "/root")
    told = f"{ROOT}/told-by-root"
    try:
        with Mta({"mydestination": "home.test", "default_privs": "nobody"}, may_log="it is ignored") as mta:
            write("/root/.forward", f"bob, \"|id -un > {told}/who\"\n", 0o600)
            os.mkdir(told)
            os.chmod(told, 0o777)
            send("root")
            mta.wait_log(r"to=<bob@home\.test>, orig_to=<root@home\.test>, .*status=sent")
            check_equal(wait_for("the command", lambda: os.path.exists(f"{told}/who") and read(f"{told}/who")),
                        b"nobody\n")
            # What everybody may write is nobody's wish.
            os.chmod("/root/.forward", 0o666)
            send("root")
            mta.wait_log(r"/root/\.forward: it must be a file of root's .*; it is ignored")
            mta.wait_log(r"to=<root@home\.test>, .*status=sent \(delivered to mailbox\)")
    finally:
        run("umount", "/root")
        shutil.rmtree(told, ignore_errors=True)


if __name__ == "__main__":
    main([owners, delivered_to, homes, biff, required_aliases, forward_with_extension,
          error_returns_and_retry_keeps, dropped_mail_is_reported, forward_of_root])
