"""log_readers.py - the programs that administrators read a mail log with know ours: fail2ban's stock
filters, pflogsumm and logwatch, as Debian has them."""
import sys

from harness import *
from packages import provide, root_of

GUARD = "permit_mynetworks, reject_unauth_destination"
REJECTS = {
    "relay": ("x@elsewhere.test", "s@away.test"),
    "unknown": ("nobody@box.test", "s@away.test"),
    "listed": ("u1@box.test", "s@away.test"),
    "fqdn": ("u2@box.test", "plain"),
    "domain": ("u3@box.test", "s@nowhere.invalid"),
}
PACKAGES = ["fail2ban", "pflogsumm", "logwatch", "libdate-calc-perl", "libdate-calc-xs-perl",
            "libbit-vector-perl", "libcarp-clan-perl", "libdate-manip-perl"]


def make_log():
    """A day of a mail system: mail in and out, mail that waits and that comes back, refusals, a login
    that fails. Gives the path of its log."""
    listed = "200.100.51.198.bl.test A"
    checks = (f"{GUARD}, reject_non_fqdn_sender, reject_unknown_sender_domain, "
              "check_recipient_access inline:{u1@box.test=ask}")
    with Mta({"smtpd_recipient_restrictions": checks, "smtpd_restriction_classes": "ask",
              "ask": "reject_rbl_client bl.test",
              "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "postern",
              "smtpd_sasl_password_maps": f"texthash:{CONF}/passwords",
              "smtpd_sasl_security_options": "noanonymous"},
             zone={listed: ["127.0.0.2"]}, start=False, may_log=r"authentication failed") as mta:
        entry = subprocess.run(["openssl", "passwd", "-5", "right"], capture_output=True, check=True)
        write(CONF + "/passwords", "u " + entry.stdout.decode())
        mta.start()
        sink = Sink("198.51.100.25")
        mta.closers.append(sink)
        for recipient, sender in REJECTS.values():
            with Client(source="198.51.100.200") as client:
                client.command(f"MAIL FROM:<{sender}>")
                code, text = client.command(f"RCPT TO:<{recipient}>")
                check(code >= 400, recipient, text)
        with Client(source="198.51.100.200") as client:
            check_equal(client.command("AUTH PLAIN AHUAd3Jvbmc=")[0], 535)
        with Client() as client:
            check_equal(client.send("alice@home.test", ["u0@box.test", "r@away.test"],
                                    b"Subject: x\n\nx\n"), 250)
            check_equal(client.send("alice@home.test", ["r@gone.invalid"], b"Subject: x\n\nx\n"), 250)
        sink.wait(1)
        mta.wait_log(r"to=<r@gone\.invalid>.*status=bounced")
        mta.wait_drained()
        # A queue is empty a moment before the log has told of it.
        mta.wait_log(r"to=<alice@home\.test>.*status=sent(.*\n)*.*: removed")
        copy = ROOT + "/mail.log"
        shutil.copy(LOG, copy)
    return copy


def tell(*words):
    environment = dict(os.environ)
    top = root_of()
    environment["PYTHONPATH"] = top + "/usr/lib/python3/dist-packages"
    environment["PERL5LIB"] = f"{top}/usr/share/perl5:{top}/usr/lib/x86_64-linux-gnu/perl5/5.36"
    done = subprocess.run(words, capture_output=True, timeout=60, check=False, env=environment)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def matched_lines(told):
    found = re.search(r"Lines: (\d+) lines, (\d+) ignored, (\d+) matched", told)
    check(found, told[-2000:])
    return int(found.group(3))


def readers():
    path = make_log()
    lines = read(path).decode().splitlines()
    rejects = [line for line in lines if "NOQUEUE: reject" in line]
    failed = [line for line in lines if "authentication failed" in line]
    check_equal(len(rejects), len(REJECTS), "\n".join(lines))
    check_equal(len(failed), 1, "\n".join(lines))

    top = root_of()
    filters = (top if os.path.exists(top + "/etc/fail2ban") else "") + "/etc/fail2ban"
    regex = shutil.which("fail2ban-regex")
    def counted(mode, part):
        write(ROOT + "/part.log", "".join(line + "\n" for line in part))
        return matched_lines(tell(sys.executable, regex, "-c", filters, ROOT + "/part.log",
                                  f"{filters}/filter.d/postfix.conf[mode={mode}]"))
    # What the modes of the filter are for: relay attempts and unknown recipients, lists, logins.
    check_equal(counted("rbl", rejects), 1, "block lists")
    check_equal(counted("auth", failed), 1, "logins")
    check(counted("more", rejects) >= 3, "rejects")
    ours = [line for line in lines if "198.51.100.200" not in line]
    check_equal(counted("aggressive", ours), 0, "nobody is banned for mail that was taken")

    told = tell("perl", shutil.which("pflogsumm"), path)
    number = lambda word: int(re.search(rf"^ *(\d+) +{word}", told, re.M).group(1))
    check_equal(number("rejected "), len(rejects), told[:800])
    check_equal(number("bounced"), 1, told[:800])
    check_equal(number("delivered"), 3, told[:800])
    check("message reject detail" in told and "blocked using bl.test" in told, told)

    script = "/usr/share/logwatch/scripts/services/postfix"
    script = top + script if os.path.exists(top + script) else script
    write(ROOT + "/logwatch.log", "\n".join(lines) + "\n")
    environment = {"LOGWATCH_DETAIL_LEVEL": "10", "PATH": os.environ["PATH"]}
    done = subprocess.run(["perl", script, "--detail", "10", ROOT + "/logwatch.log"], check=False,
                          capture_output=True, timeout=60, env={**os.environ, **environment})
    told = done.stdout.decode("utf-8", "replace")
    check(re.search(r"^ +5 +.*[Rr]ejected|^ +\d+ +\*?(5xx )?[Rr]eject", told, re.M), told,
          done.stderr)
    unmatched = told[told.find("**Unmatched Entries**"):] if "**Unmatched" in told else ""
    for line in rejects + failed:
        check(line[40:120] not in unmatched, "logwatch does not know", line)


if __name__ == "__main__":
    provide(["fail2ban-regex", "pflogsumm", "logwatch"], PACKAGES)
    main([readers])
