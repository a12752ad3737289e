"""HTTP/1.1 for simulated registries: requests as values, answers as values, on loopback."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """What came in, and how it was answered."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes = b""
    status: int = 0
    sent: int = 0
    """Bytes of the answer's body."""

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


@dataclass
class Answer:
    """What goes out."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    """Bytes of the body after which the connection ends."""


@contextmanager
def serving(handle: Callable[[Request], Answer], *, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """The `host:port` of a server that answers with what `handle` gives, from several threads at once."""

    class Handler(_Handler):
        answer = staticmethod(handle)

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up or refuse our certificate are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    answer: Callable[[Request], Answer]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20  # seconds, the patience with idle connections

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        target = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(target.query))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        request = Request(self.command, target.path, query, headers, body)
        self._send(request, type(self).answer(request))

    def _send(self, request: Request, answer: Answer) -> None:
        body = b"" if request.method == "HEAD" else answer.body
        request.status, request.sent = answer.status, len(body[: answer.cut])
        self.send_response_only(answer.status)
        headers = {"Content-Length": str(len(answer.body)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: answer.cut])
        if answer.cut is not None and answer.cut < len(body):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""
