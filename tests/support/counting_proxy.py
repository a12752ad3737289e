"""A relay on loopback that counts the bytes which pass it, in front of any registry."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CountingProxy:
    """What passed so far; `host` is where clients connect."""

    def __init__(self, listener: socket.socket, upstream: tuple[str, int]) -> None:
        self.host = f"127.0.0.1:{listener.getsockname()[1]}"
        self.sent = 0
        """Bytes from clients to the registry."""
        self.received = 0
        """Bytes from the registry to clients."""
        self._listener = listener
        self._upstream = upstream
        self._lock = threading.Lock()

    def reset(self) -> None:
        """Count from nought."""
        with self._lock:
            self.sent = self.received = 0

    def accept(self) -> None:
        """Relay every connection until the listener is shut down."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._upstream) as server:
            back = threading.Thread(target=self._relay, args=(server, client, "received"), daemon=True)
            back.start()
            self._relay(client, server, "sent")
            back.join()

    def _relay(self, source: socket.socket, target: socket.socket, counter: str) -> None:
        with suppress(OSError):
            while chunk := source.recv(65536):
                with self._lock:
                    setattr(self, counter, getattr(self, counter) + len(chunk))
                target.sendall(chunk)
        for end, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
            with suppress(OSError):
                end.shutdown(how)


@contextmanager
def counting_proxy(upstream: str) -> Iterator[CountingProxy]:
    """A relay to `host:port`."""
    host, _, port = upstream.rpartition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = CountingProxy(listener, (host, int(port)))
        threading.Thread(target=proxy.accept, daemon=True).start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
