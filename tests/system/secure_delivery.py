"""secure_delivery.py - DANE and MTA-STS of our client, with a signed zone (nsd), a resolver that
validates (unbound) and an HTTPS server; good ones, and those that somebody has tampered with."""
import http.server
import ssl

from harness import *
from packages import provide
from tls import KEYS, make_keys, new_certificate, openssl

DNS = ROOT + "/dns"
AUTHORITY, RESOLVER = "127.0.0.55", "127.0.0.54"
OPTIONS = {
    "smtp_dns_support_level": "dnssec",
    "smtp_tls_security_level": "dane",
    "smtp_tls_loglevel": "1",
    "smtp_tls_CAfile": KEYS + "/ca.pem",
    "smtp_mta_sts_enable": "yes",
    "mta_sts_CAfile": KEYS + "/ca.pem",
    "minimal_backoff_time": "300s",
}


class TlsSink(Sink):
    """Offers STARTTLS until it has been said."""

    def __init__(self, address, certificate):
        self.show(certificate)
        super().__init__(address)

    def show(self, certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{KEYS}/{certificate}.pem", f"{KEYS}/{certificate}.key")
        self.context = context

    def serve(self, connection):
        connection.settimeout(60)
        connection.sendall(b"220 mx ESMTP\r\n")
        lines = connection.makefile("rb")
        while True:
            line = lines.readline()
            if not line:
                return
            if line.startswith(b"EHLO"):
                connection.sendall(b"250-mx\r\n250 STARTTLS\r\n")
            elif line.startswith(b"STARTTLS"):
                connection.sendall(b"220 go\r\n")
                break
            elif line.startswith(b"QUIT"):
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"530 5.7.0 STARTTLS first\r\n")
        with self.context.wrap_socket(connection, server_side=True) as secret:
            self.banner = b""
            super().serve(secret)


def tlsa_of(certificate):
    key = openssl("x509", "-in", f"{KEYS}/{certificate}.pem", "-noout", "-pubkey").stdout
    der = openssl("pkey", "-pubin", "-outform", "DER", data=key).stdout
    return "3 1 1 " + openssl("dgst", "-sha256", "-r", data=der).stdout.split()[0].decode()


def zone_text(name, records):
    head = f"$ORIGIN {name}.\n$TTL 60\n@ SOA ns.{name}. root.{name}. 1 60 60 86400 60\n@ NS ns.{name}.\n"
    return head + f"ns A {AUTHORITY}\n" + "".join(f"{record}\n" for record in records)


def sign(name, records, expired=False):
    """The file of the signed zone, and its trust anchor."""
    path = f"{DNS}/{name}"
    write(path, zone_text(name, records))
    key = subprocess.run(["ldns-keygen", "-a", "ECDSAP256SHA256", "-k", name], cwd=DNS, check=True,
                         capture_output=True).stdout.strip().decode()
    times = ["-i", "20200101000000", "-e", "20200201000000"] if expired else []
    run("ldns-signzone", *times, "-f", path + ".signed", path, f"{DNS}/{key}", cwd=DNS)
    return path + ".signed", read(f"{DNS}/{key}.ds").decode().strip()


