"""Manifests and indexes, by tag and by digest."""

from __future__ import annotations

import threading
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from mlkit.content.graph import below, walk
from mlkit.content.layout import Layout
from mlkit.content.storage import BytesContent
from mlkit.errors import IntegrityError, LimitError, NotFoundError
from mlkit.server import names
from mlkit.server.holders import holders
from mlkit.server.refusal import Code, Refusal
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.manifest import Index, Manifest, parse_manifest
from mlkit.spec.media_types import INDEX_TYPES


class Manifests:
    """The endpoints of `/v2/<name>/manifests/<reference>`."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._naming = threading.Lock()

    def get(self, request: Request) -> Response:
        """GET and HEAD."""
        desc = self._find(names.repository(request), request.path_params["reference"])
        headers = {
            "Docker-Content-Digest": str(desc.digest),
            "ETag": f'"{desc.digest}"',
            "Content-Type": desc.media_type,
            "Content-Length": str(desc.size),
        }
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers={"ETag": headers["ETag"]})
        return Response(self._layout.raw(desc) if request.method == "GET" else b"", headers=headers)

    async def put(self, request: Request) -> Response:
        """PUT: keep a manifest whose blobs are all here, and name it where the reference is a tag.

        If-Match and If-None-Match are heeded for tags (RFC 9110, section 13.1), so that of two who move one, one knows.
        """
        repository = names.repository(request)
        reference: str = request.path_params["reference"]
        raw = await _body(request)
        return await run_in_threadpool(self._keep, repository, reference, raw, request.headers)

    def delete(self, request: Request) -> Response:
        """DELETE: by tag only the tag goes; by digest the manifest and all its tags in this repository."""
        repository = names.repository(request)
        reference: str = request.path_params["reference"]
        desc = self._find(repository, reference)
        if ":" not in reference:
            # The manifest stays until it is deleted by digest ("Deleting tags").
            self._layout.record(desc)
            self._layout.untag(names.layout_name(repository, reference))
            return Response(status_code=202)
        named = {name: named.digest for name, named in self._layout.names().items()}
        here = {name: digest for name, digest in named.items() if (names.split(name) or ("",))[0] == repository}
        for index in holders(self._layout, desc.digest):
            if index.digest in here.values():
                raise Refusal(
                    Code.UNSUPPORTED, f"{desc.digest} is part of the index {index.digest}, which is still here"
                )
        for name in (name for name, digest in here.items() if digest == desc.digest):
            self._layout.untag(name)
        if desc.digest not in (digest for name, digest in named.items() if name not in here):
            self._layout.unrecord(desc)
        return Response(status_code=202)

    def _keep(self, repository: str, reference: str, raw: bytes, told: Headers) -> Response:
        promised = names.digest(reference) if ":" in reference else None
        name = names.layout_name(repository, reference) if promised is None else None
        try:
            manifest = parse_manifest(raw, media_type=told.get("content-type"))
        except (IntegrityError, LimitError) as error:
            raise Refusal(Code.MANIFEST_INVALID, error.message) from error
        desc = manifest.descriptor
        if promised is not None:
            desc = replace(desc, digest=_digest(raw, promised))
        self._check_parts(manifest)
        with self._naming:
            if name is not None:
                _check_conditions(name, self._layout.names().get(name), told)
            self._layout.push(desc, BytesContent(raw))
            try:
                self._index(desc, name)
            except NotFoundError as error:
                raise Refusal(Code.MANIFEST_BLOB_UNKNOWN, error.message) from error
        headers = {"Location": f"/v2/{repository}/manifests/{desc.digest}", "Docker-Content-Digest": str(desc.digest)}
        if manifest.subject is not None:
            headers["OCI-Subject"] = str(manifest.subject.digest)
        return Response(status_code=201, headers=headers)

    def _index(self, desc: Descriptor, name: str | None) -> None:
        if name is None:
            self._layout.record(desc)
            return
        before = self._layout.names().get(name)
        if before is not None and before.digest != desc.digest:
            # Whoever pinned the digest that the tag pointed at can still pull it, as from any registry.
            self._layout.record(before)
        self._layout.tag(desc, name)

    def _check_parts(self, manifest: Manifest | Index) -> None:
        for part in below(manifest):
            size = self._layout.blob_size(part.digest)
            if size is None:
                raise Refusal(Code.MANIFEST_BLOB_UNKNOWN, f"{part.digest} is in the manifest, but not in the registry")
            if size != part.size:
                raise Refusal(
                    Code.MANIFEST_INVALID, f"{part.digest} has {size} bytes, but the manifest says {part.size}"
                )

    def _find(self, repository: str, reference: str) -> Descriptor:
        if ":" not in reference:
            try:
                return self._layout.resolve(names.layout_name(repository, reference))
            except NotFoundError as error:
                raise _unknown(f"{repository}:{reference}") from error
        digest = names.digest(reference)
        top = self._layout.manifests()
        for desc in top:
            if desc.digest == digest:
                return desc
        # Only what is known to be a manifest is served as one: a layer can hold the text of a manifest, too.
        for index in top:
            if index.media_type in INDEX_TYPES:
                for desc, found in walk(self._layout, index, wanted=self._layout.exists):
                    if desc.digest == digest and found is not None:
                        return desc
        raise _unknown(f"{repository}@{digest}")


def _check_conditions(name: str, before: Descriptor | None, told: Headers) -> None:
    """Raises: Refusal with 412 where the tag is not what the client took it for."""
    etags = {"*", f'"{before.digest}"'} if before is not None else set()
    wanted, unwanted = (
        {etag.strip() for etag in told.get(header, "").split(",")} - {""} for header in ("if-match", "if-none-match")
    )
    if (wanted and not wanted & etags) or unwanted & etags:
        points = "does not exist" if before is None else f"points at {before.digest}"
        raise Refusal(Code.DENIED, f"the tag {name} {points}", status=412)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MANIFEST_LIMIT:
            raise Refusal(
                Code.SIZE_INVALID, f"the manifest is larger than the limit of {MANIFEST_LIMIT} bytes", status=413
            )
    return bytes(body)


def _digest(raw: bytes, promised: Digest) -> Digest:
    hasher = promised.hasher()
    hasher.update(raw)
    found = Digest.finished(hasher)
    if found != promised:
        raise Refusal(Code.DIGEST_INVALID, f"the manifest is {found}, not {promised}")
    return found


def _unknown(what: str) -> Refusal:
    return Refusal(Code.MANIFEST_UNKNOWN, f"no manifest {what}")
