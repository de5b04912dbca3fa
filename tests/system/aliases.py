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


def lists_and_their_files():
    """A list of root's has the rights of whom its :include: file belongs to, and its owner hears of
    what fails; extensions are passed on where propagate_unmatched_extensions says so."""
    box = f"{ROOT}/lists"
    aliases = (f"staff :include:{box}/members\nowner-staff alice\n"
               f"gone :include:{box}/nothing\ntrick :include:{box}/linked\nfar t@away.test\nwhere :include:relative\n"
               f"system :include:{box}/system\n"
               "plain bob, \"|exit 67\", \"|exit 69\"\n")
    parameters = {"alias_maps": f"texthash:{CONF}/aliases", "home_mailbox": "Maildir/",
                  "recipient_delimiter": "+", "allow_mail_to_commands": "alias, include",
                  "propagate_unmatched_extensions": "canonical, virtual, alias, include"}
    shutil.rmtree(box, ignore_errors=True)
    os.mkdir(box)
    os.chmod(box, 0o777)
    with Mta(parameters, start=False, may_log="uses a relative path|unable to lookup|a link on the way") as mta:
        for user in ("alice", "bob"):
            shutil.rmtree(f"{ROOT}/home/{user}/Maildir", ignore_errors=True)
        write(CONF + "/aliases", aliases)
        write(f"{box}/members", f'bob, "|id -un > {box}/who; echo $HOME >> {box}/who; exit 67"\n', 0o600)
        shutil.chown(f"{box}/members", "bob")
        mta.start()
        sink = Sink("198.51.100.25")
        mta.closers.append(sink)
        send("staff+x")
        mta.wait_log(r"to=<staff\+x@home\.test>, .*status=bounced \(user unknown\)")
        mta.wait_log(r"to=<bob\+x@home\.test>, .*status=sent")
        check_equal(read(f"{box}/who"), f"bob\n{ROOT}/home/bob\n".encode())
        notice = wait_for("the owner's notice", lambda: mails_of("alice"))[0]
        check(b"Final-Recipient: rfc822; staff+x@home.test\n" in notice, notice)
        check(b"Original-Recipient" not in notice, notice)
        check_equal(len(sink.wait(0)), 0)
        # Whoever may link to a file of bob's does not get bob's rights by that.
        write(f"{box}/of_bob", f'"|id -un > {box}/who_else"\n')
        shutil.chown(f"{box}/of_bob", "bob")
        os.symlink("of_bob", f"{box}/linked")
        os.lchown(f"{box}/linked", USERS["alice"], USERS["alice"])
        send("trick")
        mta.wait_log(r"to=<trick@home\.test>.*status=sent")
        check(read(f"{box}/who_else") not in (b"bob\n", b"alice\n", b"root\n"), read(f"{box}/who_else"))
        # The rights of the mail system's own users are given to nobody.
        write(f"{box}/system", "bob\n")
        shutil.chown(f"{box}/system", "postfix")
        send("system")
        mta.wait_log(r"to=<system@home\.test>, .*status=sent \(forwarded")
        send("gone", "where")
        for name in ("gone", "where"):
            mta.wait_log(rf"to=<{name}@home\.test>.*dsn=5\.3\.5, status=bounced "
                         r"\(mail system configuration error\)")
        send("far+y")
        wait_for("mail and notices", lambda: len(sink.wait(3)) == 3)
        check(any(m.recipients == ["t+y@away.test"] for m in sink.wait(3)), sink.wait(3))
        # Each thing that failed is named, to the sender where there is no owner.
        send("plain")
        report = sink.wait(4)[3].content
        check_equal(report.count(b"Final-Recipient: rfc822; plain@home.test"), 2, report)
        check(b"Status: 5.1.1" in report and b"Status: 5.3.0" in report, report)


def patterns_and_circles():
    """What strangers write gets into no command; an alias that names itself means the user."""
    rules = f"{CONF}/alias-rules"
    maps = f"regexp:{rules}, inline:{{ {{bob=bob, t@away.test}}, {{none=none}} }}"
    with Mta({"alias_maps": maps, "home_mailbox": "Maildir/", "local_recipient_maps": "",
              "enable_original_recipient": "no"}, start=False) as mta:
        write(rules, f"/^run-(.*)$/ |touch {ROOT}/lists/$1\n/^bad(/ x\n/^fix$/ alice\n")
        for user in ("alice", "bob"):
            shutil.rmtree(f"{ROOT}/home/{user}/Maildir", ignore_errors=True)
        mta.start()
        sink = Sink("198.51.100.25")
        mta.closers.append(sink)
        send("run-it", "fix", "bob", "none")
        mta.wait_log(r'to=<run-it@home\.test>.*bounced \(unknown user: "run-it"\)')
        mta.wait_log(r'to=<none@home\.test>.*bounced \(unknown user: "none"\)')
        mta.wait_log("alias-rules, line 1: regular expression substitution is not allowed: skipping this rule")
        # The second rule is none; the others are there.
        mta.wait_log(r"alias-rules, line 2: Unmatched \( or")
        mta.wait_log(r"to=<alice@home\.test>, orig_to=<fix@home\.test>.*status=sent")
        check_equal(len(wait_for("bob's mail", lambda: mails_of("bob"))), 1)
        check(b"X-Original-To" not in mails_of("bob")[0], mails_of("bob")[0])
        done = mta.tool("postern", "check")
        check_equal(done.returncode, 0, done.stderr)
        check(b"alias-rules, line 2" in done.stderr + done.stdout, done)