def start_dns(signed, unsigned):
    """nsd with the zones, and unbound in front of it."""
    shutil.rmtree(DNS, ignore_errors=True)
    os.mkdir(DNS)
    zones, anchors = {}, []
    for name, records in signed.items():
        zones[name], anchor = sign(name, records, expired=name == "expired")
        anchors.append(anchor)
    for name, records in unsigned.items():
        zones[name] = f"{DNS}/{name}"
        write(zones[name], zone_text(name, records))
    write(DNS + "/nsd.conf", f"""server:
  ip-address: {AUTHORITY}
  username: ""
  zonesdir: "{DNS}"
  database: ""
  pidfile: "{DNS}/nsd.pid"
  xfrdfile: "{DNS}/xfrd"
  zonelistfile: "{DNS}/zones"
  cookie-secret-file: ""
remote-control:
  control-enable: no
""" + "".join(f'zone:\n  name: "{name}"\n  zonefile: "{path}"\n' for name, path in zones.items()))
    write(DNS + "/unbound.conf", f"""server:
  interface: {RESOLVER}
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{DNS}"
  pidfile: ""
  use-syslog: no
  logfile: "{DNS}/unbound.log"
  module-config: "validator iterator"
  do-not-query-localhost: no
  val-clean-additional: yes
  local-zone: "test." nodefault
""" + "".join(f'  trust-anchor: "{anchor}"\n' for anchor in anchors) +
          "".join(f'  domain-insecure: "{name}"\n' for name in unsigned) +
          "".join(f'stub-zone:\n  name: "{name}"\n  stub-addr: {AUTHORITY}\n' for name in zones))
    write(ROOT + "/etc/resolv.conf", f"nameserver {RESOLVER}\noptions trust-ad timeout:2 attempts:1\n")
    started = [subprocess.Popen(["nsd", "-d", "-c", DNS + "/nsd.conf"], stderr=subprocess.DEVNULL),
               subprocess.Popen(["unbound", "-d", "-c", DNS + "/unbound.conf"],
                                stderr=subprocess.DEVNULL)]
    wait_for("the resolver", lambda: is_up(RESOLVER) and is_up(AUTHORITY))
    return started


def stop_dns(started):
    for process in started:
        process.kill()
        process.wait()
    write(ROOT + "/etc/resolv.conf", "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n")


def is_up(address):
    try:
        socket.create_connection((address, 53), 1).close()
        return True
    except OSError:
        return False


