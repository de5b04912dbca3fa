"""restrictions.py - each restriction of restrictions(5), old spellings too, by SMTP: a client that it
is for, and one that it leaves alone. A restriction in the manual without a case here is a failure.

A case is a restriction class of its own. The client's address, which XCLIENT sets, chooses the
class: one of two addresses, for the client that is met and for the one that is not."""
import glob
import gzip
import re
import time

from harness import *

REFUSED = "554 5.7.1"
GOOD = "250"
BAD_HOST = "198.51.100.66"  # where all names below bad.test lead
AT_BAD_HOST = "inline:{" + BAD_HOST + "=REJECT}"


class Case:
    """`met` and `calm` change what the client says; `wanted` begins the answer to the client that
    is met, `other` that to the other one, which is left out where `calm` is None. MET in `words`
    is the address of the client that is met."""

    def __init__(self, name, met, wanted=REFUSED, calm=(), words=None, other=GOOD):
        self.name, self.wanted, self.other = name, wanted, other
        self.met = dict(met)
        self.calm = None if calm is None else dict(calm)
        self.words = words or name


def refuses(what, wanted=REFUSED, words=None, calm=(), **met):
    return Case(what, met, wanted, calm, words)


def permits(what, words=None, calm=(), **met):
    return Case(what, met, GOOD, calm, f"{words or what}, reject", REFUSED)


def at_bad_host(subject, **met):
    """check_*_a_access, check_*_mx_access and check_*_ns_access of one subject."""
    return [refuses(f"check_{subject}_{via}_access", words=f"check_{subject}_{via}_access {AT_BAD_HOST}",
                    **met) for via in ("a", "mx", "ns")]


def owner(what, wanted="553 5.7.1", calm=(), **met):
    return refuses(what, wanted, sender="owned@away.test", calm=calm, **met)


