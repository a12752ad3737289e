"""HTTP/1.1 on one socket (RFC 9112): heads and bodies, with a limit on everything a server may send.

Bodies are read straight from the socket into the caller's buffer: h11's small reads cost half of the throughput
(ADR 0008). Errors are httpx's, the vocabulary of the seam.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from mlkit.registry.pace import Pace

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_HEAD_LIMIT = 64 * 1024  # bytes (threats.md, limits)
_HEADER_COUNT = 200
_INTERIM_LIMIT = 8  # responses 1xx before the real one; more is a server that never answers
_LINE_LIMIT = 8 * 1024  # bytes of a chunk's size line with its extensions
_READ_AHEAD = 16 * 1024
_STALL_RATE = 1024  # bytes per second

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?", re.ASCII)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_UNSAFE_VALUE = re.compile(rb"[\x00\r\n]")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers of a response, and what they say about its body."""

    status: int
    headers: list[tuple[bytes, bytes]]
    length: int | None
    """Bytes of the body; None where it is chunked or ends with the connection."""
    is_chunked: bool
    is_kept_alive: bool


class Channel:
    """A socket, and what was read from it before anyone asked."""

    def __init__(self, sock: socket.socket, *, stall: float, pace: Pace | None = None) -> None:
        self.sock = sock
        self._stall = stall
        self._pace = pace
        self._ahead = b""
        self._waited = 0.0
        self._got = 0

    def send(self, blocks: Iterable[bytes | memoryview], *, timeout: float) -> None:
        """Send every block. Raises: httpx.WriteTimeout, httpx.WriteError."""
        for block in blocks:  # outside of `try`: a failure to read what is to be sent is none of the network's
            for piece in (block,) if self._pace is None else _pieces(block, self._pace.slice):
                try:
                    self.sock.settimeout(timeout)
                    self.sock.sendall(piece)
                except TimeoutError as error:
                    raise httpx.WriteTimeout("the server stopped taking data") from error
                except OSError as error:
                    raise httpx.WriteError(reason(error)) from error
                if self._pace is not None:
                    self._pace.spend(len(piece))

    def read_head(self, method: str, *, timeout: float) -> Head:
        """The head of the response to a request of `method`. Raises: httpx.TransportError."""
        deadline = time.monotonic() + timeout
        for _ in range(_INTERIM_LIMIT):
            raw = self._read_until(b"\r\n\r\n", _HEAD_LIMIT, deadline)
            head = _parse_head(raw, method)
            if head.status >= 200:
                return head
        raise httpx.RemoteProtocolError("the server sends interim responses without end")

    def readinto(self, view: memoryview) -> int:
        """Some bytes, 0 at the end of the connection. Raises: httpx.ReadTimeout for a server that stalls."""
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count] = self._ahead[:count]
            self._ahead = self._ahead[count:]
            return self._paced(count)
        if self._pace is not None:
            view = view[: self._pace.slice]
        self.sock.settimeout(self._stall)
        started = time.monotonic()
        try:
            count = self.sock.recv_into(view)
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no data for {self._stall:.0f} s") from error
        except OSError as error:
            raise httpx.ReadError(reason(error)) from error
        # Only time spent waiting for the server counts: a consumer may be as slow as it likes.
        self._waited += time.monotonic() - started
        self._got += count
        if self._waited > self._stall:
            if self._got < self._stall * _STALL_RATE:
                raise httpx.ReadTimeout(f"only {self._got} bytes in {self._waited:.0f} s")
            self._waited, self._got = 0.0, 0
        return self._paced(count)

    def read_line(self) -> bytes:
        """A line of a chunked body, without its end."""
        return self._read_until(b"\r\n", _LINE_LIMIT, time.monotonic() + self._stall)

    def is_idle(self) -> bool:
        """Whether the server has neither closed the connection nor sent what nobody asked for."""
        if self._ahead:
            return False
        try:
            self.sock.settimeout(0)
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def abort(self) -> None:
        """End the connection at once, also under another thread's read."""
        with suppress(OSError):  # it is gone already, which is what was wanted
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sock.close()

    def _paced(self, count: int) -> int:
        if self._pace is not None:
            self._pace.spend(count)
        return count

    def _read_until(self, end: bytes, limit: int, deadline: float) -> bytes:
        found = bytearray(self._ahead)
        self._ahead = b""
        searched = 0
        while (at := found.find(end, searched)) < 0:
            if len(found) > limit:
                raise httpx.RemoteProtocolError(f"a response head of more than {limit} bytes")
            searched = max(0, len(found) - len(end))
            left = deadline - time.monotonic()
            if left <= 0:
                raise httpx.ReadTimeout("no answer in time")
            try:
                self.sock.settimeout(left)
                more = self.sock.recv(_READ_AHEAD)
            except TimeoutError as error:
                raise httpx.ReadTimeout("no answer in time") from error
            except OSError as error:
                raise httpx.ReadError(reason(error)) from error
            if not more:
                raise httpx.RemoteProtocolError("the server closed the connection without an answer")
            found += more
        if at > limit:
            raise httpx.RemoteProtocolError(f"a response head of more than {limit} bytes")
        self._ahead = bytes(found[at + len(end) :])
        return bytes(found[:at])


