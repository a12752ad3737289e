"""Starting and stopping the registry: for the command line, which waits, and for tests and notebooks, which do not.

The web framework is an extra, and is imported only when something is served.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from mlkit.content.layout import Layout
from mlkit.errors import ConflictError, StoreError, UsageError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from mlkit.server.listener import Listener

_LOG = logging.getLogger("mlkit.server")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_START_LIMIT = 30.0  # seconds


def application(layout: Layout, *, read_only: bool = False) -> ASGIApp:
    """The registry as an ASGI application, for a server of one's own. Raises: UsageError without the extra `server`."""
    with _extra():
        from mlkit.server.protocol import protocol
    return protocol(layout, read_only=read_only, hosts=None)


def serve(
    layout: Layout,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    read_only: bool = False,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; port 0 takes a free one. `on_ready` gets the URL once clients can connect.

    Raises: UsageError without the extra `server` or for an address that this machine does not have; ConflictError for a
    port that is taken.
    """
    with _bound(host, port) as listening:
        url = _url(host, listening)
        listener = _listener(layout, host, read_only=read_only, on_ready=lambda: on_ready(url))
        listener.run(sockets=[listening])


class RunningRegistry:
    """A registry in a thread of this process, on loopback and a free port, while the context lasts.

    >>> with RunningRegistry(layout) as registry:  # doctest: +SKIP
    ...     mlkit.push("digits:1.2", f"{registry.host}/team/digits:1.2")
    """

    def __init__(self, layout: Layout, *, read_only: bool = False) -> None:
        self._ready = threading.Event()
        self._socket = _bound("127.0.0.1", 0)
        self.url = _url("127.0.0.1", self._socket)
        """`http://127.0.0.1:PORT`"""
        self.host = self.url.removeprefix("http://")
        """`127.0.0.1:PORT`, as it stands in references."""
        self._listener = _listener(layout, "127.0.0.1", read_only=read_only, on_ready=self._ready.set)
        self._thread = threading.Thread(
            target=self._listener.run, args=([self._socket],), name="mlkit-registry", daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_LIMIT):
            self.close()
            raise StoreError(f"the registry at {self.url} did not start within {_START_LIMIT:.0f} seconds")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving; requests under way have five seconds to end."""
        self._listener.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        self._socket.close()


def _listener(layout: Layout, host: str, *, read_only: bool, on_ready: Callable[[], None]) -> Listener:
    with _extra():
        from mlkit.server.listener import Listener
        from mlkit.server.protocol import protocol
    hosts = _LOOPBACK_NAMES | {host} if _is_loopback(host) else None
    if hosts is None:
        _LOG.warning(
            "serving on %s: whoever reaches this machine can read the store%s",
            host,
            "" if read_only else " and write to it",
        )
    if not read_only:
        # What a server that was killed had of uploads: nobody can go on with those.
        with contextlib.suppress(StoreError):
            layout.ingest_area.reap()
    return Listener(protocol(layout, read_only=read_only, hosts=hosts), on_ready=on_ready)


@contextlib.contextmanager
def _extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio", "h11"):
            raise
        raise UsageError(
            f"the registry needs {error.name}, which is not installed", hint="pip install 'mlkit[server]'"
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    if not 0 <= port < 65536:  # getaddrinfo would take the lower sixteen bits
        raise UsageError(f"{port} is not a port", hint="use 0, for a free one, to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{ascii(host)[:120]} port {port} is not an address that can be served") from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ConflictError(f"{host}:{port} is in use by another program", hint="choose another --port") from error
        raise UsageError(f"{host}:{port} cannot be served: {error.strerror}") from error
    return listening


def _url(host: str, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
