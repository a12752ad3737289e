"""A server to be served by: says what it was given, and misbehaves on demand.

python -m tests.support.fake_server --port N [--die-after S] [--never-ready] [--ignore-term] [--child FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model")
    parser.add_argument("--die-after", type=float)
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--child", type=Path, help="start one more process, and write its number here")
    given = parser.parse_args()
    print("loading", given.model, flush=True)
    if given.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if given.child:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        given.child.write_text(str(subprocess.Popen([sys.executable, "-c", code]).pid))
    if given.die_after is not None:

        def die() -> None:
            time.sleep(given.die_after)
            print("CUDA out of memory", flush=True)
            os._exit(3)

        threading.Thread(target=die, daemon=True).start()
    facts = {"environ": dict(os.environ), "cwd": os.getcwd(), "model": given.model}  # noqa: PTH109

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one segment, or each answer waits for an ACK

        def do_GET(self) -> None:
            if self.path == "/facts":
                self._answer(200, facts)
            else:
                self._answer(503 if given.never_ready else 200, {"ready": not given.never_ready})

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            self._answer(200, {"echo": json.loads(self.rfile.read(length) or b"null")})

        def _answer(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
