"""dialogue.py - answers and log lines of the SMTP server that clients and log readers know by heart:
what is forgiven, what a keyword that is not announced means, whose commands nobody serves."""
import re

from harness import *

ALIKE = b"Subject: x\n\nx\n"


def a_message_that_is_taken_forgives():
    """smtpd_hard_error_limit and smtpd_junk_command_limit count from the last message on, and the
    postmaster is not told of what came to a good end."""
    with Mta({"smtpd_hard_error_limit": "4", "smtpd_junk_command_limit": "3",
              "smtpd_error_sleep_time": "0", "notify_classes": "protocol, policy"}) as mta:
        with Client(source=CLIENT) as client:
            for _ in range(4):
                for _ in range(3):
                    check_equal(client.command("FROB")[0], 500)
                    check_equal(client.command("RSET")[0], 250)
                check_equal(client.send("a@away.test", ["u1@box.test"], ALIKE), 250)
            client.command("QUIT")
        mta.wait_log(r"disconnect from unknown\[198\.51\.100\.200\] ehlo=1 mail=4 rcpt=4 data=4 rset=12 "
                     r"quit=1 unknown=0/12 commands=26/38")
        check("too many errors" not in mta.log(), mta.log())
        check(not re.search(r"to=<postmaster", mta.log()), mta.log())
        with Client(source=CLIENT) as client:
            for _ in range(4):
                check_equal(client.command("FROB")[0], 500)
            check_equal(client.command("NOOP"), (421, "421 4.7.0 mx.home.test Error: too many errors"))


def commands_that_nobody_serves():
    """smtpd_noop_commands goes before what is built in and is counted nowhere; HELP and EXPN are
    unknown, an empty line is nothing, and what is no UTF-8 is no command."""
    with Mta({"smtpd_noop_commands": "VRFY, ping", "smtpd_forbidden_commands": "HELP, !table"}) as mta:
        with Client(source=CLIENT) as client:
            for line, wanted in (("VRFY", "250 2.0.0 Ok"), ("PING a b", "250 2.0.0 Ok"),
                                 ("EXPN list", "500 5.5.2 Error: command not recognized"),
                                 ("", "500 5.5.2 Error: bad syntax")):
                check_equal(client.command(line)[1], wanted, line)
            client.raw(b"MAIL FROM:<a\xff@away.test>\r\n")
            check_equal(client.reply()[1], "500 5.5.2 Error: bad UTF-8 syntax")
            check_equal(client.command("HELP")[0], 221)
        mta.wait_log(r"disconnect from unknown\[198\.51\.100\.200\] ehlo=1 unknown=0/2 commands=1/3")
        Client(source=CLIENT, greet=False).close()
        mta.wait_log(r"disconnect from unknown\[198\.51\.100\.200\] commands=0/0")


def addresses_are_verified_as_they_are_written():
    with Mta({"strict_smtputf8": "yes", "local_recipient_maps": ""}) as mta:
        with Client(source=CLIENT) as client:
            for line, wanted in (
                    ("VRFY", "501 5.5.4 Syntax: VRFY address [SMTPUTF8]"),
                    ("VRFY <u1@box.test>", "252 2.0.0 <u1@box.test>"),
                    ("VRFY jürgen@box.test", "553 5.6.7 Must declare SMTPUTF8 to send unicode address")):
                check_equal(client.command(line)[1], wanted, line)
            check_equal(client.command("VRFY u1@box.test smtputf8")[1], "252 2.0.0 u1@box.test")
            check_equal(client.command("VRFY <>")[0], 501)
        mta.wait_log(r"warning: Illegal address syntax from unknown\[198\.51\.100\.200\] in VRFY command: <>")


def keywords_that_are_not_announced():
    """smtpd_discard_ehlo_keywords: SIZE and BODY are understood all the same, DSN is disabled, and
    AUTH= means nothing where nobody logs in."""
    with Mta({"smtpd_discard_ehlo_keywords": "size, 8bitmime, dsn, silent-discard"}) as mta:
        with Client(source=CLIENT) as client:
            check("SIZE" not in client.ehlo[1] and "DSN" not in client.ehlo[1], client.ehlo)
            disabled = "501 5.7.1 DSN support is disabled"
            for line, wanted in (
                    ("MAIL FROM:<a@away.test> SIZE=99999999999999999999",
                     "552 5.3.4 Message size exceeds file system imposed limit"),
                    ("MAIL FROM:<a@away.test> RET=FULL", disabled),
                    ("MAIL FROM:<a@away.test> ENVID=x", disabled),
                    ("MAIL FROM:<a@away.test> SIZE=10 BODY=8BITMIME AUTH=a+b", "250 2.1.0 Ok"),
                    ("RCPT TO:<u1@box.test> NOTIFY=NEVER", disabled),
                    ("RCPT TO:<u1@box.test> ORCPT=rfc822;u1", disabled),
                    ("RCPT TO:<u1@box.test>", "250 2.1.5 Ok"),
                    ("BDAT 0", "551 5.7.1 Null BDAT request")):
                check_equal(client.command(line)[1], wanted, line)
            check_equal(client.command("RSET")[0], 250)
            check_equal(client.send("a@away.test", ["u1@box.test"], ALIKE), 250)
        mta.wait_log(r"warning: \w+: null BDAT request from unknown\[198\.51\.100\.200\]")


