"""clients.py - who the client really is: the PROXY protocol, XFORWARD, port numbers, and how many
clients first contact lets wait."""
import re
import socket
import struct

from harness import *

REAL = "203.0.113.7"  # whom the proxy speaks for
PROXY = "198.51.100.80"


def proxy_v1(address=REAL, port=4711):
    return f"PROXY TCP4 {address} {HOST} {port} 25\r\n".encode()


def proxy_v2(command=1, address=REAL, port=4711):
    """HAProxy's binary header; command 0 is LOCAL, a health check of the proxy itself."""
    body = socket.inet_aton(address) + socket.inet_aton(HOST) + struct.pack(">HH", port, 25)
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, 0x11]) + struct.pack(">H", len(body)) +
            body)


def through_proxy(header, source=PROXY):
    client = Client(source=source, greet=False)
    client.raw(header)
    client.banner = client.reply()
    return client


def proxies_name_the_client():
    with Mta({"smtpd_upstream_proxy_protocol": "haproxy", "smtpd_upstream_proxy_hosts": PROXY,
              "smtpd_client_port_logging": "yes", "smtpd_upstream_proxy_timeout": "4s",
              "smtpd_client_restrictions": "check_client_access inline:{203.0.113.66=REJECT}"}) as mta:
        for header in (proxy_v1(), proxy_v2(), proxy_v1() + b""):
            before = len(mta.log())
            with through_proxy(header) as client:
                check_equal(client.banner[0], 220)
                client.command("EHLO h.away.test")
                check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
            mta.wait_log(r"connect from unknown\[203\.0\.113\.7\]:4711$", before)
            mta.wait_log(r"client=unknown\[203\.0\.113\.7\]:4711$", before)
        wait_for("the mail", lambda: len(maildir("u1")) == 3)
        check(b"([203.0.113.7])" in maildir("u1")[0] or b"[203.0.113.7]" in maildir("u1")[0],
              maildir("u1")[0])
        # Policy is about the client, not the proxy.
        with through_proxy(proxy_v2(address="203.0.113.66")) as client:
            client.command("EHLO h.away.test")
            client.command("MAIL FROM:<s@away.test>")
            check_equal(client.command("RCPT TO:<u1@box.test>")[1][:9], "554 5.7.1")
        # A health check is the proxy's own.
        before = len(mta.log())
        with through_proxy(proxy_v2(command=0)) as client:
            check_equal(client.banner[0], 220)
        mta.wait_log(r"connect from \S*\[198\.51\.100\.80\]", before)
        # A header that comes in pieces is one header.
        client = Client(source=PROXY, greet=False)
        for byte in proxy_v2():
            client.raw(bytes([byte]))
        check_equal(client.reply()[0], 220)
        client.close()
        # Garbage, and nothing at all, end the connection.
        for header, words in ((b"PROXY nonsense\r\n", "haproxy read"), (b"EHLO x\r\n", "haproxy read"),
                              (b"", "time limit exceeded")):
            before = len(mta.log())
            with through_proxy(header) as client:
                check_equal(client.banner[0], 421, header)
            mta.wait_log(f"warning: haproxy read from 198.51.100.80: .*{'' if header else words}", before)
        # Whoever is no proxy speaks for himself, and gets no further with a header.
        with Client(source=CLIENT) as client:
            check_equal(client.banner[0], 220)
            check(client.command(proxy_v1().decode().strip())[0] in (221, 500, 502), "a header from a stranger")


