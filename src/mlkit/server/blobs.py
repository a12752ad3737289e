"""Blobs on their way out, and their removal."""

from __future__ import annotations

import asyncio
import logging
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mlkit.content.layout import Layout
from mlkit.errors import MlkitError
from mlkit.server import names
from mlkit.server.holders import holders
from mlkit.server.ranges import wanted_range
from mlkit.server.refusal import Code, Refusal
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.media_types import OCTET_STREAM

PIECE = 1024 * 1024
"""Bytes that travel at once; two pieces per transfer are in memory."""

_LOG = logging.getLogger("mlkit.server")


class Blobs:
    """The endpoints of `/v2/<name>/blobs/<digest>`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def get(self, request: Request) -> Response:
        """GET and HEAD: the whole blob or one range of it."""
        names.repository(request)
        digest = names.digest(request.path_params["digest"])
        size = blob_of_use(self._layout, digest)
        if size is None:
            raise _unknown(digest)
        headers = {
            "Docker-Content-Digest": str(digest),
            "ETag": f'"{digest}"',
            "Accept-Ranges": "bytes",
            "Cache-Control": "max-age=31536000, immutable",
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        # Ranges are for GET alone, and after If-Range only for the same content (RFC 9110, 13.1.5 and 14.2).
        is_partial = request.method == "GET" and request.headers.get("if-range", headers["ETag"]) == headers["ETag"]
        asked = request.headers.get("range") if is_partial else None
        try:
            part = wanted_range(asked, size)
        except ValueError as error:
            raise Refusal(
                Code.SIZE_INVALID,
                f"{ascii(asked)[:120]} asks for no byte of the {size} of {digest}",
                status=416,
                headers={"Content-Range": f"bytes */{size}"},
            ) from error
        desc = Descriptor(OCTET_STREAM, digest, size)
        return BlobResponse(self._layout, desc, part, headers)

    def delete(self, request: Request) -> Response:
        """DELETE, except for a blob that a manifest in the store needs."""
        names.repository(request)
        digest = names.digest(request.path_params["digest"])
        if self._layout.blob_size(digest) is None:
            raise _unknown(digest)
        if any(manifest.digest == digest for manifest in self._layout.manifests()):
            raise Refusal(Code.UNSUPPORTED, f"{digest} is a manifest, which is deleted as such")
        needed_by = next(holders(self._layout, digest), None)
        if needed_by is not None:
            raise Refusal(Code.UNSUPPORTED, f"{digest} is part of the manifest {needed_by.digest}, which is still here")
        if not self._layout.delete_blob(digest):
            raise _unknown(digest)
        return Response(status_code=202)


def blob_of_use(layout: Layout, digest: Digest) -> int | None:
    """The size of a blob, None where there is none; a client that was told of a blob will not find it pruned soon."""
    size = layout.blob_size(digest)
    return size if size is not None and layout.exists(Descriptor(OCTET_STREAM, digest, size)) else None


class BlobResponse(Response):
    """A blob, streamed; the next piece is read and hashed while one is sent."""

    def __init__(self, layout: Layout, desc: Descriptor, part: tuple[int, int] | None, headers: dict[str, str]) -> None:
        start, end = part or (0, desc.size)
        headers = {**headers, "Content-Length": str(end - start)}
        if part is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{desc.size}"
        super().__init__(status_code=200 if part is None else 206, headers=headers, media_type=OCTET_STREAM)
        self._layout = layout
        self._desc = desc
        self._start = start
        self._count = end - start

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] == "HEAD" or self._count == 0:
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.create_task(_disconnect(receive))
        try:
            await self._stream(send, gone)
        except MlkitError as error:
            # Returning before Content-Length bytes were sent makes the server cut the connection, so that the client
            # cannot take the damaged blob for a whole one. The store withholds the last byte until it has verified all.
            _LOG.error("a download was cut short: %s", error.message)
        finally:
            gone.cancel()

    async def _stream(self, send: Send, gone: asyncio.Task[None]) -> None:
        with await run_in_threadpool(self._layout.open, self._desc, offset=self._start) as stream:
            left = self._count
            piece = await run_in_threadpool(_read, stream, left)
            while not gone.done():
                left -= len(piece)
                if left == 0:
                    await send({"type": "http.response.body", "body": piece})
                    return
                following = asyncio.create_task(run_in_threadpool(_read, stream, left))
                try:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                finally:
                    # The thread must be done with the stream before it is closed.
                    piece = await following


def _read(stream: BinaryIO, left: int) -> bytes:
    return stream.read(min(PIECE, left))


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _unknown(digest: Digest) -> Refusal:
    return Refusal(Code.BLOB_UNKNOWN, f"no blob {digest}")