def dry_runs():
    """sendmail -bv looks behind aliases and .forward files, and touches nothing."""
    home = f"{ROOT}/home/bob"
    parameters = {"alias_maps": f"texthash:{CONF}/aliases", "home_mailbox": "Maildir/",
                  "transport_maps": "inline:{ {p.test=pipe1}, {d.test=discard:why} }"}
    master = ("pipe1 unix - n n - - pipe user=nobody argv=/bin/false ${user}",)
    with Mta(parameters, master=master, start=False) as mta:
        for user in ("alice", "bob"):
            shutil.rmtree(f"{ROOT}/home/{user}/Maildir", ignore_errors=True)
        write(CONF + "/aliases", 'all bob, r@away.test, "|/bin/false", /tmp/never\ncircle round\nround circle\n')
        write(f"{home}/.forward", "\\bob, ~/box, /tmp/never/\n")
        shutil.chown(f"{home}/.forward", "bob")
        try:
            mta.start()
            done = mta.tool("sendmail", "-f", "alice@home.test", "-bv", "all", "circle", "nobody-here",
                            "x@p.test", "x@d.test")
            check_equal(done.returncode, 0, done.stderr)
            report = wait_for("the report", lambda: mails_of("alice"))[0]
            for wanted in (r"to=<bob@home\.test>.*status=deliverable \(delivers to maildir\)",
                           rf"to=<bob@home\.test>.*status=deliverable \(delivers to file: {home}/box\)",
                           r"to=<r@away\.test>.*status=deliverable \(forwards to r@away\.test\)",
                           r"to=<all@home\.test>.*status=deliverable \(delivers to command: /bin/false\)",
                           r"to=<all@home\.test>.*status=deliverable \(delivers to file: /tmp/never\)",
                           r"status=undeliverable \(alias database loop for round\)",
                           r'status=undeliverable \(unknown user: "nobody-here"\)',
                           r"to=<x@p\.test>.*status=deliverable \(delivers to command: /bin/false\)",
                           r"to=<x@d\.test>, relay=none, .*status=deliverable \(why\)"):
                mta.wait_log(wanted)
            check(b"Original-Recipient: rfc822;all@home.test" in report, report)
            check(b"Subject: probe" in report, report)
            check(not os.path.exists("/tmp/never") and not mails_of("bob"), "delivered")
        finally:
            os.unlink(f"{home}/.forward")


def successes():
    """NOTIFY=SUCCESS: the sender hears of the alias, not of what is behind it (RFC 3461 5.2.7)."""
    with Mta({"alias_maps": f"texthash:{CONF}/aliases", "home_mailbox": "Maildir/"}, start=False) as mta:
        write(CONF + "/aliases", "one bob\nlist bob\nowner-list alice\n")
        mta.start()
        sink = Sink("198.51.100.25")
        mta.closers.append(sink)
        for name, action in (("one", b"expanded"), ("list", b"delivered"), ("bob", b"delivered")):
            before = len(sink.wait(0))
            with Client() as client:
                for line, code in (("MAIL FROM:<s@away.test>", 250),
                                   (f"RCPT TO:<{name}@home.test> NOTIFY=SUCCESS", 250), ("DATA", 354),
                                   ("Subject: x\r\n\r\nx\r\n.", 250)):
                    check_equal(client.command(line)[0], code, line)
            report = sink.wait(before + 1)[before].content
            check(b"Final-Recipient: rfc822; %s@home.test" % name.encode() in report, report)
            check(b"Action: " + action in report, name, report)


def owners_without_a_meaning():
    """owner_request_special = no; and the option that once made an address for each recipient."""
    for value, sender in (("yes", b"u2@box.test"), ("no", b"a@away.test")):
        with Mta({"alias_maps": "inline:{ {list = u1@box.test}, {owner-list = u2@box.test} }",
                  "expand_owner_alias": "yes", "owner_request_special": value}) as mta:
            with Client() as client:
                check_equal(client.send("a@away.test", ["list@home.test"], b"Subject: x\n\nx\n"), 250)
            wait_for("the list's mail", lambda: maildir("u1"))
            check(b"Return-Path: <" + sender + b">" in maildir("u1")[0], maildir("u1")[0])
            done = mta.tool("sendmail", "-V+=", "-f", "a@away.test", "u3@box.test", data=b"Subject: x\n\nx\n")
            check(done.returncode == 0 and b"specify -XV+= instead" in done.stderr, done.stderr)
            wait_for("the other mail", lambda: maildir("u3"))
            check(b"Return-Path: <a+u3=box.test@away.test>" in maildir("u3")[0], maildir("u3")[0])


if __name__ == "__main__":
    main([owners, delivered_to, homes, biff, required_aliases, forward_with_extension,
          error_returns_and_retry_keeps, dropped_mail_is_reported, forward_of_root,
          lists_and_their_files, patterns_and_circles, dry_runs, successes,
          owners_without_a_meaning])
