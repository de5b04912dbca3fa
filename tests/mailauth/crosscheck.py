#!/usr/bin/env python3
"""Signatures, SPF records and rewritten senders against dkimpy, OpenDKIM, pyspf and PostSRSd, in
both directions. What is not installed is left out; exit code 77 where nothing is."""

import base64
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from probe import Probe

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../system"))
from packages import provide  # pylint: disable=wrong-import-position

try:
    import dkim
except ImportError:
    dkim = None
try:
    import spf
except ImportError:
    spf = None

MESSAGES = 220
DOMAIN = "example.org"


class Failures:
    def __init__(self):
        self.lines = []

    def check(self, good, text):
        if not good:
            self.lines.append(text)
            if len(self.lines) <= 20:
                print(text[:1500])


# --- messages ---

def random_text(rng, alphabet, most):
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(most)))


def random_field(rng, name, plain=False):
    words = [random_text(rng, "abcXYZ019.,-_+äö", 12) or "x" for _ in range(rng.randrange(1, 14))]
    out = name + (": " if plain else rng.choice([":", ": ", ":\t", ":  "])) + words[0]
    for word in words[1:]:
        out += rng.choice([" ", "  ", "\t", " \t ", "\n ", "\n\t", " \n  "]) + word
    return out + rng.choice(["", "", " ", "\t"]) + "\n"


def random_body(rng):
    if rng.random() < 0.1:
        return "\n" * rng.randrange(3)
    lines = []
    for _ in range(rng.randrange(1, 30)):
        kind = rng.random()
        if kind < 0.2:
            lines.append("")
        elif kind < 0.3:
            lines.append(rng.choice([" ", "\t", "  \t"]))
        elif kind < 0.35:
            lines.append("long " * rng.randrange(100, 300))
        elif kind < 0.5:
            lines.append(random_text(rng, "a b\tc", 60))
        else:
            lines.append(random_text(rng, "abcdefghij   \t.äöü", 76))
    return "\n".join(lines) + rng.choice(["\n", "\n", "\n\n\n", " \n"])


def random_message(rng, plain=False):
    header = [f"From: A <a{rng.randrange(9)}@{DOMAIN}>\n", "Date: Sun, 29 Nov 2026 10:00:00 +0000\n",
              f"Message-ID: <{rng.randrange(1 << 30)}@{DOMAIN}>\n"]
    for name in ("To", "Subject", "Cc", "X-Other", "Content-Type", "List-Id", "Subject"):
        if rng.random() < 0.6:
            header.append(random_field(rng, name, plain))
    if rng.random() < 0.2:
        header.append(random_field(rng, "References", plain).replace("\n", " ").rstrip() + " x" * 400 + "\n")
    rng.shuffle(header)
    return ("".join(header) + "\n" + random_body(rng)).encode()


def crlf(message):
    return message.replace(b"\n", b"\r\n")


# --- keys ---

