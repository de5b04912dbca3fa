"""course_exercise.py - what a course on running mail has its students build, with a real name
server: a domain with SPF, DKIM and DMARC; what is spoofed is refused, what is good passes, also when
it was forwarded; newcomers wait, and who is on a block list is refused."""
import base64
import json
import shutil
import subprocess
import sys

from harness import *
from packages import provide

PROBE = os.environ.get("POSTERN_TEST_MAILAUTH_PROBE", "")
FORWARDER = "198.51.100.77"  # an address that home.test sends from
LISTED = "198.51.100.66"
NEWCOMER = "198.51.100.88"


class NameServer:
    """nsd with one zone, on an address of its own."""

    def __init__(self, address, records):
        folder = ROOT + "/nsd"
        os.makedirs(folder, exist_ok=True)
        lines = ["$ORIGIN test.", "$TTL 60",
                 "@ IN SOA ns.test. hostmaster.test. 1 3600 600 86400 1", "@ IN NS ns.test.",
                 f"ns IN A {address}", *records]
        write(folder + "/test.zone", "\n".join(lines) + "\n")
        write(folder + "/nsd.conf", f"""\
server:
  ip-address: {address}
  port: 53
  server-count: 1
  username: ""
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  zonesdir: "{folder}"
remote-control:
  control-enable: no
zone:
  name: "test"
  zonefile: "test.zone"
""")
        self.process = subprocess.Popen(["nsd", "-d", "-c", folder + "/nsd.conf"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        write(ROOT + "/etc/resolv.conf", f"nameserver {address}\noptions timeout:1 attempts:2\n")
        wait_for("nsd", lambda: self.answers(address))

    def answers(self, address):
        query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x06\x00\x01"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
            link.settimeout(0.2)
            link.sendto(query, (address, 53))
            with contextlib.suppress(OSError):
                return len(link.recv(1000)) > 30
        return False

    def close(self):
        self.process.terminate()
        self.process.wait(30)


def key(name):
    """A private key, and its record as strings of a zone file."""
    path = f"{ROOT}/{name}.pem"
    run("openssl", "genrsa", "-out", path, "2048", stderr=subprocess.DEVNULL)
    public = subprocess.run(["openssl", "rsa", "-in", path, "-pubout", "-outform", "DER"],
                            check=True, capture_output=True).stdout
    record = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()
    return read(path).decode(), " ".join(f'"{record[at:at + 200]}"' for at in
                                         range(0, len(record), 200))


def sign(message, domain, private):
    request = {"op": "sign", "message": base64.b64encode(message).decode(), "domain": domain,
               "selector": "s1", "key": private, "now": int(time.time())}
    done = subprocess.run([PROBE], input=json.dumps(request).encode() + b"\n", capture_output=True,
                          check=True)
    return base64.b64decode(json.loads(done.stdout)["field"]) + b"\n" + message


def message(subject, address="ceo@bank.test"):
    return (f"From: <{address}>\nTo: <u1@box.test>\nSubject: {subject}\n"
            f"Date: Sun, 29 Nov 2026 10:00:00 +0000\nMessage-ID: <{subject}@bank.test>\n\n"
            f"Dear customer\n").encode()


def answer(sender, content, source, recipient="u1@box.test"):
    with Client(source=source) as client:
        client.send(sender, [recipient], content)
        return client.last[1]


def arrived(subject):
    return [m for m in maildir("u1") if f"\nSubject: {subject}\n".encode() in m]


def exercise():
    bank_key, bank_record = key("bank")
    home_key, home_record = key("home")
    records = [
        f"bank IN TXT \"v=spf1 ip4:{CLIENT} -all\"", "bank IN MX 10 mx.bank",
        f"_dmarc.bank IN TXT \"v=DMARC1; p=reject\"", f"s1._domainkey.bank IN TXT {bank_record}",
        f"home IN TXT \"v=spf1 ip4:{FORWARDER} -all\"", "home IN MX 10 mx.home",
        "mx.home IN A 192.0.2.1", f"s1._domainkey.home IN TXT {home_record}",
        "away IN MX 10 mx.away", "mx.away IN A 198.51.100.25",
        "new IN TXT \"v=spf1 ?all\"", "66.100.51.198.bl IN A 127.0.0.2",
        "66.100.51.198.bl IN TXT \"sends spam\""]
    parameters = {
        "smtpd_spf_enable": "yes", "smtpd_dkim_verify_enable": "yes", "smtpd_dmarc_enable": "yes",
        "smtpd_dmarc_policy": "enforce", "smtpd_arc_verify_enable": "yes",
        "smtpd_dmarc_trusted_sealers": "home.test",
        "arc_seal_enable": "yes", "arc_seal_selector": "s1", "arc_seal_key_file": CONF + "/arc.pem",
        "srs_enable": "yes", "virtual_alias_domains": "fwd.test",
        "virtual_alias_maps": "inline:{a@fwd.test=r@away.test}",
        "smtpd_greylist_delay": "2s", "smtpd_greylist_exempt_spf_pass": "yes",
        "smtpd_recipient_restrictions":
            "permit_mynetworks, reject_unauth_destination, reject_rbl_client bl.test, "
            "reject_spf_fail, smtpd_greylist"}
    dns = NameServer("127.0.0.54", records)
    try:
        with Mta(parameters, start=False) as mta:
            write(CONF + "/arc.pem", home_key, 0o600)
            write(CONF + "/srs.secrets", "a secret\n", 0o600)
            sink = mta.sink()
            mta.start()
            # Spoofed: by a host that the bank does not name, and by one that sends for itself.
            spoofed = answer("ceo@bank.test", message("spoof1"), FORWARDER)
            check(spoofed.startswith("550 5.7.23") and "SPF fail" in spoofed, spoofed)
            spoofed = answer("x@home.test", message("spoof2"), FORWARDER)
            check_equal(spoofed, "550 5.7.1 Message rejected due to: DMARC policy of bank.test")
            # Good: SPF or DKIM alone is enough. SPF lets it pass the greylist, too.
            check_equal(answer("ceo@bank.test", message("good1"), CLIENT)[:3], "250")
            check_equal(answer("x@home.test", sign(message("good2"), "bank.test", bank_key),
                               FORWARDER)[:3], "250")
            for subject in ("good1", "good2"):
                found = wait_for(subject, lambda s=subject: arrived(s))[0]
                check(b"dmarc=pass" in found, found)
            # Forwarded: a message that was good by SPF only has the forwarder's sender and seal.
            check_equal(answer("ceo@bank.test", message("fwd1"), CLIENT, "a@fwd.test")[:3], "250")
            wait_for("the forwarded message", lambda: sink.messages)
            on_its_way = sink.messages[0]
            check(on_its_way.sender.startswith("SRS0=") and
                  on_its_way.sender.endswith("=bank.test=ceo@home.test"), on_its_way.sender)
            content = on_its_way.content.replace(b"\r\n", b"\n")
            check_equal(answer(on_its_way.sender, content, FORWARDER)[:3], "250")
            found = wait_for("the forwarded message here", lambda: arrived("fwd1"))[0]
            for wanted in (b"spf=pass smtp.mailfrom=\"SRS0=", b"arc=pass (i=1)",
                           b"dmarc=fail (not applied: ARC seal of home.test"):
                check(wanted in found, wanted, found)
            # Without its seal it is refused.
            unsealed = re.sub(rb"ARC-Seal:(.|\n[ \t])*\n", b"", content)
            check_equal(answer(on_its_way.sender, unsealed, FORWARDER)[:9], "550 5.7.1")
            # A newcomer comes again.
            first = answer("n@new.test", message("new1", "n@new.test"), NEWCOMER)
            check(first.startswith("450 4.2.0") and "Greylisted" in first, first)
            wait_for("the newcomer to pass", lambda: answer(
                "n@new.test", message("new1", "n@new.test"), NEWCOMER).startswith("250"))
            # Who is listed is not heard.
            listed = answer("n@new.test", message("bl1", "n@new.test"), LISTED)
            check(listed.startswith("554 5.7.1") and "blocked using bl.test; sends spam" in listed,
                  listed)
            mta.wait_drained()
    finally:
        dns.close()


provide(["nsd"], ["nsd", "libevent-2.1-7", "libprotobuf-c1", "libfstrm0"])
main([exercise])