class Body(httpx.SyncByteStream):
    """The body of a response. Closing it gives the connection back, or ends it where bytes are left on it."""

    def __init__(self, channel: Channel, head: Head, release: Callable[[Channel, bool], None]) -> None:
        self._channel = channel
        self._head = head
        self._release = release
        self._left = head.length if head.length is not None else 0
        self._has_ended = head.length == 0
        self._is_first_chunk = True
        self._is_closed = False
        self._broken: httpx.TransportError | None = None

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer; fewer bytes only at the end or before a failure, 0 at the end.

        Raises: httpx.TransportError, after the bytes before it were handed over.
        """
        if self._is_closed:
            raise httpx.StreamClosed
        if self._broken is not None:
            raise self._broken
        view = memoryview(buffer).cast("B")
        done = 0
        try:
            while done < len(view) and not self._has_ended:
                done += self._some(view[done:])
        except httpx.TransportError as error:
            self._broken = error
            if not done:
                raise
        return done

    def __iter__(self) -> Iterator[bytes]:
        block = bytearray(64 * 1024)
        while count := self.readinto(block):
            yield bytes(block[:count])

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._release(self._channel, self._has_ended and self._broken is None and self._head.is_kept_alive)

    def _some(self, view: memoryview) -> int:
        if self._head.is_chunked and not self._left:
            self._next_chunk()
            return 0
        bounded = self._head.is_chunked or self._head.length is not None
        count = self._channel.readinto(view[: self._left] if bounded else view)
        if bounded:
            self._left -= count
            if not count:
                raise httpx.ReadError(f"the connection ended {self._left} bytes early")
            self._has_ended = not self._left and not self._head.is_chunked
        else:
            self._has_ended = not count
        return count

    def _next_chunk(self) -> None:
        if not self._is_first_chunk and self._channel.read_line():
            raise httpx.RemoteProtocolError("a chunk that is longer than it says")
        self._is_first_chunk = False
        size = _CHUNK_SIZE.fullmatch(self._channel.read_line())
        if size is None:
            raise httpx.RemoteProtocolError("a chunk without a size")
        self._left = int(size[1], 16)
        if not self._left:
            for _ in range(_HEADER_COUNT):
                if not self._channel.read_line():
                    break
            else:
                raise httpx.RemoteProtocolError("trailers without end")
            self._has_ended = True


def render_head(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Request line and headers. Raises: httpx.LocalProtocolError for what would split the message in two."""
    lines = [method.encode("ascii") + b" " + target + b" HTTP/1.1"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or _UNSAFE_VALUE.search(value):
            raise httpx.LocalProtocolError(f"the header {name!a} cannot be sent")
        lines.append(name + b": " + value)
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _pieces(block: bytes | memoryview, size: int) -> Iterator[memoryview]:
    view = memoryview(block)
    return (view[start : start + size] for start in range(0, len(view), size))


def reason(error: OSError) -> str:
    """The operating system's words for a failure, without number and class."""
    if isinstance(error, ssl.SSLError):
        return error.reason.replace("_", " ").lower() if error.reason else "TLS failed"
    return (error.strerror or type(error).__name__).lower()


def _parse_head(raw: bytes, method: str) -> Head:
    status_line, *lines = raw.split(b"\r\n")
    found = _STATUS.fullmatch(status_line)
    if found is None:
        raise httpx.RemoteProtocolError(f"not HTTP: {status_line[:60]!a}")
    if len(lines) > _HEADER_COUNT:
        raise httpx.RemoteProtocolError(f"more than {_HEADER_COUNT} headers")
    headers: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name) or _UNSAFE_VALUE.search(value):
            raise httpx.RemoteProtocolError(f"not a header: {line[:60]!a}")
        headers.append((name, value.strip(b" \t")))
    status = int(found[2])
    codings = _values(headers, b"transfer-encoding")
    is_chunked = bool(codings)
    if is_chunked and codings != [b"chunked"]:
        raise httpx.RemoteProtocolError(f"unknown transfer encoding {b', '.join(codings)[:60]!a}")
    length = None if is_chunked else _length(headers)
    if method == "HEAD" or status in (204, 304) or status < 200:
        length, is_chunked = 0, False
    wishes = _values(headers, b"connection")
    is_kept_alive = b"close" not in wishes and (found[1] == b"1" or b"keep-alive" in wishes)
    return Head(status, headers, length, is_chunked, is_kept_alive and (length is not None or is_chunked))


def _length(headers: list[tuple[bytes, bytes]]) -> int | None:
    values = set(_values(headers, b"content-length"))
    if not values:
        return None
    (value, *others) = values
    if others or not value.isdigit() or len(value) > 19:
        raise httpx.RemoteProtocolError("an ambiguous Content-Length")
    return int(value)


def _values(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [part.strip().lower() for name, value in headers if name.lower() == wanted for part in value.split(b",")]