class Keys:
    def __init__(self, directory):
        self.rsa_path = os.path.join(directory, "rsa.pem")
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", self.rsa_path, "1024"],
                       check=True, capture_output=True)
        public = subprocess.run(["openssl", "rsa", "-in", self.rsa_path, "-pubout", "-outform",
                                 "DER"], check=True, capture_output=True).stdout
        with open(self.rsa_path, "rb") as file:
            self.rsa_pem = file.read()
        self.rsa_record = "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()
        ed_path = os.path.join(directory, "ed.pem")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", ed_path],
                       check=True, capture_output=True)
        with open(ed_path, "rb") as file:
            self.ed_pem = file.read()
        private = subprocess.run(["openssl", "pkey", "-in", ed_path, "-outform", "DER"],
                                 check=True, capture_output=True).stdout
        public = subprocess.run(["openssl", "pkey", "-in", ed_path, "-pubout", "-outform", "DER"],
                                check=True, capture_output=True).stdout
        self.ed_seed = base64.b64encode(private[-32:])
        self.ed_record = ("v=DKIM1; k=ed25519; p=" + base64.b64encode(public[-32:]).decode())
        self.zone = {f"rsa._domainkey.{DOMAIN}": [["TXT", self.rsa_record]],
                     f"ed._domainkey.{DOMAIN}": [["TXT", self.ed_record]]}

    def look_up(self, name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        records = self.zone.get(name.rstrip("."))
        return records[0][1].encode() if records else None


def sign(probe, keys, message, rng, algorithm=None):
    is_rsa = (algorithm or rng.choice(["rsa", "ed"])) == "rsa"
    answer = probe.ask(op="sign", message=message, domain=DOMAIN,
                       selector="rsa" if is_rsa else "ed",
                       key=(keys.rsa_pem if is_rsa else keys.ed_pem).decode(),
                       algorithm="rsa-sha256" if is_rsa else "ed25519-sha256",
                       header=rng.choice(["simple", "relaxed"]),
                       body=rng.choice(["simple", "relaxed"]),
                       oversigned=rng.choice([["from"], ["from", "subject", "to", "x-none"], []]),
                       piece=rng.choice([1, 7, 100, 65536]))
    return base64.b64decode(answer["field"]) + b"\n" + message


def verdicts(probe, keys, message):
    answer = probe.ask(op="verify", message=message, zone=keys.zone, now=int(time.time()))
    return [(one["result"], one["problem"]) for one in answer.get("dkim") or []], answer


def check_dkimpy(probe, keys, rng, failures):
    forms = [b"simple", b"relaxed"]
    for number in range(MESSAGES):
        message = random_message(rng)
        ours = sign(probe, keys, message, rng)
        failures.check(dkim.verify(crlf(ours), dnsfunc=keys.look_up),
                       f"dkimpy refuses our signature {number}: {ours!r}")
        is_rsa = rng.random() < 0.5
        signature = dkim.sign(crlf(message), b"rsa" if is_rsa else b"ed", DOMAIN.encode(),
                              keys.rsa_pem if is_rsa else keys.ed_seed,
                              canonicalize=(rng.choice(forms), rng.choice(forms)),
                              signature_algorithm=b"rsa-sha256" if is_rsa else b"ed25519-sha256")
        theirs = signature.replace(b"\r\n", b"\n") + message
        results, _ = verdicts(probe, keys, theirs)
        failures.check([r for r, _ in results] == ["pass"],
                       f"we refuse dkimpy's signature {number}: {results} {theirs!r}")
        changed = theirs + b"x\n"
        results, _ = verdicts(probe, keys, changed)
        failures.check([r for r, _ in results] == ["fail"], f"we take a changed body {number}")
    print(f"dkimpy: {MESSAGES} messages in both directions")


def check_arc(probe, keys, rng, failures):
    count = 40
    for number in range(count):
        message = sign(probe, keys, random_message(rng), rng, "rsa")
        hops = rng.randrange(1, 4)
        has_theirs = False
        for hop in range(hops):
            if hop > 0 and not has_theirs and rng.random() < 0.5:
                # One of theirs in between. dkimpy takes the results out of the message, and is
                # confused by a second field of its own host.
                has_theirs = True
                message = f"Authentication-Results: {DOMAIN}; dkim=pass; arc=pass\n".encode() + message
                fields = dkim.arc_sign(crlf(message), b"rsa", DOMAIN.encode(), keys.rsa_pem,
                                       DOMAIN.encode(), include_headers=[b"from", b"date"])
                message = b"".join(fields).replace(b"\r\n", b"\n") + message
                continue
            answer = probe.ask(op="seal", message=message, zone=keys.zone, domain=DOMAIN,
                               selector="rsa", key=keys.rsa_pem.decode(),
                               results=f"{DOMAIN}; dkim=pass header.d={DOMAIN};\n\tspf=none")
            message = base64.b64decode(answer["fields"]) + message
        chain, _, reason = dkim.arc_verify(crlf(message), dnsfunc=keys.look_up)
        failures.check(chain == b"pass", f"dkimpy refuses the chain {number}: {chain} {reason}")
        _, answer = verdicts(probe, keys, message)
        failures.check(answer["arc"] == "pass", f"we refuse the chain {number}: {answer}")
        broken = message.replace(b"; dkim=pass", b"; dkim=fail", 1)
        _, answer = verdicts(probe, keys, broken)
        failures.check(answer["arc"] == "fail", f"we take a changed chain {number}: {answer}")
    print(f"dkimpy: {count} chains")


def run_opendkim(directory, name, lines, paths):
    """OpenDKIM over messages in files, as its configuration says."""
    config = os.path.join(directory, name)
    with open(config, "w", encoding="utf-8") as file:
        file.write("".join(line + "\n" for line in lines + ["Syslog no", "RequireSafeKeys no"]))
    done = subprocess.run(["opendkim", "-x", config, "-t", ",".join(paths), "-vv"],
                          capture_output=True, check=False)
    return done.stdout


def check_opendkim(probe, keys, rng, failures, directory):
    public = os.path.join(directory, "public.txt")
    with open(public, "w", encoding="utf-8") as file:
        file.write(f"rsa._domainkey.{DOMAIN} {keys.rsa_record}\n")
    messages, plain, ours = [], [], []
    for number in range(MESSAGES):
        # As a filter of Sendmail it does not see what is between colon and value.
        message = random_message(rng, plain=True)
        messages.append(message)
        for paths, content in ((plain, message), (ours, sign(probe, keys, message, rng, "rsa"))):
            path = os.path.join(directory, f"{'ps'[paths is ours]}{number}")
            with open(path, "wb") as file:
                file.write(crlf(content))
            paths.append(path)
    out = run_opendkim(directory, "verify.conf", [f"TestPublicKeys {public}", "Mode v"], ours)
    passed = out.count(b"verification (s=rsa, d=example.org, 1024-bit key) succeeded")
    failures.check(passed == MESSAGES, f"OpenDKIM took {passed} of {MESSAGES}: {out[-600:]!r}")
    forms = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]
    for index, form in enumerate(forms):
        out = run_opendkim(
            directory, f"sign{index}.conf",
            ["Mode s", f"Domain {DOMAIN}", "Selector rsa", f"KeyFile {keys.rsa_path}",
             f"Canonicalization {form}", "SignatureAlgorithm rsa-sha256",
             "InternalHosts 0.0.0.0/0,127.0.0.1,localhost"], plain[index::len(forms)])
        values = [part.split(b"hvalue='", 1)[1].split(b"'", 1)[0]
                  for part in out.split(b"### INSHEADER")[1:]]
        wanted = messages[index::len(forms)]
        failures.check(len(values) == len(wanted), f"OpenDKIM signed {len(values)}: {out[-600:]!r}")
        for value, message in zip(values, wanted):
            theirs = b"DKIM-Signature: " + value + b"\n" + message
            results, _ = verdicts(probe, keys, theirs)
            failures.check([r for r, _ in results] == ["pass"],
                           f"we refuse OpenDKIM's signature: {results} {theirs!r}")
    print(f"OpenDKIM: {MESSAGES} messages in both directions")