class HttpsServer:
    """Port 443 of an address. `methods` are do_GET and the like, called with the request."""

    def __init__(self, address, certificate, **methods):
        handler = type("Handler", (http.server.BaseHTTPRequestHandler,),
                       {"log_message": lambda *_: None, **methods})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{KEYS}/{certificate}.pem", f"{KEYS}/{certificate}.key")
        self.server = http.server.ThreadingHTTPServer((address, 443), handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Policies(HttpsServer):
    """https://mta-sts.DOMAIN/.well-known/mta-sts.txt on an address of its own."""

    def __init__(self, address, certificate, text):
        self.asked, self.text = [], text
        super().__init__(address, certificate, do_GET=lambda request: self.answer(request))

    def answer(self, request):
        self.asked.append(request.path)
        body = self.text.encode()
        request.send_response(200)
        request.send_header("Content-Type", "text/plain")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def policy(*servers, mode="enforce"):
    return f"version: STSv1\r\nmode: {mode}\r\n" + "".join(
        f"mx: {server}\r\n" for server in servers) + "max_age: 86400\r\n"


def send(*domains):
    with Client() as client:
        for domain in domains:
            check_equal(client.send("s@home.test", [f"r@{domain}"], b"Subject: x\n\nx\n"), 250, domain)


def dane():
    make_keys()
    for name in ("good", "alone"):
        new_certificate(name, f"mx.{name}.sig", issuer=None)
    hosts = {"good": 20, "wrong": 21, "stripped": 22, "none": 23}
    records = [f"{name} MX 10 mx.{name}\nmx.{name} A 198.51.100.{number}"
               for name, number in hosts.items()]
    records += [f"_25._tcp.mx.good TLSA {tlsa_of('good')}",
                f"_25._tcp.mx.wrong TLSA {tlsa_of('alone')}",
                f"_25._tcp.mx.stripped TLSA {tlsa_of('good')}"]
    expired = ["@ MX 10 mx", "mx A 198.51.100.20", f"_25._tcp.mx TLSA {tlsa_of('good')}"]
    insecure = ["@ MX 10 mx", "mx A 198.51.100.24", f"_25._tcp.mx TLSA {tlsa_of('alone')}"]
    started = start_dns({"sig": records, "expired": expired}, {"insecure": insecure})
    try:
        with Mta({**OPTIONS, "smtp_mta_sts_enable": "no"}, may_log=r"DNSSEC|dnssec_probe") as mta:
            sinks = {name: TlsSink(f"198.51.100.{number}", "good")
                     for name, number in hosts.items() if name != "stripped"}
            sinks["stripped"] = Sink("198.51.100.22")
            sinks["insecure"] = TlsSink("198.51.100.24", "good")
            mta.closers += sinks.values()
            send("good.sig", "wrong.sig", "stripped.sig", "none.sig", "expired", "insecure")
            mta.wait_log(r"Verified TLS connection established to mx\.good\.sig\[198\.51\.100\.20\]:25")
            mta.wait_log(r"to=<r@good\.sig>.*status=sent")
            mta.wait_log(r"to=<r@none\.sig>.*status=sent")
            mta.wait_log(r"to=<r@insecure>.*status=sent")
            mta.wait_log(r"to=<r@wrong\.sig>.*dsn=4\.7\.5, status=deferred "
                         r"\(Server certificate not verified\)")
            mta.wait_log(r"to=<r@stripped\.sig>.*status=deferred \(TLS is required, but was not "
                         r"offered by host mx\.stripped\.sig")
            mta.wait_log(r"to=<r@expired>.*status=deferred \(Host or domain name not found")
            for name in ("wrong", "stripped"):
                check_equal(len(sinks[name].messages), 0, name)
            # Whose author wants it sent in any case, is.
            with Client() as client:
                for value, code in (("No", "sent"), ("maybe", "deferred")):
                    client.send("s@home.test", [f"{value.lower()}@stripped.sig"],
                                f"Subject: x\nTLS-Required: {value}\n\nx\n".encode())
                    mta.wait_log(f"to=<{value.lower()}@stripped\\.sig>.*status={code}")
            for domain, words, status in (
                    ("good.sig", b"DANE: the certificate is the one that is published", 0),
                    ("wrong.sig", b"DANE: the certificate is NOT the one that is published", 1),
                    ("stripped.sig", b"was not offered by host", 1),
                    ("insecure", b"DANE: off, since the name is not signed", 1)):
                told = subprocess.run([PREFIX + "/sbin/postern", "tls", "test", domain],
                                      capture_output=True, timeout=60, check=False)
                check(words in told.stdout, domain, told.stdout, told.stderr)
                check_equal(told.returncode, status, domain)
            # Our resolver does validate; that of an unsigned domain says nothing about it.
            mta.wait_log(r"DNSSEC validation may be unavailable")
    finally:
        stop_dns(started)


def mta_sts():
    make_keys()
    hosts = {"kept": 30, "forged": 31, "unnamed": 32, "tested": 33, "broken": 34}
    records = []
    for name, number in hosts.items():
        new_certificate(name, f"mx.{name}.sts")
        web = "other.web" if name == "broken" else f"mta-sts.{name}.sts"
        new_certificate("web-" + name, web)
        records += [f"{name} MX 10 mx.{name}", f"mx.{name} A 198.51.100.{number}",
                    f"mta-sts.{name} A 198.51.100.{number + 10}",
                    f'_mta-sts.{name} TXT "v=STSv1; id=1"']
    started = start_dns({}, {"sts": records})
    try:
        with Mta({**OPTIONS, "smtp_tls_security_level": "may"},
                 may_log=r"MTA-STS policy of broken\.sts|sts pid \d+ killed") as mta:
            sinks = {name: TlsSink(f"198.51.100.{number}", "other" if name == "forged" else name)
                     for name, number in hosts.items()}
            named = {"unnamed": "mx2.unnamed.sts", "tested": "mx2.tested.sts", "kept": "*.kept.sts"}
            webs = {name: Policies(f"198.51.100.{number + 10}", "web-" + name,
                                   policy(named.get(name, f"mx.{name}.sts"),
                                          mode="testing" if name == "tested" else "enforce"))
                    for name, number in hosts.items()}
            mta.closers += [*sinks.values(), *webs.values()]
            send(*(f"{name}.sts" for name in hosts))
            mta.wait_log(r"Verified TLS connection established to mx\.kept\.sts")
            mta.wait_log(r"to=<r@kept\.sts>.*status=sent")
            mta.wait_log(r"to=<r@tested\.sts>.*status=sent")
            mta.wait_log(r"to=<r@forged\.sts>.*dsn=4\.7\.5, status=deferred "
                         r"\(Server certificate not verified\)")
            mta.wait_log(r"to=<r@unnamed\.sts>.*dsn=4\.7\.5, status=deferred \(host "
                         r"mx\.unnamed\.sts\[198\.51\.100\.32\] is none of the servers")
            # A web server that cannot prove itself has no policy to give.
            mta.wait_log(r"warning: MTA-STS policy of broken\.sts: .*certificate")
            mta.wait_log(r"to=<r@broken\.sts>.*status=sent")
            check_equal(webs["kept"].asked, ["/.well-known/mta-sts.txt"])
            for domain, words, status in (
                    ("kept.sts", b"MTA-STS: as the policy demands", 0),
                    ("unnamed.sts", b"MTA-STS: the policy does not name this server", 1),
                    ("broken.sts", b"announces a policy, but it cannot be had", 0)):
                told = subprocess.run([PREFIX + "/sbin/postern", "tls", "test", domain],
                                      capture_output=True, timeout=60, check=False)
                check(words in told.stdout, domain, told.stdout, told.stderr)
                check_equal(told.returncode, status, domain)
            # The policy outlives the process that fetched it, and the web server.
            webs["kept"].close()
            mta.closers.remove(webs["kept"])
            for pid in daemons("sts"):
                os.kill(pid, signal.SIGKILL)
            sinks["kept"].show("other")  # and knows nothing of earlier sessions
            send("kept.sts")
            mta.wait_log(r"to=<r@kept\.sts>.*status=deferred \(Server certificate not verified\)")
    finally:
        stop_dns(started)


class BadWeb(HttpsServer):
    """Answers `talk(request)`, and knows whether it was asked."""

    def __init__(self, address, certificate, talk):
        self.asked = []
        super().__init__(address, certificate, do_GET=lambda request: self.answer(request, talk))

    def answer(self, request, talk):
        self.asked.append(request.path)
        with contextlib.suppress(OSError):
            talk(request)


def policy_servers_that_misbehave():
    """Endless, slow, elsewhere, of the wrong kind: they have no policy to give, and hold up nobody."""
    over = threading.Event()

    def says(status, kind, **fields):
        def talk(request):
            request.send_response(status)
            for name, value in fields.items():
                request.send_header(name, value)
            request.send_header("Content-Type", kind)
            request.end_headers()
            request.wfile.write(policy("mx2.wrong.sts").encode())
        return talk

    def endless(request):
        says(200, "text/plain")(request)
        while not over.is_set():
            request.wfile.write(b"# nothing\r\n" * 100_000)

    def slow(request):
        request.send_response(200)
        request.send_header("Content-Type", "text/plain")
        request.end_headers()
        while not over.wait(0.3):
            request.wfile.write(b"v")
    make_keys()
    slow_ones = [f"slow{number}" for number in range(8)]
    talks = dict.fromkeys(slow_ones, slow) | {
        "huge": endless, "page": says(200, "text/html"), "lost": says(404, "text/plain"),
        "moved": says(302, "text/plain", Location="https://mta-sts.good.sts/.well-known/mta-sts.txt"),
        "good": None}
    records = []
    for number, name in enumerate(talks, 30):
        new_certificate(name, f"mx.{name}.sts")
        new_certificate("web-" + name, f"mta-sts.{name}.sts")
        records += [f"{name} MX 10 mx.{name}", f"mx.{name} A 198.51.100.{number}",
                    f"mta-sts.{name} A 198.51.100.{number + 40}", f'_mta-sts.{name} TXT "v=STSv1; id=1"']
    started = start_dns({}, {"sts": records})
    try:
        with Mta({**OPTIONS, "smtp_tls_security_level": "may"}, may_log=r"MTA-STS policy of") as mta:
            webs = {}
            for number, (name, talk) in enumerate(talks.items(), 30):
                mta.closers.append(TlsSink(f"198.51.100.{number}", name))
                where = (f"198.51.100.{number + 40}", "web-" + name)
                webs[name] = BadWeb(*where, talk) if talk else Policies(*where, policy("mx.good.sts"))
            mta.closers += webs.values()
            send(*(f"{name}.sts" for name in slow_ones))
            wait_for("the slow ones", lambda: all(webs[name].asked for name in slow_ones))
            begun = time.monotonic()
            others = [name for name in talks if name not in slow_ones]
            send(*(f"{name}.sts" for name in others))
            for name in others:
                mta.wait_log(rf"to=<r@{name}\.sts>.*status=sent")
            took = time.monotonic() - begun
            for name, why in (("huge", ""), ("page", "not text/plain"), ("lost", "HTTP status 404"),
                              ("moved", "HTTP status 302")):
                mta.wait_log(rf"warning: MTA-STS policy of {name}\.sts: .*{why}")
            mta.wait_log(r"Verified TLS connection established to mx\.good\.sts")
            check_equal(len(webs["good"].asked), 1, "asked by those who were sent to it")
            check("status=bounced" not in mta.log(), "bounced")
            size = max(int(re.search(rb"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"))[1])
                       for pid in daemons("sts"))
            check(size < 60_000 or os.environ.get("POSTERN_TEST_SANITIZE"), "memory of sts:", size)
            print(f"     mail to {len(others)} domains beside {len(slow_ones)} slow ones took {took:.1f} s; sts {size} KB")
            check(took < 20, "others wait for the slow ones", took)
            over.set()
            mta.tool("postsuper", "-d", "ALL")
    finally:
        over.set()
        stop_dns(started)


