"""The endpoints of `/v2/<name>/blobs/uploads/`: one blob in one, two or many requests (OCI distribution, "Push")."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from mlkit.content.layout import Layout
from mlkit.errors import DigestMismatch, MlkitError
from mlkit.server import names
from mlkit.server.blobs import PIECE, blob_of_use
from mlkit.server.ranges import chunk_range
from mlkit.server.refusal import Code, Refusal
from mlkit.server.uploads import TooManyUploads, Upload, UploadClosed, Uploads, UploadTaken
from mlkit.spec.digest import Digest


class Transfers:
    """Uploads as a client sees them."""

    def __init__(self, layout: Layout, uploads: Uploads) -> None:
        self._layout = layout
        self._uploads = uploads

    async def start(self, request: Request) -> Response:
        """POST: mount a blob that is here, take one whole, or open a session."""
        repository = names.repository(request)
        mounted = request.query_params.get("mount")
        if mounted is not None:
            # One store is behind all repositories, so `from` is not needed to find the blob.
            digest = names.digest(mounted)
            if await run_in_threadpool(blob_of_use, self._layout, digest) is not None:
                return _created(repository, digest)
        promised = names.digest(request.query_params["digest"]) if "digest" in request.query_params else None
        try:
            algorithm = "sha256" if promised is None else promised.algorithm
            upload = await run_in_threadpool(self._uploads.start, repository, algorithm=algorithm)
        except TooManyUploads as error:
            raise Refusal(
                Code.TOOMANYREQUESTS, "too many uploads are under way", headers={"Retry-After": "10"}
            ) from error
        if promised is None:
            return Response(status_code=202, headers=_session_headers(upload))
        try:
            return await self._receive_last(request, upload, promised)
        finally:
            await run_in_threadpool(self._uploads.end, upload)

    def status(self, request: Request) -> Response:
        """GET: how far the upload has come."""
        return Response(status_code=204, headers=_session_headers(self._find(request)))

    def cancel(self, request: Request) -> Response:
        """DELETE: drop the upload."""
        self._uploads.end(self._find(request))
        return Response(status_code=204)

    async def append(self, request: Request) -> Response:
        """PATCH: one chunk, or a stream of any length."""
        upload = self._find(request)
        await self._receive(request, upload)
        return Response(status_code=202, headers=_session_headers(upload))

    async def finish(self, request: Request) -> Response:
        """PUT: the last chunk, if there is one, and what the whole must be."""
        upload = self._find(request)
        if "digest" not in request.query_params:
            raise Refusal(Code.DIGEST_INVALID, "the upload cannot be finished without ?digest=")
        return await self._receive_last(request, upload, names.digest(request.query_params["digest"]))

    async def _receive_last(self, request: Request, upload: Upload, promised: Digest) -> Response:
        turn = await self._receive(request, upload)
        try:
            await run_in_threadpool(upload.finish, turn, promised)
        except DigestMismatch as error:
            raise Refusal(Code.DIGEST_INVALID, error.message) from error
        except UploadClosed as error:
            raise _unknown(upload.id) from error
        except UploadTaken as error:
            raise _taken() from error
        finally:
            await run_in_threadpool(self._uploads.end, upload)
        return _created(upload.repository, promised)

    async def _receive(self, request: Request, upload: Upload) -> int:
        """Write the body into the session and give the turn under which it was written."""
        try:
            turn = await run_in_threadpool(upload.take_turn)
            expected = self._expected_end(request, upload)
            await _copy(request, upload, turn, expected)
        except UploadClosed as error:
            raise _unknown(upload.id) from error
        except UploadTaken as error:
            raise _taken() from error
        except MlkitError:
            await run_in_threadpool(self._uploads.end, upload)
            raise
        if expected is not None and upload.received != expected:
            raise Refusal(
                Code.SIZE_INVALID, f"the chunk ended at byte {upload.received}, not at {expected} as announced"
            )
        return turn

    def _expected_end(self, request: Request, upload: Upload) -> int | None:
        """Where the session will stand when the body has arrived, as far as the headers tell. Raises: Refusal."""
        length = request.headers.get("content-length")
        header = request.headers.get("content-range")
        if header is None:
            return None if length is None else upload.received + int(length)
        try:
            start, end = chunk_range(header)
        except ValueError as error:
            raise Refusal(
                Code.BLOB_UPLOAD_INVALID, f"{ascii(header)[:120]} is not a Content-Range such as 0-1023"
            ) from error
        if length is not None and int(length) != end - start:
            raise Refusal(Code.SIZE_INVALID, f"Content-Range says {end - start} bytes and Content-Length {int(length)}")
        if start != upload.received:
            raise Refusal(
                Code.BLOB_UPLOAD_INVALID,
                f"the chunk starts at byte {start}, but the upload stands at {upload.received}",
                status=416,
                headers=_session_headers(upload),
            )
        return end

    def _find(self, request: Request) -> Upload:
        upload_id: str = request.path_params["upload"]
        upload = self._uploads.find(names.repository(request), upload_id)
        if upload is None:
            raise _unknown(upload_id)
        return upload


async def _copy(request: Request, upload: Upload, turn: int, end: int | None) -> None:
    """Write while the next bytes arrive. Raises: Refusal beyond `end`; ClientDisconnect with all that came written."""
    # While one piece is written, the next one arrives: at most two are in memory.
    pieces: list[bytes] = []
    size = 0
    writing: asyncio.Task[None] | None = None
    position = upload.received
    try:
        async for chunk in request.stream():
            position += len(chunk)
            if end is not None and position > end:
                raise Refusal(Code.SIZE_INVALID, f"the body goes on after byte {end}, where it was to end")
            pieces.append(chunk)
            size += len(chunk)
            if size >= PIECE:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(run_in_threadpool(upload.append, turn, pieces))
                pieces, size = [], 0
    finally:
        if writing is not None:
            await writing
        if pieces:
            await run_in_threadpool(upload.append, turn, pieces)


def _session_headers(upload: Upload) -> Mapping[str, str]:
    # A relative Location says nothing about the Host header, which the client chose. "0-0" for an empty session is what
    # docker-registry says, and clients know it.
    return {
        "Location": f"/v2/{upload.repository}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(upload.received - 1, 0)}",
        "Docker-Upload-UUID": upload.id,
    }


def _created(repository: str, digest: Digest) -> Response:
    headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    return Response(status_code=201, headers=headers)


def _unknown(upload_id: str) -> Refusal:
    return Refusal(Code.BLOB_UPLOAD_UNKNOWN, f"no upload {ascii(upload_id)[:80]}; it may have ended")


def _taken() -> Refusal:
    return Refusal(Code.BLOB_UPLOAD_INVALID, "another request has taken over this upload", status=409)
