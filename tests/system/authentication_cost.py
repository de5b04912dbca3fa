"""authentication_cost.py - what SPF, DKIM and DMARC cost, beside Postfix with OpenDKIM, OpenDMARC and
policyd-spf: processor time of all processes for the same mail, in one run. Skipped where these are
not installed."""
import base64
import shutil
import subprocess
import threading

from harness import *

NEEDED = ("postfix", "opendkim", "opendmarc", "policyd-spf")
PROBE = os.environ.get("POSTERN_TEST_MAILAUTH_PROBE", "")
COUNT, SESSIONS = 400, 4
SENDER, OWN = "sender.example", "home.test"
PEERS = ROOT + "/peers"
GUARD = "permit_mynetworks, reject_unauth_destination"


def make_key(name):
    """(private key's file, record)"""
    path = f"{ROOT}/{name}.pem"
    run("openssl", "genrsa", "-traditional", "-out", path, "2048", stderr=subprocess.DEVNULL)
    public = subprocess.run(["openssl", "rsa", "-in", path, "-pubout", "-outform", "DER"],
                            check=True, capture_output=True).stdout
    return path, "v=DKIM1; k=rsa; p=" + base64.b64encode(public).decode()


def message(domain, number):
    body = "".join(f"line {line} of four thousand bytes, or near that\n" for line in range(90))
    return (f"From: <a@{domain}>\nTo: <b@{domain}>\nSubject: {number}\n"
            f"Date: Sun, 29 Nov 2026 10:00:00 +0000\nMessage-ID: <{number}@{domain}>\n\n"
            + body).encode()


def signed(content, key):
    request = {"op": "sign", "message": base64.b64encode(content).decode(), "domain": SENDER,
               "selector": "s1", "key": read(key).decode(), "now": int(time.time())}
    done = subprocess.run([PROBE], input=json.dumps(request).encode() + b"\n", capture_output=True,
                          check=True)
    return base64.b64decode(json.loads(done.stdout)["field"]) + b"\n" + content


def processor_seconds():
    """Of all processes of this machine and those that ended, but for ourselves."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            fields = read(f"/proc/{pid}/stat").rsplit(b")", 1)[1].split()
            total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def send_all(messages, sender, recipient, source):
    def session(part):
        with Client(source=source) as client:
            for content in part:
                check_equal(client.send(sender, [recipient], content), 250, client.last)
    threads = [threading.Thread(target=session, args=(messages[n::SESSIONS],))
               for n in range(SESSIONS)]
    before = processor_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    time.sleep(0.5)
    return (processor_seconds() - before) * 1000 / len(messages)


def measure(incoming, outgoing):
    """Milliseconds a message: checked, and signed."""
    # The first few start daemons and fill caches.
    send_all(incoming[:8], f"a@{SENDER}", f"b@{OWN}", CLIENT)
    send_all(outgoing[:8], f"a@{OWN}", "b@away.test", HOST)
    return (send_all(incoming[8:], f"a@{SENDER}", f"b@{OWN}", CLIENT),
            send_all(outgoing[8:], f"a@{OWN}", "b@away.test", HOST))


def start_peers(own_key):
    """OpenDKIM, OpenDMARC; their processes."""
    write(PEERS + "/opendkim.conf", f"Domain {OWN}\nSelector s1\nKeyFile {own_key}\n"
          "Socket inet:8891@127.0.0.1\nMode sv\nCanonicalization relaxed/relaxed\n"
          f"InternalHosts {PEERS}/internal\nAuthservID mx.{OWN}\nNameservers 127.0.0.53\n"
          "RequireSafeKeys no\nUserID root\nBackground no\nSyslog no\n")
    write(PEERS + "/internal", f"{HOST}\n")
    write(PEERS + "/opendmarc.conf", f"Socket inet:8893@127.0.0.1\nAuthservID mx.{OWN}\n"
          f"TrustedAuthservIDs mx.{OWN}\nRejectFailures true\nSyslog false\nUserID root\n"
          f"IgnoreHosts {PEERS}/internal\n"
          "PublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat\n")
    started = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
               for words in (["opendkim", "-f", "-x", PEERS + "/opendkim.conf"],
                             ["opendmarc", "-f", "-c", PEERS + "/opendmarc.conf"])]

    def listens(port):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
    for port in (8891, 8893):
        wait_for(f"a filter at port {port}", lambda: listens(port))
    return started


def start_postfix():
    queue, data, conf = PEERS + "/queue", PEERS + "/data", PEERS + "/postfix"
    for path in (queue, data):
        os.makedirs(path)
    os.chown(data, USERS["postfix"], 0)
    write(PEERS + "/policyd-spf.conf", "debugLevel = 0\nHELO_reject = Fail\nMail_From_reject = Fail\n"
          f"skip_addresses = 127.0.0.0/8,{HOST}\n")
    write(conf + "/main.cf", f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
myhostname = mx.{OWN}
mydomain = {OWN}
mydestination = {OWN}
mynetworks = 127.0.0.0/8, {HOST}/32
inet_interfaces = {HOST}
inet_protocols = ipv4
local_recipient_maps =
local_transport = discard
relay_transport = discard
default_transport = discard
alias_maps =
maillog_file = {PEERS}/log
maillog_file_prefixes = {ROOT}
smtpd_milters = inet:127.0.0.1:8891, inet:127.0.0.1:8893
milter_default_action = tempfail
policyd-spf_time_limit = 3600
smtpd_recipient_restrictions = {GUARD}, check_policy_service unix:private/policyd-spf
smtpd_peername_lookup = no
in_flow_delay = 0
""")
    write(conf + "/master.cf", MASTER.replace("postlog   unix-dgram n - n  -  1  postlogd",
                                              "postlog unix-dgram n - n - 1 postlogd") +
          f"tlsmgr unix - - n 1000? 1 tlsmgr\nproxymap unix - - n - - proxymap\n"
          f"verify unix - - n - 1 verify\nscache unix - - n - 1 scache\n"
          f"policyd-spf unix - n n - 0 spawn user=nobody argv={shutil.which('policyd-spf')} "
          f"{PEERS}/policyd-spf.conf\n")
    run("postfix", "-c", conf, "start", stderr=subprocess.DEVNULL)
    return conf


