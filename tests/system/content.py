"""content.py - what becomes of content on its way into the queue: conversion of 8-bit parts, stray
line ends, headers without an end, recipients that stand there twice."""
import email
import quopri
import re

from harness import *

# A line longer than one of quoted-printable may be, and what it has to quote.
TEXT = b"gr\xc3\xbc\xc3\x9fe " + b"long " * 30 + b"\ntrailing blank \n.dot = equals"
# Each part says what it is.
EIGHT_BIT = b"""\
From: a@away.test
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="edge"
Content-Transfer-Encoding: 8bit

preamble
--edge
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

""" + TEXT + b"""
--edge
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAECAw==
--edge
Content-Type: message/rfc822

Subject: inner
Content-Transfer-Encoding: 8bit

\xc3\xa4rger
--edge--
"""


def fetch(box, count=1):
    wait_for(f"mail in {box}", lambda: len(maildir(box)) >= count)
    return maildir(box)[-1].replace(b"\r\n", b"\n")


def deliver(message, recipient="u1@box.test", options=""):
    """(code, text) of the answer that decided; the content goes out as it is."""
    with Client(source=CLIENT) as client:
        for line in (f"MAIL FROM:<a@away.test>{options}", f"RCPT TO:<{recipient}>", "DATA"):
            answer = client.command(line)
            if answer[0] not in (250, 354):
                return answer
        client.raw(message.replace(b"\n", b"\r\n").replace(b"\r\n.", b"\r\n..") + b".\r\n")
        return client.reply()


def parts_of(message):
    return [(part.get_content_type(), str(part.get("Content-Transfer-Encoding")),
             part.get_payload(decode=True)) for part in email.message_from_bytes(message).walk()]


def eight_bit_content_is_converted():
    checks = {"header_checks": "regexp:{{/^Content-Transfer-Encoding: (.*)/ INFO seen}}",
              "body_checks": "regexp:{{/^gr(.*=.*)/ INFO body}}"}
    for extra in ({}, checks, {"receive_override_options": "no_header_body_checks"} | checks):
        with Mta({"force_mime_input_conversion": "yes"} | extra) as mta:
            check_equal(deliver(EIGHT_BIT, options=" BODY=8BITMIME")[0], 250)
            message = fetch("u1")
            check(all(byte < 128 for byte in message), message)
            check(max(len(line) for line in body_of(message).split(b"\n")) <= 76, message)
            _, text, binary, nested, inner = parts_of(message)
            check_equal(text[1:], ("quoted-printable", TEXT))
            check_equal(binary[1:], ("base64", b"\0\1\2\3"))
            check_equal(nested[0], "message/rfc822")
            check_equal(inner[1:], ("quoted-printable", "ärger".encode()))
            head = message.partition(b"\n\n")[0]
            check_equal(head.count(b"Content-Transfer-Encoding:"), 1, head)
            check(b"\nContent-Transfer-Encoding: 7bit" in head, head)
            if extra == checks:
                mta.wait_log("info: header Content-Transfer-Encoding: 7bit from .*: seen")
                mta.wait_log("info: body gr=C3=BC.*: body")
            elif extra:
                check("info: header" not in mta.log(), "checks that were not to be")


def what_is_7bit_or_not_declared_stays():
    plain = b"From: a@away.test\nSubject: x\nContent-Transfer-Encoding: 7bit\n\n" + b"y" * 900 + b"\n"
    undeclared = b"From: a@away.test\nSubject: x\n\nnot said \xfc\n"
    for parameters, message in (({}, plain), ({}, undeclared),
                                ({"disable_mime_input_processing": "yes"}, EIGHT_BIT)):
        with Mta({"force_mime_input_conversion": "yes"} | parameters):
            check_equal(deliver(message)[0], 250)
            check_equal(body_of(fetch("u1")), body_of(message))
    with Mta():
        check_equal(deliver(EIGHT_BIT)[0], 250)
        check_equal(body_of(fetch("u1")), body_of(EIGHT_BIT), "no is the default")


