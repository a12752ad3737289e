"""A bad network on loopback, before any registry: slow, cut, stalled, corrupting, gone; and it counts what passes.

It looks at HTTP/1.1 while relaying it, so faults hit bodies and never heads, and can be meant for some requests only.
TLS is relayed as it is, and is one endless body each way.

    with fault_proxy(host) as proxy:
        proxy.downloads.faults.append(Fault("reset", every=64 * MIB))
        proxy.downloads.rate = 10 * MIB
        pull(f"{proxy.host}/team/digits:1")
        assert proxy.received < 1.1 * size
"""

from __future__ import annotations

import fcntl
import re
import socket
import struct
import termios
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

from tests.support.http_pieces import ENDLESS, Piece, Pieces, framed_length, header

_BLOCK = 256 * 1024
_TLS = 0x16  # the first byte of a handshake (RFC 8446, section 5.1)


@dataclass
class Fault:
    """Something that happens to bodies: at a byte of each, at an age of each connection, or each so many bytes of all.

    `reset` ends the connection with RST, `truncate` with FIN; `stall` lets nothing more pass and ends nothing;
    `flip` turns one bit over.
    """

    kind: Literal["reset", "truncate", "stall", "flip"]
    at: int | None = None
    """The bytes of a body that pass before it, counted in each body anew."""
    age: int | None = None
    """The bytes of bodies that a connection has carried before it."""
    every: int | None = None
    """The bytes of all bodies that pass between one and the next, over all connections."""
    times: int | None = None
    """How often it happens; None for always."""
    on: str = ".*"
    """The request lines (`GET /v2/team/digits/blobs/sha256:…`) whose bodies it hits."""
    struck: int = 0
    """How often it happened."""
    _passed: int = 0

    def distance(self, position: int, age: int) -> int | None:
        """Bytes that may pass before it strikes; None where it does not any more."""
        if self.times is not None and self.struck >= self.times:
            return None
        if self.every is not None:
            return self.every - self._passed
        left = self.at - position if self.at is not None else self.age - age if self.age is not None else -1
        return None if left < 0 else left

    def count(self, size: int) -> None:
        """So many bytes pass."""
        self._passed += size

    def strike(self) -> None:
        """It happens now."""
        self.struck += 1
        self._passed = 0


@dataclass
class Way:
    """One direction, and what is wrong with it. All of it may be changed at any time."""

    latency: float = 0.0
    """Seconds that each head is held back."""
    rate: float | None = None
    """Bytes of bodies per second, for each connection by itself."""
    slice: int | None = None
    """The most bytes that are sent at once."""
    faults: list[Fault] = field(default_factory=list)
    rewrite: Callable[[bytes], bytes] | None = None
    """What becomes of a head; the body behind it stays as it is."""


@dataclass
class Exchange:
    """One request and its answer."""

    line: str
    """`GET /v2/…`, with the query; empty for what is not HTTP."""
    status: int = 0
    sent: int = 0
    """Bytes of the request's body that passed."""
    received: int = 0
    """Bytes of the answer's body that passed."""


class FaultProxy:
    """`host` is where clients connect."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        """Where the registry itself is, with nothing between."""
        self.uploads = Way()
        """From clients to the registry."""
        self.downloads = Way()
        """From the registry to clients."""
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.forget()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = int(self._listener.getsockname()[1])
        self.host = f"127.0.0.1:{self._port}"
        self._listen()

    def forget(self) -> None:
        """Count from nought."""
        with self.lock:
            self.sent = 0
            """Bytes from clients to the registry, heads and all."""
            self.received = 0
            """Bytes from the registry to clients, heads and all."""
            self.connections = 0
            self.exchanges: list[Exchange] = []

    def seen(self, pattern: str = ".*") -> list[Exchange]:
        """The requests whose lines match, in order."""
        with self.lock:
            return [one for one in self.exchanges if re.fullmatch(pattern, one.line)]

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody listens: connections are refused. Those that exist go on."""
        self._stop_listening()
        try:
            yield
        finally:
            self._listener = socket.create_server(("127.0.0.1", self._port))
            self._listen()

    def close(self) -> None:
        """Take no connections any more, and end those that stall."""
        self.over.set()
        self._stop_listening()

    def _listen(self) -> None:
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._thread.start()

    def _stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                host, _, port = self.upstream.rpartition(":")
                server = socket.create_connection((host, int(port)))
            except OSError:
                _end_with_reset(client)
                return
            with server:
                _Relay(self, client, server).run()


