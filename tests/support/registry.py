"""A registry in memory, over real HTTP on loopback, with knobs for what goes wrong and a log of what was asked.

An implementation of its own, after the OCI distribution specification and not after mlkit: where the two disagree, a
test finds it.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.registry_http import Answer, Request, serving

_REPOSITORY = r"[a-z0-9][a-z0-9._/-]*?"
_ROUTES = {
    "base": r"/v2/",
    "start": rf"/v2/(?P<repository>{_REPOSITORY})/blobs/uploads/",
    "upload": rf"/v2/(?P<repository>{_REPOSITORY})/blobs/uploads/(?P<upload>[0-9a-z]+)",
    "blob": rf"/v2/(?P<repository>{_REPOSITORY})/blobs/(?P<digest>sha(?:256|512):[0-9a-f]+)",
    "manifest": rf"/v2/(?P<repository>{_REPOSITORY})/manifests/(?P<name>[^/]+)",
    "tags": rf"/v2/(?P<repository>{_REPOSITORY})/tags/list",
    "referrers": rf"/v2/(?P<repository>{_REPOSITORY})/referrers/(?P<digest>sha(?:256|512):[0-9a-f]+)",
    "token": r"/token",
}
_INDEX = "application/vnd.oci.image.index.v1+json"


Rule = Callable[[Request], Answer | None]


@dataclass
class Repository:
    """The content of one repository."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class SimulatedRegistry:
    """Knobs are attributes, set at any time."""

    def __init__(self) -> None:
        self.host = ""
        self.scheme = "http"
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, bytearray] = {}
        self.requests: list[Request] = []
        self.lock = threading.RLock()
        self._numbers = itertools.count(1)
        self.auth: str | None = None
        """None, "basic" or "bearer"."""
        self.users = {"ada": "lovelace"}
        self.realm: str | None = None
        """Of the Bearer challenge; by default this server's own /token."""
        self.tokens: set[str] = set()
        self.uses_left: int | None = None
        """How often a token may be shown before it has expired; None for ever."""
        self.deny: set[str] = set()
        """Methods that are answered with 403."""
        self.truncate_after: list[int] = []
        """For each of the next downloads of a blob, the bytes after which the connection ends."""
        self.without_referrers_api = False
        self.with_etags = False
        """Manifests have an ETag, and conditions on it are heeded."""
        self.without_ranges = False
        self.without_delete = False
        self.without_untag = False
        self.without_mount = False
        self.no_chunked = False
        self.location_is_absolute = False
        self.least_chunk: int | None = None
        self.most_chunk: int | None = None
        self.wrong_digest = False
        """Docker-Content-Digest says something else than the content."""
        self.page_size: int | None = None
        self.redirect_blobs_to: str | None = None
        """`scheme://host:port` that downloads of blobs are sent to."""
        self.rules: list[Rule] = []
        """Asked before everything else; the first answer counts."""

    def repository(self, name: str) -> Repository:
        """The content of a repository, made where there is none yet."""
        with self.lock:
            return self.repositories.setdefault(name, Repository())

    def expire_token(self) -> None:
        """No token that was given out is accepted any more."""
        with self.lock:
            self.tokens.clear()

    def fail_times(
        self, status: int, times: int, *, on: str = ".*", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Answer the next `times` requests whose line matches `on` with `status`."""
        self.answer(on, lambda _: Answer(status, body, headers or {}), times=times)

    def answer(self, on: str, make: Callable[[Request], Answer | None], *, times: int | None = None) -> None:
        """Answer requests whose line matches `on` with what `make` gives."""
        left = [times]

        def rule(request: Request) -> Answer | None:
            if left[0] == 0 or not re.fullmatch(on, request.line):
                return None
            made = make(request)
            if made is not None and left[0] is not None:
                left[0] -= 1
            return made

        self.rules.append(rule)

    def lines(self, pattern: str = ".*") -> list[str]:
        """Method and path of the requests that match, in order."""
        with self.lock:
            return [request.line for request in self.requests if re.fullmatch(pattern, request.line)]

    def received_bytes(self, pattern: str = ".*") -> int:
        """Bytes of the bodies of the requests that match."""
        with self.lock:
            return sum(len(request.body) for request in self.requests if re.fullmatch(pattern, request.line))

    def sent_bytes(self, pattern: str = ".*") -> int:
        """Bytes of the bodies of the answers to them."""
        with self.lock:
            return sum(request.sent for request in self.requests if re.fullmatch(pattern, request.line))

    def handle(self, request: Request) -> Answer:
        """The answer to a request, which goes into the log."""
        with self.lock:
            self.requests.append(request)
            answer = self._answer(request)
            is_download = request.method == "GET" and "/blobs/" in request.path and answer.status in (200, 206)
            if is_download and self.truncate_after:
                answer.cut = self.truncate_after.pop(0)
            return answer

    def _answer(self, request: Request) -> Answer:
        for rule in self.rules:
            made = rule(request)
            if made is not None:
                return made
        route, parts = _route(request.path)
        if route == "token":
            return self._token(request)
        refused = self._check_access(request, parts.get("repository"))
        if refused is not None:
            return refused
        if request.method in self.deny:
            return _error(403, "DENIED", "requested access to the resource is denied")
        make: Callable[..., Answer] = getattr(self, f"_{route}")
        return make(request, **parts)

    def _none(self, request: Request) -> Answer:
        return Answer(404, b"404 page not found\n", {"Content-Type": "text/plain"})

    def _base(self, request: Request) -> Answer:
        return Answer(200, b"{}")

    def _check_access(self, request: Request, repository: str | None) -> Answer | None:
        shown = request.headers.get("authorization", "")
        if self.auth == "basic":
            if _user_of(shown, self.users) is not None:
                return None
            challenge = 'Basic realm="simulated"'
        elif self.auth == "bearer":
            token = shown.removeprefix("Bearer ")
            if token in self.tokens and self.uses_left != 0:
                if self.uses_left is not None:
                    self.uses_left -= 1
                return None
            self.uses_left = None
            self.tokens.discard(token)
            realm = self.realm or f"{self.scheme}://{self.host}/token"
            scope = f'scope="repository:{repository}:*"'  # more than anyone should ask for
            challenge = f'Bearer realm="{realm}",service="simulated",{scope}'
        else:
            return None
        answer = _error(401, "UNAUTHORIZED", "authentication required")
        answer.headers["WWW-Authenticate"] = challenge
        return answer

    def _token(self, request: Request) -> Answer:
        shown = request.headers.get("authorization", "")
        if shown and _user_of(shown, self.users) is None:
            return _error(401, "UNAUTHORIZED", "wrong user or password")
        token = f"token-{self.host}-{len(self.requests)}"
        self.tokens.add(token)
        return Answer(200, json.dumps({"token": token, "expires_in": 300}).encode())

    def _start(self, request: Request, repository: str) -> Answer:
        if request.method != "POST":
            return _error(405, "UNSUPPORTED", "method not allowed")
        mounted = request.query.get("mount")
        if mounted and not self.without_mount:
            content = self.repository(request.query.get("from", "")).blobs.get(mounted)
            if content is not None:
                self.repository(repository).blobs[mounted] = content
                return Answer(201, headers={"Docker-Content-Digest": mounted})
        upload = f"u{next(self._numbers)}"
        self.uploads[upload] = bytearray()
        answer = Answer(202, headers=self._progress(repository, upload))
        if self.least_chunk is not None:
            answer.headers["OCI-Chunk-Min-Length"] = str(self.least_chunk)
        return answer

    def _upload(self, request: Request, repository: str, upload: str) -> Answer:
        stored = self.uploads.get(upload)
        if stored is None:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        if request.method == "GET":
            return Answer(204, headers=self._progress(repository, upload))
        if request.method == "DELETE":
            del self.uploads[upload]
            return Answer(204)
        if request.method == "PATCH":
            return self._append(request, repository, upload, stored)
        stored += request.body
        digest = request.query.get("digest", "")
        del self.uploads[upload]
        if _digest(bytes(stored), digest) != digest:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.repository(repository).blobs[digest] = bytes(stored)
        return Answer(201, headers={"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _append(self, request: Request, repository: str, upload: str, stored: bytearray) -> Answer:
        if self.no_chunked:
            return _error(405, "UNSUPPORTED", "no chunked uploads")
        if self.most_chunk is not None and len(request.body) > self.most_chunk:
            return _error(413, "SIZE_INVALID", "chunk too large")
        found = re.fullmatch(r"([0-9]+)-([0-9]+)", request.headers.get("content-range", ""))
        if found is None or int(found[1]) != len(stored) or int(found[2]) - int(found[1]) + 1 != len(request.body):
            return _error(416, "BLOB_UPLOAD_INVALID", "chunk out of order")
        stored += request.body
        return Answer(202, headers=self._progress(repository, upload))

    def _progress(self, repository: str, upload: str) -> dict[str, str]:
        path = f"/v2/{repository}/blobs/uploads/{upload}?_state=s%2B{len(self.uploads[upload])}"
        base = f"{self.scheme}://{self.host}" if self.location_is_absolute else ""
        return {"Location": base + path, "Range": f"0-{max(len(self.uploads[upload]) - 1, 0)}"}

    def _blob(self, request: Request, repository: str, digest: str) -> Answer:
        blobs = self.repository(repository).blobs
        if digest not in blobs:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        if request.method == "DELETE":
            if self.without_delete:
                return _error(405, "UNSUPPORTED", "deletion is off")
            del blobs[digest]
            return Answer(202)
        if self.redirect_blobs_to is not None and request.method == "GET":
            return Answer(307, headers={"Location": f"{self.redirect_blobs_to}{request.path}?X-Amz-Signature=s3cr3t"})
        content = blobs[digest]
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": self._told(digest)}
        found = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", request.headers.get("range", ""))
        if found is None or self.without_ranges:
            return Answer(200, content, headers)
        start = int(found[1])
        if start >= len(content):
            return _error(416, "RANGE_INVALID", "nothing there")
        end = min(int(found[2]) + 1, len(content)) if found[2] else len(content)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return Answer(206, content[start:end], headers)

    def _manifest(self, request: Request, repository: str, name: str) -> Answer:
        known = self.repository(repository)
        if request.method == "PUT":
            return self._put_manifest(request, known, repository, name)
        digest = name if ":" in name else known.tags.get(name, "")
        if digest not in known.manifests:
            return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        if request.method == "DELETE":
            if self.without_delete or (self.without_untag and ":" not in name):
                return _error(405, "UNSUPPORTED", "deletion is off")
            if ":" in name:
                del known.manifests[name]
            known.tags = {tag: to for tag, to in known.tags.items() if name not in (tag, to)}
            return Answer(202)
        media_type, content = known.manifests[digest]
        headers = {"Content-Type": media_type, "Docker-Content-Digest": self._told(digest)}
        return Answer(200, content, {**headers, "ETag": f'"{digest}"'} if self.with_etags else headers)

    def _put_manifest(self, request: Request, known: Repository, repository: str, name: str) -> Answer:
        if self.with_etags:
            has, wants = known.tags.get(name), request.headers.get("if-match")
            if (has and "if-none-match" in request.headers) or (wants and wants != f'"{has}"'):
                return _error(412, "DENIED", "precondition failed")
        value = json.loads(request.body)
        parts = [value["config"], *value["layers"]] if "layers" in value else []
        missing = [part["digest"] for part in parts if part["digest"] not in known.blobs]
        if missing:
            return _error(404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {missing[0]}")
        digest = _digest(request.body, name if ":" in name else "sha256:")
        if ":" in name and digest != name:
            return _error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        known.manifests[digest] = (request.headers.get("content-type", ""), request.body)
        if ":" not in name:
            known.tags[name] = digest
        headers = {"Location": f"/v2/{repository}/manifests/{digest}", "Docker-Content-Digest": self._told(digest)}
        subject = value.get("subject")
        if subject and not self.without_referrers_api:
            headers["OCI-Subject"] = subject["digest"]
        return Answer(201, headers=headers)

    def _tags(self, request: Request, repository: str) -> Answer:
        if repository not in self.repositories:
            return _error(404, "NAME_UNKNOWN", "repository name not known to registry")
        tags = sorted(self.repositories[repository].tags)
        tags = [tag for tag in tags if tag > request.query.get("last", "")]
        size = min(int(request.query.get("n", "100")), self.page_size or 10**9)
        headers = {}
        if len(tags) > size:
            tags = tags[:size]
            headers["Link"] = f'</v2/{repository}/tags/list?last={tags[-1]}&n={size}>; rel="next"'
        return Answer(200, json.dumps({"name": repository, "tags": tags}).encode(), headers)

    def _referrers(self, request: Request, repository: str, digest: str) -> Answer:
        if self.without_referrers_api:
            return self._none(request)
        entries: list[dict[str, Any]] = []
        for known, (media_type, content) in self.repository(repository).manifests.items():
            value = json.loads(content)
            if (value.get("subject") or {}).get("digest") == digest:
                entry = {"mediaType": media_type, "digest": known, "size": len(content)}
                entry["artifactType"] = value.get("artifactType") or value["config"]["mediaType"]
                entries.append(entry)
        body = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}).encode()
        return Answer(200, body, {"Content-Type": _INDEX})

    def _told(self, digest: str) -> str:
        return "sha256:" + "0" * 64 if self.wrong_digest else digest


@contextmanager
def simulated_registry(*, tls: ssl.SSLContext | None = None) -> Iterator[SimulatedRegistry]:
    """A registry that answers on loopback until the context is left."""
    registry = SimulatedRegistry()
    registry.scheme = "http" if tls is None else "https"
    with serving(registry.handle, tls=tls) as registry.host:
        yield registry


def _route(path: str) -> tuple[str, dict[str, str]]:
    for name, pattern in _ROUTES.items():
        found = re.fullmatch(pattern, path)
        if found is not None:
            return name, found.groupdict()
    return "none", {}


def _error(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


def _digest(content: bytes, like: str) -> str:
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}" if algorithm in ("sha256", "sha512") else ""


def _user_of(shown: str, users: dict[str, str]) -> str | None:
    scheme, _, pair = shown.partition(" ")
    if scheme != "Basic":
        return None
    user, _, password = base64.b64decode(pair).decode().partition(":")
    return user if users.get(user) == password else None