CASES = [
    # Of any list
    permits("permit", calm=None),
    refuses("reject", calm=None),
    refuses("defer", "450 4.3.2", calm=None),
    refuses("defer_if_permit", "450 4.7.0", calm=None),
    refuses("defer_if_reject", "450 4.7.0", words="defer_if_reject, reject", calm=None),
    refuses("warn_if_reject", GOOD, words="warn_if_reject, reject", calm=None),
    refuses("sleep", GOOD, words="sleep 1", calm=None),
    refuses("check_policy_service", words="check_policy_service inet:127.0.0.1:10023",
            sender="bad@away.test"),
    refuses("smtpd_greylist", "450 4.2.0", calm=None),
    # The client
    permits("permit_mynetworks"),
    permits("permit_inet_interfaces", address=HOST),
    permits("permit_sasl_authenticated", login="alice"),
    permits("permit_naked_ip_address", helo="198.51.100.9"),
    refuses("reject_plaintext_session", "450 4.7.1", calm=None),
    refuses("reject_unauth_pipelining", "503 5.5.0", is_hasty=True),
    refuses("reject_unknown_client_hostname", "450 4.7.25", name="[UNAVAILABLE]"),
    refuses("reject_unknown_client", "450 4.7.25", name="[UNAVAILABLE]"),
    refuses("reject_unknown_forward_client_hostname", "450 4.7.25", name="[UNAVAILABLE]"),
    refuses("reject_unknown_reverse_client_hostname", "450 4.7.1", reverse="[UNAVAILABLE]"),
    refuses("check_client_access", words="check_client_access inline:{MET=REJECT}"),
    refuses("check_reverse_client_hostname_access", reverse="bad.test",
            words="check_reverse_client_hostname_access inline:{bad.test=REJECT}"),
    *at_bad_host("client", name="bad.test"),
    *at_bad_host("reverse_client_hostname", reverse="bad.test"),
    refuses("check_sasl_access", words="check_sasl_access inline:{mallory=REJECT}", login="mallory",
            calm={"login": "alice"}),
    refuses("reject_rbl_client", words="reject_rbl_client bl.test"),
    refuses("reject_rbl", words="reject_rbl bl.test"),
    refuses("reject_maps_rbl"),
    permits("permit_dnswl_client", words="permit_dnswl_client bl.test"),
    refuses("reject_rhsbl_client", words="reject_rhsbl_client rhs.test", name="bad.test"),
    refuses("reject_rhsbl_reverse_client", words="reject_rhsbl_reverse_client rhs.test",
            reverse="bad.test"),
    permits("permit_rhswl_client", words="permit_rhswl_client rhs.test", name="bad.test"),
    # The HELO name
    *(refuses(old_or_new, "501 5.5.2", helo="bad!host.test")
      for old_or_new in ("reject_invalid_helo_hostname", "reject_invalid_hostname")),
    *(refuses(old_or_new, "504 5.5.2", helo="plain")
      for old_or_new in ("reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname")),
    *(refuses(old_or_new, "450 4.7.1", helo="nowhere.test", calm={"helo": "mx.away.test"})
      for old_or_new in ("reject_unknown_helo_hostname", "reject_unknown_hostname")),
    refuses("check_helo_access", words="check_helo_access inline:{bad.test=REJECT}", helo="bad.test"),
    *at_bad_host("helo", helo="bad.test"),
    refuses("reject_rhsbl_helo", words="reject_rhsbl_helo rhs.test", helo="bad.test"),
    # The sender
    refuses("reject_non_fqdn_sender", "504 5.5.2", sender="plain"),
    *(refuses(old_or_new, "450 4.1.8", sender="s@nowhere.test")
      for old_or_new in ("reject_unknown_sender_domain", "reject_unknown_address")),
    refuses("reject_unlisted_sender", "550 5.1.0", sender="nobody@box.test",
            calm={"sender": "u1@box.test"}),
    refuses("reject_unverified_sender", "450 4.1.", sender="nobody@box.test",
            calm={"sender": "u1@box.test"}),
    owner("reject_sender_login_mismatch", login="mallory",
          calm={"sender": "owned@away.test", "login": "alice"}),
    owner("reject_authenticated_sender_login_mismatch", login="mallory",
          calm={"sender": "owned@away.test"}),
    owner("reject_unauthenticated_sender_login_mismatch",
          calm={"sender": "owned@away.test", "login": "mallory"}),
    owner("reject_known_sender_login_mismatch", login="mallory", calm={"login": "mallory"}),
    refuses("check_sender_access", words="check_sender_access inline:{bad.test=REJECT}",
            sender="s@bad.test"),
    *at_bad_host("sender", sender="s@bad.test"),
    refuses("reject_rhsbl_sender", words="reject_rhsbl_sender rhs.test", sender="s@bad.test"),
    # The recipient
    permits("permit_auth_destination", calm={"to": ["r@elsewhere.test"]}),
    refuses("reject_unauth_destination", to=["r@elsewhere.test"]),
    refuses("defer_unauth_destination", "454 4.7.1", to=["r@elsewhere.test"]),
    refuses("check_relay_domains", to=["r@elsewhere.test"]),
    permits("permit_mx_backup", to=["r@backup.test"], calm={"to": ["r@elsewhere.test"]}),
    refuses("reject_multi_recipient_bounce", "550 5.5.3", sender="",
            to=["u1@box.test", "u2@box.test", "u3@box.test"], calm={"sender": ""}),
    refuses("reject_non_fqdn_recipient", "504 5.5.2", to=["plain"]),
    refuses("reject_unknown_recipient_domain", "450 4.1.2", to=["r@nowhere.test"],
            calm={"to": ["r@away.test"]}),
    *(refuses(old_or_new, "550 5.1.1", to=["nobody@box.test"])
      for old_or_new in ("reject_unlisted_recipient", "check_recipient_maps")),
    refuses("reject_unverified_recipient", "450 4.1.1 <nobody@box.test>: Recipient address rejected: "
            "unverified address: ", to=["nobody@box.test"]),
    refuses("check_recipient_access", words="check_recipient_access inline:{u2@box.test=REJECT}",
            to=["u2@box.test"]),
    *at_bad_host("recipient", to=["r@bad.test"], calm={"to": ["r@away.test"]}),
    refuses("reject_rhsbl_recipient", words="reject_rhsbl_recipient rhs.test", to=["r@bad.test"],
            calm={"to": ["r@away.test"]}),
]

# Shown by scenarios of other programs, which need certificates or mailauth, and by etrn() below.
ELSEWHERE = {
    "check_ccert_access": "tls.py", "permit_tls_clientcerts": "tls.py",
    "permit_tls_all_clientcerts": "tls.py",
    "reject_spf_fail": "mail_authentication.py", "reject_spf_softfail": "mail_authentication.py",
    "reject_spf_helo_fail": "mail_authentication.py",
    "reject_spf_permerror": "mail_authentication.py",
    "defer_spf_temperror": "mail_authentication.py",
    "reject_untagged_bounce": "mail_authentication.py",
    "check_etrn_access": "restrictions.py",
}
OWN = {"smtpd_greylist", "reject_untagged_bounce"} | {name for name in ELSEWHERE if "_spf_" in name}
# postconf(5) has 69 today, and configurations that grew over the years have these 10 as well.
DOCUMENTED = 69
OLD_SPELLINGS = {"check_recipient_maps", "check_relay_domains", "permit_naked_ip_address",
                 "reject_invalid_hostname", "reject_maps_rbl", "reject_non_fqdn_hostname",
                 "reject_rbl", "reject_unknown_address", "reject_unknown_client",
                 "reject_unknown_hostname"}


