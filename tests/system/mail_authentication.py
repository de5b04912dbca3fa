"""mail_authentication.py - SPF, DKIM, DMARC and ARC by SMTP: refusals, headers, and what happens when
DNS or mailauth fails."""
import base64
import gzip
import re
import subprocess
import sys

from harness import *

GUARD = "permit_mynetworks, reject_unauth_destination"
CHECKS = {
    "smtpd_spf_enable": "yes",
    "smtpd_dkim_verify_enable": "yes",
    "smtpd_dmarc_enable": "yes",
    "smtpd_arc_verify_enable": "yes",
    "smtpd_recipient_restrictions": GUARD,
}
PROBE = os.environ.get("POSTERN_TEST_MAILAUTH_PROBE", "")


class Domain:
    """A domain with SPF, DKIM and DMARC, and its key."""

    def __init__(self, name, policy="p=reject", spf=f"v=spf1 ip4:{CLIENT} -all"):
        self.name = name
        path = f"{ROOT}/{name}.pem"
        run("openssl", "genrsa", "-out", path, "1024", stderr=subprocess.DEVNULL)
        public = subprocess.run(["openssl", "rsa", "-in", path, "-pubout", "-outform", "DER"],
                                check=True, capture_output=True).stdout
        self.key = read(path).decode()
        self.zone = {
            f"{name} MX": [f"10 mx.{name}"],
            f"{name} TXT": [spf],
            f"_dmarc.{name} TXT": [f"v=DMARC1; {policy}"],
            f"s1._domainkey.{name} TXT":
                ["v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()],
        }

    def sign(self, message):
        """The message with a signature of ours on top."""
        request = {"op": "sign", "message": base64.b64encode(message).decode(),
                   "domain": self.name, "selector": "s1", "key": self.key,
                   "now": int(time.time())}
        done = subprocess.run([PROBE], input=json.dumps(request).encode() + b"\n",
                              capture_output=True, check=True)
        return base64.b64decode(json.loads(done.stdout)["field"]) + b"\n" + message


def message_from(address, subject="x", body="hello\n"):
    return (f"From: <{address}>\nTo: <u1@box.test>\nSubject: {subject}\n"
            f"Date: Sun, 29 Nov 2026 10:00:00 +0000\nMessage-ID: <{subject}@t>\n\n{body}").encode()


def send(sender, message, source=CLIENT, recipient="u1@box.test"):
    """The last reply of one transaction."""
    with Client(source=source) as client:
        client.send(sender, [recipient], message)
        return client.last[1]


def fields_of(message, name):
    """Unfolded values of all fields of a name."""
    header = message.partition(b"\n\n")[0].decode("utf-8", "replace")
    header = re.sub(r"\n[ \t]+", " ", header)
    return [line.split(":", 1)[1].strip() for line in header.split("\n")
            if line.lower().startswith(name.lower() + ":")]


def delivered(subject):
    """The message in u1's mailbox, once it is there."""
    def find():
        return [m for m in maildir("u1") if f"\nSubject: {subject}\n".encode() in m]
    return wait_for(f"delivery of {subject}", find)[0]


def results_are_noted():
    """Each verdict is in Authentication-Results above the trace field; forged ones are gone."""
    good = Domain("good.test")
    with Mta(CHECKS, zone=good.zone) as mta:
        forged = (b"Authentication-Results: mx.home.test; dkim=pass header.d=bank.test\n"
                  b"Authentication-Results: other.test; spf=pass\n")
        reply = send("a@good.test", forged + good.sign(message_from("a@good.test", "s1")))
        check_equal(reply[:9], "250 2.0.0", "signed mail")
        message = delivered("s1")
        results = fields_of(message, "Authentication-Results")
        check_equal(len(results), 2, results)
        for wanted in ("mx.home.test;", "spf=pass smtp.mailfrom=a@good.test",
                       "dkim=pass header.d=good.test", "header.s=s1",
                       "dmarc=pass (p=reject dis=none) header.from=good.test", "arc=none"):
            check(wanted in results[0], wanted, "in", results[0])
        check_equal(results[1], "other.test; spf=pass")
        at = message.find(b"Authentication-Results: mx.home.test")
        check(0 <= at < message.find(b"\nReceived: from client"), "below the trace field")
        spf = fields_of(message, "Received-SPF")
        check_equal(len(spf), 1, spf)
        check(spf[0].startswith("Pass (mx.home.test: domain of good.test designates "
                                f"{CLIENT} as permitted sender) identity=mailfrom; "
                                f"client-ip={CLIENT};"), spf)
        mta.wait_log(r"postfix/mailauth\[\d+\]: \w+: spf=pass smtp.mailfrom=a@good.test; dkim=pass")
        # A body that does not fit into one question.
        large = good.sign(message_from("a@good.test", "s2", "0123456789 abcdefgh\n" * 20000))
        check_equal(send("a@good.test", large)[:9], "250 2.0.0", "large mail")
        check("dkim=pass" in fields_of(delivered("s2"), "Authentication-Results")[0], "large")
        broken = good.sign(message_from("a@good.test", "s3")).replace(b"hello", b"hollo")
        check_equal(send("a@good.test", broken)[:9], "250 2.0.0")
        check("dkim=fail (body hash did not verify)" in
              fields_of(delivered("s3"), "Authentication-Results")[0])
        # Mail of our own networks is nobody's to judge.
        check_equal(send("a@good.test", message_from("a@good.test", "s4"), source=HOST)[:9],
                    "250 2.0.0")
        check_equal(fields_of(delivered("s4"), "Authentication-Results"), [])


def dmarc_is_enforced():
    """p=reject refuses at the end of data, quarantine marks or holds, trouble in DNS does neither."""
    strict, soft = Domain("strict.test"), Domain("soft.test", "p=quarantine")
    sick = Domain("sick.test")
    zone = {**strict.zone, **soft.zone, **sick.zone, "_dmarc.sick.test TXT": "SERVFAIL"}
    parameters = {**CHECKS, "smtpd_dmarc_policy": "enforce"}
    with Mta(parameters, zone=zone) as mta:
        forged = message_from("ceo@strict.test", "f1")
        reply = send("x@elsewhere.test", forged)
        check_equal(reply, "550 5.7.1 Message rejected due to: DMARC policy of strict.test")
        mta.wait_log(r"reject: END-OF-MESSAGE from .*: 550 5.7.1 Message rejected due to: DMARC "
                     r"policy of strict.test; from=<x@elsewhere.test>")
        check_equal(send("a@strict.test", forged.replace(b"f1", b"f2"))[:3], "250", "SPF is aligned")
        check_equal(send("x@elsewhere.test", strict.sign(message_from("a@strict.test", "f3")))[:3],
                    "250", "DKIM is aligned")
        two = forged.replace(b"From:", b"From: <a@strict.test>\nFrom:", 1)
        check_equal(send("a@strict.test", two)[:9], "550 5.7.1", "two From fields")
        check_equal(send("x@elsewhere.test", message_from("a@soft.test", "q1"))[:3], "250")
        check_equal(fields_of(delivered("q1"), "X-DMARC-Quarantine"), ["soft.test"])
        check_equal(send("x@elsewhere.test", message_from("a@sick.test", "t1"))[:3], "250")
        check("dmarc=temperror" in fields_of(delivered("t1"), "Authentication-Results")[0])
        mta.write_main_cf(smtpd_dmarc_quarantine_action="hold", smtpd_dmarc_policy="enforce")
        check_equal(mta.tool("postern", "reload").returncode, 0)

        def is_held():
            check_equal(send("x@elsewhere.test", message_from("a@soft.test", "q2"))[:3], "250")
            return [m for m in mta.queue() if m["queue_name"] == "hold"]
        [held] = wait_for("the held message", is_held)
        told = mta.tool("postern", "why", held["queue_id"]).stdout.decode()
        check(re.search(r"\n  secrecy   none, .*\n  verdicts  SPF \w+, DKIM none, DMARC fail", told), told)
        mta.tool("postsuper", "-d", "ALL")


def spf_restrictions():
    """reject_spf_fail and its kin, in the words that fail2ban users know."""
    fail = {"fail.test TXT": ["v=spf1 -all exp=why.fail.test"], "why.fail.test TXT": ["not %{i}"],
            "soft.test TXT": ["v=spf1 ~all"], "odd.test TXT": ["v=spf1 moo"],
            "sick.test TXT": "SERVFAIL", "good.test TXT": [f"v=spf1 ip4:{CLIENT} -all"]}

    def answer(sender, helo="client.away.test"):
        with Client(source=CLIENT) as client:
            client.command("EHLO " + helo)
            client.command(f"MAIL FROM:<{sender}>")
            return client.command("RCPT TO:<u1@box.test>")[1]

    rejected = "550 5.7.23 <u1@box.test>: Recipient address rejected: Message rejected due to: "
    for restriction, sender, wanted in (
            ("reject_spf_fail", "a@fail.test",
             rejected + f"SPF fail - not authorized. fail.test explains: not {CLIENT}"),
            ("reject_spf_fail", "a@soft.test", "250 2.1.5 Ok"),
            ("reject_spf_fail", "a@good.test", "250 2.1.5 Ok"),
            ("reject_spf_fail", "a@sick.test", "250 2.1.5 Ok"),
            ("reject_spf_softfail", "a@soft.test",
             rejected + "SPF softfail - probably not authorized"),
            ("reject_spf_permerror", "a@odd.test", "550 5.7.24"),
            ("defer_spf_temperror", "a@sick.test", "451 4.7.24"),
            ("reject_spf_fail", "", "250 2.1.5 Ok")):
        with Mta({"smtpd_recipient_restrictions": f"{GUARD}, {restriction}"}, zone=fail) as mta:
            check(answer(sender).startswith(wanted), restriction, sender, answer(sender))
            if wanted.startswith(rejected):
                mta.wait_log(r"NOQUEUE: reject: RCPT from .*Message rejected due to: SPF "
                             r"|postfix/smtpd.*: reject: RCPT from .*Message rejected due to: SPF ")
    with Mta({"smtpd_recipient_restrictions": f"{GUARD}, reject_spf_helo_fail"}, zone=fail) as mta:
        check(answer("a@good.test", "fail.test").startswith(rejected + "SPF HELO fail"))
        check_equal(answer("a@good.test", "good.test"), "250 2.1.5 Ok")


def arc_of_forwarders_is_noted():
    """A chain that a trusted host has sealed excuses mail that DMARC would refuse."""
    strict, hop = Domain("strict.test"), Domain("hop.test", "p=none")
    zone = {**strict.zone, **hop.zone}

    def seal(message):
        request = {"op": "seal", "message": base64.b64encode(message).decode(),
                   "domain": "hop.test", "selector": "s1", "key": hop.key,
                   "results": "hop.test; dmarc=pass header.from=strict.test",
                   "now": int(time.time())}
        done = subprocess.run([PROBE], input=json.dumps(request).encode() + b"\n",
                              capture_output=True, check=True)
        return base64.b64decode(json.loads(done.stdout)["fields"]) + message

    parameters = {**CHECKS, "smtpd_dmarc_policy": "enforce",
                  "smtpd_dmarc_trusted_sealers": "hop.test"}
    with Mta(parameters, zone=zone):
        listed = message_from("a@strict.test", "l1", "with a footer\n")
        check_equal(send("list@hop.test", listed)[:9], "550 5.7.1", "without a seal")
        check_equal(send("list@hop.test", seal(listed))[:3], "250", "with a seal")
        results = fields_of(delivered("l1"), "Authentication-Results")[0]
        check("arc=pass (i=1)" in results, results)
        check("dmarc=fail (not applied: ARC seal of hop.test; p=reject dis=none)" in results, results)
        check_equal(send("list@hop.test", seal(listed).replace(b"dmarc=pass", b"dmarc=PASS"))[:9],
                    "550 5.7.1", "with a broken seal")


def mailauth_may_be_gone():
    """Without it mail passes with that noted, or waits where main.cf says so."""
    with Mta({**CHECKS, "smtpd_dmarc_policy": "enforce", "mailauth_time_limit": "1s"},
             may_log="mailauth") as mta:
        target = f"{PREFIX}/libexec/postern/mailauth"
        run("mount", "--bind", "/bin/false", target)
        try:
            check_equal(send("a@away.test", message_from("a@away.test", "g1"))[:3], "250")
            results = fields_of(delivered("g1"), "Authentication-Results")[0]
            for wanted in ("spf=temperror", "dkim=temperror", "dmarc=temperror", "arc=temperror"):
                check(wanted in results, wanted, "in", results)
            mta.write_main_cf(mailauth_default_action="tempfail")
            check_equal(mta.tool("postern", "reload").returncode, 0)
            wait_for("a deferral", lambda: send("a@away.test", message_from("a@away.test", "g2"))
                     .startswith("451 4.7.0"))
        finally:
            run("umount", target)


def verdict_of(content, zone):
    """What our own verifier says of a message that came out, as bytes with CRLF or LF."""
    names = {}
    for key, values in zone.items():
        name, kind = key.split()
        names.setdefault(name, []).extend([kind, value] for value in values)
    message = content.replace(b"\r\n", b"\n")
    request = {"op": "verify", "message": base64.b64encode(message).decode(), "zone": names,
               "now": int(time.time())}
    done = subprocess.run([PROBE], input=json.dumps(request).encode() + b"\n",
                          capture_output=True, check=True)
    return json.loads(done.stdout)


def own_mail_is_signed():
    """By OpenDKIM's tables, by a table of ours and by a template; what arrives verifies, also with
    long lines; nothing is signed for strangers, and nothing twice."""
    own = Domain("home.test")
    other = Domain("second.test")
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", f"{ROOT}/ed.pem",
        stderr=subprocess.DEVNULL)
    public = subprocess.run(["openssl", "pkey", "-in", f"{ROOT}/ed.pem", "-pubout", "-outform",
                             "DER"], check=True, capture_output=True).stdout[-32:]
    zone = {**own.zone, **other.zone, "ed._domainkey.home.test TXT":
            ["v=DKIM1; k=ed25519; p=" + base64.b64encode(public).decode()]}
    zone["home.test MX"] = ["10 mx.home.test"]
    with Mta({"dkim_sign_enable": "yes", "dkim_key_table": f"{CONF}/KeyTable",
              "dkim_signing_table": f"refile:{CONF}/SigningTable"}, zone=zone, start=False) as mta:
        for name, key in (("home", own.key), ("second", other.key), ("ed", read(f"{ROOT}/ed.pem").decode())):
            write(f"{CONF}/keys/{name}", key, 0o600)
        write(f"{CONF}/KeyTable", f"# keys\nhome home.test:s1:{CONF}/keys/home\n"
              f"ed home.test:ed:{CONF}/keys/ed\nany %:s1:{CONF}/keys/second\n")
        write(f"{CONF}/SigningTable", "*@home.test home,ed\n*@second.test any\n")
        sink = mta.sink()
        mta.start()

        def check_signed(address, wanted, body="hello\n", source=HOST):
            subject = f"m{len(sink.messages)}"
            reply = send(address, message_from(address, subject, body), source, "r@away.test")
            check_equal(reply[:3], "250", reply)
            line = f"Subject: {subject}\r\n".encode()
            wait_for("delivery", lambda: any(line in m.content for m in sink.messages))
            message = next(m for m in sink.messages if line in m.content)
            verdict = verdict_of(message.content, zone)
            seen = [(one["selector"], one["result"]) for one in verdict.get("dkim") or []]
            check_equal(seen, wanted, f"{address}: {verdict}")
            return message.content.replace(b"\r\n", b"\n")
        both = [("s1", "pass"), ("ed", "pass")]
        signed = check_signed("alice@home.test", both)
        check(b"d=home.test; s=s1" in signed, signed)
        check_signed("alice@home.test", both, "long " * 1000 + "\n..\n.\nend\n\n\n")
        check_signed("alice@home.test", both, "0123456789\n" * 30000)
        check_signed("alice@home.test", both, "")
        check_signed("bob@second.test", [("s1", "pass")])
        check_signed("bob@third.test", [])
        # Signed already: as it is.
        again = signed.replace(b"Subject: m0", b"Subject: m9")
        check_equal(send("alice@home.test", again, HOST, "r@away.test")[:3], "250")
        wait_for("delivery", lambda: any(b"Subject: m9" in m.content for m in sink.messages))
        message = next(m for m in sink.messages if b"Subject: m9" in m.content)
        check_equal(message.content.count(b"DKIM-Signature:"), 2)
        # A stranger who says that he is us.
        check_equal(send("alice@home.test", message_from("alice@home.test", "z1"))[:3], "250")
        check(b"DKIM-Signature" not in delivered("z1"), "signed for a stranger")
        # sendmail(1)
        done = mta.tool("sendmail", "-f", "alice@home.test", "r@away.test",
                        data=message_from("alice@home.test", "z2"), user="alice")
        check_equal(done.returncode, 0, done.stderr)
        wait_for("delivery", lambda: any(b"Subject: z2" in m.content for m in sink.messages))
        message = next(m for m in sink.messages if b"Subject: z2" in m.content)
        seen = [one["result"] for one in verdict_of(message.content, zone).get("dkim") or []]
        check_equal(seen, ["pass", "pass"], message.content)
        # What the SMTP client changes is changed before it is signed.
        mta.write_main_cf(smtp_generic_maps="inline:{dave@home.test=david@second.test}",
                          smtp_header_checks="regexp:{{/^X-Secret:/ IGNORE}}")
        check_equal(mta.tool("postern", "reload").returncode, 0)

        def is_changed_and_signed():
            content = b"X-Secret: yes\n" + message_from("dave@home.test", "g1")
            check_equal(send("dave@home.test", content, HOST, "r@away.test")[:3], "250")
            mta.wait_drained()
            sent = sink.messages[-1].content
            verdict = [(one["domain"], one["result"])
                       for one in verdict_of(sent, zone).get("dkim") or []]
            return (b"X-Secret" not in sent and b"david@second.test" in sent and
                    verdict == [("second.test", "pass")])
        wait_for("a signature of what was sent", is_changed_and_signed)
        mta.write_main_cf(smtp_generic_maps="", smtp_header_checks="",
                          smtp_body_checks="regexp:{{/^secret:/ REPLACE known: words}}")
        check_equal(mta.tool("postern", "reload").returncode, 0)

        def is_replaced_and_signed():
            check_equal(send("bob@second.test", message_from("bob@second.test", "g2", "a\nsecret: b\n"),
                             HOST, "r@away.test")[:3], "250")
            mta.wait_drained()
            sent = sink.messages[-1].content
            return (b"\r\nknown: words\r\n" in sent and
                    [one["result"] for one in verdict_of(sent, zone).get("dkim") or []] == ["pass"])
        wait_for("a signature of the body that was sent", is_replaced_and_signed)
        mta.write_main_cf(smtp_body_checks="", smtp_connection_cache_on_demand="no")
        mta.restart()
        # A server that takes 8-bit text gets it, another the same converted; both can verify it,
        # small mail and large, and the queue shows nothing unusual.
        eight = ("MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
                 "Content-Transfer-Encoding: 8bit\n\n")
        mixed = ("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n" + eight +
                 "\u00e4\n--b\n\nplain\n--b--\n")
        for head_and_body in (eight + "Gr\u00fc\u00dfe\n", mixed, eight + "\u00fcber = \n" * 20000):
            for plain in (False, True):
                sink.replies = {"EHLO": b"250-mx.away.test\r\n250 SIZE\r\n"} if plain else {}
                count = len(sink.messages)
                content = b"From: <alice@home.test>\nSubject: 8\n" + head_and_body.encode()
                check_equal(send("alice@home.test", content, HOST, "r@away.test")[:3], "250")
                wait_for("delivery", lambda: len(sink.messages) > count)
                sent = sink.messages[-1].content
                check_equal(sent.isascii(), plain)
                seen = [(one["selector"], one["result"])
                        for one in verdict_of(sent, zone).get("dkim") or []]
                check_equal(seen, both, sent[:3000])
                mta.wait_drained()
        sink.replies = {}
        # A table of ours, and keys where the template says.
        write(f"{CONF}/dkim/second.test/s1.private", other.key, 0o600)
        mta.write_main_cf(dkim_key_table="", dkim_signing_table="inline:{second.test=s1}")
        check_equal(mta.tool("postern", "reload").returncode, 0)

        def is_by_template():
            check_equal(send("x@second.test", message_from("x@second.test", "t1"), HOST,
                             "r@away.test")[:3], "250")
            check_equal(send("alice@home.test", message_from("alice@home.test", "t2"), HOST,
                             "r@away.test")[:3], "250")
            mta.wait_drained()
            last = sink.messages[-2:]
            counts = sorted((b"Subject: t1" in m.content, m.content.count(b"DKIM-Signature:"))
                            for m in last)
            return counts == [(False, 0), (True, 1)]
        wait_for("signatures by the template", is_by_template)
        # Without the key mail passes unsigned, or waits.
        os.unlink(f"{CONF}/dkim/second.test/s1.private")
        mta.write_main_cf(mailauth_default_action="tempfail")
        check_equal(mta.tool("postern", "reload").returncode, 0)
        wait_for("a deferral", lambda: send("x@second.test", message_from("x@second.test", "t3"), HOST,
                                            "r@away.test").startswith("451 4.7.0"))


