"""Requests and responses of the package `requests`, which is what oras-py's programs are handed.

Nothing of `requests` opens a connection here: its sessions are given an adapter that sends through mlkit's engine.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import requests
from requests.adapters import BaseAdapter
from requests.utils import get_encoding_from_headers

from mlkit.content.verify import read_some
from mlkit.errors import MlkitError, SizeMismatch, UsageError
from mlkit.integrations.oras.errors import oras_errors
from mlkit.registry.forward import Forwarded
from mlkit.registry.wire import Body

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK = 1024 * 1024


class Answer(requests.Response):
    """A response that knows which error it would be."""

    refusal: Callable[[bytes], MlkitError] | None = None


class EngineAdapter(BaseAdapter):
    """What `requests` takes for the network."""

    def __init__(self, send: Callable[[requests.PreparedRequest], requests.Response]) -> None:
        super().__init__()
        self._send = send

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """The engine's answer; timeouts, proxies and certificates are the engine's."""
        return self._send(request)

    def close(self) -> None:
        """The engine is closed by the client."""


def engine_session(send: Callable[[requests.PreparedRequest], requests.Response]) -> requests.Session:
    """A session that sends everything through `send`, and adds nothing of its own: no cookies, no netrc, no proxies."""
    session = requests.Session()
    session.trust_env = False
    session.headers.clear()
    session.headers["Accept"] = "*/*"
    session.adapters.clear()
    for prefix in ("https://", "http://"):
        session.mount(prefix, EngineAdapter(send))
    return session


def answer(request: requests.PreparedRequest, forwarded: Forwarded) -> Answer:
    """The engine's answer as oras-py's programs want it; its body is still to be read."""
    response = made_answer(request, forwarded.status, {}, forwarded.body)
    for name, value in forwarded.headers:
        known = response.headers.get(name)
        response.headers[name] = value if known is None else f"{known}, {value}"
    response.encoding = get_encoding_from_headers(response.headers)
    response.refusal = forwarded.refusal
    return response


def made_answer(
    request: requests.PreparedRequest, status: int, headers: dict[str, str], body: BinaryIO | None = None
) -> Answer:
    """An answer that says what the engine has done in several requests."""
    response = Answer()
    response.status_code = status
    response.reason = HTTPStatus(status).phrase if status in _STATUSES else ""
    response.headers.update(headers)
    response.url = request.url or ""
    response.request = request
    response.raw = _Raw(body or io.BytesIO())
    return response


def body_of(request: requests.PreparedRequest) -> Body | None:
    """The request's body, as one that can be sent again. Raises: UsageError for one that cannot."""
    content = request.body
    if content is None:
        return None
    if isinstance(content, str):
        content = content.encode("utf-8")
    if isinstance(content, bytes | bytearray | memoryview):
        return Body.of(bytes(content))
    if not hasattr(content, "seek") or not hasattr(content, "read"):
        raise UsageError(
            f"a request body of the type {type(content).__name__} cannot be sent again after a challenge",
            hint="pass bytes, or a file that is open in binary mode",
        )
    return _file_body(cast(BinaryIO, content))


def _file_body(file: BinaryIO) -> Body:
    start = file.tell()
    size = file.seek(0, io.SEEK_END) - start
    file.seek(start)

    def blocks() -> Iterator[memoryview]:
        file.seek(start)
        view = memoryview(bytearray(max(1, min(_BLOCK, size))))
        left = size
        while left:
            count = read_some(file, view[:left])
            if not count:
                raise SizeMismatch(f"the file of a request ended {left} bytes early")
            left -= count
            yield view[:count]

    return Body(size, blocks)


_STATUSES = frozenset(HTTPStatus)


class _Raw(io.RawIOBase):
    """The body below a response. It closes what it reads from at the end, for programs that never close one."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._has_ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._has_ended or not view:
            return 0
        try:
            with oras_errors():
                count = read_some(self._stream, view)
        except BaseException:
            self._stream.close()
            raise
        if not count:
            self._has_ended = True
            self._stream.close()
        return count

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
