"""tls.py - TLS of our server: with openssl's own client, with certificates good and bad, renewed and
hostile peers; where the keys are, and what an idle session takes."""
import base64
import hashlib
import hmac
import ssl

from harness import *

KEYS = ROOT + "/keys"
OPTIONS = {
    "smtpd_tls_security_level": "may",
    "smtpd_tls_cert_file": KEYS + "/mx.pem",
    "smtpd_tls_key_file": KEYS + "/mx.key",
    "smtpd_tls_loglevel": "1",
    "smtpd_tls_received_header": "yes",
}
WRAPPED = "465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o { smtpd_tls_security_level = }"


def openssl(*words, data=b"", timeout=60, check=True):
    done = subprocess.run(["openssl", *words], input=data, capture_output=True, timeout=timeout,
                          check=False)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


def new_key(name, kind="ec"):
    extra = ["-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else \
        ["-pkeyopt", "rsa_keygen_bits:2048"]
    openssl("genpkey", "-algorithm", kind, *extra, "-out", f"{KEYS}/{name}.key")
    os.chmod(f"{KEYS}/{name}.key", 0o600)


def new_certificate(name, common_name, days=100, issuer="ca", kind="ec", key=None):
    """KEYS/name.pem and name.key."""
    if key is None:
        new_key(name, kind)
        key = name
    request = openssl("req", "-new", "-key", f"{KEYS}/{key}.key", "-subj", f"/CN={common_name}").stdout
    signing = ["-CA", f"{KEYS}/{issuer}.pem", "-CAkey", f"{KEYS}/{issuer}.key"] if issuer else \
        ["-signkey", f"{KEYS}/{key}.key"]
    made = openssl("x509", "-req", "-days", str(days), *signing, data=request).stdout
    # At once, as a careful tool does it.
    write(f"{KEYS}/{name}.pem.new", made.decode())
    os.rename(f"{KEYS}/{name}.pem.new", f"{KEYS}/{name}.pem")


def make_keys():
    shutil.rmtree(KEYS, ignore_errors=True)
    os.mkdir(KEYS, 0o700)
    new_key("ca")
    openssl("req", "-x509", "-key", KEYS + "/ca.key", "-subj", "/CN=Test CA", "-days", "100",
            "-out", KEYS + "/ca.pem")
    new_certificate("mx", "mx.home.test")
    new_certificate("other", "other.home.test")


def context(certificate=None, **options):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if certificate:
        made.load_cert_chain(f"{KEYS}/{certificate}.pem", f"{KEYS}/{certificate}.key")
    for name, value in options.items():
        setattr(made, name, value)
    return made


class Secret(Client):
    """A client that says STARTTLS, or begins with TLS on another port than 25."""

    def __init__(self, tls=None, name=None, port=25, **options):
        super().__init__(port=port, greet=port == 25, **options)
        self.tls = tls or context()
        if port == 25:
            check_equal(self.command("STARTTLS")[0], 220, "STARTTLS")
        self.socket = self.tls.wrap_socket(self.socket, server_hostname=name)
        self.buffer = b""
        if port != 25:
            self.banner = self.reply()
        self.ehlo = self.command("EHLO client.away.test")

    def peer(self):
        """The common name of the server's certificate."""
        der = self.socket.getpeercert(binary_form=True)
        text = openssl("x509", "-inform", "DER", "-noout", "-subject", data=der).stdout.decode()
        return text.strip().rpartition("CN = ")[2]


def names_served(name=None):
    with Secret(name=name) as client:
        return client.peer()


def openssl_speaks_with_us():
    make_keys()
    with Mta(OPTIONS, [WRAPPED]) as mta:
        for version, words in (("TLSv1.2", ["-tls1_2"]), ("TLSv1.3", ["-tls1_3"])):
            for where in (["-starttls", "smtp", "-connect", HOST + ":25"], ["-connect", HOST + ":465"]):
                seen = openssl("s_client", "-CAfile", KEYS + "/ca.pem", "-verify_return_error",
                               "-ign_eof", *where, *words, data=b"quit\r\n").stdout.decode()
                check(f"New, {version}, Cipher is" in seen, version, where, seen)
                check("Verify return code: 0 (ok)" in seen, seen)
                check("221 2.0.0 Bye" in seen, seen)
        with Secret() as client:
            check("STARTTLS" not in client.ehlo[1], client.ehlo)
            check_equal(client.send("a@away.test", ["u1@box.test"], b"Subject: s\n\nsecret\n"), 250)
            big = b"Subject: big\n\n" + (b"0123456789abcdef" * 4 + b"\n") * 50_000
            check_equal(client.send("a@away.test", ["u2@box.test"], big), 250)
        mta.wait_drained()
        message = maildir("u1")[0].decode()
        check(re.search(r"\(using TLSv1\.3 with cipher \S+ \(256/256 bits\)\s+key-exchange X25519 "
                        r"server-signature ECDSA \(prime256v1\) server-digest SHA256\)\s+"
                        r"\(No client certificate requested\)\s+by mx\.home\.test \(\S+\) "
                        r"with ESMTPS id", message), message)
        check_equal(digest(body_of(maildir("u2")[0])), digest(body_of(big)))
        mta.wait_log(r"Anonymous TLS connection established from \S+: TLSv1\.2 with cipher")
        # What waits tells how it came.
        with Secret() as client:
            check_equal(client.send("a@away.test", ["r@away.test"], b"Subject: w\n\nx\n"), 250)
        wait_for("a message that waits", mta.queue)
        told = mta.tool("postern", "why", "r@away.test").stdout.decode()
        check(re.search(r"\n  secrecy   TLSv1\.3 with cipher \S+ \(256/256 bits\)\n", told), told)
        check_equal(mta.tool("postsuper", "-d", "ALL").returncode, 0)


def sessions_are_resumed():
    make_keys()
    with Mta(OPTIONS | {"service_workers": "2"}, [WRAPPED]):
        for words in (["-tls1_2"], ["-tls1_3"]):
            ticket = KEYS + "/ticket"
            command = ["s_client", "-connect", HOST + ":465", "-ign_eof", *words]
            openssl(*command, "-sess_out", ticket, data=b"quit\r\n")
            for _ in range(4):
                seen = openssl(*command, "-sess_in", ticket, data=b"quit\r\n").stdout.decode()
                check("Reused, TLS" in seen, words, seen)
        # What comes with the first packet could be sent again by anybody.
        seen = openssl("sess_id", "-in", ticket, "-noout", "-text").stdout.decode()
        check("Protocol  : TLSv1.3" in seen and "Max Early Data: 0\n" in seen, seen)


def regions(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            where, mode = line.split()[:2]
            if mode[0] == "r" and "[v" not in line:
                yield [int(n, 16) for n in where.split("-")]


def holds(pid, secrets):
    """Which of the byte strings are in the process's memory."""
    found = set()
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for start, end in regions(pid):
            try:
                memory.seek(start)
                content = memory.read(end - start)
            except (OSError, ValueError):
                continue
            found.update(what for what, secret in secrets.items() if secret in content)
    return found


def secrets_of(name):
    """Numbers of a private key as memory holds them, and its text."""
    text = openssl("pkey", "-in", f"{KEYS}/{name}.key", "-noout", "-text").stdout.decode()
    secrets = {}
    for what in ("priv", "privateExponent", "prime1", "prime2"):
        block = re.search(rf"^{what}:\n((?:\s+[0-9a-f:]+\n)+)", text, re.M)
        if block:
            number = bytes.fromhex(re.sub(r"[\s:]", "", block[1])).lstrip(b"\0")
            secrets[what] = number
            secrets[what + ", least byte first"] = number[::-1]
    lines = read(f"{KEYS}/{name}.key").split(b"\n")
    secrets["PEM"] = lines[len(lines) // 2][:40]
    check(len(secrets) >= 3, text)
    return secrets


def keys_are_in_keyring_alone():
    make_keys()
    new_certificate("rsa", "mx.home.test", kind="rsa")
    chain = f"{KEYS}/mx.key, {KEYS}/mx.pem, {KEYS}/both"
    write(KEYS + "/both", read(KEYS + "/rsa.key").decode() + read(KEYS + "/rsa.pem").decode())
    with Mta(OPTIONS | {"smtpd_tls_chain_files": chain}, [WRAPPED]) as mta:
        kinds = set()
        for ciphers in ("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"):
            tls = context(maximum_version=ssl.TLSVersion.TLSv1_2)
            tls.set_ciphers(ciphers)
            for port in (25, 465):
                with Secret(tls, port=port) as client:
                    kinds.add(client.socket.cipher()[0])
        check_equal(len(kinds), 2)
        mta.tool("postern", "reload")
        mta.wait_log("reload --")
        check_equal(names_served(), "mx.home.test")
        for key in ("mx", "rsa"):
            secrets = secrets_of(key)
            for pid, program in daemons().items():
                found = holds(pid, secrets)
                if program == "keyring":
                    check(found, f"{key}: not in keyring: the search finds nothing")
                elif program != "master":
                    check(not found, f"{program} has {found} of {key}.key")
        [keyring] = daemons("keyring")
        check_equal(os.stat(f"/proc/{keyring}/mem").st_uid, 0, "keyring can be dumped")
        check_equal(os.listdir(f"/proc/{keyring}/fd") and
                    [f for f in map(lambda fd: os.readlink(f"/proc/{keyring}/fd/{fd}"),
                                    os.listdir(f"/proc/{keyring}/fd"))
                     if f.startswith("/") and not f.startswith(("/dev/", "/memfd:"))], [])


def keyring_may_die():
    make_keys()
    with Mta(OPTIONS, may_log="keyring") as mta:
        check_equal(names_served(), "mx.home.test")
        for _ in range(3):
            [pid] = daemons("keyring")
            os.kill(pid, signal.SIGKILL)
            check_equal(names_served(), "mx.home.test")
            wait_for("another keyring", lambda: pid not in daemons("keyring") and daemons("keyring"))
        with Client() as plain:
            check_equal(plain.send("a@away.test", ["u1@box.test"], b"Subject: s\n\nx\n"), 250)
        mta.wait_drained()


def renewed_certificates_are_noticed():
    make_keys()
    with Mta(OPTIONS) as mta:
        check_equal(names_served(), "mx.home.test")
        with Client() as plain:
            # The certificate alone fits nothing: the one before is still served.
            new_key("next")
            new_certificate("mx", "renewed.home.test", key="next")
            mta.wait_log(r"there is no private key for the certificate of renewed\.home\.test", seconds=30)
            check_equal(names_served(), "mx.home.test")
            os.rename(KEYS + "/next.key", KEYS + "/mx.key")
            wait_for("the new certificate", lambda: names_served() == "renewed.home.test", 30)
            write(KEYS + "/mx.pem", "-----BEGIN CERTIFICATE-----\nrubbish\n")
            mta.wait_log(r"mx\.pem: certificate: ", seconds=30)
            check_equal(names_served(), "renewed.home.test")
            check_equal(plain.command("NOOP")[0], 250, "a session goes on meanwhile")


def bad_certificates_leave_mail_in_the_clear():
    make_keys()
    os.rename(KEYS + "/other.key", KEYS + "/mx.key")
    shutil.copy(KEYS + "/other.pem", KEYS + "/torn.pem")
    write(KEYS + "/torn.pem", read(KEYS + "/torn.pem").decode()[:200])
    lines = [WRAPPED,
             "587 inet n - n - - smtpd -o smtpd_tls_security_level=encrypt",
             f"588 inet n - n - - smtpd -o smtpd_tls_cert_file={KEYS}/torn.pem",
             f"589 inet n - n - - smtpd -o smtpd_tls_cert_file={KEYS}/none.pem",
             f"590 inet n - n - - smtpd -o smtpd_tls_cert_file={KEYS}/other.pem"]
    with Mta(OPTIONS, lines) as mta:
        mta.wait_log(r"warning: .*none\.pem: No such file")
        for port in (25, 588, 589):
            with Client(port=port) as client:
                check("STARTTLS" not in client.ehlo[1], port, client.ehlo)
                check_equal(client.command("STARTTLS")[0], 454)
                check_equal(client.send("a@away.test", ["u1@box.test"], b"Subject: s\n\nx\n"), 250)
        with Client(port=587) as client:
            check_equal(client.command("STARTTLS"),
                        (454, "454 4.7.0 TLS not available due to local problem"))
            check_equal(client.command("MAIL FROM:<a@away.test>")[0], 530)
        with Client(port=465, greet=False) as client:
            check_equal(client.reply()[0], 0)
        with Client(port=590) as client:
            check("STARTTLS" in client.ehlo[1], "the good one of five")
        no_key = "there is no private key for the certificate of mx.home.test"
        wait_for(no_key, lambda: mta.log().count(no_key) >= 3)
        check_equal(mta.log().count(no_key), 3, "each of three processes says so once")
        found = mta.tool("postern", "check", "-c", CONF)
        check_equal(found.returncode, 1)
        for word in ("mx.pem", "torn.pem", "none.pem"):
            check(word in found.stdout.decode(), word, found.stdout.decode())


def names_pick_certificates():
    make_keys()
    table = CONF + "/names"
    with Mta(OPTIONS | {"tls_server_sni_maps": "hash:" + table}, start=False) as mta:
        write(table, f"other.home.test {KEYS}/other.key {KEYS}/other.pem\n")
        check_equal(mta.tool("postmap", "-F", "hash:" + table).returncode, 0)
        mta.start()
        check_equal(names_served("other.home.test"), "other.home.test")
        check_equal(names_served("OTHER.home.test"), "other.home.test")
        check_equal(names_served("unknown.home.test"), "mx.home.test")
        check_equal(names_served(), "mx.home.test")
        mta.wait_log(r"TLS connection established from \S+ to other\.home\.test: ")


def client_certificates_count():
    make_keys()
    new_certificate("friend", "friend.home.test")
    new_certificate("stranger", "stranger.home.test", issuer=None)
    seen = openssl("x509", "-in", KEYS + "/stranger.pem", "-noout", "-fingerprint", "-sha256")
    print_of_stranger = seen.stdout.decode().strip().partition("=")[2]
    key = openssl("x509", "-in", KEYS + "/stranger.pem", "-noout", "-pubkey").stdout
    key = openssl("pkey", "-pubin", "-outform", "DER", data=key).stdout
    key_of_stranger = hashlib.sha256(key).digest().hex(":").upper()
    options = OPTIONS | {
        "mynetworks": "127.0.0.2",
        "smtpd_tls_ask_ccert": "yes",
        "smtpd_tls_CAfile": KEYS + "/ca.pem",
        "smtpd_tls_fingerprint_digest": "sha256",
        "relay_clientcerts": "texthash:" + CONF + "/prints",
        "smtpd_relay_restrictions": "permit_tls_clientcerts, reject_unauth_destination",
        "smtpd_tls_loglevel": "2",
    }
    lines = ["26 inet n - n - - smtpd -o "
             "{ smtpd_relay_restrictions = permit_tls_all_clientcerts, reject }",
             "27 inet n - n - - smtpd -o "
             f"{{ smtpd_client_restrictions = check_ccert_access texthash:{CONF}/access }}",
             "28 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes -o smtpd_tls_req_ccert=yes"]
    # Both fingerprints are listed: which of them counts is the order's to say.
    for port, order in ((29, "pubkey_fingerprint, cert_fingerprint"), (30, "cert_fingerprint"),
                        (31, "pubkey_fingerprint")):
        table = "keys" if port == 31 else "both"
        lines.append(f"{port} inet n - n - - smtpd -o {{ smtpd_client_restrictions = "
                     f"check_ccert_access {{ texthash:{CONF}/{table}, "
                     f"{{ search_order = {order} }} }} }}")

    def may_relay(certificate, port=25):
        client = Client(port=port)
        client.command("STARTTLS")
        client.socket = context(certificate).wrap_socket(client.socket)
        client.command("EHLO c.away.test")
        client.command("MAIL FROM:<a@away.test>")
        code, text = client.command("RCPT TO:<b@elsewhere.test>")
        client.close()
        return code, text

    with Mta(options, lines, start=False) as mta:
        write(CONF + "/prints", print_of_stranger + " stranger\n")
        write(CONF + "/access", print_of_stranger + " REJECT you again\n")
        write(CONF + "/keys", key_of_stranger + " REJECT that key\n")
        write(CONF + "/both", print_of_stranger + " REJECT that certificate\n" +
              key_of_stranger + " REJECT that key\n")
        mta.start()
        check_equal(may_relay("stranger")[0], 250, "listed by its fingerprint")
        check_equal(may_relay("friend")[0], 554)
        check_equal(may_relay(None)[0], 554)
        check_equal(may_relay("friend", 26)[0], 250, "trusted")
        check_equal(may_relay("stranger", 26)[0], 554)
        check("you again" in may_relay("stranger", 27)[1])
        check("that key" in may_relay("stranger", 29)[1])
        check("that certificate" in may_relay("stranger", 30)[1])
        check("that key" in may_relay("stranger", 31)[1])
        with Secret(context("friend"), port=28) as client:
            check_equal(client.command("NOOP")[0], 250)
            check_equal(client.send("a@away.test", ["u1@box.test"], b"Subject: s\n\nx\n"), 250)
        for nobody in (None, "stranger"):
            client = Client(port=28, greet=False)
            client.socket = context(nobody).wrap_socket(client.socket)
            check_equal(client.reply()[0], 421, nobody)
            client.close()
        mta.wait_log(r"Trusted TLS connection established from")
        mta.wait_log(r"Untrusted TLS connection established from")
        mta.wait_log(r"subject_CN=friend\.home\.test, issuer=Test CA, fingerprint=")
        mta.wait_drained(may_be_unfinished=True)
        check("(Client CN \"friend.home.test\", Issuer \"Test CA\" (verified OK))"
              in maildir("u1")[0].decode(), maildir("u1")[0].decode())
        mta.write_main_cf(smtpd_client_restrictions=f"check_ccert_access {{ texthash:{CONF}/keys, "
                                                    "{ search_order = key_fingerprint } }")
        done = mta.tool("postern", "check")
        said = (done.stdout + done.stderr).decode()
        check(done.returncode == 1 and 'expected cert_fingerprint or pubkey_fingerprint, not '
              '"key_fingerprint"' in said, said)


def shake_hands_in_crumbs(port=465):
    """A handshake of which each byte is a record of its own; gives the banner."""
    def crumbs(flight):
        while flight:
            kind, size = flight[:3], int.from_bytes(flight[3:5], "big")
            body, flight = flight[5:5 + size], flight[5 + size:]
            # After the first flight records are encrypted and have to stay whole.
            yield from (kind + b"\0\1" + body[n:n + 1] for n in range(size)) if kind[0] == 22 else (kind + size.to_bytes(2, "big") + body,)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    talk = context().wrap_bio(incoming, outgoing)
    with socket.create_connection((HOST, port), 15) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for call in (talk.do_handshake, talk.read):
            while True:
                try:
                    said = call()
                    break
                except ssl.SSLWantReadError:
                    for crumb in crumbs(outgoing.read()):
                        link.sendall(crumb)
                    more = link.recv(65536)
                    check(more, "the server ends it")
                    incoming.write(more)
            for crumb in crumbs(outgoing.read()):
                link.sendall(crumb)
        return said


def hostile_peers_get_nowhere():
    make_keys()
    with Mta(OPTIONS | {"smtpd_starttls_timeout": "2s"}, [WRAPPED]) as mta:
        def starttls():
            client = Client()
            check_equal(client.command("STARTTLS")[0], 220)
            return client

        def is_over(client):
            """The server ends it, with an alert at most."""
            client.socket.settimeout(15)
            with contextlib.suppress(ConnectionResetError):
                while client.socket.recv(4096):
                    pass
            return True

        garbage = [b"EHLO again\r\n" * 10, bytes(200), b"\x16\x03\x01\xff\xff" + b"x" * 40_000,
                   os.urandom(4096), b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff"]
        for sent in garbage:
            client = starttls()
            client.raw(sent)
            check(is_over(client), sent[:20])
        mta.wait_log(r"SSL_accept error from \S+: -1")
        mta.wait_log(r"warning: TLS library problem: error:")
        # Byte by byte, or not at all.
        begun = time.monotonic()
        slow = [starttls() for _ in range(100)] + [Client(port=465, greet=False) for _ in range(50)]
        for client in slow[:50]:
            client.raw(b"\x16\x03\x01\x02\x00\x01")
        # Others are served meanwhile, in the clear and in secret.
        with Client() as client:
            check_equal(client.command("NOOP")[0], 250)
        check_equal(names_served(), "mx.home.test")
        with Secret(port=465) as client:
            check_equal(client.command("NOOP")[0], 250)
        check(time.monotonic() - begun < 10, "newcomers wait for slow ones")
        for client in slow:
            check(is_over(client))
        mta.wait_log(r"SSL_accept error from \S+: Connection timed out")
        check(shake_hands_in_crumbs().startswith(b"220 "), "a handshake in crumbs")
        # Renegotiation is refused.
        peer = subprocess.Popen(["openssl", "s_client", "-tls1_2", "-connect", HOST + ":465"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        while (line := peer.stdout.readline()) and not line.startswith(b"220 "):
            pass
        seen = peer.communicate(b"R\n", timeout=60)[0].decode()
        check("RENEGOTIATING" in seen and "no renegotiation" in seen, seen)
        # A record in the middle that is none.
        client = Secret(port=465)
        os.write(client.socket.fileno(), b"\x17\x03\x03\x40\xff" + b"y" * 17_000)
        with contextlib.suppress(ssl.SSLError):  # its alert
            check_equal(client.reply()[0], 0)
        # A client that means HTTP is not served (ALPACA); one that means SMTP is.
        for protocols, is_good in ((["h2", "http/1.1"], False), (["smtp"], True)):
            tls = context()
            tls.set_alpn_protocols(protocols)
            try:
                Secret(tls, port=465).close()
                check(is_good, protocols)
            except ssl.SSLError:
                check(not is_good, protocols)
        check(daemons("smtpd"))


class TicketSink(Sink):
    """A next hop that speaks TLS, with very many session tickets."""

    def __init__(self, address, tickets):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(f"{KEYS}/mx.pem", f"{KEYS}/mx.key")
        self.context.num_tickets = tickets
        super().__init__(address)

    def serve(self, connection):
        connection.settimeout(60)
        connection.sendall(b"220 mx ESMTP\r\n")
        for answer in (b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"):
            if not connection.recv(4096):
                return
            connection.sendall(answer)
        with self.context.wrap_socket(connection, server_side=True) as secret:
            self.banner = b""
            super().serve(secret)


def resident(program):
    """Of the largest of its processes, in KB."""
    return max(int(re.search(rb"VmRSS:\s+(\d+)", read(f"/proc/{pid}/status"))[1])
               for pid in daemons(program))


def floods_of_keys_and_tickets():
    """New traffic keys, handshakes and tickets without end: what they cost, and who is served."""
    make_keys()
    with Mta(OPTIONS | {"smtp_tls_security_level": "may", "smtp_tls_loglevel": "1"}, [WRAPPED]) as mta:
        for _ in range(20):
            names_served()
        before = {program: resident(program) for program in ("smtpd", "keyring")}
        peer = subprocess.Popen(["openssl", "s_client", "-tls1_3", "-connect", HOST + ":465"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)
        while (line := peer.stdout.readline()) and not line.startswith(b"220 "):
            pass
        updates, begun = 0, time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            while peer.poll() is None and updates < 1000:
                os.write(peer.stdin.fileno(), b"K\n")
                updates += 1
                time.sleep(0.001)
                if updates % 100 == 0:
                    check_equal(names_served(), "mx.home.test")
        took = time.monotonic() - begun
        with contextlib.suppress(BrokenPipeError, ValueError):
            peer.communicate(b"Q\n", timeout=30)
        grown = {program: resident(program) - kb for program, kb in before.items()}
        print(f"     {updates} key updates in {took:.1f} s; smtpd {grown['smtpd']:+} KB")
        if not os.environ.get("POSTERN_TEST_SANITIZE"):
            check(grown["smtpd"] < 5000, grown)
        # Handshakes: full ones, and with the ticket of the one before.
        begun, session = time.monotonic(), None
        tls, resumed = context(), 0
        for number in range(300):
            plain = socket.create_connection((HOST, 465), 30)
            with tls.wrap_socket(plain, session=session) as secret:
                secret.recv(4096)  # tickets come before the greeting
                resumed += secret.session_reused
                session = secret.session if number >= 150 else None
        took = time.monotonic() - begun
        grown = {program: resident(program) - kb for program, kb in before.items()}
        print(f"     300 handshakes, {resumed} resumed, {took / 300 * 1000:.1f} ms each; smtpd "
              f"{grown['smtpd']:+} KB, keyring {grown['keyring']:+} KB")
        check(resumed > 100, "resumed", resumed)
        if not os.environ.get("POSTERN_TEST_SANITIZE"):
            check(max(grown.values()) < 5000, grown)
        # A next hop that gives more tickets than anybody could use.
        sink = TicketSink("198.51.100.25", 2000)
        mta.closers.append(sink)
        sizes, begun = [], time.monotonic()
        for number in range(10):
            with Client() as client:
                check_equal(client.send("s@away.test", [f"r{number}@away.test"], b"Subject: t\n\nx\n"),
                            250)
            sink.wait(number + 1)
            sizes.append(resident("smtp"))
        mta.wait_drained()
        print(f"     10 deliveries to a next hop with 2000 tickets each: {time.monotonic() - begun:.1f} s; "
              f"smtp {sizes[-1] - sizes[0]:+} KB")
        if not os.environ.get("POSTERN_TEST_SANITIZE"):
            check(sizes[-1] - sizes[0] < 5000, sizes)


def new_sessions_are_counted():
    make_keys()
    limit = {"smtpd_client_new_tls_session_rate_limit": "2"}
    with Mta(OPTIONS | limit, [WRAPPED]) as mta:
        for _ in range(2):
            Secret(source=CLIENT).close()
        with Client(source=CLIENT) as client:
            code, text = client.command("STARTTLS")
            check_equal(code, 454)
            check("too many new TLS sessions" in text, text)
        with Secret() as friend:
            check_equal(friend.command("NOOP")[0], 250, "mynetworks have no limit")
        for _ in range(2):
            Secret(port=465, source=CLIENT).close()
        check_equal(Secret(port=465, source=CLIENT).banner[0], 421)
        mta.wait_log(r"New TLS session rate limit exceeded: 3 from")


def words_behind_starttls_are_thrown_away():
    make_keys()
    with Mta(OPTIONS) as mta:
        client = Client()
        client.raw(b"STARTTLS\r\nMAIL FROM:<evil@away.test>\r\nRCPT TO:<u1@box.test>\r\n")
        check_equal(client.reply()[0], 220)
        client.socket = context().wrap_socket(client.socket)
        client.buffer = b""
        check_equal(client.command("RCPT TO:<u1@box.test>")[0], 503)
        client.close()
        mta.wait_log("disconnect from")


def proxies_stand_before_tls():
    """The proxy's header and the first bytes of the handshake come together."""
    make_keys()
    line = WRAPPED + " -o smtpd_upstream_proxy_protocol=haproxy"
    with Mta(OPTIONS, [line]) as mta:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        talk = context().wrap_bio(incoming, outgoing)
        with socket.create_connection((HOST, 465), 15) as link:
            pending = f"PROXY TCP4 {CLIENT} {HOST} 4321 465\r\n".encode()

            def exchange(call):
                nonlocal pending
                while True:
                    try:
                        return call()
                    except ssl.SSLWantReadError:
                        link.sendall(pending + outgoing.read())
                        pending = b""
                        incoming.write(link.recv(65536))
            exchange(talk.do_handshake)
            check(exchange(talk.read).startswith(b"220 "))
            talk.write(b"QUIT\r\n")
            check(exchange(talk.read).startswith(b"221 "))
        mta.wait_log(r"TLS connection established from unknown\[" + re.escape(CLIENT))


def first_contact_speaks_tls():
    make_keys()
    lines = ["smtp inet n - n - 1 postscreen", "smtpd pass - - n - - smtpd"]
    options = OPTIONS | {"postscreen_pipelining_enable": "yes", "postscreen_pipelining_action": "enforce",
                         "postscreen_greet_wait": "1s", "postscreen_access_list": ""}
    with Mta(options, lines) as mta:
        def try_once():
            with Secret(source=CLIENT) as client:
                check("STARTTLS" not in client.ehlo[1], client.ehlo)
                client.command("MAIL FROM:<a@away.test>")
                return client.command("RCPT TO:<u1@box.test>")[0], client.peer()
        check_equal(try_once(), (450, "mx.home.test"), "while it is tested")
        # Until it has left it may still fail a test.
        mta.wait_log("PASS NEW")
        check_equal(try_once(), (250, "mx.home.test"), "afterwards")


def logins_are_bound_to_the_connection():
    make_keys()
    users = CONF + "/users"
    options = OPTIONS | {"smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "postern",
                         "smtpd_sasl_password_maps": "texthash:" + users,
                         "smtpd_tls_auth_only": "yes"}
    with Mta(options, start=False) as mta:
        made = mta.tool("postern", "password", "--scheme", "SCRAM-SHA-256", data=b"geheim\n")
        check_equal(made.returncode, 0, made.stderr)
        write(users, "alice " + made.stdout.decode().strip() + "\n")
        mta.start()
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            binding = b"tls-unique" if version == ssl.TLSVersion.TLSv1_2 else b"tls-exporter"
            with Client() as plain:
                check("AUTH" not in plain.ehlo[1], plain.ehlo)
            with Secret(context(maximum_version=version)) as client:
                check("SCRAM-SHA-256-PLUS" in client.ehlo[1], client.ehlo)
                if binding == b"tls-unique":  # the only one that Python tells
                    value = client.socket.get_channel_binding("tls-unique")
                    check_equal(scram_plus(client, "alice", "geheim", binding, value)[0], 235)
                check_equal(scram_plus(client, "alice", "geheim", binding, b"x" * 12)[0],
                            503 if binding == b"tls-unique" else 535, "a binding of another connection")


def scram_plus(client, user, password, kind, value):
    """AUTH SCRAM-SHA-256-PLUS (RFC 5802)."""
    header = b"p=" + kind + b",,"
    first = f"n={user},r=clientnonce".encode()
    code, text = client.command("AUTH SCRAM-SHA-256-PLUS " +
                                base64.b64encode(header + first).decode())
    if code != 334:
        return code, text
    challenge = base64.b64decode(text[4:])
    fields = dict(field.split(b"=", 1) for field in challenge.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields[b"s"]),
                                 int(fields[b"i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    final = b"c=" + base64.b64encode(header + value) + b",r=" + fields[b"r"]
    signature = hmac.digest(hashlib.sha256(key).digest(), b",".join([first, challenge, final]), "sha256")
    proof = bytes(a ^ b for a, b in zip(key, signature))
    code, text = client.command(base64.b64encode(final + b",p=" + base64.b64encode(proof)).decode())
    return client.command("") if code == 334 else (code, text)


def certificates_that_end_soon_are_told():
    make_keys()
    new_certificate("mx", "mx.home.test", days=10, key="mx")
    with Mta(OPTIONS) as mta:
        names_served()
        mta.wait_log(r"keyring\[\d+\]: warning: the certificate \S+/mx\.pem \(mx\.home\.test\) ends on "
                     r"\d{4}-\d\d-\d\d, in 9 days: renew it")
        status = mta.tool("postern", "status", "-c", CONF)
        check(re.search(r"mx\.pem.*ends on \d{4}-\d\d-\d\d", status.stdout.decode()),
              status.stdout.decode(), status.stderr.decode())


def handshakes_are_shown():
    """smtpd_tls_loglevel 3: each message of the handshake, and nothing of what follows."""
    make_keys()
    with Mta(OPTIONS | {"smtpd_tls_loglevel": "3"}) as mta:
        client = Secret(context())
        check_equal(client.command("NOOP unheard-of")[0], 250)
        client.close()
        mta.wait_log(r"smtpd\[\d+\]: \S+\[\S+\]: received TLS\S* ClientHello \(\d+ bytes\)")
        mta.wait_log(r"\[\S+\]: 0000 01 00 (.. ){14}\|")
        mta.wait_log(r"\[\S+\]: sent TLSv1\.3 Finished")
        check("record" not in mta.log() and "unheard" not in mta.log(), mta.log())


def memory_of(program):
    """KiB that belong to a program's processes alone. What they map of files counts by the number
    of those who map it, and other tests come and go meanwhile: a session takes none of that."""
    total = 0
    for pid in daemons(program):
        text = read(f"/proc/{pid}/smaps_rollup").decode()
        total += sum(int(size) for size in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", text, re.M))
    return total


def idle_sessions_are_small():
    make_keys()
    if os.environ.get("POSTERN_TEST_SANITIZE"):
        return
    count = 500
    options = {"service_workers": "1", "smtpd_client_connection_count_limit": "0"}
    for version in (None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with Mta(OPTIONS | options):
            if version:
                tls = context(maximum_version=version)
            begin = (lambda: Secret(tls)) if version else Client
            first = [begin() for _ in range(20)]
            for client in first:
                client.close()
            before = memory_of("smtpd")
            kept = [begin() for _ in range(count)]
            each = (memory_of("smtpd") - before) / count
            print(f"     {version.name if version else 'plain'}: {each:.1f} KiB an idle session")
            check(each <= (18 if version else 8), f"{each:.1f} KiB")
            for client in kept:
                client.close()


if __name__ == "__main__":
    main([openssl_speaks_with_us, sessions_are_resumed, keys_are_in_keyring_alone,
          keyring_may_die, renewed_certificates_are_noticed, bad_certificates_leave_mail_in_the_clear,
          names_pick_certificates, client_certificates_count, hostile_peers_get_nowhere,
          floods_of_keys_and_tickets,
          new_sessions_are_counted, words_behind_starttls_are_thrown_away, proxies_stand_before_tls, first_contact_speaks_tls,
          logins_are_bound_to_the_connection, handshakes_are_shown, certificates_that_end_soon_are_told,
          idle_sessions_are_small])