def replayed_mail_ages():
    """A signed message that somebody sends to all the world verifies each time, which the log tells,
    until dkim_signature_lifetime has passed."""
    own = Domain("home.test", spf="v=spf1 -all")
    zone = {**own.zone, "home.test MX": ["10 mx.home.test"]}
    copies = 40
    with Mta({**CHECKS, "smtpd_dmarc_policy": "enforce", "dkim_sign_enable": "yes",
              "dkim_signature_lifetime": "1h", "dkim_key_table": f"{CONF}/KeyTable",
              "dkim_signing_table": f"refile:{CONF}/SigningTable"}, zone=zone, start=False) as mta:
        write(f"{CONF}/keys/home", own.key, 0o600)
        write(f"{CONF}/KeyTable", f"home home.test:s1:{CONF}/keys/home\n")
        write(f"{CONF}/SigningTable", "*@home.test home\n")
        sink = mta.sink()
        mta.start()
        check_equal(send("alice@home.test", message_from("alice@home.test", "r1"), HOST,
                         "r@away.test")[:3], "250")
        signed = sink.wait(1)[0].content.replace(b"\r\n", b"\n")
        signed = signed[signed.index(b"DKIM-Signature:"):]

        def replay(number):
            return send("someone@bad.test", signed, recipient=f"u{number % 5}@box.test")
        begun = time.monotonic()
        for number in range(copies):
            check_equal(replay(number)[:3], "250", number)
        took = time.monotonic() - begun
        seen = wait_for("a line for each copy", lambda: len(re.findall(
            r"mailauth\[\d+\]: \w+: .*dkim=pass header.d=home.test", mta.log())) // copies * copies)
        check_equal(seen, copies, "signatures in the log")
        mta.stop()
        clock = LaterClock("mailauth", 7200)
        try:
            mta.start()
            refused = replay(0)
            check_equal(refused[:3], "550", refused)
            mta.wait_log(r"mailauth\[\d+\]: \w+: .*dkim=fail")
            print(f"     {copies} copies in {took:.1f} s, {seen} log lines; two hours later: {refused}")
        finally:
            mta.stop()
            clock.close()


def forwarded_mail_is_sealed():
    """Mail of strangers carries a seal with our verdicts, which verifies where it goes."""
    strict, own = Domain("strict.test"), Domain("home.test")
    zone = {**strict.zone, **own.zone}
    zone["home.test MX"] = ["10 mx.home.test"]
    with Mta({**CHECKS, "arc_seal_enable": "yes", "arc_seal_selector": "s1",
              "arc_seal_key_file": CONF + "/arc.pem", "virtual_alias_domains": "fwd.test",
              "virtual_alias_maps": "inline:{a@fwd.test=r@away.test}"}, zone=zone,
             start=False) as mta:
        write(CONF + "/arc.pem", own.key, 0o600)
        sink = mta.sink()
        mta.start()
        check_equal(send("a@strict.test", strict.sign(message_from("a@strict.test", "a1")),
                         recipient="a@fwd.test")[:3], "250")
        wait_for("delivery", lambda: sink.messages)
        content = sink.messages[0].content
        verdict = verdict_of(content, zone)
        check_equal(verdict["arc"], "pass", verdict)
        check_equal([one["result"] for one in verdict["dkim"]], ["pass"], verdict)
        results = fields_of(content.replace(b"\r\n", b"\n"), "ARC-Authentication-Results")
        check(results[0].startswith("i=1; mx.home.test;") and "dmarc=pass" in results[0], results)
        # On top of a chain that is there.
        check_equal(send("a@hop.test", content, recipient="a@fwd.test")[:3], "250")
        wait_for("delivery", lambda: len(sink.messages) > 1)
        verdict = verdict_of(sink.messages[1].content, zone)
        check_equal((verdict["arc"], sink.messages[1].content.count(b"ARC-Seal: i=2")), ("pass", 1))


def forwarded_senders_are_rewritten():
    """SRS for what aliases, virtual aliases and .forward send on; not for what is relayed; bounces
    find the way back."""
    zone = {"far.test MX": ["10 mx.far.test"], "mx.far.test A": ["198.51.100.26"]}
    with Mta({"srs_enable": "yes", "relay_domains": "away.test", "mydestination": "home.test",
              "virtual_alias_domains": "fwd.test", "alias_maps": "inline:{carol=r3@away.test}",
              "virtual_alias_maps": "inline:{a@fwd.test=r1@away.test}",
              "srs_exclude_domains": "home.test, inline:{left.test=alone}"},
             zone=zone, start=False) as mta:
        write(CONF + "/srs.secrets", "the secret\nan older one\n", 0o600)
        write(f"{ROOT}/home/alice/.forward", "r2@away.test\n")
        os.chown(f"{ROOT}/home/alice/.forward", USERS["alice"], USERS["alice"])
        sink, far = mta.sink(), mta.sink("198.51.100.26")
        mta.start()

        def sender_of(recipient, sender="x@far.test", source=CLIENT):
            count = len(sink.messages)
            reply = send(sender, message_from("x@far.test", "s"), source, recipient)
            check_equal(reply[:3], "250", reply)
            wait_for("delivery", lambda: len(sink.messages) > count)
            return sink.messages[-1].sender
        pattern = r"SRS0=[\w+/]{4}=[A-Z2-7]{2}=far\.test=x@home\.test"
        for recipient in ("a@fwd.test", "alice@home.test", "carol@home.test"):
            check(re.fullmatch(pattern, sender_of(recipient)), recipient, sink.messages[-1].sender)
        mta.wait_log(r"from=<x@far.test> goes on as <SRS0=")
        rewritten = sink.messages[-1].sender
        check_equal(sender_of("direct@away.test"), "x@far.test", "relayed")
        check_equal(sender_of("a@fwd.test", "me@home.test", HOST), "me@home.test", "our own")
        check_equal(sender_of("a@fwd.test", "b@left.test"), "b@left.test", "excluded by a table")
        check_equal(sender_of("a@fwd.test", ""), "", "the null sender")
        # Both kinds in one message for one host.
        count = len(sink.messages)
        with Client(source=CLIENT) as client:
            client.send("x@far.test", ["a@fwd.test", "direct@away.test"],
                        message_from("x@far.test", "both"))
        wait_for("both", lambda: len(sink.messages) == count + 2)
        seen = {m.recipients[0]: m.sender[:5] for m in sink.messages[count:]}
        check_equal(seen, {"r1@away.test": "SRS0=", "direct@away.test": "x@far"})
        # A bounce goes to the one it is for; a forged or unknown one is refused.
        reply = send("", message_from("mailer@away.test", "bounce"), recipient=rewritten)
        check_equal(reply[:3], "250", reply)
        wait_for("the bounce", lambda: far.messages)
        check_equal((far.messages[0].sender, far.messages[0].recipients), ("", ["x@far.test"]))
        forged = rewritten.replace("=x@", "=y@")
        check_equal(send("", message_from("m@away.test", "b"), recipient=forged),
                    f"550 5.1.1 <{forged}>: Recipient address rejected: SRS hash is wrong")
        mta.wait_drained()


def keys_are_made_and_rotated():
    """`postern dkim`: a new key signs, and is replaced only when DNS has the record of the next."""
    with Mta({"dkim_sign_enable": "yes", "dkim_signing_table": CONF + "/SigningTable"},
             zone={"home.test MX": ["10 mx.home.test"]}, start=False) as mta:
        zone = mta.zone

        def publish(line):
            name, _, rest = line.partition(". IN TXT ")
            zone[name + " TXT"] = ["".join(re.findall(r'"([^"]*)"', rest))]

        def dkim(*words, wanted=0):
            done = mta.tool("postern", "dkim", *words)
            check_equal(done.returncode, wanted, f"{words}: {done.stdout} {done.stderr}")
            return done.stdout.decode().strip()
        record = dkim("new", "home.test", "s1")
        check(record.startswith("s1._domainkey.home.test. IN TXT ("), record)
        check_equal(os.stat(CONF + "/dkim/home.test/s1.private").st_mode & 0o777, 0o600)
        dkim("new", "home.test", "s1", wanted=1)
        check_equal(dkim("record", "home.test", "s1"), record)
        check_equal(dkim("test", wanted=1), "s1._domainkey.home.test: not published")
        publish(record)
        check_equal(dkim("test", "home.test"), "s1._domainkey.home.test: published")
        check_equal(dkim("list"), f"home.test s1 rsa:2048 {PREFIX}/etc/postern/dkim/home.test/s1.private")
        write(CONF + "/SigningTable", "# ours\nhome.test s1\nother.test s1\n")
        sink = mta.sink()
        mta.start()

        def signers(subject):
            check_equal(send("a@home.test", message_from("a@home.test", subject), HOST,
                             "r@away.test")[:3], "250")
            line = f"Subject: {subject}\r\n".encode()
            wait_for("delivery", lambda: any(line in m.content for m in sink.messages))
            message = next(m for m in sink.messages if line in m.content)
            return [(one["selector"], one["result"])
                    for one in verdict_of(message.content, zone).get("dkim") or []]
        check_equal(signers("k1"), [("s1", "pass")])
        record = dkim("rotate", "home.test", "s1", "s2", wanted=75)
        check_equal(signers("k2"), [("s1", "pass")])
        check_equal(read(CONF + "/SigningTable"), b"# ours\nhome.test s1\nother.test s1\n")
        publish(record)
        dkim("rotate", "home.test", "s1", "s2")
        check_equal(read(CONF + "/SigningTable"), b"# ours\nhome.test s2\nother.test s1\n")
        check_equal(mta.tool("postern", "reload").returncode, 0)
        number = iter(range(100))
        wait_for("the new key", lambda: signers(f"n{next(number)}") == [("s2", "pass")])
        record = dkim("new", "home.test", "e1", "ed25519")
        publish(record)
        check_equal(dkim("test", "home.test", "e1"), "e1._domainkey.home.test: published")


def records_are_surveyed():
    """`postern dns` says what is missing; what `--zone` prints makes it content."""
    with Mta({"dkim_sign_enable": "yes", "dkim_signing_table": "inline:{home.test=s1}"},
             zone={}, start=False) as mta:
        zone = mta.zone
        zone.clear()

        def survey(*words):
            done = mta.tool("postern", "dns", "home.test", *words)
            check_equal(done.stderr, b"")
            return done.returncode, done.stdout.decode().splitlines()
        check_equal(mta.tool("postern", "dkim", "new", "home.test", "s1").returncode, 0)
        code, lines = survey()
        check_equal(code, 1)
        for wanted in ("MX of home.test: missing", "A of mx.home.test: missing",
                       "PTR of 192.0.2.1: missing", "SPF of home.test: missing",
                       "DKIM s1._domainkey.home.test: not published", "DMARC of home.test: missing"):
            check("wrong   " + wanted in lines, wanted, lines)
        check("advised MTA-STS of home.test: missing" in lines, lines)
        for line in survey("--zone")[1]:
            name, _, kind, value = line.split(" ", 3)
            if kind == "TXT":
                value = "".join(re.findall(r'"([^"]*)"', value))
            if kind in ("A", "MX", "PTR", "TXT"):
                zone[f"{name.rstrip('.')} {kind}"] = [value]
        code, lines = survey()
        check_equal((code, [line for line in lines if line.startswith("wrong")]), (0, []))
        check("ok      SPF of home.test" in lines, lines)
        # What does not let our own host send is told.
        zone["home.test TXT"] = ["v=spf1 -all"]
        zone["1.2.0.192.in-addr.arpa PTR"] = ["other.test"]
        zone["_dmarc.home.test TXT"] = "SERVFAIL"
        code, lines = survey()
        check_equal(code, 1)
        for wanted in ("SPF of home.test: fail for 192.0.2.1", "PTR of 192.0.2.1: is other.test",
                       "DMARC of home.test: DNS does not answer"):
            check("wrong   " + wanted in lines, wanted, lines)


def own_senders_are_tagged():
    """BATV: a bounce to what we have sent comes through, any other is refused."""
    with Mta({"batv_enable": "yes", "mydestination": "home.test", "smtpd_recipient_restrictions":
              GUARD + ", reject_untagged_bounce"}, start=False) as mta:
        write(CONF + "/srs.secrets", "the secret\n", 0o600)
        sink = mta.sink()
        mta.start()
        check_equal(send("bob@home.test", message_from("bob@home.test", "o"), HOST,
                         "r@away.test")[:3], "250")
        wait_for("delivery", lambda: sink.messages)
        tagged = sink.messages[0].sender
        check(re.fullmatch(r"prvs=0\d{3}[0-9a-f]{6}=bob@home\.test", tagged), tagged)
        check_equal(send("", message_from("m@away.test", "b1"), recipient=tagged)[:3], "250")
        wait_for("the bounce", lambda: os.path.exists(MAIL + "/bob"))
        refused = "Recipient address rejected: Bounce for mail that was not sent from here"
        check_equal(send("", message_from("m@away.test", "b2"), recipient="bob@home.test"),
                    f"550 5.7.1 <bob@home.test>: {refused}")
        forged = "prvs=0" + tagged[6:9] + ("000000" if tagged[9:15] != "000000" else "111111") + tagged[15:]
        check(send("", message_from("m@away.test", "b3"), recipient=forged)
              .startswith(f"550 5.7.1 <{forged}>: {refused}"), forged)
        # Mail of people is for either form.
        for recipient in ("bob@home.test", tagged):
            check_equal(send("p@away.test", message_from("p@away.test", "b4"),
                             recipient=recipient)[:3], "250", recipient)
        unknown = "prvs=0123abcdef=nobody.here@home.test"
        check_equal(send("p@away.test", message_from("p@away.test", "b5"), recipient=unknown)[:9],
                    "550 5.1.1")
        mta.wait_drained()


def reports_are_summed():
    """`postern report dmarc`: a report out of its mail, with bars and as a drawing."""
    rows = "".join(f"<record><row><source_ip>{ip}</source_ip><count>{count}</count><policy_evaluated>"
                   f"<disposition>none</disposition><dkim>{dkim}</dkim><spf>fail</spf>"
                   "</policy_evaluated></row></record>"
                   for ip, count, dkim in (("192.0.2.1", 30, "pass"), ("192.0.2.9", 10, "fail")))
    xml = ("<?xml version='1.0'?><feedback><report_metadata><org_name>Big &lt;Mail&gt;</org_name>"
           "<date_range><begin>1700000000</begin><end>1700086399</end></date_range></report_metadata>"
           f"<policy_published><domain>home.test</domain><p>reject</p></policy_published>{rows}"
           "</feedback>")
    packed = base64.encodebytes(gzip.compress(xml.encode())).decode()
    mail = ("From: noreply@big.test\nSubject: Report domain: home.test\nContent-Type: "
            "application/gzip\nContent-Transfer-Encoding: base64\n\n" + packed)
    with Mta(start=False) as mta:
        drawing = CONF + "/report.svg"
        done = mta.tool("postern", "report", "dmarc", "--svg", drawing, data=mail.encode())
        check_equal((done.returncode, done.stderr), (0, b""))
        text = done.stdout.decode()
        check(text.startswith("1 reports, 2023-11-14 to 2023-11-15\n"), text)
        check(re.search(r"home\.test +30 passed +10 failed  " + "█" * 30 + "░" * 10, text), text)
        check(re.search(r"192\.0\.2\.9 +0 passed +10 failed  " + "░" * 13 + "\n", text), text)
        check("Big <Mail>" in text, text)
        picture = read(drawing).decode()
        check(picture.startswith("<svg ") and picture.count("<rect ") == 4 and
              ">192.0.2.1</text>" in picture, picture)
        done = mta.tool("postern", "report", "dmarc", data=b"no report")
        check_equal(done.returncode, 1)


def the_doctor_looks_at_all():
    """`postern doctor` is content with a sound system, and says what is wrong with another."""
    zone = {"org NS": ["a.org"], "2.0.0.127.bl.test A": ["127.0.0.2"],
            "2.0.0.127.paid.test A": ["127.255.255.254"], "2.0.0.127.sold.test A": ["192.0.2.9"],
            "1.0.0.127.sold.test A": ["192.0.2.9"]}
    lists = "reject_unauth_destination, reject_rbl_client bl.test"
    with Mta({"dkim_sign_enable": "yes", "dkim_signing_table": "inline:{home.test=s1}",
              "smtpd_recipient_restrictions": lists}, zone=zone, start=False) as mta:
        check_equal(mta.tool("postern", "dkim", "new", "home.test", "s1").returncode, 0)
        for line in mta.tool("postern", "dns", "home.test", "--zone").stdout.decode().splitlines():
            name, _, kind, value = line.split(" ", 3)
            if kind == "TXT":
                value = "".join(re.findall(r'"([^"]*)"', value))
            if kind in ("A", "MX", "PTR", "TXT"):
                mta.zone[f"{name.rstrip('.')} {kind}"] = [value]
        mta.start()
        done = mta.tool("postern", "doctor")
        text = done.stdout.decode()
        check_equal(done.returncode, 0, text)
        for wanted in ("ok      configuration", "ok      no stranger is in mynetworks",
                       "ok      the name server answers", "ok      bl.test answers",
                       "ok      MX of home.test"):
            check(wanted in text.splitlines(), wanted, text)
        mta.write_main_cf(mynetworks="0.0.0.0/0", message_size_limit="100000000000000",
                          smtpd_recipient_restrictions=lists + ", reject_rbl_client paid.test, "
                          "reject_rbl_client sold.test, reject_rbl_client gone.test")
        del mta.zone["org NS"]
        done = mta.tool("postern", "doctor")
        text = done.stdout.decode()
        check_equal(done.returncode, 1, text)
        for wanted in ("wrong   mynetworks has 203.0.113.77: strangers can relay",
                       "wrong   the name server knows no name servers of org",
                       "wrong   paid.test does not serve this name server",
                       "wrong   sold.test lists everybody",
                       "wrong   gone.test does not list its test address"):
            check(wanted in text.splitlines(), wanted, text)
        check(re.search(r"^wrong   .*spool/postern: \d+ bytes free, 150000000000000 wanted$", text,
                        re.M), text)


def others_ask_by_milter():
    """postern-milter: the same verdicts for a mail system that only speaks milter."""
    program = PREFIX + "/sbin/postern-milter"
    if not os.path.exists(program):
        print("     postern-milter is not built")
        return
    strict = Domain("strict.test")
    zone = {**strict.zone, "fail.test TXT": ["v=spf1 -all"], "new.test TXT": ["v=spf1 ?all"]}
    # Here only the filter judges: the mail system has none of it switched on.
    with Mta({"smtpd_milters": "inet:127.0.0.1:8895", "milter_default_action": "tempfail"}, zone=zone,
             start=False) as mta:
        filter_conf = ROOT + "/filter"
        write(filter_conf + "/main.cf", read(CONF + "/main.cf").decode() +
              "".join(f"{name} = yes\n" for name in CHECKS if name.endswith("_enable")) +
              "smtpd_dmarc_policy = enforce\n")
        write(filter_conf + "/master.cf", "")
        process = subprocess.Popen([program, "-c", filter_conf, "-s", "fail", "-g", "2", "-p",
                                    "inet:8895@127.0.0.1"], stderr=subprocess.PIPE)
        try:
            wait_for("the filter", lambda: not socket.socket().connect_ex(("127.0.0.1", 8895)))
            mta.start()
            forged = b"Authentication-Results: mx.home.test; dkim=pass header.d=bank.test\n"
            for body in ("hello\n", "  two  blanks \n\n..\n\n\n", "0123456789 abc\n" * 20000):
                subject = f"f{len(body)}"
                message = forged + strict.sign(message_from("a@strict.test", subject, body))
                check_equal(send("a@strict.test", message)[:3], "250", subject)
                results = fields_of(delivered(subject), "Authentication-Results")
                check_equal(len(results), 1, results)
                for wanted in ("mx.home.test;", "spf=pass smtp.mailfrom=a@strict.test",
                               "dkim=pass header.d=strict.test", "dmarc=pass"):
                    check(wanted in results[0], wanted, results[0])
                check(fields_of(delivered(subject), "Received-SPF")[0].startswith("Pass"))
            reply = send("a@fail.test", message_from("a@fail.test", "s"))
            check_equal(reply, "550 5.7.23 Message rejected due to: SPF fail - not authorized")
            forged = message_from("ceo@strict.test", "s")
            wait_for("the end of greylisting",
                     lambda: not send("x@new.test", forged).startswith("450 4.2.0"))
            check_equal(send("x@new.test", forged),
                        "550 5.7.1 Message rejected due to: DMARC policy of strict.test")
            check_equal(send("x@strict.test", message_from("x@strict.test", "own"), HOST)[:3], "250")
            check_equal(fields_of(delivered("own"), "Authentication-Results"), [])
        finally:
            process.terminate()
            process.wait(30)
        check_equal(process.stderr.read(), b"")


main([results_are_noted, dmarc_is_enforced, spf_restrictions, arc_of_forwarders_is_noted,
      own_mail_is_signed, replayed_mail_ages, forwarded_mail_is_sealed, forwarded_senders_are_rewritten,
      own_senders_are_tagged, keys_are_made_and_rotated, records_are_surveyed, reports_are_summed,
      the_doctor_looks_at_all, others_ask_by_milter, mailauth_may_be_gone])
