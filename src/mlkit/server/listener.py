"""uvicorn, told to behave as one command of a larger program: its own socket, its own signals, no logging setup."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

HEADER_LIMIT = 64 * 1024
"""Bytes of a request's head; counted at each read from the socket, which asyncio makes of at most 256 KiB."""

_CONNECTION_LIMIT = 500  # 1,024 open files is a common limit, and a connection may come with a blob

_GRACE = 5  # seconds that running requests have to end after the signal to stop


_LOG = logging.getLogger("mlkit.server")


class Listener(uvicorn.Server):
    """Serves `app` on a bound socket; ends quietly on SIGINT and SIGTERM."""

    def __init__(self, app: ASGIApp, *, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                _ended_quietly(app),
                # Of the implementations that uvicorn may find installed, the one that limits the size of headers.
                http="h11",
                h11_max_incomplete_event_size=HEADER_LIMIT,
                loop="asyncio",
                ws="none",
                interface="asgi3",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                # No header of a client may say where it comes from.
                proxy_headers=False,
                limit_concurrency=_CONNECTION_LIMIT,
                timeout_graceful_shutdown=_GRACE,
            )
        )
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        # uvicorn raises the signal again at the end, which would kill the caller; a served registry that is stopped
        # has done what it was asked to do.
        self.force_exit = self.should_exit
        self.should_exit = True


def _ended_quietly(app: ASGIApp) -> ASGIApp:
    """`app`, whose requests that outlast the grace of a stop end with a line in the log and not with a traceback."""

    async def ended_quietly(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            # uvicorn cancels for this one reason, and the request is a task of its own: nobody else waits for it.
            _LOG.warning("a request was cut off, for the registry stops")

    return ended_quietly
