"""An HTTP proxy on loopback that knows where made-up hosts are."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class HttpProxy:
    """`routes` maps `host:port` as clients write it to `host:port` on loopback."""

    address: str
    routes: Mapping[str, str]
    authorization: str | None = None
    """What clients must send as Proxy-Authorization."""
    heads: list[str] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            raw = b""
            while b"\r\n\r\n" not in raw:
                more = client.recv(65536)
                if not more:
                    return
                raw += more
            head = raw.partition(b"\r\n\r\n")[0].decode()
            self.heads.append(head)
            if self.authorization and f"Proxy-Authorization: {self.authorization}" not in head:
                client.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            method, target, _ = head.split("\r\n")[0].split(" ")
            found = re.match(r"http://([^/]+)", target)
            host, _, port = self.routes[found[1] if found else target].rpartition(":")
            with socket.create_connection((host, int(port))) as server:
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    server.sendall(raw)
                back = threading.Thread(target=_relay, args=(server, client), daemon=True)
                back.start()
                _relay(client, server)
                back.join()


def _relay(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(65536):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def http_proxy(routes: Mapping[str, str]) -> Iterator[HttpProxy]:
    """A proxy until the context is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = HttpProxy(f"127.0.0.1:{listener.getsockname()[1]}", routes)
        thread = threading.Thread(target=proxy.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