class SecretClient(Client):
    """Has said STARTTLS and EHLO; knows what was offered."""

    def __init__(self):
        super().__init__()
        check_equal(self.command("STARTTLS")[0], 220)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket)
        self.offers = self.command("EHLO client.away.test")[1]

    def require(self, recipient, options="REQUIRETLS", header="Subject: x", sender="alice@home.test"):
        check_equal(self.command(f"MAIL FROM:<{sender}> {options}")[0], 250)
        check_equal(self.command(f"RCPT TO:<{recipient}>")[0], 250)
        check_equal(self.command("DATA")[0], 354)
        self.raw(f"{header}\r\n\r\nsecret words\r\n.\r\n".encode())
        check_equal(self.reply()[0], 250)


def require_tls():
    """REQUIRETLS (RFC 8689): through verified servers that offer it, or back without the content."""
    make_keys()
    hosts = {"good": 20, "deaf": 21, "loose": 22, "eased": 23}
    records = [f"{name} MX 10 mx.{name}\nmx.{name} A 198.51.100.{number}"
               for name, number in hosts.items()]
    for name in ("good", "deaf"):
        new_certificate(name, f"mx.{name}.sig", issuer=None)
        records.append(f"_25._tcp.mx.{name} TLSA {tlsa_of(name)}")
    started = start_dns({"sig": records}, {})
    options = {**OPTIONS, "smtp_mta_sts_enable": "no", "smtpd_tls_security_level": "may",
               "requiretls_enable": "yes",
               "smtpd_tls_cert_file": KEYS + "/mx.pem", "smtpd_tls_key_file": KEYS + "/mx.key"}
    try:
        with Mta({**options,
                  "smtp_requiretls_policy": "inline:{eased.sig=opportunistic}, enforce"}) as mta:
            sinks = {name: TlsSink(f"198.51.100.{number}", "deaf" if name == "deaf" else "good")
                     for name, number in hosts.items()}
            for name in ("good", "loose"):
                sinks[name].KEYWORDS = (*Sink.KEYWORDS, "REQUIRETLS")
            mta.closers += sinks.values()
            with Client() as client:
                check("REQUIRETLS" not in str(client.command("EHLO x.test")), "offered in the clear")
                check_equal(client.command("MAIL FROM:<s@home.test> REQUIRETLS")[0], 555)
            with SecretClient() as client:
                check("REQUIRETLS" in str(client.offers), client.offers)
                for name in hosts:
                    client.require(f"r@{name}.sig")
                client.require("nobody@good.sig", options="")
            mta.wait_log(r"to=<r@good\.sig>.*status=sent")
            mta.wait_log(r"to=<r@eased\.sig>.*status=sent")
            mta.wait_log(r"to=<nobody@good\.sig>.*status=sent")
            mta.wait_log(r"to=<r@deaf\.sig>.*dsn=5\.7\.30, status=bounced \(REQUIRETLS was asked for, "
                         r"but was not offered by host mx\.deaf\.sig")
            mta.wait_log(r"to=<r@loose\.sig>.*dsn=5\.7\.10, status=bounced \(REQUIRETLS was asked for, "
                         r"but host mx\.loose\.sig\[198\.51\.100\.22\] cannot be verified")
            mta.wait_drained()
            asked = ["REQUIRETLS" in line for line in sinks["good"].mail_commands]
            check_equal(sorted(asked), [False, True], sinks["good"].mail_commands)
            [marked] = [m.content for m in sinks["good"].messages if m.recipients == ["r@good.sig"]]
            check(b"Require-TLS-ESMTP: yes\r\n" in marked, marked)
            check("REQUIRETLS" not in sinks["eased"].mail_commands[0], sinks["eased"].mail_commands)
            check_equal((len(sinks["deaf"].messages), len(sinks["loose"].messages)), (0, 0))
            notices = read(MAIL + "/alice")
            check_equal(len(re.findall(rb"^Status: 5\.7\.[13]0$", notices, re.M)), 2, notices.decode())
            check(b"secret words" not in notices, notices)
            # A filter that knows no REQUIRETLS gives the message back with the field.
            with Client() as client:
                client.send("s@home.test", ["f@deaf.sig"],
                            b"Require-TLS-ESMTP: yes\nSubject: x\n\nx\n")
            mta.wait_log(r"to=<f@deaf\.sig>.*dsn=5\.7\.30, status=bounced")
        # A notice with content goes the way that the message had to go.
        with Mta({**options, "requiretls_redact_dsn": "no"}) as mta:
            mta.closers.append(TlsSink("198.51.100.21", "deaf"))
            loose = TlsSink("198.51.100.22", "good")
            mta.closers.append(loose)
            with SecretClient() as client:
                client.require("r@deaf.sig", sender="s@loose.sig")
            mta.wait_log(r"to=<r@deaf\.sig>.*dsn=5\.7\.30, status=bounced")
            mta.wait_log(r"to=<s@loose\.sig>.*dsn=5\.7\.10, status=bounced")
            check_equal(loose.messages, [])
    finally:
        stop_dns(started)