def postern_is_cheap():
    """At most a fifth of what Postfix and the three programs need, checking and signing."""
    sender_key, sender_record = make_key("sender")
    own_key, own_record = make_key("own")
    zone = {
        f"{SENDER} MX": [f"10 mx.{SENDER}"], f"mx.{SENDER} A": [CLIENT],
        f"{SENDER} TXT": [f"v=spf1 ip4:{CLIENT} -all"],
        f"_dmarc.{SENDER} TXT": ["v=DMARC1; p=reject"],
        f"s1._domainkey.{SENDER} TXT": [sender_record],
        f"s1._domainkey.{OWN} TXT": [own_record],
    }
    incoming = [signed(message(SENDER, n), sender_key) for n in range(COUNT)]
    outgoing = [message(OWN, n) for n in range(COUNT)]
    parameters = {
        "smtpd_spf_enable": "yes", "smtpd_dkim_verify_enable": "yes", "smtpd_dmarc_enable": "yes",
        "smtpd_dmarc_policy": "enforce", "dkim_sign_enable": "yes",
        "dkim_key_table": f"inline:{{k={OWN}:s1:{own_key}}}",
        "dkim_signing_table": f"inline:{{{OWN}=k}}",
        "smtpd_recipient_restrictions": GUARD, "smtpd_peername_lookup": "no",
        "local_recipient_maps": "", "local_transport": "discard", "relay_transport": "discard",
        "default_transport": "discard",
    }
    with Mta(parameters, zone=zone) as mta:
        ours = measure(incoming, outgoing)
        text = mta.log()
        check_equal(text.count("dkim=pass"), COUNT, "mail that was checked")
        dns = name_server(dict(zone))
    os.makedirs(PEERS)
    filters = start_peers(own_key)
    conf = start_postfix()
    try:
        theirs = measure(incoming, outgoing)
    finally:
        run("postfix", "-c", conf, "stop", stderr=subprocess.DEVNULL)
        for each in filters:
            each.kill()
            each.wait()
    del dns
    for what, here, there in zip(("checked", "signed"), ours, theirs):
        print(f"{what}: {here:.2f} ms of processor time a message, Postfix {there:.2f}, "
              f"ratio {here / there:.3f}")
    check(sum(ours) <= sum(theirs) / 5, "more than a fifth of the others' time")


if __name__ == "__main__":
    if not all(map(shutil.which, NEEDED)):
        print("skipped: needs " + ", ".join(NEEDED))
        sys.exit(SKIPPED)
    main([postern_is_cheap])