# --- SPF ---

def random_zone(rng):
    hosts = [f"h{n}.{DOMAIN}" for n in range(4)]
    zone = {}
    for host in hosts:
        records = []
        if rng.random() < 0.8:
            records.append(["A", f"192.0.2.{rng.randrange(1, 9)}"])
        if rng.random() < 0.5:
            records.append(["AAAA", f"2001:db8::{rng.randrange(1, 9)}"])
        zone[host] = records
    mx_hosts = [["MX", host] for host in rng.sample(hosts, 2)]

    def term(depth):
        kinds = ["ip4:192.0.2.%d" % rng.randrange(9), "ip4:192.0.2.0/%d" % rng.randrange(20, 33),
                 "ip6:2001:db8::/%d" % rng.randrange(120, 129), "a:" + rng.choice(hosts),
                 "a:%s/%d" % (rng.choice(hosts), rng.randrange(24, 33)), "mx", "mx:" + DOMAIN,
                 "exists:%{i}._x." + DOMAIN, "a:%{l}." + DOMAIN, "ptr", "all", "?all"]
        if depth == 0:
            kinds += [f"include:_i.{DOMAIN}"] * 2
        return rng.choice(["", "", "-", "~", "?"]) + rng.choice(kinds).lstrip("?")

    def record(depth):
        text = "v=spf1 " + " ".join(term(depth) for _ in range(rng.randrange(1, 5)))
        if rng.random() < 0.3:
            text += f" redirect=_i.{DOMAIN}" if depth == 0 else ""
        if rng.random() < 0.05:
            text += rng.choice([" moo", " a:/24", " ip4:1.2.3", " redirect=", " exp=%{x}"])
        return text

    zone[DOMAIN] = [["TXT", record(0)]] + mx_hosts
    if rng.random() < 0.9:
        zone[f"_i.{DOMAIN}"] = [["TXT", record(1)]]
    for last in range(1, 9):
        if rng.random() < 0.3:
            zone[f"192.0.2.{last}._x.{DOMAIN}"] = [["A", "127.0.0.2"]]
        zone[f"{last}.2.0.192.in-addr.arpa"] = [["PTR", rng.choice(hosts)]]
    return zone


