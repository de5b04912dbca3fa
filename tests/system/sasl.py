"""sasl.py - logins: at our server, judged by tables of passwords, PAM and Dovecot; and ours at other
servers."""
import base64
import hashlib
import hmac
import ssl

from harness import *

USERS_TABLE = CONF + "/users"
RELAY = {
    "mynetworks": "127.0.0.2",
    "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_client_ban_auth_failures": "0",
}
NATIVE = RELAY | {
    "smtpd_sasl_type": "postern",
    "smtpd_sasl_password_maps": "texthash:" + USERS_TABLE,
    "smtpd_sasl_authenticated_header": "yes",
}


def b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def plain(user, password):
    return "AUTH PLAIN " + b64(f"\0{user}\0{password}")


def login(client, user, password):
    """AUTH LOGIN, step by step."""
    check_equal(client.command("AUTH LOGIN"), (334, "334 " + b64("Username:")))
    check_equal(client.command(b64(user)), (334, "334 " + b64("Password:")))
    return client.command(b64(password))


def scram(client, user, password, flag="n", binding=b""):
    """AUTH SCRAM-SHA-256, with channel binding where `binding` is given; checks the server's
    signature, too."""
    first = f"n={user},r=clientnonce"
    mechanism = "SCRAM-SHA-256-PLUS " if binding else "SCRAM-SHA-256 "
    code, text = client.command("AUTH " + mechanism + b64(f"{flag},," + first))
    if code != 334:
        return code, text
    challenge = base64.b64decode(text[4:]).decode()
    fields = dict(field.split("=", 1) for field in challenge.split(","))
    check(fields["r"].startswith("clientnonce") and len(fields["r"]) > 20, challenge)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields["s"]),
                                 int(fields["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    final = f"c={b64(f'{flag},,'.encode() + binding)},r=" + fields["r"]
    signed = f"{first},{challenge},{final}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    code, text = client.command(b64(f"{final},p={b64(proof)}"))
    if code != 334:
        return code, text
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    check_equal(base64.b64decode(text[4:]).decode(),
                "v=" + b64(hmac.digest(server_key, signed, "sha256")), "server signature")
    return client.command("")


def digest_md5(client, user, password):
    """AUTH DIGEST-MD5 (RFC 2831); checks that the server knows the password, too."""
    def md5(data):
        return hashlib.md5(data if isinstance(data, bytes) else data.encode())

    code, text = client.command("AUTH DIGEST-MD5")
    check_equal(code, 334, text)
    asked = dict(re.findall(r'([a-z-]+)="?([^",]*)"?', base64.b64decode(text[4:]).decode()))
    realm, nonce, uri = asked["realm"], asked["nonce"], "smtp/mx.home.test"
    secret = (md5(f"{user}:{realm}:{password}").digest() + f":{nonce}:client".encode())

    def proof(prefix):
        return md5(f"{md5(secret).hexdigest()}:{nonce}:00000001:client:auth:"
                   f"{md5(f'{prefix}:{uri}').hexdigest()}").hexdigest()
    code, text = client.command(b64(
        f'username="{user}",realm="{realm}",nonce="{nonce}",cnonce="client",nc=00000001,qop=auth,'
        f'digest-uri="{uri}",response={proof("AUTHENTICATE")}'))
    if code != 334:
        return code, text
    check_equal(base64.b64decode(text[4:]).decode(), "rspauth=" + proof(""), "server's answer")
    return client.command("")


def password(mta, text, *words):
    done = mta.tool("postern", "password", *words, data=text.encode() + b"\n")
    check_equal(done.returncode, 0, done.stderr.decode())
    return done.stdout.decode().strip()


def keywords(client):
    return client.ehlo[1].replace("-", " ").split("\n")


def native_logins():
    with Mta(NATIVE, start=False) as mta:
        mta.sink()
        write(USERS_TABLE, "\n".join([
            password(mta, "secret", "alice"),
            password(mta, "secret", "--scheme", "argon2id", "bob"),
            password(mta, "secret", "--scheme", "yescrypt", "carol@home.test"),
            "dave {PLAIN}secret", "erin broken", ""]))
        mta.start()
        for user, mechanisms in (("alice", "pls"), ("bob", "pl"), ("carol@home.test", "pl"),
                                 ("dave", "pls")):
            for letter, way in (("p", lambda c, u, p: c.command(plain(u, p))), ("l", login),
                                ("s", scram)):
                if letter not in mechanisms:
                    continue
                with Client() as client:
                    check("AUTH PLAIN LOGIN SCRAM" in client.ehlo[1].replace("-SHA", " SHA"),
                          client.ehlo[1])
                    check_equal(way(client, user, "wrong")[0], 535, user + letter)
                    check_equal(way(client, user, "secret"),
                                (235, "235 2.7.0 Authentication successful"), user + letter)
                    check_equal(way(client, user, "secret")[0] if letter == "p" else 503, 503)
        with Client() as client:
            # Nobody, and an entry that is none: the one is refused, the other is ours to mend.
            check_equal(client.command(plain("nobody", "secret"))[0], 535)
            check_equal(scram(client, "nobody", "secret")[0], 535)
            check_equal(client.command(plain("erin", "secret"))[0], 454)
            check_equal(client.send("s@home.test", ["r@away.test"], b"Subject: x\n\nx\n"), 554)
            client.command("RSET")
            check_equal(login(client, "alice", "secret")[0], 235)
            check_equal(client.command("MAIL FROM:<s@home.test> AUTH=a+2Bb")[0], 250)
            check_equal(client.command(plain("alice", "secret"))[0], 503)
            check_equal(client.command("RCPT TO:<r@away.test>")[0], 250)
            check_equal(client.command("RCPT TO:<u1@box.test>")[0], 250)
            client.command("DATA")
            client.raw(b"Subject: x\r\n\r\nx\r\n.\r\n")
            check_equal(client.reply()[0], 250)
        mta.wait_log(r": client=unknown\[192\.0\.2\.1\], sasl_method=LOGIN, sasl_username=alice, "
                     r"sasl_sender=a\+2Bb$")
        mta.wait_log(r"warning: unknown\[192\.0\.2\.1\]: SASL PLAIN authentication failed: "
                     r"\(reason unavailable\), sasl_username=nobody$")
        mta.wait_log(r"SASL SCRAM-SHA-256 authentication failed: authentication failure, "
                     r"sasl_username=nobody$")
        mta.wait_drained()
        message = maildir("u1")[0].decode()
        check("(Authenticated sender: alice)" in message and "with ESMTPA id" in message, message)
        check("secret" not in mta.log(), "a password is in the log")
        # A table that changes counts at once.
        write(USERS_TABLE, "alice {PLAIN}other\n")
        def has_changed():
            with Client() as client:
                return client.command(plain("alice", "other"))[0] == 235
        wait_for("the new password", has_changed)


def dialogue_limits():
    with Mta(NATIVE, start=False) as mta:
        write(USERS_TABLE, "alice {PLAIN}secret\n")
        mta.start()
        with Client() as client:
            for line, wanted in (("AUTH", "501 5.5.4 Syntax: AUTH mechanism"),
                                 ("AUTH PLAIN a b", "501 5.5.4 Syntax: AUTH mechanism"),
                                 ("AUTH NTLM", "535 5.7.8 Error: authentication failed: "
                                  "Invalid authentication mechanism"),
                                 ("AUTH PLAIN !", "535 5.7.8 Error: authentication failed: "
                                  "Invalid base64 data in initial response"),
                                 ("AUTH PLAIN =", "535 5.7.8 Error: authentication failed: "
                                  "malformed PLAIN message")):
                check_equal(client.command(line)[1], wanted, line)
            check_equal(client.command("AUTH PLAIN"), (334, "334 "))
            check_equal(client.command("*")[1], "501 5.7.0 Authentication aborted")
            check_equal(client.command("AUTH LOGIN")[0], 334)
            check_equal(client.command("not base64!")[1], "535 5.7.8 Error: authentication failed: "
                        "Invalid base64 data in continued response")
            # A response may be as long as smtpd_sasl_response_limit and no longer, and what is
            # behind it is a command again.
            for size, code in ((12288, 535), (12292, 500)):
                check_equal(client.command("AUTH PLAIN")[0], 334)
                check_equal(client.command("A" * size)[0], code, size)
                check_equal(client.command("NOOP")[0], 250)
            check_equal(client.command("AUTH PLAIN")[0], 334)
            check_equal(client.command("A" * 200_000)[1], "500 5.5.6 SASL response limit exceeded")
            check_equal(client.command(plain("alice", "secret"))[0], 235)
        # As MAIL, AUTH needs no greeting where none is demanded.
        for demanded in ("no", "yes"):
            mta.write_main_cf(smtpd_helo_required=demanded)
            check_equal(mta.tool("postern", "reload").returncode, 0)

            def is_taken():
                with Client(greet=False) as client:
                    client.reply()
                    reply = client.command(plain("alice", "secret"))
                return reply == ((503, "503 5.5.1 Error: send HELO/EHLO first")
                                 if demanded == "yes" else
                                 (235, "235 2.7.0 Authentication successful"))
            wait_for("an answer without a greeting", is_taken)
        mta.write_main_cf(smtpd_helo_required="no")
        check_equal(mta.tool("postern", "reload").returncode, 0)
        # A client that goes away in the middle leaves nothing behind.
        for _ in range(50):
            client = Client()
            client.command("AUTH LOGIN")
            client.close()
        with Client() as client:
            check_equal(login(client, "alice", "secret")[0], 235)
        mta.write_main_cf(smtpd_tls_auth_only="yes")
        mta.tool("postern", "reload")
        def is_hidden():
            with Client() as client:
                return "AUTH" not in client.ehlo[1]
        wait_for("no AUTH without TLS", is_hidden)
        with Client() as client:
            check_equal(client.command(plain("alice", "secret"))[1],
                        "503 5.5.1 Error: authentication not enabled")
            check_equal(client.command("MAIL FROM:<s@home.test> AUTH=<>")[1],
                        "503 5.5.4 Error: authentication disabled")


def channel_binding():
    """SCRAM-SHA-256-PLUS is there within TLS, and only for who is at the other end of it."""
    keys = ROOT + "/keys"
    os.makedirs(keys, exist_ok=True)
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mx.home.test",
        "-days", "9", "-keyout", keys + "/key.pem", "-out", keys + "/cert.pem",
        stderr=subprocess.DEVNULL)
    parameters = NATIVE | {"smtpd_tls_security_level": "may",
                           "smtpd_tls_cert_file": keys + "/cert.pem",
                           "smtpd_tls_key_file": keys + "/key.pem"}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    # What Python can tell of a connection is of TLS 1.2 and before.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with Mta(parameters, start=False) as mta:
        write(USERS_TABLE, password(mta, "secret", "alice") + "\n")
        mta.start()

        def secure():
            client = Client()
            check("PLUS" not in client.ehlo[1], client.ehlo[1])
            check_equal(client.command("STARTTLS")[0], 220)
            client.socket = context.wrap_socket(client.socket)
            client.ehlo = client.command("EHLO client.away.test")
            check("SCRAM-SHA-256-PLUS" in client.ehlo[1], client.ehlo[1])
            return client
        # The keyring has the key when it has it: until then there is no STARTTLS.
        wait_for("STARTTLS", lambda: "STARTTLS" in Client().ehlo[1])
        with secure() as client:
            binding = client.socket.get_channel_binding("tls-unique")
            check_equal(scram(client, "alice", "secret", "p=tls-unique", b"another" + binding)[0],
                        535, "of another connection")
            check_equal(scram(client, "alice", "secret", "y")[0], 535, "who saw no -PLUS")
            check_equal(scram(client, "alice", "wrong", "p=tls-unique", binding)[0], 535)
            check_equal(scram(client, "alice", "secret", "p=tls-unique", binding)[0], 235)
        with secure() as client:
            check_equal(scram(client, "alice", "secret")[0], 235, "without binding")
        # Where -PLUS is not offered nobody is lied to.
        mta.write_main_cf(smtpd_sasl_mechanism_filter="!scram-sha-256-plus, static:rest")
        mta.tool("postern", "reload")

        def without():
            with Client() as client:
                client.command("STARTTLS")
                client.socket = context.wrap_socket(client.socket)
                return ("PLUS" not in client.command("EHLO client.away.test")[1] and
                        scram(client, "alice", "secret", "y")[0] == 235)
        wait_for("a login of a client that could bind", without)
        # What is not shown is taken all the same from whoever knows it.
        mta.write_main_cf(smtpd_sasl_mechanism_filter="scram-sha-256")
        mta.tool("postern", "reload")

        def unshown():
            with Client() as client:
                client.command("STARTTLS")
                client.socket = context.wrap_socket(client.socket)
                shown = client.command("EHLO client.away.test")[1]
                return ("PLAIN" not in shown and
                        client.command("AUTH PLAIN " + b64("\0alice\0secret"))[0] == 235)
        wait_for("a login with a mechanism that is not shown", unshown)


PAM_SCRIPT = """\
#!/bin/sh
read -r word
[ "$PAM_USER" != slow ] || sleep 6
[ "$word" = "pam-$PAM_USER" ]
"""


def pam_logins():
    """Users of PAM; and one whose module sleeps keeps nobody else waiting."""
    write(ROOT + "/pam.d/mail",
          f"auth sufficient pam_exec.so quiet expose_authtok {ROOT}/pam-script\n"
          "auth required pam_deny.so\naccount required pam_permit.so\n")
    write(ROOT + "/pam-script", PAM_SCRIPT, 0o755)
    run("mount", "--bind", ROOT + "/pam.d", "/etc/pam.d")
    with Mta(NATIVE | {"smtpd_sasl_pam_service": "mail"}, start=False) as mta:
        write(USERS_TABLE, "alice {PLAIN}secret\n")
        mta.start()
        with Client() as client:
            check_equal(client.command(plain("alice", "pam-alice"))[0], 535, "the table counts")
            check_equal(client.command(plain("frank", "wrong"))[0], 535)
            check_equal(client.command(plain("frank", "pam-frank"))[0], 235)
        with Client() as slow, Client() as quick:
            slow.raw(plain("slow", "pam-slow").encode() + b"\r\n")
            begun = time.monotonic()
            check_equal(quick.command(plain("frank", "pam-frank"))[0], 235)
            check(time.monotonic() - begun < 5, "a login waited for another one")
            check_equal(slow.reply()[0], 235)
        # Whoever talks to smtpd has no group that a back end needs, and the workers get no rights.
        front = [pid for pid in daemons("auth")
                 if read(f"/proc/{pid}/comm").strip() == b"auth"]
        check_equal(len(front), 1, "front")
        status = read(f"/proc/{front[0]}/status").decode()
        role, group = ROLES["postern-auth"], GROUPS["postern"]
        for line in (rf"Uid:\s{role}\s{role}\s", rf"Groups:\s*{group}\s*$", r"NoNewPrivs:\s1", r"CapEff:\s0+$"):
            check(re.search(line, status, re.M), line, status)
        worker = [pid for pid in daemons("auth")
                  if read(f"/proc/{pid}/comm").strip() == b"auth-worker"]
        check(worker, "no worker")
        # One that dies is replaced.
        for pid in worker:
            os.kill(pid, signal.SIGKILL)
        def works():
            with Client() as client:
                return client.command(plain("frank", "pam-frank"))[0] == 235
        wait_for("another worker", works)


def processes_of_auth():
    """{comm: [(uid, groups)]} of the daemon's processes."""
    found = {}
    for pid in daemons("auth"):
        status = read(f"/proc/{pid}/status").decode()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        found.setdefault(fields["Name"].strip(), []).append(
            (int(fields["Uid"].split()[0]), fields["Groups"].split()))
    return found


def rights_of_workers():
    """Where the line in master.cf says so, the workers are the superuser's, and only they."""
    with Mta(NATIVE, ["postern-auth unix - n n - - auth"], start=False) as mta:
        write(USERS_TABLE, "alice {PLAIN}secret\n")
        mta.start()
        with Client() as client:
            check_equal(client.command(plain("alice", "secret"))[0], 235)
        found = processes_of_auth()
        check_equal(found["auth"], [(ROLES["postern-auth"], [str(GROUPS["postern"])])], "front")
        check_equal({uid for uid, _ in found["auth-worker"]}, {0}, "worker")


def guessing():
    """Who guesses is slowed down, and then refused."""
    with Mta(NATIVE | {"smtpd_client_auth_rate_limit": "4", "smtpd_client_ban_auth_failures": "6",
                       "smtpd_client_ban_time": "1h", "smtpd_client_event_limit_exceptions": "",
                       "notify_classes": "policy", "error_notice_recipient": "u0@box.test"},
             start=False) as mta:
        write(USERS_TABLE, "alice {PLAIN}secret\n")
        mta.start()
        with Client(source=CLIENT) as client:
            for _ in range(4):
                check_equal(client.command(plain("alice", "wrong"))[0], 535)
            check_equal(client.command(plain("alice", "secret"))[1],
                        f"450 4.7.1 Error: too many AUTH commands from {CLIENT}")
        mta.wait_log(r"warning: AUTH command rate limit exceeded: 5 from unknown\[198\.51\.100\.200\]"
                     r" for service smtp")
        mta.write_main_cf(smtpd_client_auth_rate_limit="0")
        mta.tool("postern", "reload")

        def may_try():
            with Client(source=CLIENT) as client:
                return client.command(plain("alice", "wrong"))[0] == 535
        wait_for("no rate limit", may_try)
        with Client(source=CLIENT) as client:
            # What is no guess does not count.
            for line in ("AUTH NTLM", "AUTH PLAIN !"):
                check_equal(client.command(line)[0], 535)
            check_equal(client.command(plain("alice", "wrong"))[0], 535)

        def is_banned():
            with Client(source=CLIENT, greet=False) as client:
                return client.reply()[0] == 450
        wait_for("the ban", is_banned)
        wait_for("the postmaster's notice", lambda: any(
            f"    {CLIENT}: logins that failed\n".encode() in m for m in maildir("u0")))
        with Client() as client:
            check_equal(client.command(plain("alice", "secret"))[0], 235, "others are not banned")


def cyrus_logins():
    if not shutil.which("saslpasswd2"):
        print("     (no saslpasswd2)")
        return
    folder = CONF + "/sasl"
    with Mta(RELAY | {"smtpd_sasl_type": "cyrus", "cyrus_sasl_config_path": folder,
                      "smtpd_sasl_local_domain": "home.test"}, start=False) as mta:
        os.makedirs(folder)
        # Readable by the superuser alone, as files are that hold the password of a data base.
        write(folder + "/smtpd.conf", f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
              f"sasldb_path: {ROOT}/sasldb\nmech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 "
              "SCRAM-SHA-256\n", 0o600)
        run("saslpasswd2", "-p", "-c", "-f", ROOT + "/sasldb", "-u", "home.test", "alice",
            input=b"secret")
        os.chmod(ROOT + "/sasldb", 0o644)
        mta.start()

        def cram(client, user, word):
            code, text = client.command("AUTH CRAM-MD5")
            check_equal(code, 334)
            answer = hmac.new(word.encode(), base64.b64decode(text[4:]), "md5").hexdigest()
            return client.command(b64(f"{user} {answer}"))
        with Client() as client:
            for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-256"):
                check(re.search(rf"AUTH .*\b{mechanism}\b", client.ehlo[1]), client.ehlo[1])
            check_equal(client.command(plain("alice", "wrong"))[1],
                        "535 5.7.8 Error: authentication failed: authentication failure")
            check_equal(client.command(plain("nobody", "secret"))[1],
                        "535 5.7.8 Error: authentication failed: authentication failure")
            check_equal(cram(client, "alice", "wrong")[0], 535)
            check_equal(client.command("AUTH CRAM-MD5")[0], 334)
            check_equal(client.command("*")[0], 501)
            check_equal(cram(client, "alice", "secret")[0], 235)
        for way in (digest_md5, scram):
            with Client() as client:
                check_equal(way(client, "alice", "wrong")[0], 535, way.__name__)
                check_equal(way(client, "alice", "secret")[0], 235, way.__name__)
        # More logins under way than there are workers.
        waiting = [Client() for _ in range(40)]
        for client in waiting:
            check_equal(client.command("AUTH CRAM-MD5")[0], 334)
        with Client() as client:
            check_equal(cram(client, "alice", "secret")[0], 235)
        check(len(processes_of_auth()["auth-worker"]) <= 10, processes_of_auth())
        for client in waiting:
            client.close()
        # What changes in the file counts after a reload.
        write(folder + "/smtpd.conf", f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\n"
              f"sasldb_path: {ROOT}/sasldb\nmech_list: PLAIN\n", 0o600)
        mta.tool("postern", "reload")

        def has_changed():
            with Client() as client:
                return (re.search(r"AUTH PLAIN$", client.ehlo[1], re.M) and
                        client.command(plain("alice", "secret"))[0] == 235)
        wait_for("the new list of mechanisms", has_changed)


class FakeDovecot(Server):
    """Speaks Dovecot's protocol on a UNIX socket; LOGIN only as far as the password's question."""

    def __init__(self, path):
        self.path = path
        self.accepted = 0
        self.lines = []
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen(10)
        self.connections = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def serve(self, connection):
        self.accepted += 1
        connection.sendall(b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n"
                           b"MECH\tSECRET\tprivate\nSPID\t1\nCUID\t1\nDONE\n")
        held = []
        for raw in connection.makefile("rb"):
            line = raw.decode().rstrip("\n").split("\t")
            self.lines.append(line)
            if line[0] not in ("AUTH", "CONT"):
                continue
            if line[0] == "AUTH" and line[2] == "LOGIN":
                connection.sendall(f"CONT\t{line[1]}\t{b64('Username:')}\n".encode())
                continue
            user = base64.b64decode(line[-1].removeprefix("resp=")).split(b"\0")[1].decode()
            answer = f"{'OK' if user != 'bad' else 'FAIL'}\t{line[1]}\tuser={user}\n".encode()
            # Answers come in another order than the questions.
            held.append(answer)
            if user != "wait":
                connection.sendall(b"".join(reversed(held)))
                held = []


def dovecot_logins():
    path = ROOT + "/dovecot"
    with Mta(RELAY | {"smtpd_sasl_type": "dovecot", "smtpd_sasl_path": path}) as mta:
        # Nobody there: mail comes in, logins do not.
        with Client() as client:
            check("AUTH" not in client.ehlo[1], client.ehlo[1])
            check_equal(client.command(plain("alice", "x"))[1], "454 4.7.0 Temporary authentication "
                        "failure: Can't connect to authentication server")
            check_equal(client.send("s@x.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
        dovecot = FakeDovecot(path)
        def is_offered():
            with Client() as client:
                return "AUTH PLAIN LOGIN" in client.ehlo[1]
        wait_for("AUTH", is_offered)
        clients = [Client() for _ in range(4)]
        for client in clients[:-1]:
            client.raw(plain("wait", "x").encode() + b"\r\n")
        wait_for("three questions", lambda: sum("AUTH" in line for line in dovecot.lines) == 3)
        check_equal(clients[-1].command(plain("bad", "x"))[1],
                    "535 5.7.8 Error: authentication failed: (reason unavailable)")
        for client in clients[:-1]:
            check_equal(client.reply()[0], 235)
        check_equal(dovecot.accepted, 1, "connections")
        # What a client calls off is called off there.
        check_equal(clients[-1].command("AUTH LOGIN")[0], 334)
        clients[-1].command("*")
        wait_for("CANCEL", lambda: any(line[0] == "CANCEL" for line in dovecot.lines))
        # It goes in the middle of a login, and comes back.
        check_equal(clients[-1].command("AUTH LOGIN")[0], 334)
        dovecot.close()
        check_equal(clients[-1].command(b64("alice"))[1], "454 4.7.0 Temporary authentication "
                    "failure: Connection lost to authentication server")
        dovecot = FakeDovecot(path)
        def works():
            with Client() as client:
                return client.command(plain("alice", "x"))[0] == 235
        wait_for("a login at the new one", works)
        for client in clients:
            client.close()
        dovecot.close()
        mta.wait_drained()


class FakePolicy(Server):
    """A policy service that says DUNNO to everything and keeps what it was asked."""

    def __init__(self, address, port):
        self.asked = []
        super().__init__(address, port)

    def serve(self, connection):
        attributes = {}
        for raw in connection.makefile("rb"):
            line = raw.decode().rstrip("\n")
            if line:
                name, _, value = line.partition("=")
                attributes[name] = value
                continue
            self.asked.append(attributes)
            attributes = {}
            connection.sendall(b"action=DUNNO\n\n")


class TcpDovecot(FakeDovecot):
    def __init__(self, address, port):
        self.accepted, self.lines = 0, []
        Server.__init__(self, address, port)


def who_hears_of_a_login():
    """Dovecot over TCP; the login in policy requests, access tables and the restrictions on senders."""
    policy = FakePolicy("127.0.0.1", 10031)
    with Mta(RELAY | {
            "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "inet:127.0.0.1:12345",
            "smtpd_sender_login_maps": "inline:{ alice@home.test=alice }",
            "smtpd_sender_restrictions": "check_policy_service inet:127.0.0.1:10031, "
                                         "check_sasl_access inline:{ mallory=REJECT }, "
                                         "reject_authenticated_sender_login_mismatch"}) as mta:
        dovecot = TcpDovecot("127.0.0.1", 12345)
        mta.closers += [dovecot, policy]

        def answer(user, sender):
            with Client() as client:
                check_equal(client.command(plain(user, "x"))[0], 235)
                client.command(f"MAIL FROM:<{sender}> AUTH=who")
                return client.command("RCPT TO:<u1@box.test>")[1]
        wait_for("AUTH", lambda: "AUTH" in Client().ehlo[1])
        check_equal(answer("alice", "alice@home.test"), "250 2.1.5 Ok")
        check_equal(answer("mallory", "x@home.test"), "554 5.7.1 <mallory>: SASL login name "
                    "rejected: Access denied")
        check_equal(answer("bob", "alice@home.test"), "553 5.7.1 <alice@home.test>: Sender address "
                    "rejected: not owned by user bob")
        seen = [[a[f"sasl_{n}"] for n in ("method", "username", "sender")] for a in policy.asked]
        check_equal(seen, [["PLAIN", user, "who"] for user in ("alice", "mallory", "bob")])


class LoginSink(Sink):
    """Wants a login first; `accepts(mechanism, response)` judges it."""

    def __init__(self, address, port, mechanisms, accepts):
        self.logins = []
        self.accepts = accepts
        self.KEYWORDS = ("SIZE 100000000", "ENHANCEDSTATUSCODES", "AUTH " + mechanisms)
        super().__init__(address, port, talk=self.first)

    def first(self, connection):
        connection.sendall(self.banner)
        self.talk = None
        stream = connection.makefile("rb")
        is_in = False
        recipients, sender = [], None
        for raw in stream:
            line = raw.decode("latin-1").strip()
            verb = line[:4].upper()
            if verb == "EHLO":
                lines = ["mx.away.test", *self.KEYWORDS]
                connection.sendall("".join(f"250{'- '[i == len(lines) - 1]}{text}\r\n"
                                           for i, text in enumerate(lines)).encode())
            elif verb == "AUTH":
                words = line.split()
                response = base64.b64decode(words[2]) if len(words) > 2 else b""
                self.logins.append((words[1], response))
                is_in = self.accepts(words[1], response)
                connection.sendall(b"235 2.7.0 in\r\n" if is_in else b"535 5.7.8 no\r\n")
            elif verb == "QUIT":
                connection.sendall(b"221 bye\r\n")
                break
            elif not is_in:
                connection.sendall(b"530 5.7.0 Authentication required\r\n")
            elif verb == "DATA":
                connection.sendall(b"354 go on\r\n")
                content = b""
                while not content.endswith(b"\r\n.\r\n"):
                    content += stream.readline()
                self.messages.append(Message(sender, recipients, content))
                connection.sendall(b"250 2.0.0 Ok\r\n")
            else:
                if verb == "MAIL":
                    sender, recipients = line, []
                if verb == "RCPT":
                    recipients.append(line)
                connection.sendall(b"250 2.0.0 Ok\r\n")
        self.talk = self.first


TOKEN_COMMAND = """\
#!/bin/sh
echo run >> /mnt/token-runs
printf '{"access_token":"fresh","expiry":%d}' $(($(date +%s) + 3600)) > "$1.new"
mv "$1.new" "$1"
"""


def client_logins():
    tokens = VAR + "/lib/postern/tokens"
    def plain_only(mechanism, response):
        return mechanism == "PLAIN" and response == b"\0user\0pass"
    def token_only(mechanism, response):
        return mechanism == "XOAUTH2" and b"Bearer fresh\x01" in response
    parameters = {
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"texthash:{CONF}/passwords",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_sasl_token_command": ROOT + "/token-command",
        "transport_maps": "inline:{ { plain.test = smtp:[198.51.100.30]:587 }, "
                          "{ token.test = smtp:[198.51.100.31] }, "
                          "{ wrong.test = smtp:[198.51.100.32] } }",
    }
    write(ROOT + "/token-command", TOKEN_COMMAND, 0o755)
    write(ROOT + "/token-runs", "", 0o666)
    with Mta(parameters, start=False) as mta:
        # As root's alone: the daemon that reads it opens it before it gives up its rights.
        write(CONF + "/passwords", f"[198.51.100.30]:587 user:pass\n"
              f"198.51.100.31 user:{tokens}/user\n198.51.100.32 user:bad\n", 0o600)
        mta.start()
        os.makedirs(tokens)
        os.chown(tokens, USERS["postfix"], USERS["postfix"])
        plain_sink = LoginSink("198.51.100.30", 587, "PLAIN LOGIN", plain_only)
        token_sink = LoginSink("198.51.100.31", 25, "PLAIN XOAUTH2", token_only)
        wrong_sink = LoginSink("198.51.100.32", 25, "PLAIN", plain_only)
        mta.closers += [plain_sink, token_sink, wrong_sink]
        with Client() as client:
            for domain in ("plain", "token", "wrong"):
                check_equal(client.send("s@home.test", [f"r@{domain}.test"], b"Subject: x\n\nx\n"),
                            250, domain)
        plain_sink.wait(1)
        token_sink.wait(1)
        check_equal(token_sink.logins[0][0], "XOAUTH2")
        check_equal(read(ROOT + "/token-runs"), b"run\n", "the command ran")
        mta.wait_log(r"to=<r@wrong\.test>, .*dsn=4\.7\.8, status=deferred \(SASL authentication "
                     r"failed; server 198\.51\.100\.32\[198\.51\.100\.32\] said: 535 5\.7\.8 no\)")
        # The token that is there is used while it lasts.
        with Client() as client:
            client.send("s@home.test", ["r@token.test"], b"Subject: y\n\ny\n")
        token_sink.wait(2)
        check_equal(read(ROOT + "/token-runs"), b"run\n", "the command ran again")
        check("pass" not in re.sub(r"passwords", "", mta.log()), "a password is in the log")
        wrong_sink.accepts = lambda mechanism, response: True
        mta.wait_drained()


if __name__ == "__main__":
    main([native_logins, dialogue_limits, channel_binding, pam_logins, rights_of_workers,
          guessing, cyrus_logins, dovecot_logins,
          who_hears_of_a_login, client_logins])
