"""Requests that somebody else has made, over our wire: for interfaces that are spelled in URLs.

They get what all others get: credentials for the registry's own origin alone, redirects by the rules, retries, limits,
and content that is what its digest says.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, cast
from urllib.parse import parse_qs, unquote

import httpx

from mlkit.content.verify import VerifyReader
from mlkit.errors import DigestMismatch, IntegrityError, LimitError, MlkitError, NetworkError, UsageError
from mlkit.registry.auth import Scope
from mlkit.registry.failures import ERROR_LIMIT, network_failure
from mlkit.registry.http1 import Body as ResponseBody
from mlkit.registry.reader import BlobStream
from mlkit.registry.tags import pages
from mlkit.registry.wire import Body, Call, Document, Wire, check_encoding, read_at_most
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.json_text import MANIFEST_LIMIT
from mlkit.spec.media_types import OCTET_STREAM
from mlkit.spec.reference import is_repository

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# The last of these words counts: a repository may be called team/blobs.
_ENDPOINT = re.compile(
    r"/v2/(?P<repository>.+)/(?:(?P<kind>blobs|manifests|referrers)/(?P<name>[^/]+)|blobs/uploads/.*|tags/list)"
)
_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete,pull,push"}
_BLOCK = 64 * 1024
_SIZE = re.compile(r"[0-9]{1,19}", re.ASCII)
# Ours to say: the transport frames and addresses the request, the dance of authentication signs it, and no registry
# gets a cookie.
# fmt: off
_OURS = frozenset((
    "accept-encoding", "authorization", "connection", "content-length", "cookie", "expect", "host", "keep-alive",
    "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade",
))
# fmt: on


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The registry's answer, whatever its status."""

    status: int
    headers: tuple[tuple[str, str], ...]
    """In the registry's order; a name may come several times."""
    body: BinaryIO
    """Still to be read, and to be closed. Reads raise: NetworkError, and IntegrityError for what is verified."""
    refusal: Callable[[bytes], MlkitError]
    """The error to raise where this is not the answer that was hoped for; it is given the body."""


def forward(
    wire: Wire, method: str, target: str, *, headers: Mapping[str, str] | None = None, body: Body | None = None
) -> Forwarded:
    """Send a request for `target`, a path with its query as in `/v2/team/digits/tags/list?n=10`.

    A blob that is asked for whole is verified while it is read, and read on over as many connections as it takes. A
    manifest is verified against the digest that it is asked for by, and that the registry says it has. All bodies but
    those of blobs have a limit of 4 MiB, and those of answers without success are cut after 64 KiB. Headers that are
    the transport's or that carry credentials are left out. What changes an upload is sent once; all else as often as
    the retries allow.
    Raises: UsageError for a target that is none; AuthError where the registry wants credentials, or others than it got;
    IntegrityError; LimitError; NetworkError.
    """
    call = _call(wire, method, target, headers or {}, body)
    found = _ENDPOINT.fullmatch(target.partition("?")[0])
    kind, name = (found["kind"], unquote(found["name"] or "")) if method == "GET" and found is not None else (None, "")
    is_part = any(header.lower() == "range" for header in call.headers)
    if kind == "blobs" and name != "uploads" and not is_part:
        return _blob(wire, call, Digest.parse(name))
    answer = _send(wire, call, limit=None if kind == "blobs" else MANIFEST_LIMIT)
    if kind == "manifests" and answer.status == 200:
        return replace(answer, body=io.BytesIO(_checked_manifest(answer, name, call.what)))
    return answer


def forward_pages(wire: Wire, target: str, *, headers: Mapping[str, str] | None = None) -> Iterator[Forwarded]:
    """A list, page by page, as the registry's `Link` says, which may lead to no other origin.

    Raises: NotFoundError; IntegrityError for a next page elsewhere; LimitError for pages without end; like `forward`.
    """
    call = _call(wire, "GET", target, headers or {}, None)
    for told, raw in pages(wire, call):
        if len(raw) > MANIFEST_LIMIT:
            raise LimitError(f"{call.what}: a page of more than {MANIFEST_LIMIT} bytes")
        document = Document(200, told, raw, call.url)
        yield Forwarded(200, tuple(told.multi_items()), io.BytesIO(raw), _refusal(wire, document, call.what))


def scope_of(method: str, target: str) -> Scope:
    """What a request needs to be let in, by its method and target; the empty scope where it is about no repository."""
    path, _, query = target.partition("?")
    found = _ENDPOINT.fullmatch(path)
    if found is None or not is_repository(found["repository"]):
        return Scope()
    source = parse_qs(query).get("from", [None])[0] if method == "POST" else None
    is_source = source is not None and is_repository(source)
    return Scope(found["repository"], _ACTIONS.get(method, "pull,push"), source if is_source else None)


