"""Asking a server on this machine: whether a port is free, whether the server is ready, what its model takes."""

from __future__ import annotations

import errno
import http.client
import socket
import time
from collections.abc import Callable

from mlkit.errors import ConflictError, ProgramError, UsageError
from mlkit.serving.process import ServerProcess

ANSWER_LIMIT = 4 << 20
"""Bytes of an answer that are read: a model's metadata has some thousand, a prediction rarely more than a million."""

_TIMEOUT = 5.0  # seconds for one probe; a server under load answers late
_FAST, _SLOW = 0.05, 0.5  # seconds between probes, at first and after a minute
_HINT_EVERY = 15.0  # seconds between two words about waiting


def free_port(host: str, port: int) -> int:
    """`port`, or any that is free where it is 0. Raises: ConflictError where it is in use; UsageError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConflictError(
                    f"port {port} of {host} is in use", hint="--port names another; --port 0 takes a free one"
                ) from error
            if error.errno == errno.EACCES:
                raise UsageError(
                    f"port {port} of {host} may not be used by this user", hint="take one from 1024 on"
                ) from error
            raise UsageError(f"{host!a} is no address of this machine: {error.strerror or error}") from error
        found: int = tried.getsockname()[1]
        return found


def reachable(host: str) -> str:
    """The address to ask at: a server that listens everywhere is asked on loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # what was asked for, not a default


def base_url(host: str, port: int) -> str:
    """`http://address:port`."""
    address = reachable(host)
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def get(host: str, port: int, path: str, *, timeout: float = _TIMEOUT) -> tuple[int, bytes] | None:
    """Status and body of one GET; None where nobody answers, or answers with something that is not HTTP."""
    connection = http.client.HTTPConnection(reachable(host), port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_LIMIT)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def wait_until_ready(
    server: ServerProcess,
    *,
    host: str,
    port: int,
    path: str,
    seconds: float,
    on_wait: Callable[[float], None] | None = None,
) -> float:
    """Ask until the server answers 200, and give the seconds that it took.

    `on_wait` is told now and then how long it has been. Raises: ProgramError where it ends before, or is not ready in
    time; it is stopped then.
    """
    began = told = time.monotonic()
    while True:
        answer = get(host, port, path)
        elapsed = time.monotonic() - began
        # Somebody else may have taken the port: an answer counts while the server lives.
        if server.has_exited():
            raise server.failure("ended")
        if answer is not None and answer[0] == 200:
            return elapsed
        if elapsed >= seconds:
            said = f"answered {path} with {answer[0]}" if answer is not None else f"did not answer at {path}"
            raise server.failure(f"was not ready after {seconds:.0f} seconds: it {said}")
        if on_wait is not None and time.monotonic() - told >= _HINT_EVERY:
            told = time.monotonic()
            on_wait(elapsed)
        server.wait(_FAST if elapsed < 60 else _SLOW)


def read_json(host: str, port: int, path: str) -> bytes:
    """The body of a GET that must succeed. Raises: ProgramError."""
    answer = get(host, port, path)
    if answer is None or answer[0] != 200:
        raise ProgramError(f"the server answered {path} with {answer[0] if answer else 'nothing'}")
    return answer[1]