class _Relay:
    """One connection, in two threads."""

    def __init__(self, proxy: FaultProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._is_over = False
        self._is_http = True
        self._asked: deque[Exchange] = deque()
        self._request = self._answer = Exchange("")
        self._ends_after_answer = False
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        back = threading.Thread(target=self._relay, args=(self._server, self._client, False), daemon=True)
        back.start()
        self._relay(self._client, self._server, True)
        back.join()

    def _relay(self, source: socket.socket, target: socket.socket, is_upload: bool) -> None:
        pieces = Pieces(self._request_head if is_upload else self._answer_head)
        stream = _Stream(self._proxy, target, is_upload=is_upload)
        with suppress(OSError):
            while (raw := source.recv(_BLOCK)) and not self._is_over:
                if is_upload and stream.is_new and raw[0] == _TLS:
                    self._is_http = False
                for piece in pieces.feed(raw) if self._is_http else [Piece(raw, "body")]:
                    cut = stream.send(piece, self._request if is_upload else self._answer)
                    if cut == "reset":
                        self._reset()
                        return
                    if cut == "truncate" or (piece.is_last and not is_upload and self._ends_after_answer):
                        self._end(source, target)
                        return
        if not self._is_over:
            for end, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
                with suppress(OSError):
                    end.shutdown(how)

    def _reset(self) -> None:
        self._is_over = True
        for end in (self._client, self._server):
            _end_with_reset(end)

    def _end(self, *ends: socket.socket) -> None:
        self._is_over = True
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _request_head(self, head: bytes) -> tuple[bytes, int]:
        exchange = Exchange(head.split(b"\r\n")[0].decode("latin-1").rpartition(" ")[0])
        length = framed_length(head) or 0
        self._request = exchange
        self._asked.append(exchange)
        with self._proxy.lock:
            self._proxy.exchanges.append(exchange)
        rewrite = self._proxy.uploads.rewrite
        return rewrite(head) if rewrite else head, length

    def _answer_head(self, head: bytes) -> tuple[bytes, int]:
        status = int(head.split(b" ", 2)[1])
        if status < 200:
            return head, 0
        self._answer = self._asked.popleft() if self._asked else Exchange("")
        self._answer.status = status
        has_body = status not in (204, 304) and not self._answer.line.startswith("HEAD ")
        length = framed_length(head) if has_body else 0
        rewrite = self._proxy.downloads.rewrite
        shown = rewrite(head) if rewrite else head
        self._ends_after_answer = framed_length(shown) is None or (header(shown, "Connection") or "") == "close"
        return shown, ENDLESS if length is None else length


class _Stream:
    """What goes out at one end of a connection, and what happens to it on the way."""

    def __init__(self, proxy: FaultProxy, target: socket.socket, *, is_upload: bool) -> None:
        self.is_new = True
        self._proxy = proxy
        self._target = target
        self._is_upload = is_upload
        self._way = proxy.uploads if is_upload else proxy.downloads
        self._due = 0.0
        self._age = 0

    def send(self, piece: Piece, exchange: Exchange) -> str | None:
        """Let it pass, as far as it comes; how the connection ends, where it does."""
        self.is_new = False
        if piece.kind != "body":
            if piece.kind == "head":
                self._proxy.over.wait(self._way.latency)
            self._put(piece.raw, exchange, is_body=False)
            return None
        raw = bytearray(piece.raw)
        while raw:
            fault, size = self._next(exchange, self._most(len(raw)))
            self._put(raw[:size], exchange, is_body=True)
            del raw[:size]
            if fault is None:
                continue
            if fault.kind == "flip":
                self._put(bytes([raw.pop(0) ^ 1]), exchange, is_body=True)
                continue
            _drain(self._target)
            if fault.kind == "stall":
                self._proxy.over.wait()
            return "truncate" if fault.kind == "stall" else fault.kind
        return None

    def _most(self, size: int) -> int:
        rate = self._way.rate
        # A twentieth of a second at a time, so that a slow network is slow and not jerky.
        return min(size, self._way.slice or size, size if rate is None else max(int(rate / 20), 1))

    def _next(self, exchange: Exchange, size: int) -> tuple[Fault | None, int]:
        """The bytes that may pass, and the fault that comes after them."""
        position = exchange.sent if self._is_upload else exchange.received
        first: Fault | None = None
        with self._proxy.lock:
            concerned = [fault for fault in self._way.faults if re.fullmatch(fault.on, exchange.line)]
            for fault in concerned:
                distance = fault.distance(position, self._age)
                # The byte that a flip hits must be at hand when it strikes.
                if distance is not None and distance + (fault.kind == "flip") <= size:
                    first, size = fault, distance
            for fault in concerned:
                fault.count(size)
            if first is not None:
                first.strike()
        return first, size

    def _put(self, raw: bytes | bytearray, exchange: Exchange, *, is_body: bool) -> None:
        self._wait(len(raw) if is_body else 0)
        # Counted first: whoever has received the last byte may look at the counts at once.
        with self._proxy.lock:
            if self._is_upload:
                self._proxy.sent += len(raw)
                exchange.sent += len(raw) * is_body
            else:
                self._proxy.received += len(raw)
                exchange.received += len(raw) * is_body
        self._age += len(raw) * is_body
        step = self._way.slice or len(raw) or 1
        for start in range(0, len(raw), step):
            self._target.sendall(raw[start : start + step])

    def _wait(self, size: int) -> None:
        if self._way.rate is not None and size:
            now = time.monotonic()
            self._due = max(self._due, now) + size / self._way.rate
            self._proxy.over.wait(self._due - now)


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A proxy before `host:port`, in which nothing is wrong yet."""
    proxy = FaultProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()


def _drain(end: socket.socket) -> None:
    """Wait until the other side has what was sent: RST would take it back."""
    for _ in range(1000):
        if not struct.unpack("i", fcntl.ioctl(end, termios.TIOCOUTQ, b"\0" * 4))[0]:
            return
        time.sleep(0.001)


def _end_with_reset(end: socket.socket) -> None:
    """End the connection with RST as soon as the last thread that uses it has let go of it."""
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RD)