def the_next_server_hears_what_it_gets():
    """Converted content is announced as what it is; the rest by the line of cleanup alone."""
    line = "cleanup unix n - n - 0 cleanup -o force_mime_input_conversion=yes"
    with Mta(master=[line]) as mta:
        sink = mta.sink()
        content = relay(mta, EIGHT_BIT, sink, options=" BODY=8BITMIME").content
        check(all(byte < 128 for byte in content), content)
        check("BODY=7BIT" in sink.mail_commands[0], sink.mail_commands)


def large_parts_are_converted_as_they_come():
    """Beyond what is held in memory."""
    line = "zeile mit ümlaut und mehr\n".encode()
    head = (b"From: a@away.test\nSubject: large\nContent-Type: text/plain; charset=utf-8\n"
            b"Content-Transfer-Encoding: 8bit\n\n")
    with Mta({"force_mime_input_conversion": "yes"}):
        check_equal(deliver(head + line * 40_000)[0], 250)
        check_equal(quopri.decodestring(body_of(fetch("u1"))), line * 40_000)


def stray_carriage_returns():
    message = b"Subject: x\n\none\rtwo\r\rthree\n"
    for value, body in (("yes", b"one two  three\n"), ("no", b"one\rtwo\r\rthree\n")):
        with Mta({"cleanup_replace_stray_cr_lf": value, "smtpd_forbid_bare_newline": "no"}):
            check_equal(deliver(message)[0], 250)
            check_equal(body_of(fetch("u1")), body, value)


def headers_without_an_end():
    message = b"Subject: x\nthis is no header\n\nthe rest\n"
    said = "header is not terminated by an empty line"
    for action, code in (("fix_quietly", 250), ("add_separator", 250), ("reject", 550)):
        with Mta({"non_empty_end_of_header_action": action}) as mta:
            answer = deliver(message)
            check_equal(answer[0], code, action)
            if code == 250:
                check_equal(body_of(fetch("u1")), b"this is no header\n\nthe rest\n", action)
                check_equal(said in mta.log(), action == "add_separator", action)
            else:
                check_equal(answer[1], "550 5.5.2 message header is not terminated by an empty line")
            # A header that ends as it should, or a body alone, is no matter of this.
            for good in (b"Subject: x\n\nbody\n", b"only a body\n"):
                check_equal(deliver(good)[0], 250, good)


def duplicates_are_remembered_up_to_a_limit():
    """The second u2 is known as one as long as the first was remembered."""
    maps = "inline:{ {all@box.test = u1@box.test u2@box.test u2@box.test} }"
    for limit, copies in (("1000", 1), ("2", 1), ("0", 1), ("1", 2)):
        with Mta({"duplicate_filter_limit": limit, "virtual_alias_maps": maps}) as mta:
            check_equal(deliver(b"Subject: x\n\nx\n", "all@box.test")[0], 250)
            mta.wait_drained()
            check_equal((len(maildir("u1")), len(maildir("u2"))), (1, copies), limit)


def duplicates_are_the_same_whatever_their_case():
    """But for who asks for other reports (NOTIFY)."""
    with Mta({}) as mta:
        sink = mta.sink()
        with Client() as client:
            for line in ("MAIL FROM:<s@away.test>", "RCPT TO:<b@away.test>", "RCPT TO:<B@Away.test>",
                         "RCPT TO:<b@away.test> NOTIFY=NEVER", "DATA"):
                check(client.command(line)[0] in (250, 354), line)
            client.raw(wire(b"Subject: x\n\nx\n") + b".\r\n")
            check_equal(client.reply()[0], 250)
        mta.wait_drained()
        check_equal(sum(len(message.recipients) for message in sink.wait(1)), 2)