def check_spf(probe, rng, failures):
    zone = {}

    def look_up(name, kind, tcpfallback=True, timeout=30):
        name = name.lower().rstrip(".")
        out = []
        for record_kind, value in zone.get(name, []):
            if record_kind != kind:
                continue
            if kind == "TXT":
                value = (value.encode(),)
            elif kind == "MX":
                value = (10, value)
            elif kind == "AAAA":
                value = socket.inet_pton(socket.AF_INET6, value)
            out.append(((name, kind), value))
        return out

    spf.DNSLookup = look_up
    count = 1500
    differ = 0
    for number in range(count):
        zone = random_zone(rng)
        client = rng.choice([f"192.0.2.{rng.randrange(1, 9)}", f"2001:db8::{rng.randrange(1, 9)}"])
        sender = f"h{rng.randrange(4)}@{DOMAIN}"
        theirs = spf.query(i=client, s=sender, h="client.example", strict=True, timeout=0,
                           querytime=0).check()[0]
        answer = probe.ask(op="spf", zone=zone, client=client, sender=sender, helo="client.example")
        # The two count hosts of MX terms without addresses differently: RFC 7208 4.6.4 leaves it
        # open which look-ups are void.
        if "permerror" in (theirs, answer["result"]) and "void" in answer["problem"] + str(theirs):
            differ += 1
            continue
        if theirs == "permerror" and answer["result"] != "permerror":
            again = spf.query(i=client, s=sender, h="client.example", strict=True, timeout=0,
                              querytime=0)
            again.check()
            if getattr(again, "void_lookups", 0) > 2:
                differ += 1
                continue
        failures.check(theirs == answer["result"],
                       f"SPF {number}: pyspf says {theirs}, we {answer}: {client} {sender} {zone}")
    failures.check(differ < count / 4, f"SPF: {differ} of {count} differ in void look-ups")
    print(f"pyspf: {count} records, {differ} left out")


# --- SRS ---

