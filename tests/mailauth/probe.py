"""probe.py - talks to the probe program, which holds the library of mail authentication."""

import base64
import json
import subprocess


class Probe:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, **request):
        if isinstance(request.get("message"), bytes):
            request["message"] = base64.b64encode(request["message"]).decode()
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the probe has died of {request}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        return self.process.wait(30)