def refusals_at_the_door_end_the_session():
    """521 and 421 with smtpd_delay_reject = no: we go, it is no connection that was lost."""
    for code in ("521 5.7.1", "421 4.7.1"):
        with Mta({"smtpd_delay_reject": "no",
                  "smtpd_client_restrictions": f"check_client_access inline:{{ {{{CLIENT} = {code} bye}} }}"}) as mta:
            with Client(source=CLIENT, greet=False) as client:
                check_equal(client.reply()[0], int(code[:3]))
                check_equal(client.reply()[0], 0)
            mta.wait_log(r"disconnect from unknown\[198\.51\.100\.200\] commands=0/0")
            check("lost connection" not in mta.log(), mta.log())


def tables_that_cannot_be_read():
    """An access table that fails refuses for now in the name of what it is asked about; the
    postmaster is not written to for every client."""
    with Mta({"smtpd_recipient_restrictions": f"check_recipient_access hash:{CONF}/missing"},
             may_log="missing|table lookup problem|not accepted|hash:") as mta:
        with Client(source=CLIENT) as client:
            client.command("MAIL FROM:<a@away.test>")
            check_equal(client.command("RCPT TO:<u1@box.test>")[1],
                        "451 4.3.5 <u1@box.test>: Recipient address rejected: Server configuration error")
            client.command("QUIT")
        mta.wait_log(r"disconnect from")
        check("cleanup" not in mta.log(), mta.log())


def lists_in_access_tables():
    """A list that an access table names speaks of what the table was asked about; patterns get the
    address in lower case."""
    with Mta({"smtpd_restriction_classes": "closed",
              "closed": "reject",
              "smtpd_recipient_restrictions":
                  r"check_sender_access pcre:{ {/^(bad.*)@/ closed} {/^(other.*)@/ REJECT $$1} }, reject_unknown_helo_hostname"},
             zone={"nothere.test MX": ["0 ."]}) as mta:
        with Client(source=CLIENT, greet=False) as client:
            client.reply()
            client.command("EHLO nothere.test")
            for sender, wanted in (("bad@away.test", "554 5.7.1 <bad@away.test>: Sender address rejected: Access denied"),
                                   ("OTHER.One@away.test",
                                    "554 5.7.1 <OTHER.One@away.test>: Sender address rejected: other.one"),
                                   # A host that says it takes no mail is no unknown one.
                                   ("good@away.test", "250 2.1.5 Ok")):
                client.command(f"MAIL FROM:<{sender}>")
                check_equal(client.command("RCPT TO:<u1@box.test>")[1], wanted)
                client.command("RSET")


def owners_of_addresses():
    """smtpd_sender_login_maps: user@domain, user where the domain is ours, @domain; a sender who
    is not logged in is no owner."""
    with Mta({"smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "private/none",
              "smtpd_sender_restrictions": "reject_unauthenticated_sender_login_mismatch",
              "recipient_delimiter": "+",
              "smtpd_sender_login_maps": "inline:{ {alice = alice}, {@owned.test = bob} }"},
             may_log="private/none|SASL|sasl") as mta:
        with Client(source=CLIENT) as client:
            for sender, wanted in (("alice@home.test", 553), ("alice+x@home.test", 553), ("alice", 553),
                                   ("alice@away.test", 250), ("x@owned.test", 553), ("x@sub.owned.test", 250)):
                client.command(f"MAIL FROM:<{sender}>")
                check_equal(client.command("RCPT TO:<u1@box.test>")[0], wanted, sender)
                client.command("RSET")


def names_and_extensions_of_clients():
    """What has a meaning in headers is taken out of HELO names; a HELO takes no extension back; what
    came in chunks is answered with its size."""
    with Mta({"smtpd_recipient_restrictions": "check_recipient_access inline:{bad@box.test=REJECT, "
                                              "u2@box.test=reject_invalid_helo_hostname}, permit",
              "local_recipient_maps": ""}) as mta:
        with Client(source=CLIENT) as client:
            check_equal(client.command('EHLO a@b (c);"d"')[0], 250)
            check_equal(client.command("HELO x@y")[0], 250)
            client.command("MAIL FROM:<a@away.test>")
            check_equal(client.command("RCPT TO:<bad@box.test>")[0], 554)
            check_equal(client.command("RCPT TO:<u2@box.test>")[1],
                        "501 5.5.2 <x?y>: Helo command rejected: Invalid name")
            check_equal(client.command("RCPT TO:<u1@box.test>")[0], 250)
            client.raw(b"BDAT 17 LAST\r\nSubject: x\r\n\r\ny\r\n")
            check(re.fullmatch(r"250 2\.0\.0 Ok: 17 bytes queued as \w+", said := client.reply()[1]), said)
            check_equal(client.command("EHLO away.test.")[0], 250)
            client.command("MAIL FROM:<a@away.test>")
            check_equal(client.command("RCPT TO:<u2@box.test>")[0], 250)
        mta.wait_log(r"reject: RCPT from .*: 554 .* proto=ESMTP helo=<x\?y>")
        mail = wait_for("the mail", lambda: maildir("u1"))[0]
        check(b"Received: from x?y (" in mail and b"with ESMTP id" in mail, mail)


main([a_message_that_is_taken_forgives, commands_that_nobody_serves,
      addresses_are_verified_as_they_are_written, keywords_that_are_not_announced,
      refusals_at_the_door_end_the_session, tables_that_cannot_be_read, lists_in_access_tables,
      owners_of_addresses, names_and_extensions_of_clients])