def manual_page():
    [path] = glob.glob(f"{PREFIX}/**/restrictions.5*", recursive=True)
    text = read(path)
    return (gzip.decompress(text) if path.endswith(".gz") else text).decode()


def every_restriction_has_a_paragraph_and_a_test():
    described = set()
    items = re.split(r"^\.It ", manual_page(), flags=re.M)[1:]
    waiting = set()
    for item in items:
        head, _, text = item.partition("\n")
        names = {word for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b|\b(?:permit|reject|defer|sleep)\b", head)}
        waiting |= names
        # Items that share a paragraph stand one below the other.
        if re.search(r"^[A-Z].{20}", text, re.M):
            described |= waiting
            waiting = set()
    tested = {case.name for case in CASES} | set(ELSEWHERE)
    check_equal(described - tested, set(), "in the manual, without a test")
    check_equal(tested - described, set(), "tested, but not described in the manual")
    check_equal(OLD_SPELLINGS - tested, set(), "old spellings without a test")
    check_equal(len(tested - OWN - OLD_SPELLINGS), DOCUMENTED, "restrictions of postconf(5)")
    check_equal(len({case.name for case in CASES}), len(CASES), "cases with the same name")
    here = os.path.dirname(os.path.abspath(__file__))
    for name, program in ELSEWHERE.items():
        source = read(f"{here}/{program}").decode()
        if program == "restrictions.py":
            source = source[source.index("def etrn"):]
        check(re.search(rf"\b{name}\b", source), f"{program} does not test {name}")


def addresses(number):
    """Of the client that the case is for, and of the other one."""
    return f"203.0.113.{2 * number + 1}", f"203.0.113.{2 * number + 2}"


def speak(address, name="host.away.test", reverse=None, helo="client.away.test", login=None,
          sender="s@away.test", to=("u1@box.test",), is_hasty=False):
    """The answer to the last recipient."""
    with Client(source=CLIENT) as client:
        words = [f"NAME={name}", f"ADDR={address}"]
        words += [f"REVERSE_NAME={reverse}"] if reverse else []
        words += [f"LOGIN={login}"] if login else []
        check_equal(client.command("XCLIENT " + " ".join(words))[0], 220, words)
        verb = "HELO" if is_hasty else "EHLO"
        check_equal(client.command(f"{verb} {helo}")[0], 250, helo)
        mail = [f"MAIL FROM:<{sender}>"] + [f"RCPT TO:<{address}>" for address in to]
        if is_hasty:
            client.raw("".join(line + "\r\n" for line in mail).encode())
            return [client.reply()[1] for _ in mail][-1]
        return [client.command(line)[1] for line in mail][-1]


class Policy(Server):
    def serve(self, connection):
        asked = ""
        while data := connection.recv(65536).decode():
            asked += data
            while "\n\n" in asked:
                question, _, asked = asked.partition("\n\n")
                is_bad = "\nsender=bad" in question
                connection.sendall(f"action={'REJECT' if is_bad else 'DUNNO'}\n\n".encode())


def prepare():
    zone = {"away.test A": ["198.51.100.25"], "bad.test A": [BAD_HOST],
            "bad.test MX": ["10 mx.bad.test"], "bad.test NS": ["ns.bad.test"],
            "mx.bad.test A": [BAD_HOST], "ns.bad.test A": [BAD_HOST],
            "bad.test.rhs.test A": ["127.0.0.2"],
            "elsewhere.test MX": ["10 mx.away.test"],
            "backup.test MX": ["10 primary.backup.test", "20 mx.home.test"],
            "primary.backup.test A": ["198.51.100.77"]}
    parameters = {
        "smtpd_authorized_xclient_hosts": CLIENT, "smtpd_relay_restrictions": "permit",
        "smtpd_recipient_restrictions": f"check_client_access texthash:{CONF}/select, permit, reject",
        "smtpd_restriction_classes": ", ".join(f"case{n}" for n in range(len(CASES))),
        "smtpd_reject_unlisted_recipient": "no", "smtpd_forbid_unauth_pipelining": "no",
        "smtpd_client_ban_rejects": "0", "smtpd_peername_lookup": "no",
        "maps_rbl_domains": "bl.test",
        "smtpd_sasl_auth_enable": "yes", "smtpd_sender_login_maps": "inline:{owned@away.test=alice}",
        "address_verify_poll_delay": "1s", "address_verify_poll_count": "10",
        # Lists of networks may name tables.
        "mynetworks": f"127.0.0.0/8, texthash:{CONF}/ours",
        "permit_mx_backup_networks": f"!198.51.100.78, texthash:{CONF}/primaries",
    }
    select = {}
    for number, case in enumerate(CASES):
        met, other = addresses(number)
        met = case.met.get("address", met)
        parameters[f"case{number}"] = case.words.replace("MET", met)
        select[met] = select[other] = f"case{number}"
        if "rbl" in case.name or "dnswl" in case.name:
            zone[".".join(reversed(met.split("."))) + ".bl.test A"] = ["127.0.0.2"]
        if case.name == "permit_mynetworks":
            ours = met
    tables = {"select": "".join(f"{key} {value}\n" for key, value in select.items()),
              "ours": f"{ours} -\n", "primaries": "198.51.100.77 -\n"}
    return parameters, zone, tables


def each_is_met_and_leaves_others_alone():
    parameters, zone, tables = prepare()
    policy = Policy("127.0.0.1", 10023)
    wrong = []
    with Mta(parameters, zone=zone, start=False,
             master=["verify    unix  -  -  n  -  1  verify"]) as mta:
        mta.closers.append(policy)
        mta.sink()
        for name, text in tables.items():
            write(f"{CONF}/{name}", text)
        mta.start()
        for number, case in enumerate(CASES):
            met, other = addresses(number)
            begun = time.monotonic()
            said = speak(**{"address": met, **case.met})
            if case.name == "sleep" and time.monotonic() - begun < 1:
                wrong.append("sleep does not sleep")
            if not said.startswith(case.wanted):
                wrong.append(f"{case.name}: {said!r} instead of {case.wanted!r}")
            if case.calm is None:
                continue
            said = speak(other, **case.calm)
            if not said.startswith(case.other):
                wrong.append(f"{case.name}, which is for others: {said!r} instead of {case.other!r}")
        check(not wrong, *wrong)
        mta.wait_log(r"NOQUEUE: reject_warning: RCPT from host\.away\.test\[203\.0\.113\.\d+\]: 554 5\.7\.1")


def etrn():
    with Mta({"smtpd_etrn_restrictions": "check_etrn_access inline:{bad.test=REJECT}, permit",
              "fast_flush_domains": "bad.test, away.test"},
             master=["flush     unix  n  -  n  1000?  0  flush"]) as mta:
        with Client(source=CLIENT) as client:
            check_equal(client.command("ETRN bad.test")[1],
                        "554 5.7.1 <bad.test>: Etrn command rejected: Access denied")
            check_equal(client.command("ETRN away.test")[0], 250)


def numbers_in_access_tables():
    """access(5): 4NN and 5NN with text refuse, numbers alone permit, anything else is no action."""
    table = ("inline:{ {a@away.test=550 no}, {b@away.test=12345}, {c@away.test=250 fine}, "
             "{d@away.test=600 x}, {e@away.test=550} }")
    with Mta({"smtpd_sender_restrictions": f"check_sender_access {table}"}, may_log="unknown action") as mta:
        for sender, wanted in (("a", "550 5.7.1 "), ("b", GOOD), ("c", "451 4.3.5"), ("d", "451 4.3.5"),
                               ("e", GOOD)):
            with Client(source=CLIENT) as client:
                client.command(f"MAIL FROM:<{sender}@away.test>")
                said = client.command("RCPT TO:<u1@box.test>")[1]
                check(said.startswith(wanted), sender, said)
        mta.wait_log("unknown action")


def owners_do_not_count_where_nobody_can_log_in():
    with Mta({"smtpd_sender_login_maps": "inline:{owned@away.test=alice}",
              "smtpd_sender_restrictions": "reject_sender_login_mismatch"}, may_log="no SASL support") as mta:
        with Client(source=CLIENT) as client:
            client.command("MAIL FROM:<owned@away.test>")
            check_equal(client.command("RCPT TO:<u1@box.test>")[0], 250)
        mta.wait_log("restriction `reject_sender_login_mismatch' ignored: no SASL support")


def tables_of_networks_that_fail():
    """Nobody is taken for one of us then, and nobody is refused for good."""
    with Mta({"mynetworks": "127.0.0.0/8, fail:networks", "smtpd_client_ban_rejects": "0",
              "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination"}) as mta:
        with Client(source=CLIENT) as client:
            client.command("MAIL FROM:<s@away.test>")
            said = client.command("RCPT TO:<r@elsewhere.test>")[1]
        check_equal(said, "451 4.3.0 <r@elsewhere.test>: Temporary lookup failure")
        mta.wait_log("warning: fail:networks: ")


main([every_restriction_has_a_paragraph_and_a_test, each_is_met_and_leaves_others_alone, etrn,
      numbers_in_access_tables, owners_do_not_count_where_nobody_can_log_in, tables_of_networks_that_fail])
