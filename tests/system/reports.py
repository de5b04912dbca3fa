"""reports.py - what the system tells other domains: TLS reports (RFC 8460) by mail and HTTPS, with a
real name server, resolver and web servers as in secure_delivery.py; DMARC aggregate reports."""
import email
import gzip
import json
import xml.etree.ElementTree

from harness import *
from packages import provide
from secure_delivery import (KEYS, OPTIONS, HttpsServer, Policies, TlsSink, policy, send, start_dns,
                             stop_dns)
from tls import make_keys, new_certificate


class Collector(HttpsServer):
    """Takes reports over HTTPS: [(path, content type, body)]."""

    def __init__(self, address, certificate, status=201):
        self.taken, self.status = [], status
        super().__init__(address, certificate, do_POST=lambda request: self.take(request))

    def take(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.taken.append((request.path, request.headers["Content-Type"], body))
        request.send_response(self.status)
        request.send_header("Content-Length", "0")
        request.end_headers()


def report(mta, *words):
    told = mta.tool("postern", "report", *words, timeout=60)
    check_equal(told.returncode, 0, (words, told.stdout, told.stderr))
    return told.stdout.decode()


def policy_of(content):
    """The one policy of a packed TLS report."""
    [found] = json.loads(gzip.decompress(content))["policies"]
    return found


def tls_reports():
    make_keys()
    hosts = {"kept": 30, "forged": 31, "tested": 33, "lost": 34, "plain": 35, "silent": 36,
             "refuses": 37}
    rua = {"kept": "mailto:tls@box.sts", "forged": "https://web.box.sts/v1/tlsrpt",
           "tested": "mailto:tls@box.sts", "lost": "mailto:tls@box.sts", "plain": "mailto:tls@box.sts",
           "refuses": "https://web.box.sts:8443/x,ftp://box.sts/",
           "box": "mailto:tls@box.sts"}
    records = ["box MX 10 mx.box", "mx.box A 198.51.100.38", "web.box A 198.51.100.48"]
    new_certificate("web-box", "web.box.sts")
    for name, number in hosts.items():
        new_certificate(name, f"mx.{name}.sts")
        new_certificate("web-" + name, f"mta-sts.{name}.sts")
        records += [f"{name} MX 10 mx.{name}", f"mx.{name} A 198.51.100.{number}"]
        if name in ("kept", "forged", "tested", "lost"):
            records += [f"mta-sts.{name} A 198.51.100.{number + 10}",
                        f'_mta-sts.{name} TXT "v=STSv1; id=1"']
    records += [f'_smtp._tls.{name} TXT "v=TLSRPTv1; rua={uri}"' for name, uri in rua.items()]
    started = start_dns({}, {"sts": records})
    try:
        with Mta({**OPTIONS, "smtp_tls_security_level": "may", "smtp_tlsrpt_enable": "yes",
                  "report_organization": "Home of tests", "report_sender": "reports@home.test",
                  "dkim_sign_enable": "yes", "dkim_signing_table": "inline:{home.test=s1}"},
                 start=False, may_log=r"reports pid \d+ killed|MTA-STS policy of lost") as mta:
            mta.tool("postern", "dkim", "new", "home.test", "s1")
            mta.start()
            sinks = {name: TlsSink(f"198.51.100.{number}", "other" if name == "forged" else name)
                     for name, number in hosts.items() if name not in ("plain", "silent", "refuses")}
            for name in ("plain", "silent", "refuses"):
                sinks[name] = Sink(f"198.51.100.{hosts[name]}")
            box = Sink("198.51.100.38")
            collector = Collector("198.51.100.48", "web-box")
            webs = [Policies(f"198.51.100.{hosts[name] + 10}", "web-" + name, policy(
                "mx2.tested.sts" if name == "tested" else f"mx.{name}.sts",
                mode="testing" if name == "tested" else "enforce"))
                    for name in ("kept", "forged", "tested")]
            mta.closers += [*sinks.values(), *webs, box, collector]
            send(*(f"{name}.sts" for name in hosts))
            mta.wait_log(r"to=<r@kept\.sts>.*status=sent")
            mta.wait_log(r"to=<r@tested\.sts>.*status=sent")
            mta.wait_log(r"to=<r@plain\.sts>.*status=sent")
            mta.wait_log(r"to=<r@lost\.sts>.*status=sent")
            mta.wait_log(r"to=<r@silent\.sts>.*status=sent")
            mta.wait_log(r"to=<r@refuses\.sts>.*status=sent")
            mta.wait_log(r"to=<r@forged\.sts>.*status=deferred \(Server certificate not verified\)")
            mta.tool("postsuper", "-d", "ALL")
            collected = report(mta, "tls")
            for name, wanted in (("kept", "1 passed        0 failed"),
                                 ("tested", "0 passed        1 failed"),
                                 ("plain", "0 passed        1 failed")):
                check(re.search(rf"{name}\.sts +{wanted}", collected), name, collected)
            check("1 starttls-not-supported" in collected, collected)
            check("certificate-" in collected, collected)
            # It is kept when the process ends in any way; it is written two seconds after a change.
            time.sleep(3)
            for pid in daemons("reports"):
                os.kill(pid, signal.SIGKILL)
            wait_for("what was collected", lambda: "kept.sts" in mta.tool(
                "postern", "report", "tls").stdout.decode())
            sent = report(mta, "tls", "--send")
            check("tls@box.sts: queued as" in sent, sent)
            check("https://web.box.sts/v1/tlsrpt: HTTP status 201" in sent, sent)
            check("silent" not in sent and "refuses" not in sent, sent)
            by_mail(box.wait(4))
            [(path, kind, body)] = collector.taken
            check_equal((path, kind), ("/v1/tlsrpt", "application/tlsrpt+gzip"))
            forged = policy_of(body)
            check_equal(forged["policy"]["policy-type"], "sts")
            check(forged["summary"]["total-failure-session-count"] >= 1, forged)
            check_equal(forged["failure-details"][0]["result-type"], "certificate-host-mismatch")
            check_equal(forged["failure-details"][0]["receiving-mx-hostname"], "mx.forged.sts")
            # A report is never what another one is about.
            left = report(mta, "tls")
            check("box.sts " not in left.partition("Sent:")[0], left)
            check("queued as" in left.partition("Sent:")[2], left)
            write(ROOT + "/forged.json.gz", "")
            with open(ROOT + "/forged.json.gz", "wb") as file:
                file.write(body)
            with open(ROOT + "/letter", "wb") as file:
                file.write(box.messages[0].content)
            summary = report(mta, "tls", ROOT + "/forged.json.gz", ROOT + "/letter")
            check(summary.startswith("2 reports, "), summary)
            for words in ("Home of tests", "forged.sts", "certificate-host-mismatch"):
                check(words in summary, words, summary)
    finally:
        stop_dns(started)


def by_mail(messages):
    reports = {}
    for message in messages:
        check_equal(message.recipients, ["tls@box.sts"])
        check_equal(message.sender, "double-bounce@home.test")
        parsed = email.message_from_bytes(message.content)
        check_equal(parsed.get_content_type(), "multipart/report")
        check_equal(parsed.get_param("report-type"), "tlsrpt")
        check_equal(parsed["TLS-Report-Submitter"], "home.test")
        check_equal(parsed["From"], "<reports@home.test>")
        check("d=home.test; s=s1" in parsed["DKIM-Signature"], parsed["DKIM-Signature"])
        text, packed = parsed.get_payload()
        check_equal(text.get_content_type(), "text/plain")
        check_equal(packed.get_content_type(), "application/tlsrpt+gzip")
        check(re.fullmatch(r"home\.test![\w.]+!\d+!\d+\.json\.gz", packed.get_filename()),
              packed.get_filename())
        reports[parsed["TLS-Report-Domain"]] = policy_of(packed.get_payload(decode=True))
    check_equal(sorted(reports), ["kept.sts", "lost.sts", "plain.sts", "tested.sts"])
    # Nobody serves the policy that its record announces.
    check_equal(reports["lost.sts"]["failure-details"][0]["result-type"], "sts-policy-fetch-error")
    kept, plain, tested = (reports[name + ".sts"] for name in ("kept", "plain", "tested"))
    check_equal(kept["summary"], {"total-successful-session-count": 1,
                                  "total-failure-session-count": 0})
    check("mode: enforce" in kept["policy"]["policy-string"], kept)
    check_equal(plain["policy"], {"policy-type": "no-policy-found", "policy-domain": "plain.sts"})
    check_equal(plain["failure-details"][0]["result-type"], "starttls-not-supported")
    check_equal(tested["failure-details"][0]["result-type"], "validation-failure")


def dmarc_reports():
    """Aggregate reports (RFC 7489): of mail that passed and that was refused, to those who agreed."""
    zone = {
        "pass.test MX": ["10 mx.pass.test"],
        "pass.test TXT": [f"v=spf1 ip4:{CLIENT} -all"],
        "_dmarc.pass.test TXT": ["v=DMARC1; p=reject; adkim=s; rua=mailto:d@box.away.test,"
                                 "mailto:d@others.test,mailto:small@pass.test!10"],
        "pass.test._report._dmarc.box.away.test TXT": ["v=DMARC1"],
        "box.away.test MX": ["10 mx.away.test"],
        "others.test MX": ["10 mx.away.test"],
        # Nobody to tell.
        "quiet.test TXT": [f"v=spf1 ip4:{CLIENT} -all"],
        "_dmarc.quiet.test TXT": ["v=DMARC1; p=none"],
    }
    with Mta({"smtpd_dmarc_enable": "yes", "smtpd_dmarc_policy": "enforce",
              "dmarc_report_enable": "yes", "report_organization": "Home <of> tests",
              "smtpd_recipient_restrictions": "permit_mynetworks, reject_unauth_destination"},
             zone=zone) as mta:
        sink = mta.sink()
        for domain in ("pass.test", "pass.test", "quiet.test"):
            with Client(source=CLIENT) as client:
                check_equal(client.send(f"a@{domain}", ["u1@box.test"],
                                        f"From: <a@{domain}>\nSubject: x\n\nx\n".encode()), 250)
        with Client(source="198.51.100.201") as client:
            check_equal(client.send("x@away.test", ["u1@box.test"],
                                    b"From: <a@news.pass.test>\nSubject: x\n\nx\n"), 550)
        wait_for("results", lambda: re.search(r"pass\.test +2 passed +1 failed", report(
            mta, "dmarc", "--collected")))
        collected = report(mta, "dmarc", "--collected")
        check("quiet.test" not in collected and "1 reject" in collected, collected)
        sent = report(mta, "dmarc", "--send")
        check("d@box.away.test: queued as" in sent, sent)
        check("small@pass.test: the report has" in sent, sent)
        check("others.test" not in sent, sent)
        mta.wait_log("others.test does not want reports about others")
        [message] = sink.wait(1)
        check_equal((message.sender, message.recipients),
                    ("double-bounce@home.test", ["d@box.away.test"]))
        parsed = email.message_from_bytes(message.content)
        check(re.fullmatch(r"Report Domain: pass\.test\s+Submitter: home\.test\s+Report-ID: <\S+>",
                           parsed["Subject"]), parsed["Subject"])
        packed = parsed.get_payload()[1]
        check_equal(packed.get_content_type(), "application/gzip")
        check(re.fullmatch(r"home\.test!pass\.test!\d+!\d+\.xml\.gz", packed.get_filename()),
              packed.get_filename())
        feedback = xml.etree.ElementTree.fromstring(gzip.decompress(packed.get_payload(decode=True)))
        check_equal(feedback.findtext("report_metadata/org_name"), "Home <of> tests")
        check_equal([(each.tag, each.text) for each in feedback.find("policy_published")],
                    [("domain", "pass.test"), ("adkim", "s"), ("aspf", "r"), ("p", "reject"),
                     ("sp", "reject"), ("pct", "100")])
        rows = {row.findtext("row/source_ip"): row for row in feedback.iter("record")}
        good, bad = rows[CLIENT], rows["198.51.100.201"]
        check_equal([good.findtext("row/" + name) for name in (
            "count", "policy_evaluated/disposition", "policy_evaluated/spf")], ["2", "none", "pass"])
        check_equal([bad.findtext(name) for name in (
            "row/policy_evaluated/disposition", "identifiers/header_from", "identifiers/envelope_from",
            "auth_results/spf/domain")], ["reject", "news.pass.test", "away.test", "away.test"])
        with open(ROOT + "/report", "wb") as file:
            file.write(message.content)
        check("pass.test" in report(mta, "dmarc", ROOT + "/report"))


def daily_reports():
    """What was collected goes out by itself once the day is over, and once only."""
    zone = {
        "pass.test TXT": [f"v=spf1 ip4:{CLIENT} -all"],
        "pass.test MX": ["10 mx.away.test"],
        "_dmarc.pass.test TXT": ["v=DMARC1; p=none; rua=mailto:d@pass.test"],
    }
    with Mta({"smtpd_dmarc_enable": "yes", "dmarc_report_enable": "yes", "report_time_spread": "1h",
              "smtpd_recipient_restrictions": "permit_mynetworks, reject_unauth_destination"},
             zone=zone) as mta:
        sink = mta.sink()
        with Client(source=CLIENT) as client:
            check_equal(client.send("a@pass.test", ["u1@box.test"],
                                    b"From: <a@pass.test>\nSubject: x\n\nx\n"), 250)
        wait_for("the result", lambda: "pass.test" in report(mta, "dmarc", "--collected"))
        time.sleep(6)
        check_equal(sink.messages, [])
        mta.stop()
        later = LaterClock("reports", 25 * 3600)
        try:
            mta.start()
            [message] = sink.wait(1)
            check_equal(message.recipients, ["d@pass.test"])
            mta.stop()
            mta.start()
            time.sleep(6)
            check_equal(len(sink.messages), 1)
            check("queued as" in report(mta, "dmarc", "--collected"))
            mta.stop()
        finally:
            later.close()


if __name__ == "__main__":
    provide(["nsd", "unbound", "ldns-signzone", "ldns-keygen"],
            ["nsd", "unbound", "ldnsutils", "libldns3", "libevent-2.1-7", "libprotobuf-c1",
             "libfstrm0", "libhiredis0.14", "libnghttp2-14", "libpython3.11", "libpcap0.8"])
    main([tls_reports, dmarc_reports, daily_reports])