def forwarded_clients():
    """XFORWARD: logs, further hops and content filters see whom a filter speaks for."""
    with Mta({"smtpd_authorized_xforward_hosts": PROXY, "relay_domains": "away.test",
              "smtp_send_xforward_command": "yes"}) as mta:
        sink = mta.sink(talk=None)
        asked = []
        Sink.KEYWORDS += ("XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT",)
        original = sink.serve

        def spying(connection):
            class Spy:
                def __getattr__(self, name):
                    return getattr(connection, name)

                def recv(self, size):
                    data = connection.recv(size)
                    asked.extend(re.findall(rb"XFORWARD [^\r]*", data))
                    return data
            original(Spy())
        sink.serve = spying
        with Client(source=PROXY) as client:
            check("XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT" in client.ehlo[1], client.ehlo)
            check_equal(client.command("XFORWARD NAME=real.test ADDR=203.0.113.7 PORT=99 PROTO=ESMTP "
                                       "HELO=real.helo.test IDENT=ABC123 SOURCE=REMOTE")[0], 250)
            check_equal(client.send("s@away.test", ["r@away.test"], b"Subject: x\n\nx\n"), 250)
            # It counts for one message.
            check_equal(client.send("s@away.test", ["r@away.test"], b"Subject: y\n\ny\n"), 250)
            check_equal(client.command("XFORWARD NAME=bad")[0], 250)
            check_equal(client.command("XFORWARD WHAT=bad")[0], 501)
        mta.wait_log(r"client=\S*\[198\.51\.100\.80\], orig_queue_id=ABC123, "
                     r"orig_client=real\.test\[203\.0\.113\.7\]$")
        sink.wait(2)
        said = b"\n".join(asked)
        for word in (b"NAME=real.test", b"ADDR=203.0.113.7", b"HELO=real.helo.test", b"PORT=99"):
            check(word in said, said)
        content = sink.messages[0].content
        check(b"from client.away.test (unknown [198.51.100.80])" in content, content)
        with Client(source=CLIENT) as client:
            check("XFORWARD" not in client.ehlo[1], client.ehlo)
            check_equal(client.command("XFORWARD ADDR=203.0.113.7")[0], 550)


def hidden_sessions():
    with Mta({"smtpd_hide_client_session": "yes"}) as mta:
        with Client(source=CLIENT) as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
        wait_for("the mail", lambda: maildir("u1"))
        check(b"198.51.100.200" not in maildir("u1")[0] and b"Received: by mx.home.test" in
              maildir("u1")[0], maildir("u1")[0])


FIRST_CONTACT = ["smtp      inet  n  -  n  -  1  postscreen", "smtpd     pass  -  -  n  -  2  smtpd"]


def first_contact_lets_few_wait():
    """The pass line serves two; one more may wait for a place, and the next one is sent away."""
    with Mta({"postscreen_greet_wait": "1s", "postscreen_post_queue_limit": "1",
              "postscreen_access_list": "permit_mynetworks, inline:{198.51.100.201=permit, "
                                        "198.51.100.202=permit, 198.51.100.203=permit, "
                                        "198.51.100.204=permit}"}, master=FIRST_CONTACT) as mta:
        served = [Client(source=f"198.51.100.20{n}") for n in (1, 2)]
        waiting = Client(source="198.51.100.203", greet=False)
        wait_for("a client that waits", lambda: mta.log().count("CONNECT from [198.51.100.203]"))
        with Client(source="198.51.100.204", greet=False) as client:
            check_equal(client.reply()[1], "421 4.3.2 All server ports are busy")
        mta.wait_log(r"postfix/postscreen\[\d+\]: NOQUEUE: reject: CONNECT from \[198\.51\.100\.204\]:\d+: "
                     r"all server ports busy")
        served[0].command("QUIT")
        check_equal(waiting.reply()[0], 220)
        check_equal(served[1].command("NOOP")[0], 250)
        for client in (waiting, *served):
            client.close()


def dialogue(lines, port=25, source=CLIENT):
    """The first line of each answer; nothing once the connection is closed."""
    answers = []
    with Client(source=source, port=port, greet=False) as client:
        try:
            answers.append(client.reply()[1].split("\n")[-1])
            for line in lines:
                answer = client.command(line)[1].split("\n")[0]
                if not answer:
                    break
                answers.append(answer)
        except OSError:
            pass
    return answers