def relay(mta, message, sink, recipient="b@away.test", options=""):
    """What the sink got; the MAIL command is the last of its list."""
    count = len(sink.messages)
    with Client(source=HOST) as client:
        check_equal(client.command(f"MAIL FROM:<a@home.test>{options}")[0], 250)
        check_equal(client.command(f"RCPT TO:<{recipient}>")[0], 250)
        client.command("DATA")
        client.raw(wire(message) + b".\r\n")
        check_equal(client.reply()[0], 250)
    return sink.wait(count + 1)[-1]


def keywords_are_passed_over_by_address():
    """smtp_discard_ehlo_keyword_address_maps goes before smtp_discard_ehlo_keywords."""
    for parameters, has_size in (
            ({}, True), ({"smtp_discard_ehlo_keywords": "size"}, False),
            ({"smtp_discard_ehlo_keyword_address_maps": "inline:{198.51.100.25=size}"}, False),
            ({"smtp_discard_ehlo_keyword_address_maps": "inline:{198.51.100.25=dsn}",
              "smtp_discard_ehlo_keywords": "size"}, True)):
        with Mta(parameters) as mta:
            sink = mta.sink()
            relay(mta, b"Subject: x\n\nx\n", sink)
            check_equal("SIZE=" in sink.mail_commands[-1], has_size, parameters)


def content_of_eight_bits_is_announced():
    """By the client, or by the header; not because it is what nobody said."""
    body = b"\n\ngr\xfc\xdfe\n"
    parts = EIGHT_BIT.replace(b"Content-Transfer-Encoding: 8bit\n", b"", 1)
    for value, announced in (("yes", True), ("no", False)):
        with Mta({"detect_8bit_encoding_header": value}) as mta:
            sink = mta.sink()
            for message in (b"Subject: x\nContent-Transfer-Encoding: 8bit" + body,
                            b"Subject: x\nContent-Transfer-Encoding: Binary" + body, parts):
                relay(mta, message, sink)
                check_equal("BODY=8BITMIME" in sink.mail_commands[-1], announced, value)
            for message in (b"Subject: x" + body, b"Subject: x\nContent-Transfer-Encoding: 7bit" + body):
                relay(mta, message, sink)
                check("BODY=" not in sink.mail_commands[-1], message)
                relay(mta, message, sink, options=" BODY=8BITMIME")
                check("BODY=8BITMIME" in sink.mail_commands[-1], value)


def local_mail_that_checks_refuse_goes_back():
    """The sender hears of it, the log names cleanup, and no agent is asked."""
    checks = {"header_checks": "regexp:{ {/^Subject: bad/ REJECT 5.7.9 not this} }", "hopcount_limit": "3"}
    with Mta(checks, may_log="message rejected: hopcount") as mta:
        for text, status, why in ((b"Subject: bad\n\nx\n", "5.7.9", "not this"),
                                  (b"Received: from x\n" * 3 + b"\nx\n", "5.4.0", "too many hops")):
            before = len(maildir("u1"))
            done = mta.tool("sendmail", "-f", "u1@box.test", "u2@box.test", "r@away.test", data=text)
            check_equal(done.returncode, 0, done.stderr)
            for recipient in ("u2@box.test", "r@away.test"):
                line = (rf"cleanup\[\d+\]: (\w+): to=<{recipient}>, relay=none, delay=.*, dsn={status}, "
                        rf"status=bounced \({why}\)")
                mta.wait_log(line)
            notice = fetch("u1", before + 1)
            check(f"Status: {status}".encode() in notice, notice)
            check(b"Final-Recipient: rfc822; r@away.test" in notice, notice)
            queue_id = re.search(line, mta.log())[1]
            check(not re.search(rf"{queue_id}: (from=.*queue active|removed)", mta.log()), mta.log())
        check_equal(maildir("u2"), [])