def policy_tables():
    """Trust anchors that only an entry of the policy table names; the old smtp_tls_per_site."""
    make_keys()
    new_certificate("away", "mx.away.test")
    options = {"smtp_tls_loglevel": "4", "smtp_tls_CAfile": KEYS + "/other.pem",
               "minimal_backoff_time": "300s"}
    with Mta({**options, "smtp_tls_policy_maps": "texthash:/mnt/conf/policy"}, start=False) as mta:
        entries = {"good": "ca", "bad": "other", "missing": "nothing"}
        for file in ("ca", "other"):
            shutil.copyfile(f"{KEYS}/{file}.pem", f"{CONF}/{file}.pem")
        write(CONF + "/policy", "".join(
            f"[{name}.mx.away.test] secure match=mx.away.test tafile={CONF}/{file}.pem\n"
            for name, file in entries.items()))
        for name in entries:
            mta.dns.zone[f"{name}.mx.away.test A"] = ["198.51.100.25"]
        mta.closers.append(TlsSink("198.51.100.25", "away"))
        write(CONF + "/transport", "".join(f"{name}.test smtp:[{name}.mx.away.test]\n"
                                           for name in entries))
        mta.write_main_cf(transport_maps="texthash:/mnt/conf/transport")
        mta.start()
        send(*(f"{name}.test" for name in entries))
        mta.wait_log(r"Verified TLS connection established to good\.mx\.away\.test")
        mta.wait_log(r"good\.mx\.away\.test\[198\.51\.100\.25\]:25: matched peername: mx\.away\.test")
        mta.wait_log(r"good\.mx\.away\.test\[198\.51\.100\.25\]:25: subject_CN=mx\.away\.test, "
                     r"issuer_CN=Test CA, fingerprint=(..:){31}.., pkey_fingerprint=(..:){31}..")
        mta.wait_log(r"good\.mx\.away\.test\[198\.51\.100\.25\]:25: sent TLS\S* ClientHello \(\d+ bytes\)")
        mta.wait_log(r"good\.mx\.away\.test\[198\.51\.100\.25\]:25: received TLSv1\.3 Finished")
        mta.wait_log(r"good\.mx\.away\.test\[198\.51\.100\.25\]:25: received TLS\S* record \(5 bytes\)")
        mta.wait_log(r"to=<r@good\.test>.*status=sent")
        mta.wait_log(r"to=<r@bad\.test>.*status=deferred \(Server certificate not verified\)")
        mta.wait_log(r"to=<r@missing\.test>.*dsn=4\.7\.5, status=deferred")
        mta.wait_log(r"warning: trust anchors for missing\.mx\.away\.test.*No such file")
    with Mta({**options, "smtp_tls_per_site": "texthash:/mnt/conf/sites",
              "smtp_tls_security_level": "may"}, start=False) as mta:
        write(CONF + "/sites", "away.test MUST_NOPEERMATCH\nmx.plain.test NONE\n")
        mta.dns.zone["plain.test MX"] = ["10 mx.plain.test"]
        mta.dns.zone["mx.plain.test A"] = ["198.51.100.26"]
        mta.closers += [Sink("198.51.100.25"), TlsSink("198.51.100.26", "away")]
        mta.start()
        send("away.test", "plain.test")
        mta.wait_log(r"to=<r@away\.test>.*status=deferred \(TLS is required, but was not offered")
        mta.wait_log(r"to=<r@plain\.test>.*530 5\.7\.0 STARTTLS first")