def _call(wire: Wire, method: str, target: str, headers: Mapping[str, str], body: Body | None) -> Call:
    if not target.startswith("/") or not target.isascii() or not target.isprintable() or " " in target:
        raise UsageError(f"{ascii(target)[:120]} is no path of a request")
    path = target.partition("?")[0]
    return Call(
        method,
        wire.base_url.copy_with(raw_path=target.encode("ascii")),
        scope_of(method, target),
        f"{wire.host}{path}",
        {name: value for name, value in headers.items() if name.lower() not in _OURS},
        body,
        # A second PATCH or PUT would meet an upload that the first one has moved on.
        is_repeated=method != "PATCH" and "/blobs/uploads/" not in path.removesuffix("/blobs/uploads/"),
    )


def _send(wire: Wire, call: Call, *, limit: int | None = MANIFEST_LIMIT) -> Forwarded:
    """The answer with at most `limit` bytes of body; of an answer without success, no more than its beginning."""
    response = wire.send(call)
    document = Document(response.status_code, response.headers, b"", call.url)
    if response.is_success:
        check_encoding(response)
        body = cast(BinaryIO, _Reader(response, wire.host, call.what, limit))
    else:
        try:
            raw = read_at_most(response, ERROR_LIMIT)[:ERROR_LIMIT]
        except httpx.TransportError as error:
            raise network_failure(error, host=wire.host, what=call.what) from error
        if response.status_code == 401:
            raise wire.refusal(replace(document, raw=raw), call.what)
        body = io.BytesIO(raw)
    told = tuple(response.headers.multi_items())
    return Forwarded(response.status_code, told, body, _refusal(wire, document, call.what))


def _blob(wire: Wire, call: Call, digest: Digest) -> Forwarded:
    asked = _send(wire, replace(call, method="HEAD"))
    asked.body.close()
    size = _one(asked, "content-length")
    if asked.status == 200 and _SIZE.fullmatch(size):
        desc = Descriptor(OCTET_STREAM, digest, int(size))
        stream = cast(BinaryIO, BlobStream(wire, call, size=desc.size))
        return replace(asked, body=cast(BinaryIO, VerifyReader(stream, desc)))
    answer = _send(wire, call, limit=None)
    if answer.status != 200:
        return answer
    size = _one(answer, "content-length")
    if not _SIZE.fullmatch(size):
        answer.body.close()
        # Without it nobody can tell the last byte, before which the digest has to be known.
        raise NetworkError(f"{call.what}: {wire.host} does not say how large the blob is")
    return replace(answer, body=cast(BinaryIO, VerifyReader(answer.body, Descriptor(OCTET_STREAM, digest, int(size)))))


def _checked_manifest(answer: Forwarded, name: str, what: str) -> bytes:
    """Raises: LimitError; DigestMismatch for another content than was asked for; IntegrityError for a lie about it."""
    raw = b""
    with answer.body:
        while more := answer.body.read(_BLOCK):
            raw += more
    if ":" in name:
        expected = Digest.parse(name)
        if (found := _digest(raw, expected)) != expected:
            raise DigestMismatch(f"{what}: the content is {found}")
    told = _one(answer, "docker-content-digest")
    if told and (found := _digest(raw, claimed := Digest.parse(told))) != claimed:
        raise IntegrityError(f"{what}: the registry says {claimed}, but the content is {found}")
    return raw


def _digest(raw: bytes, like: Digest) -> Digest:
    hasher = like.hasher()
    hasher.update(raw)
    return Digest.finished(hasher)


def _one(answer: Forwarded, name: str) -> str:
    return next((value for told, value in answer.headers if told.lower() == name), "")


def _refusal(wire: Wire, document: Document, what: str) -> Callable[[bytes], MlkitError]:
    return lambda raw: wire.refusal(replace(document, raw=raw), what)


class _Reader(io.RawIOBase):
    """The body of a response. It gives its connection back at its end, for those who never close it."""

    def __init__(self, response: httpx.Response, host: str, what: str, limit: int | None) -> None:
        super().__init__()
        self._response = response
        self._host = host
        self._what = what
        self._limit = limit
        self._count = 0
        self._has_ended = False
        assert isinstance(response.stream, ResponseBody)
        self._body = response.stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the buffer; fewer bytes only at the end or before a failure. Raises: NetworkError, LimitError."""
        view = memoryview(buffer).cast("B")
        if self._has_ended or not view:
            return 0
        try:
            count = self._body.readinto(view)
        except httpx.TransportError as error:
            raise network_failure(error, host=self._host, what=self._what) from error
        self._count += count
        if self._limit is not None and self._count > self._limit:
            raise LimitError(f"{self._what}: more than the limit of {self._limit} bytes")
        if not count:
            self._has_ended = True
            self._response.close()
        return count

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()