def what_is_sent_on_has_passed_here_before():
    """By an alias, a second message: it is neither checked nor copied again."""
    with Mta({"header_checks": "regexp:{ {/^Subject: seen/ WARN once} }", "always_bcc": "u8@box.test",
              "sender_bcc_maps": "inline:{ {a@away.test = u7@box.test} }",
              "recipient_bcc_maps": "inline:{ {u5@box.test = u6@box.test} }",
              "alias_maps": "inline:{ {fwd = u5@box.test} }"}, may_log="header Subject: seen") as mta:
        check_equal(deliver(b"Subject: seen\n\nx\n", "fwd@home.test")[0], 250)
        check(b"Subject: seen" in fetch("u5"))
        mta.wait_drained()
        check_equal([len(maildir(box)) for box in ("u5", "u6", "u7", "u8")], [1, 0, 1, 1])
        check_equal(len(re.findall("warning: header Subject: seen", mta.log())), 1, mta.log())
        mta.wait_log(r"to=<fwd@home\.test>, relay=local, .*status=sent \(forwarded as ")


def commands_get_recipients_in_order():
    """By domain and address, whatever the order of the envelope; null_sender stands in F and R lines."""
    script, seen = MAIL + "/record", MAIL + "/u9/seen"
    line = (f"rec unix - n n - - pipe flags=FR user=vmail null_sender=no.body "
            f"argv={script} ${{sender}} ${{recipient}}")
    with Mta({"transport_maps": "inline:{ {b.test = rec}, {a.test = rec} }", "relay_domains": "a.test, b.test"},
             master=[line]) as mta:
        write(script, f"#!/bin/sh\n{{ echo \"$@\"; cat; }} > {seen}.new\nmv {seen}.new {seen}\n", 0o755)
        with Client() as client:
            check_equal(client.send("", ["c@b.test", "b@b.test", "Z@b.test"], b"Subject: x\n\nx\n"), 250)
        wait_for("the command", lambda: os.path.exists(seen))
        got = read(seen).decode().split("\n")
        check_equal(got[0], "no.body Z@b.test b@b.test c@b.test")
        check(got[1].startswith("From no.body  "), got)
        check_equal(got[2], "Return-Path: <no.body>")
        mta.wait_drained()


def failed_and_expired_are_told_apart():
    with Mta({"maximal_queue_lifetime": "0", "transport_maps":
              "inline:{ {bad.test = error:5.1.1 none}, {late.test = retry:4.3.0 not now} }"}) as mta:
        done = mta.tool("sendmail", "-f", "u1@box.test", "a@bad.test", "b@late.test", data=b"Subject: x\n\nx\n")
        check_equal(done.returncode, 0, done.stderr)
        wait_for("two notices", lambda: len(maildir("u1")) == 2)
        failed, late = sorted(maildir("u1"), key=lambda notice: b"late.test" in notice)
        check(b"a@bad.test" in failed and b"b@late.test" not in failed, failed)
        check(b"rfc822; b@late.test" in late and b"a@bad.test" not in late, late)
        mta.wait_drained()


def filters_put_back_what_they_were_sent():
    """receive_override_options is the listener's: what is unmapped before the filter is mapped behind."""
    filtered = {"content_filter": "smtp:[198.51.100.25]", "receive_override_options": "no_address_mappings",
                "virtual_alias_maps": "inline:{ {old@box.test = u3@box.test} }", "always_bcc": "u4@box.test"}
    line = "26 inet n - n - - smtpd -o content_filter= -o receive_override_options=no_header_body_checks"
    with Mta(filtered, master=[line]) as mta:
        sink = mta.sink()
        check_equal(deliver(b"Subject: x\n\nx\n", "old@box.test")[0], 250)
        sink.wait(1)
        check_equal(sink.messages[0].recipients, ["old@box.test"])
        with Client(port=26) as client:
            check_equal(client.send("a@away.test", ["old@box.test"], b"Subject: x\n\nx\n"), 250)
        fetch("u3")
        fetch("u4")
        mta.wait_drained()
        check_equal((len(maildir("u3")), len(maildir("u4"))), (1, 1))


