"""The connections to registries: dialled, pooled, and read without a copy (ADR 0008).

An `httpx.BaseTransport`, so that everything above speaks httpx's requests and responses. The response's stream is an
`http1.Body`, whose `readinto` fills the caller's buffer from the socket.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, runtime_checkable

import httpx

from mlkit.registry.connection import Connection
from mlkit.registry.dial import connect
from mlkit.registry.gate import Gate, Slot
from mlkit.registry.http1 import Body, Channel, reason, render_head
from mlkit.registry.origin import Origin
from mlkit.registry.pace import Pace
from mlkit.registry.proxy import Proxy, is_direct
from mlkit.registry.tls import tls_context

_IDLE_PER_ORIGIN = 8
_IDLE_SECONDS = 30.0
_JOINED = 16 * 1024  # bytes; a small body leaves in one packet with its head


@runtime_checkable
class Blocks(Protocol):
    """A request body that can be sent from one buffer that is used again and again."""

    def blocks(self) -> Iterator[memoryview]:
        """From the start, each time; a block is valid until the next one is asked for."""


class Transport(httpx.BaseTransport):
    """Thread-safe; one request at a time on each connection, as many connections as there are requests at once."""

    def __init__(self, connection: Connection, pace: Pace | None = None) -> None:
        self._connection = connection
        self._timeouts = connection.timeouts
        self._pace = pace
        named = {"https": connection.proxy, "http": connection.http_proxy}
        self._proxies = {scheme: Proxy.parse(text) for scheme, text in named.items() if text}
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[tuple[float, Channel]]] = {}
        self._live: set[Channel] = set()
        self._gates: dict[Origin, Gate] = {}
        self._is_closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Raises: httpx.TransportError; UsageError for certificates and proxies that cannot be used."""
        origin = Origin.of(request.url)
        slot = self._gate(origin).enter()
        try:
            response = self._answer(origin, request, slot)
        except BaseException:
            slot.leave()
            raise
        throttled = response.status_code == 429 or (response.status_code == 503 and "Retry-After" in response.headers)
        slot.told(is_refused=throttled)
        return response

    def _answer(self, origin: Origin, request: httpx.Request, slot: Slot) -> httpx.Response:
        while True:
            channel = self._take(origin)
            is_reused = channel is not None
            if channel is None:
                channel = self._dial(origin)
            try:
                return self._exchange(channel, origin, request, slot)
            except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
                self._drop(channel)
                # A server may close an idle connection at the moment when it is used again (RFC 9112, section 9.3.1).
                # Not so for PATCH: the bytes may have been taken.
                if not is_reused or request.method == "PATCH":
                    raise
            except BaseException:
                self._drop(channel)
                raise

    def close(self) -> None:
        """Close what is idle, and end what is not: reads in other threads fail at once."""
        with self._lock:
            self._is_closed = True
            idle = [channel for channels in self._idle.values() for _, channel in channels]
            self._idle.clear()
            live = list(self._live)
            gates = list(self._gates.values())
        for gate in gates:
            gate.open()
        for channel in live:
            channel.abort()
        for channel in idle:
            self._drop(channel)

    def _exchange(self, channel: Channel, origin: Origin, request: httpx.Request, slot: Slot) -> httpx.Response:
        has_body = request.headers.get("Content-Length", "0") != "0"
        timeout = self._timeouts.commit if has_body or request.method == "PUT" else self._timeouts.answer
        try:
            channel.send(self._message(origin, request), timeout=self._timeouts.answer)
        except httpx.WriteError as error:
            # A server that refuses a body may answer and close before it has read everything.
            try:
                head = replace(channel.read_head(request.method, timeout=1), is_kept_alive=False)
            except httpx.TransportError:
                raise error from None
        else:
            head = channel.read_head(request.method, timeout=timeout)
        if request.headers.get("Connection") == "close":
            head = replace(head, is_kept_alive=False)  # not every server says that it does what it was asked for

        def release(used: Channel, is_reusable: bool) -> None:
            self._release(origin, used, is_reusable)
            slot.leave()

        body = Body(channel, head, release)
        return httpx.Response(head.status, headers=head.headers, stream=body, request=request)

    def _message(self, origin: Origin, request: httpx.Request) -> Iterator[bytes | memoryview]:
        authority = origin.authority.encode("ascii")
        headers = [(b"Host", authority)]
        headers += [(name, value) for name, value in request.headers.raw if name.lower() != b"host"]
        target = request.url.raw_path
        proxy = self._proxy_for(origin)
        if origin.scheme == "http" and proxy is not None:
            target = b"http://" + authority + target
            if proxy.authorization:
                headers.append((b"Proxy-Authorization", proxy.authorization))
        head = render_head(request.method, target, headers)
        stream = request.stream
        assert isinstance(stream, httpx.SyncByteStream)
        blocks: Iterator[bytes | memoryview] = stream.blocks() if isinstance(stream, Blocks) else iter(stream)
        first = next(blocks, b"")
        if len(first) <= _JOINED:
            yield b"".join((head, first))
        else:
            yield head
            yield first
        yield from blocks

    def _gate(self, origin: Origin) -> Gate:
        with self._lock:
            return self._gates.setdefault(origin, Gate())

    def _take(self, origin: Origin) -> Channel | None:
        while True:
            with self._lock:
                if self._is_closed:
                    raise httpx.ReadError("the connections were closed")
                channels = self._idle.get(origin)
                if not channels:
                    return None
                since, channel = channels.pop()
            if time.monotonic() - since < _IDLE_SECONDS and channel.is_idle():
                return channel
            self._drop(channel)

    def _release(self, origin: Origin, channel: Channel, is_reusable: bool) -> None:
        with self._lock:
            channels = self._idle.setdefault(origin, [])
            if is_reusable and not self._is_closed and len(channels) < _IDLE_PER_ORIGIN:
                channels.append((time.monotonic(), channel))
                return
        self._drop(channel)

    def _drop(self, channel: Channel) -> None:
        with self._lock:
            self._live.discard(channel)
        channel.close()

    def _proxy_for(self, origin: Origin) -> Proxy | None:
        proxy = self._proxies.get(origin.scheme)
        return None if proxy is None or is_direct(origin, self._connection.no_proxy) else proxy

    def _dial(self, origin: Origin) -> Channel:
        tls = self._tls_context() if origin.scheme == "https" else None
        proxy = self._proxy_for(origin)
        if proxy is not None:
            sock = connect(proxy.host, proxy.port, self._timeouts.connect, hop="the proxy ")
            if tls is not None:
                try:
                    self._tunnel(sock, origin, proxy)
                except BaseException:
                    sock.close()
                    raise
        else:
            sock = connect(origin.host, origin.port, self._timeouts.connect)
        if tls is not None:
            sock = self._secure(sock, tls, origin)
        channel = Channel(sock, stall=self._timeouts.stall, pace=self._pace)
        with self._lock:
            self._live.add(channel)
        return channel

    def _tunnel(self, sock: socket.socket, origin: Origin, proxy: Proxy) -> None:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        target = f"{host}:{origin.port}".encode("ascii")
        headers = [(b"Host", target)]
        if proxy.authorization:
            headers.append((b"Proxy-Authorization", proxy.authorization))
        channel = Channel(sock, stall=self._timeouts.stall)
        channel.send([render_head("CONNECT", target, headers)], timeout=self._timeouts.connect)
        # To CONNECT there is no body, whatever the headers say (RFC 9110, section 9.3.6): read it as to HEAD.
        head = channel.read_head("HEAD", timeout=self._timeouts.answer)
        if not 200 <= head.status < 300:
            raise httpx.ProxyError(f"the proxy {proxy.host}:{proxy.port} answered {head.status}")

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = tls_context(self._connection)
            return self._tls

    def _secure(self, sock: socket.socket, tls: ssl.SSLContext, origin: Origin) -> ssl.SSLSocket:
        try:
            sock.settimeout(self._timeouts.connect)
            return tls.wrap_socket(sock, server_hostname=origin.host)
        except TimeoutError as error:
            sock.close()
            raise httpx.ConnectTimeout("the TLS handshake was not finished in time") from error
        except OSError as error:
            sock.close()
            raise httpx.ConnectError(f"TLS: {reason(error)}") from error
