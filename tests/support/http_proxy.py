"""An HTTP proxy on loopback that knows where made-up hosts are."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class HttpProxy:
    """`routes` maps `host:port` as clients write it to `host:port` on loopback."""

    address: str
    routes: Mapping[str, str]
    authorization: str | None = None
    """What clients must send as Proxy-Authorization."""
    status: int = 200
    """What CONNECT is answered with."""
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
        raw = b""
        while b"\r\n\r\n" not in raw:
            more = client.recv(65536)
            if not more:
                return client.close()
            raw += more
        head = raw.partition(b"\r\n\r\n")[0].decode()
        self.heads.append(head)
        status = self.status
        if self.authorization and f"Proxy-Authorization: {self.authorization}" not in head:
            status = 407
        method, target, _ = head.split("\r\n")[0].split(" ")
        found = re.match(r"http://([^/]+)", target)
        host, _, port = self.routes[found[1] if found else target].rpartition(":")
        if status != 200:
            client.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return client.close()
        server = socket.create_connection((host, int(port)))
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server.sendall(raw)
        for source, target_socket in ((client, server), (server, client)):
            threading.Thread(target=_relay, args=(source, target_socket), daemon=True).start()
        return None


def _relay(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        target.close()


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