def filters_without_a_next_hop():
    """The recipient's domain, or default_filter_nexthop."""
    for value, port in (("", 25), ("[198.51.100.25]:2525", 2525)):
        with Mta({"content_filter": "smtp:", "default_filter_nexthop": value}) as mta:
            sink = mta.sink(port=port)
            check_equal(relay(mta, b"Subject: x\n\nx\n", sink).recipients, ["b@away.test"])


def domains_that_are_numbers():
    with Mta() as mta, Client(source=HOST) as client:
        client.command("MAIL FROM:<a@home.test>")
        code, text = client.command("RCPT TO:<b@198.51.100.25>")
        check_equal((code, "5.1.3" in text), (501, True), text)
    with Mta({"resolve_numeric_domain": "yes"}) as mta:
        sink = mta.sink()
        message = relay(mta, b"Subject: x\n\nx\n", sink, "b@198.51.100.25")
        check_equal(message.recipients, ["b@[198.51.100.25]"])


def queue_ids_from_mail_on():
    """smtpd_delay_open_until_valid_rcpt = no: refused recipients have the id of the message."""
    for value, wanted in (("yes", r"NOQUEUE"), ("no", r"[0-9A-F]{6,}")):
        with Mta({"smtpd_delay_open_until_valid_rcpt": value,
                  "smtpd_relay_restrictions": "reject_unauth_destination"}) as mta:
            with Client(source=CLIENT) as client:
                client.command("MAIL FROM:<a@away.test>")
                check_equal(client.command("RCPT TO:<b@else.test>")[0], 554)
                # An id alone is no recipient.
                check_equal(client.command("DATA")[1], "554 5.5.1 Error: no valid recipients")
                check_equal(client.command("RSET")[0], 250)
                check_equal(client.send("a@away.test", ["u1@box.test"], b"Subject: x\n\nx\n"), 250)
            found = mta.wait_log(r"(\w+): reject: RCPT from unknown\[198\.51\.100\.200\]: 554")
            check(re.fullmatch(wanted, found[1]), value, found[1])
            fetch("u1")


def full_names_beyond_ascii():
    """A From: that is added is for all servers to take."""
    for charset, wanted in (("utf-8", b"From: =?utf-8?Q?J=C3=BCrgen_M=2E?= <alice@home.test>"),
                            ("", "From: \"Jürgen M.\" <alice@home.test>".encode())):
        with Mta({"full_name_encoding_charset": charset}) as mta:
            done = mta.tool("sendmail", "-F", "Jürgen M.", "u1@box.test", user="alice",
                            data=b"Subject: x\n\nx\n")
            check_equal(done.returncode, 0, done.stderr)
            message = fetch("u1")
            check(b"\n" + wanted + b"\n" in message, message)


def aliases_without_end_are_told_from_broken_tables():
    """Circles and floods of aliases are the administrator's to mend, and no table is to blame."""
    maps = {
        "inline:{ {a@box.test = b@box.test}, {b@box.test = a@box.test} }":
            "451 4.6.0 Alias expansion error",
        "hash:" + CONF + "/broken": "451 4.3.0",
    }
    for table, wanted in maps.items():
        with Mta({"virtual_alias_maps": table, "local_recipient_maps": "",
                  "smtpd_reject_unlisted_recipient": "no"}, start=False) as mta:
            write(CONF + "/broken.db", "no data base\n")
            mta.start()
            with Client(source=HOST) as client:
                client.send("s@home.test", ["a@box.test"], b"Subject: x\n\nx\n")
                check(client.last[1].startswith(wanted), table, client.last)
            check_equal(len(queue_files()), 0)


