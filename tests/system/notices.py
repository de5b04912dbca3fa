"""notices.py - what the postmaster hears of sessions: transcripts as notify_classes asks for them,
and anvil's statistics."""
import re
import time

from harness import *

GUARD = "permit_mynetworks, reject_unauth_destination"
TO_POSTMASTER = {"error_notice_recipient": "u0@box.test", "bounce_notice_recipient": "u9@box.test"}


def stranger(**options):
    return Client(source=CLIENT, **options)


def notice(box="u0", count=1):
    wait_for(f"a notice in {box}", lambda: len(maildir(box)) >= count)
    return maildir(box)[-1].decode()


def transcripts_of_policy():
    with Mta(TO_POSTMASTER | {"notify_classes": "policy", "smtpd_recipient_restrictions":
              f"{GUARD}, check_sender_access inline:{{bad@away.test=REJECT}}"}) as mta:
        with stranger() as client:
            client.command("MAIL FROM:<bad@away.test>")
            check_equal(client.command("RCPT TO:<u1@box.test>")[0], 554)
            client.command("QUIT")
        text = notice()
        for line in ("From: MAILER-DAEMON@mx.home.test (Mail Delivery System)|Mail Delivery System",
                     r"^To: Postmaster <u0@box\.test>$",
                     r"^Subject: Postern SMTP server: errors from unknown\[198\.51\.100\.200\]$",
                     r"^Transcript of session follows\.$", r"^ Out: 220 mx\.home\.test",
                     r"^ In:  EHLO client\.away\.test$", r"^ Out: 250-PIPELINING$",
                     r"^ In:  MAIL FROM:<bad@away\.test>$", r"^ Out: 250 2\.1\.0 Ok$",
                     r"^ In:  RCPT TO:<u1@box\.test>$",
                     r"^ Out: 554 5\.7\.1 <bad@away\.test>: Sender address rejected: Access denied$",
                     r"^ In:  QUIT$", r"^For other details, see the local mail logfile$"):
            check(re.search(line, text, re.M), line, "is not in", text)
        # Good sessions, and errors of another kind, are no news.
        with stranger() as client:
            check_equal(client.command("NONSENSE")[0] // 100, 5)
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
        mta.wait_log("disconnect from .*unknown=0/1")
        mta.wait_drained()
        check_equal(len(maildir("u0")), 1)


def transcripts_of_protocol_and_bounce():
    with Mta(TO_POSTMASTER | {"notify_classes": "protocol, bounce", "header_checks":
              "regexp:{{/^Subject: bad/ REJECT no}}", "smtpd_history_flush_threshold": "5", "hopcount_limit": "3",
              "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "postern",
              "smtpd_sasl_password_maps": "inline:{alice={PLAIN}secret}"}) as mta:
        client = stranger()
        check_equal(client.command("AUTH PLAIN AGFsaWNlAHNlY3JldA==")[0], 235)
        check_equal(client.command("DATA")[0], 503)
        client.close()
        text = notice()
        check(" In:  DATA\n" in text and "Session aborted, reason: lost connection\n" in text, text)
        # The postmaster is no reader of passwords.
        check(" In:  AUTH PLAIN (not shown)\n" in text and "AGFsaWNl" not in text, text)
        with stranger() as client:
            # What is in a message is a matter of policy, of which nobody wants to hear here.
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Subject: bad\n\nx\n"), 550)
            client.command("RSET")
        with stranger() as client:
            check_equal(client.send("s@away.test", ["u1@box.test"], b"Received: x\n" * 3 + b"\nx\n"), 554)
            # Past smtpd_history_flush_threshold it does not wait for the end of the session.
            text = notice("u9")
            check(" Out: 554 5.4.0 Error: too many hops\n" in text and " In:  DATA\n" in text, text)
            check("Received: x" not in text, text)


def transcripts_of_trouble_of_our_own():
    """Without the classes that strangers cause, a session is written down from MAIL on."""
    with Mta(TO_POSTMASTER | {"notify_classes": "resource, software, data", "smtpd_relay_restrictions": GUARD,
                              "smtpd_recipient_restrictions":
                                  f"{GUARD}, check_sender_access inline:{{ {{s@away.test=nonsense here}} }}"},
             may_log="nonsense") as mta:
        with stranger() as client:
            client.command("NOOP")
            client.command("MAIL FROM:<s@away.test>")
            check_equal(client.command("RCPT TO:<u1@box.test>")[0] // 100, 4)
        text = notice()
        check(re.search(r"follows\.\n\n In:  EHLO client\.away\.test\n In:  MAIL FROM:<s@away\.test>\n",
                        text), text)
        check("NOOP" not in text, text)
        check("\nTo: Postmaster <u0@box.test>\n" in text, text)
        # What strangers do wrong is not told with them.
        with stranger() as client:
            client.command("MAIL FROM:<s@away.test>")
            check_equal(client.command("RCPT TO:<r@elsewhere.test>")[0], 554)
        mta.wait_log("disconnect from .*rcpt=0/1.*\n(.*\n)*.*disconnect from")
        mta.wait_drained()
        check_equal(len(maildir("u0")), 1)


def trouble_with_tables_is_of_class_data():
    """Two classes: a table that cannot be asked now, and configuration that makes no sense."""
    for name, kind in (("data", 0), ("software", 1)):
        with Mta(TO_POSTMASTER | {"notify_classes": name, "relay_domains": f"texthash:{CONF}/none",
                                  "smtpd_sender_restrictions": "check_sender_access inline:{ {s@odd.test=nonsense here} }"},
                 may_log="none: No such file|nonsense") as mta:
            senders = ["s@away.test", "s@odd.test"]
            for sender, answer in zip(senders, ("451 4.3.0", "451 4.3.5")):
                with stranger() as client:
                    client.command(f"MAIL FROM:<{sender}>")
                    check_equal(client.command("RCPT TO:<r@elsewhere.test>")[1][:9], answer)
            text = notice()
            check(f"MAIL FROM:<{senders[kind]}>" in text, name, text)
            mta.wait_drained()
            check_equal(len(maildir("u0")), 1, name)


def statistics_of_clients():
    with Mta({"anvil_status_update_time": "2s", "smtpd_client_connection_rate_limit": "100"}) as mta:
        clients = [stranger() for _ in range(3)]
        check_equal(clients[0].send("s@away.test", ["u1@box.test", "u2@box.test"], b"Subject: x\n\nx\n"),
                    250)
        for client in clients:
            client.close()
        who = r"\(smtp:198\.51\.100\.200\) at \w{3} [ \d]\d \d\d:\d\d:\d\d$"
        for line in ("max connection rate 3/60s for " + who, "max connection count [1-3] for " + who,
                     "max message rate 1/60s for " + who, "max recipient rate 2/60s for " + who,
                     r"max cache size 1 at \w{3} [ \d]\d \d\d:\d\d:\d\d$"):
            mta.wait_log(r"postfix/anvil\[\d+\]: statistics: " + line)
        # A peak is told once.
        told = len(re.findall("statistics: max connection rate", mta.log()))
        time.sleep(2.5)
        check_equal(len(re.findall("statistics: max connection rate", mta.log())), told)


def expansions_are_told():
    """RFC 3461 5.2.7.3: of an alias for several the sender hears that it was expanded, and nothing of
    its members; of one for one he hears of the delivery."""
    with Mta({"virtual_alias_maps": "inline:{ {list@box.test = u1@box.test, u2@box.test},"
              " {one@box.test = u3@box.test} }"}) as mta:
        for recipient in ("list", "one"):
            with Client(source=HOST) as client:
                client.command("MAIL FROM:<u5@box.test>")
                check_equal(client.command(f"RCPT TO:<{recipient}@box.test> NOTIFY=SUCCESS")[0], 250)
                client.command("DATA")
                check_equal(client.command(f"Subject: {recipient}\r\n\r\nx\r\n.")[0], 250)
            mta.wait_drained()
        wait_for("two reports", lambda: len(maildir("u5")) == 2)
        reports = [text.decode() for text in maildir("u5")]
        told = next(text for text in reports if "Subject: list" in text)
        check("Final-Recipient: rfc822; list@box.test" in told and "Action: expanded" in told and
              "u1@box.test" not in told, told)
        told = next(text for text in reports if "Subject: one" in text)
        check("Final-Recipient: rfc822; u3@box.test" in told and "Action: delivered" in told, told)
        check_equal([len(maildir(user)) for user in ("u1", "u2", "u3")], [1, 1, 1])


main([transcripts_of_policy, transcripts_of_protocol_and_bounce, transcripts_of_trouble_of_our_own,
      trouble_with_tables_is_of_class_data, statistics_of_clients, expansions_are_told])