def first_contact_tells_all_that_is_wrong():
    """What has failed one test is shown with the others, too, whether they are enabled or not."""
    reverse = ".".join(reversed(CLIENT.split(".")))
    with Mta({"postscreen_greet_wait": "1s", "postscreen_dnsbl_sites": "bl.test*2",
              "postscreen_dnsbl_action": "enforce", "postscreen_greet_banner": "one moment"},
             master=FIRST_CONTACT, zone={f"{reverse}.bl.test A": ["127.0.0.2", "127.0.0.4"]}) as mta:
        # Sessions' own banner follows the teaser, and content is not waited for.
        check_equal(dialogue(["EHLO c.test", "MAIL FROM:<a@away.test>", "BDAT 3 LAST", "NOOP"]),
                    ["220 mx.home.test ESMTP Postern", "250-mx.home.test", "250 2.1.0 Ok",
                     "554 5.5.1 Error: no valid recipients"])
        for answer in (r"addr 198\.51\.100\.200 listed by domain bl\.test as 127\.0\.0\.2",
                       r"addr 198\.51\.100\.200 listed by domain bl\.test as 127\.0\.0\.4"):
            mta.wait_log(r"postfix/dnsblog\[\d+\]: " + answer)
        check_equal(len(dialogue(["GET / HTTP/1.0", "NOOP"])), 2)
        mta.wait_log(r"NON-SMTP COMMAND from \S+ after CONNECT: GET / HTTP/1\.0")
        with Client(source=CLIENT) as client:
            client.raw(b"NOOP\n")
            check_equal(client.reply()[0], 250)
        mta.wait_log(r"BARE NEWLINE from \S+ after NOOP")


def first_contact_ignores_what_it_is_told_to():
    """A failure with the action `ignore` keeps nobody out, whatever else is tested."""
    reverse = ".".join(reversed(CLIENT.split(".")))
    with Mta({"postscreen_greet_wait": "1s", "postscreen_dnsbl_sites": "bl.test*2",
              "postscreen_pipelining_enable": "yes", "postscreen_non_smtp_command_enable": "yes",
              "postscreen_non_smtp_command_action": "ignore"},
             master=FIRST_CONTACT, zone={f"{reverse}.bl.test A": ["127.0.0.2"]}) as mta:
        mail = ["EHLO c.test", "MAIL FROM:<a@away.test>", "RCPT TO:<u1@box.test>"]
        check_equal(dialogue(["GET / HTTP/1.0"] + mail + ["QUIT"])[-2:],
                    ["450 4.3.2 Service currently unavailable", "221 2.0.0 Bye"])
        mta.wait_log(r"DISCONNECT")
        # Listed as ever, but through with the rest.
        check_equal(dialogue(mail)[-1], "250 2.1.5 Ok")
        check_equal(len(re.findall(r"DNSBL rank 2 ", mta.log())), 2)
        check("PASS NEW" not in mta.log(), mta.log())


def first_contact_takes_any_address():
    """What MAIL and RCPT say is only for the log here; syntax is a matter of sessions."""
    with Mta({"postscreen_greet_wait": "1s", "postscreen_bare_newline_enable": "yes"},
             master=FIRST_CONTACT) as mta:
        later = "450 4.3.2 Service currently unavailable"
        check_equal(dialogue(["EHLO a b", "MAIL", "MAIL s@away.test", "MAIL FROM:s@away.test BODY=ODD",
                              "RCPT", "RCPT FROM:<@r.test:u1@box.test", "RCPT TO:<\"a>b\"@box.test> X=y",
                              "RCPT TO:", "ETRN", "RSET x", "BDAT 3"])[2:],
                    ["501 5.5.4 Syntax: MAIL FROM:<address>"] * 2 + ["250 2.1.0 Ok"] +
                    ["501 5.5.4 Syntax: RCPT TO:<address>"] + [later] * 3 +
                    ["500 Syntax: ETRN domain", "250 2.0.0 Ok", "554 5.5.1 Error: need MAIL command"])
        for address in ("u1@box.test", '"a>b"@box.test', ""):
            mta.wait_log(re.escape(f"; from=<s@away.test>, to=<{address}>, proto=ESMTP, helo=<a>"))