def inspection_ends_where_a_rule_says_so():
    """header_checks(5): PASS and REDIRECT are the last word, and REDIRECT goes before FILTER."""
    checks = ("/^X-Pass:/ PASS\n/^X-To: (.*)/ REDIRECT $1\n/^X-Filter:/ FILTER smtp:[198.51.100.77]\n"
              "/^X-Bad:/ REJECT\n")
    with Mta({"header_checks": f"regexp:{CONF}/rules", "body_checks": f"regexp:{CONF}/body"},
             start=False) as mta:
        write(CONF + "/rules", checks)
        write(CONF + "/body", "/^bad/ REJECT\n")
        mta.start()
        check_equal(deliver(b"X-Bad: x\nX-Pass: x\n\nx\n")[0], 550)
        check_equal(deliver(b"X-Pass: late\nX-Bad: x\n\nfirst\n" + b"bad\n" * 9000 + b"end\n")[0], 250)
        got = fetch("u1").split(b"\n\n", 1)
        check(b"X-Bad: x" in got[0], got[0])
        check_equal(got[1], b"first\n" + b"bad\n" * 9000 + b"end\n")
        mta.wait_log(r"cleanup\[\d+\]: \w+: pass: header X-Pass: late from \S+; from=<a@away\.test> ")
        check_equal(deliver(b"X-Filter: x\nX-To: u2@box.test\nX-Bad: x\n\nbad\n")[0], 250)
        check(b"X-Bad: x" in fetch("u2"))
        # Told once, by the one who has found it.
        check_equal(len(re.findall(r": reject: ", mta.log())), 1)


def characters_that_nobody_wants():
    """postconf(5) message_reject_characters and message_strip_characters: header and body."""
    with Mta({"message_reject_characters": r"\002", "message_strip_characters": r"\001"},
             master=["26 inet n - n - - smtpd -o receive_override_options=no_header_body_checks"]) as mta:
        for message in (b"Subject: a\x02b\n\nx\n", b"Subject: a\n\n" + b"x\n" * 50000 + b"a\x02b\n"):
            check_equal(deliver(message), (550, "550 5.7.1 disallowed character"))
        mta.wait_log(r"cleanup\[\d+\]: \w+: reject: content a\?b from \S+; from=<a@away\.test> "
                     r"to=<u1@box\.test> proto=ESMTP helo=<\S+>: 5\.7\.1 disallowed character")
        check_equal(deliver(b"Subject: a\x01b\n\nc\x01d\n")[0], 250)
        got = fetch("u1")
        check(b"Subject: ab\n" in got and b"\ncd\n" in got, got)
        with Client(source=CLIENT, port=26) as client:
            check_equal(client.send("a@away.test", ["u2@box.test"], b"Subject: a\x02b\n\nc\x01d\n"), 250)
        check(b"\nc\x01d\n" in fetch("u2"))
        check_equal(len(re.findall(r": reject: ", mta.log())), 2)


def hops_are_counted():
    with Mta({"hopcount_limit": "3"}) as mta:
        check_equal(deliver(b"Received: from x\n" * 3 + b"\nx\n"), (554, "554 5.4.0 Error: too many hops"))
        mta.wait_log(r"cleanup\[\d+\]: warning: \w+: message rejected: hopcount exceeded")
        check_equal(deliver(b"Received: from x\n" + b"\nx\n")[0], 250)
        check("reject: END-OF-MESSAGE" not in mta.log(), mta.log())


def circles_in_canonical_maps_hold_no_mail_up():
    with Mta({"canonical_maps": "inline:{ {u1@box.test = u2@box.test}, {u2@box.test = u1@box.test} }"},
             may_log="unreasonable canonical_maps") as mta:
        check_equal(deliver(b"Subject: x\n\nx\n")[0], 250)
        mta.wait_log(r"tables\[\d+\]: warning: unreasonable canonical_maps map nesting for u1@box\.test"
                     r"|rewrite\[\d+\]: warning: unreasonable canonical_maps map nesting for u1@box\.test")
        check(b"Subject: x" in fetch("u1"))


