"""A TCP connection to a host that may have several addresses, of which some may be dead (RFC 8305, in short)."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable
from itertools import chain, zip_longest
from typing import Any

import httpx

from mlkit.registry.http1 import reason

_STAGGER = 0.25  # seconds that an address is given before the next one is tried beside it (RFC 8305, section 5)
_ADDRESSES = 16  # of one host that are tried
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})

Address = tuple[int, int, int, str, Any]
"""Family, type, protocol, canonical name and socket address, as of getaddrinfo."""


def connect(
    host: str,
    port: int,
    timeout: float,
    *,
    hop: str = "",
    resolve: Callable[..., list[Any]] = socket.getaddrinfo,
) -> socket.socket:
    """A connected socket; an address that does not answer holds the next one up for a quarter of a second.

    `timeout` is in seconds, for all addresses together. `hop` begins the name of the host in errors.
    Raises: httpx.ConnectTimeout, httpx.ConnectError.
    """
    try:
        found = resolve(host, port, type=socket.SOCK_STREAM)
        sock = _first(_in_turn(found)[:_ADDRESSES], timeout)
    except TimeoutError as error:
        raise httpx.ConnectTimeout(f"{hop}{host}:{port} did not answer within {timeout:.0f} s") from error
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that no name server could be asked for
        words = reason(error) if isinstance(error, OSError) else "not a host name"
        raise httpx.ConnectError(f"{hop}{host}:{port}: {words}") from error
    sock.setblocking(True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _in_turn(found: list[Address]) -> list[Address]:
    """The addresses of the preferred family and of the other one, taking turns (RFC 8305, section 4)."""
    first = [address for address in found if address[0] == found[0][0]]
    second = [address for address in found if address[0] != found[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, second)) if address is not None]


def _first(addresses: list[Address], timeout: float) -> socket.socket:
    """The first socket that is connected; the others are closed. Raises: OSError, TimeoutError."""
    deadline = time.monotonic() + timeout
    todo = list(addresses)
    failure: OSError = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    with selectors.DefaultSelector() as waiting:
        try:
            while todo or waiting.get_map():
                if todo:
                    try:
                        waiting.register(_begun(todo.pop(0)), selectors.EVENT_WRITE)
                    except OSError as error:
                        failure = error
                        continue
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                for key, _ in waiting.select(min(left, _STAGGER) if todo else left):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    waiting.unregister(sock)
                    if not code:
                        return sock
                    sock.close()
                    failure = OSError(code, os.strerror(code))
            raise failure
        finally:
            for key in list(waiting.get_map().values()):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()


def _begun(address: Address) -> socket.socket:
    """A socket whose connection is under way, or made."""
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(where)
        if code and code not in _UNDER_WAY:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock
