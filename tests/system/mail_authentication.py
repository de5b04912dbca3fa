"""mail_authentication.py - SPF, DKIM, DMARC and ARC by SMTP: refusals, headers, and what happens when
DNS or mailauth fails."""
import base64
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
        wait_for("the held message", is_held)
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


main([results_are_noted, dmarc_is_enforced, spf_restrictions, arc_of_forwarders_is_noted,
      mailauth_may_be_gone])
