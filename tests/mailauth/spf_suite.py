#!/usr/bin/env python3
"""The RFC 7208 test suite, as the source package of pyspf carries it. Exit code 77: it cannot be
had here."""

import os
import subprocess
import sys
import tarfile
import tempfile

try:
    import yaml
except ImportError:
    print("python3-yaml is not installed")
    sys.exit(77)

from probe import Probe


def fetch(directory):
    """The suite's text, by way of a source list of our own."""
    cached = os.environ.get("POSTERN_SPF_SUITE")
    if cached:
        with open(cached, encoding="utf-8") as file:
            return file.read()
    sources = os.path.join(directory, "sources.list")
    lists = os.path.join(directory, "lists")
    os.makedirs(os.path.join(lists, "partial"))
    with open(sources, "w", encoding="utf-8") as file:
        file.write("deb-src http://deb.debian.org/debian bookworm main\n")
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={sources}",
           "-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::lists={lists}",
           "-o", "Acquire::http::Timeout=10", "-o", "Acquire::Retries=0"]
    try:
        subprocess.run(apt + ["update"], cwd=directory, check=True, timeout=90,
                       capture_output=True)
        subprocess.run(apt + ["source", "--tar-only", "pyspf"], cwd=directory, check=True,
                       timeout=60, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"the source of pyspf cannot be had: {error}")
        sys.exit(77)
    for name in os.listdir(directory):
        if not name.endswith(".tar.gz"):
            continue
        with tarfile.open(os.path.join(directory, name)) as archive:
            for member in archive:
                if member.name.endswith("test/rfc7208-tests.yml"):
                    return archive.extractfile(member).read().decode("utf-8")
    print("no suite in the source of pyspf")
    sys.exit(77)


def records_of(zonedata):
    """Records as the probe takes them. Those of type SPF stand for TXT where there is none."""
    zone = {}
    for name, records in zonedata.items():
        out = []
        types = {kind for record in records if isinstance(record, dict) for kind in record}
        for record in records:
            if not isinstance(record, dict):
                out.append(record)
                continue
            for kind, value in record.items():
                if kind == "SPF":
                    if "TXT" in types:
                        continue
                    kind = "TXT"
                if value == "NONE" and kind == "TXT":
                    continue
                if kind == "MX":
                    value = value[1]
                if isinstance(value, list):
                    value = "".join(value)
                out.append([kind, str(value)])
        zone[name.lower().rstrip(".")] = out
    return zone


def main():
    probe = Probe(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="spf-suite.") as directory:
        suite = list(yaml.safe_load_all(fetch(directory)))
    failed = count = 0
    for section in suite:
        if not section:
            continue
        zone = records_of(section["zonedata"])
        for name, test in section["tests"].items():
            count += 1
            expected = test["result"]
            expected = expected if isinstance(expected, list) else [expected]
            answer = probe.ask(op="spf", zone=zone, client=test["host"],
                               helo=test.get("helo") or "", sender=test.get("mailfrom") or "")
            good = answer.get("result") in expected
            wanted = test.get("explanation")
            if wanted == "DEFAULT":
                wanted = ""
            if good and wanted is not None and answer["result"] == "fail":
                good = answer["explanation"] == wanted
            if not good:
                failed += 1
                print(f"{section['description']}/{name}: wanted {expected} {wanted}, got {answer}")
    probe.close()
    print(f"{count} tests, {failed} failed")
    return 1 if failed or count < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