def keys_and_certificates():
    """postern tls makes what a server needs, and main.cf names it."""
    def tls(*words, status=0):
        told = subprocess.run([PREFIX + "/sbin/postern", "tls", *words], capture_output=True,
                              timeout=60, check=False)
        check_equal(told.returncode, status, (words, told.stdout, told.stderr))
        return told.stdout.decode()

    with Mta() as mta:
        tls("all-default-server")
        tls("enable-server", "-a", "ecdsa", "mx.home.test", "mail.home.test")
        tls("all-default-server", status=1)
        run(PREFIX + "/sbin/postern", "reload")
        names = r"CN ?= ?mx\.home\.test"
        shown = openssl("s_client", "-starttls", "smtp", "-connect", f"{HOST}:25", check=False)
        check(re.search(names, shown.stdout.decode()), shown.stdout)
        made = openssl("x509", "-noout", "-pubkey", data=shown.stdout).stdout
        der = openssl("pkey", "-pubin", "-outform", "DER", data=made).stdout
        digest_of_key = openssl("dgst", "-sha256", "-r", data=der).stdout.split()[0].decode()
        check_equal(tls("tlsa"), f"_25._tcp.mx.home.test. IN TLSA 3 1 1 {digest_of_key}\n")
        request = openssl("req", "-noout", "-text", "-verify",
                          data=tls("csr", "-k", "ecdsa", "mx.home.test", "b.test").encode())
        check(b"DNS:mx.home.test, DNS:b.test" in request.stdout, request.stdout)
        # A new key stands beside the old one until it is deployed.
        told = tls("new-server-key", "-a", "ecdsa")
        key = re.search(r"New private key: +(\S+)", told).group(1)
        certificate = re.search(r"New self-signed certificate: (\S+)", told).group(1)
        check_equal(os.stat(key).st_mode & 0o777, 0o600)
        tls("deploy-server-cert", certificate, KEYS + "/nothing.pem", status=1)
        tls("deploy-server-cert", certificate, key)
        check_equal(mta.tool("postconf", "-h", "smtpd_tls_eckey_file").stdout.decode().strip(), key)
        tls("enable-client")
        tls("new-server-key", "-b", "512", status=1)


if __name__ == "__main__":
    provide(["nsd", "unbound", "ldns-signzone", "ldns-keygen"],
            ["nsd", "unbound", "ldnsutils", "libldns3", "libevent-2.1-7", "libprotobuf-c1",
             "libfstrm0", "libhiredis0.14", "libnghttp2-14", "libpython3.11", "libpcap0.8"])
    main([dane, mta_sts, policy_servers_that_misbehave, require_tls, policy_tables, keys_and_certificates])
