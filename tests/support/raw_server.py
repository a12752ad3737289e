"""A server on loopback that answers with exactly the bytes of a test, for what no HTTP library would send."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

Step = bytes | float
"""Bytes to send, or seconds to wait."""


@dataclass
class RawServer:
    """`host` is where clients connect; each request is answered with the next script, the last one again and again."""

    host: str
    scripts: Sequence[Sequence[Step]]
    requests: list[bytes] = field(default_factory=list)
    """The head of each request."""
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            client.settimeout(20)
            try:
                while head := _read_head(client):
                    with self.lock:
                        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
                        self.requests.append(head)
                    for step in script:
                        if isinstance(step, bytes):
                            client.sendall(step)
                        else:
                            time.sleep(step)
                    if not script or script[-1] == b"":
                        return  # an empty last step ends the connection
            except OSError:
                return


@contextmanager
def raw_server(*scripts: Sequence[Step]) -> Iterator[RawServer]:
    """A server with these scripts until the context is left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = RawServer(f"127.0.0.1:{listener.getsockname()[1]}", scripts)
        thread = threading.Thread(target=server.serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _read_head(client: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        more = client.recv(65536)
        if not more:
            return b""
        head += more
    return head