class PostSrsd:
    """PostSRSd 1.10 behind its two tcp tables, on ports of its own."""

    def __init__(self, directory, secret):
        path = os.path.join(directory, "srs.secret")
        with open(path, "w", encoding="utf-8") as file:
            file.write(secret + "\n")
        self.ports = [free_port(), free_port()]
        self.process = subprocess.Popen(
            ["postsrsd", "-f", str(self.ports[0]), "-r", str(self.ports[1]), "-s", path, "-d",
             "srs.example.net", "-l", "127.0.0.1", "-a", "="],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for port in self.ports:
            wait_for(port)

    def ask(self, port, address):
        with socket.create_connection(("127.0.0.1", port), 10) as link:
            link.sendall(f"get {address}\n".encode())
            code, _, text = link.makefile("r").readline().strip().partition(" ")
        return text if code == "200" else None

    def forward(self, address):
        return self.ask(self.ports[0], address)

    def reverse(self, address):
        return self.ask(self.ports[1], address)

    def close(self):
        self.process.terminate()
        self.process.wait(10)


def free_port():
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
        return probe_socket.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("postsrsd does not listen")


def check_srs(probe, rng, failures, directory):
    secret = "correct horse"
    server = PostSrsd(directory, secret)
    try:
        count = 60
        for _ in range(count):
            local = random_text(rng, "abcXYZ019.+-=_", 14).strip(".") or "x"
            while ".." in local:
                local = local.replace("..", ".")
            address = f"{local}@d{rng.randrange(9)}.Example.com"
            common = {"domain": "srs.example.net", "secrets": ["new one", secret],
                      "now": int(time.time())}
            old = dict(common, secrets=[secret])
            ours = probe.ask(op="srs", direction="forward", address=address, **old)["address"]
            theirs = server.forward(address)
            failures.check(ours == theirs, f"SRS0: {address}: {ours} and {theirs}")
            failures.check(server.reverse(ours) == address, f"SRS0 back: {ours}")
            back = probe.ask(op="srs", direction="reverse", address=theirs, **common)
            failures.check(back.get("address") == address, f"SRS0 back: {theirs}: {back}")
            # The second and the third host. PostSRSd makes no SRS1, but understands it.
            foreign = theirs.replace("@srs.example.net", "@first.example")
            second = probe.ask(op="srs", direction="forward", address=foreign, **old)["address"]
            failures.check(second.startswith("SRS1=") and server.reverse(second) == foreign,
                           f"SRS1: {foreign}: {second}: {server.reverse(second)}")
            third = second.replace("@srs.example.net", "@second.example")
            ours = probe.ask(op="srs", direction="forward", address=third, **old)["address"]
            failures.check(server.reverse(ours) == foreign, f"SRS1 again: {third}: {ours}")
            back = probe.ask(op="srs", direction="reverse", address=ours, **common)
            failures.check(back.get("address") == foreign, f"SRS1 back: {ours}: {back}")
        print(f"PostSRSd: {count} addresses in both directions")
    finally:
        server.close()


def main():
    seed = int(os.environ.get("POSTERN_SEED", "1"))
    rng = random.Random(seed)
    probe = Probe(sys.argv[1])
    failures = Failures()
    done = 0
    with tempfile.TemporaryDirectory(prefix="mailauth.") as directory:
        keys = Keys(directory)
        if dkim is not None:
            check_dkimpy(probe, keys, rng, failures)
            check_arc(probe, keys, rng, failures)
            done += 1
        if provide(["opendkim", "opendkim-testmsg"],
                   ["opendkim", "opendkim-tools", "libopendkim11", "libopendbx1", "librbl1", "libvbr2",
                    "libunbound8", "libmemcached11", "liblua5.3-0", "libmilter1.0.1", "libbsd0",
                    "libldap-2.5-0", "libevent-2.1-7", "libhashkit2", "libsasl2-2", "libmd0"],
                   is_needed=False):
            check_opendkim(probe, keys, rng, failures, directory)
            done += 1
        if spf is not None:
            check_spf(probe, rng, failures)
            done += 1
        if provide(["postsrsd"], ["postsrsd"], is_needed=False):
            check_srs(probe, rng, failures, directory)
            done += 1
    if probe.close() != 0:
        failures.check(False, "the probe has failed")
    if done == 0:
        print("nothing to compare with is installed")
        return 77
    print(f"{len(failures.lines)} differences")
    return 1 if failures.lines else 0


if __name__ == "__main__":
    sys.exit(main())
