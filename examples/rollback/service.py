"""A service that predicts with whatever lies in a folder: `service.py FOLDER`. It prints its address.

/predict?x=2 answers with a number, /health with 200 where it can predict at all.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def predict(folder: Path, x: float) -> float:
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return float(model["slope"] * x + model["intercept"])


class Service(BaseHTTPRequestHandler):
    folder = Path()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        try:
            answer = predict(self.folder, float(parse_qs(url.query).get("x", ["1"])[0]))
            status, text = 200, json.dumps({"y": answer})
        except (OSError, ValueError, KeyError) as error:
            status, text = 503, json.dumps({"error": f"{type(error).__name__}: {error}"})
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


Service.folder = Path(sys.argv[1])
server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