def first_contact_lists_nobody_at_a_backup_address():
    """postscreen_allowlist_interfaces: who is not known yet never gets in there."""
    mail = ["EHLO c.test", "MAIL FROM:<a@away.test>", "RCPT TO:<u1@box.test>"]
    with Mta({"postscreen_greet_wait": "1s", "postscreen_allowlist_interfaces": "!198.51.100.0/24"},
             master=FIRST_CONTACT) as mta:
        for _ in range(2):
            check_equal(dialogue(mail)[-1], "450 4.3.2 Service currently unavailable")
        check_equal(mta.log().count("ALLOWLIST VETO"), 2)


def first_contact_tests_few_at_once():
    with Mta({"postscreen_greet_wait": "20s", "postscreen_pre_queue_limit": "1"},
             master=["smtp      inet  n  -  n  -  1  postscreen",
                     "smtpd     pass  -  -  n  -  -  smtpd"]) as mta:
        with Client(source="198.51.100.201", greet=False):
            wait_for("the first", lambda: mta.log().count("CONNECT from [198.51.100.201]"))
            with Client(source="198.51.100.202", greet=False) as second:
                check_equal(second.reply()[1], "421 4.3.2 All server ports are busy")
        mta.wait_log(r"NOQUEUE: reject: CONNECT from \[198\.51\.100\.202\]:\d+: all screening ports busy")


def replies_that_refuse_have_a_footer():
    """smtpd_reject_footer in sessions and at first contact, its names, what they may show, its maps."""
    footer = {"smtpd_reject_footer": "\\c; ask $server_name\\nabout <$recipient> of $helo_name",
              "smtpd_expansion_filter": "\\100.abcdefghijklmnopqrstuvwxyz0123456789",
              "smtpd_relay_restrictions": "reject_unauth_destination"}
    wanted = "about <b@else.test> of c_ient.away.test"
    with Mta(footer | {"postscreen_access_list": "inline:{198.51.100.200=reject}",
                       "postscreen_denylist_action": "enforce",
                       "postscreen_reject_footer_maps": "regexp:{{/^503 / See the manual.}}",
                       "smtpd_discard_ehlo_keyword_address_maps":
                           "inline:{ {198.51.100.200=chunking, silent-discard} }"},
             master=FIRST_CONTACT + ["26 inet n - n - - smtpd"]) as mta:
        for port, refusal in ((25, "550-5.3.2 Service currently unavailable"),
                              (26, "554-5.7.1 <b@else.test>: Relay access denied")):
            with Client(source=CLIENT, port=port, greet=False) as client:
                check_equal(client.reply()[0], 220)
                said = client.command("EHLO c-ient.away.test")[1]
                check("CHUNKING" not in said and "DSN" in said, said)
                code, text = client.command("RCPT TO:<b@else.test>")
                check_equal(code, 503)
                check_equal("See the manual." in text, port == 25, text)
                check_equal(client.command("MAIL FROM:<a@away.test>")[1], "250 2.1.0 Ok")
                text = client.command("RCPT TO:<b@else.test>")[1].split("\n")
                status = refusal[4:9]
                check_equal(text, [f"{refusal}; ask mx.home.test", f"{refusal[:3]} {status} {wanted}"])
        # One of its own.
        mta.write_main_cf(postscreen_reject_footer="\\c, $client", postscreen_expansion_filter="[].0123456789")
        check_equal(mta.tool("postern", "reload").returncode, 0)

        def is_new():
            with Client(source=CLIENT) as client:
                client.command("MAIL FROM:<a@away.test>")
                text = client.command("RCPT TO:<b@else.test>")[1]
                return re.fullmatch(r"550 5\.3\.2 Service currently unavailable, \[198\.51\.100\.200\]_\d+", text)
        wait_for("the new footer", is_new)


main([proxies_name_the_client, forwarded_clients, hidden_sessions, first_contact_lets_few_wait,
      first_contact_tells_all_that_is_wrong, first_contact_ignores_what_it_is_told_to,
      first_contact_takes_any_address, first_contact_lists_nobody_at_a_backup_address,
      first_contact_tests_few_at_once, replies_that_refuse_have_a_footer])