def filters_before_the_queue_refuse():
    """smtpd_proxy_filter: who refuses what, and with speed_adjust not before the content has come."""
    late = "27 inet n - n - - smtpd -o smtpd_proxy_filter=127.0.0.1:10025 -o smtpd_proxy_options=speed_adjust"
    with Mta(master=["26 inet n - n - - smtpd -o smtpd_proxy_filter=127.0.0.1:10025", late,
                     "28 inet n - n - - smtpd -o smtpd_proxy_filter=127.0.0.1:10099"], may_log="proxy") as mta:
        filter = Sink("127.0.0.1", 10025, replies={"MAIL": b"550 5.7.1 not him\r\n"})
        mta.closers.append(filter)
        with Client(source=CLIENT, port=26) as client:
            client.command("MAIL FROM:<a@away.test>")
            check_equal(client.command("RCPT TO:<u1@box.test>")[1], "550 5.7.1 not him")
        mta.wait_log(r'warning: proxy 127\.0\.0\.1:10025 rejected "MAIL FROM:<a@away\.test>": "550 5\.7\.1 not him"')
        with Client(source=CLIENT, port=27) as client:
            check_equal(client.send("a@away.test", ["u1@box.test"], b"Subject: late\n\n" + b"x\n" * 99_999), 550)
            check_equal(client.command("NOOP")[0], 250)
        mta.wait_log(r"proxy-reject: END-OF-MESSAGE: 550 5\.7\.1 not him; from=<a@away\.test> to=<u1@box\.test> proto=ESMTP")
        with Client(source=CLIENT, port=28) as client:
            client.command("MAIL FROM:<a@away.test>")
            check_equal(client.command("RCPT TO:<u1@box.test>")[0], 451)
        mta.wait_log(r"warning: connect to proxy filter 127\.0\.0\.1:10099: Connection refused")
        # Nonsense is no leave to send content, nor an answer for the client.
        filter.replies = {"DATA": b"250 2.0.0 Ok\r\n"}
        with Client(source=CLIENT, port=26) as client:
            check_equal(client.send("a@away.test", ["u1@box.test"], b"Subject: odd\n\nx\n"), 451)
        filter.replies = {}
        for port in (26, 27):
            with Client(source=CLIENT, port=port) as client:
                check_equal(client.send("a@away.test", ["u1@box.test"], b"Subject: fine\n\nx\n"), 250)
        check_equal(len(filter.wait(2)), 2)
        mta.wait_log(r"proxy-accept: END-OF-MESSAGE: 250 .*; from=<a@away\.test> to=<u1@box\.test> proto=ESMTP helo=<")


def blanks_before_the_colon_hide_no_field():
    with Mta({"header_checks": "pcre:{ {/^X-Odd: bad/ REJECT seen} }"}) as mta:
        check_equal(deliver(b"X-Odd \t: bad\n\nx\n")[1], "550 5.7.1 seen")
        check_equal(deliver(b"X-Odd : fine\n\nx\n")[0], 250)
        check(b"\nX-Odd: fine\n" in fetch("u1"))


main([eight_bit_content_is_converted, what_is_7bit_or_not_declared_stays,
      the_next_server_hears_what_it_gets, large_parts_are_converted_as_they_come,
      stray_carriage_returns, headers_without_an_end, duplicates_are_remembered_up_to_a_limit,
      duplicates_are_the_same_whatever_their_case, keywords_are_passed_over_by_address,
      content_of_eight_bits_is_announced, filters_without_a_next_hop, domains_that_are_numbers,
      queue_ids_from_mail_on, full_names_beyond_ascii,
      aliases_without_end_are_told_from_broken_tables, inspection_ends_where_a_rule_says_so,
      characters_that_nobody_wants, hops_are_counted, circles_in_canonical_maps_hold_no_mail_up,
      filters_before_the_queue_refuse, blanks_before_the_colon_hide_no_field,
      local_mail_that_checks_refuse_goes_back, what_is_sent_on_has_passed_here_before,
      commands_get_recipients_in_order, failed_and_expired_are_told_apart,
      filters_put_back_what_they_were_sent])
