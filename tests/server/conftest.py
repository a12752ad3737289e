"""A registry over an empty layout, and a client that speaks plain HTTP to it."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.spec.media_types import OCI_INDEX, OCI_MANIFEST

# Made once: httpx loads all authorities of the machine for each client otherwise, and these clients speak plain HTTP.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def connect(url: str) -> httpx.Client:
    """A client of one registry."""
    return httpx.Client(base_url=url, trust_env=False, timeout=30, verify=NO_TLS)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "store")


@pytest.fixture(scope="session")
def stopping() -> Iterator[ThreadPoolExecutor]:
    """Stops registries while the next test runs: uvicorn sleeps 0.2 s over it."""
    with ThreadPoolExecutor() as stopping:
        yield stopping


@pytest.fixture
def registry(layout: Layout, stopping: ThreadPoolExecutor) -> Iterator[RunningRegistry]:
    running = RunningRegistry(layout).__enter__()
    yield running
    stopping.submit(running.close)


@pytest.fixture
def client(registry: RunningRegistry) -> Iterator[Client]:
    with connect(registry.url) as http:
        yield Client(http)


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def codes(answer: httpx.Response) -> list[str]:
    """The error codes of a refusal; fails where the body is not the specification's."""
    body = answer.json()
    assert set(body) == {"errors"}
    assert all(set(error) == {"code", "message"} and error["message"] for error in body["errors"])
    return [error["code"] for error in body["errors"]]


@dataclass(frozen=True)
class Client:
    """What a client of the distribution protocol does, request by request."""

    http: httpx.Client

    def start(self, repository: str = "team/digits", **query: str) -> httpx.Response:
        return self.http.post(f"/v2/{repository}/blobs/uploads/", params=query, headers={"Content-Length": "0"})

    def push_blob(self, content: bytes, repository: str = "team/digits") -> str:
        digest = digest_of(content)
        location = self.start(repository).headers["Location"]
        assert self.finish(location, digest, content).status_code == 201
        return digest

    def finish(self, location: str, digest: str, content: bytes = b"") -> httpx.Response:
        """The last request of an upload; a Location may carry a query of its own."""
        return self.http.put(httpx.URL(location).copy_merge_params({"digest": digest}), content=content)

    def push_manifest(
        self, value: dict[str, Any], reference: str, repository: str = "team/digits", media_type: str = OCI_MANIFEST
    ) -> httpx.Response:
        return self.http.put(
            f"/v2/{repository}/manifests/{reference}",
            content=json.dumps(value).encode(),
            headers={"Content-Type": media_type},
        )

    def push_kit(self, reference: str, repository: str = "team/digits", *, text: str = "weights", **more: Any) -> str:
        """A manifest with one layer; gives its digest."""
        value = self.manifest(text, repository, **more)
        answer = self.push_manifest(value, reference or digest_of(json.dumps(value).encode()), repository)
        assert answer.status_code == 201, answer.text
        return answer.headers["Docker-Content-Digest"]

    def manifest(self, text: str = "weights", repository: str = "team/digits", **more: Any) -> dict[str, Any]:
        """A manifest whose blobs have been pushed."""
        config, layer = b"{}", text.encode()
        self.push_blob(config, repository)
        self.push_blob(layer, repository)
        return {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, "application/vnd.oci.empty.v1+json"),
            "layers": [descriptor(layer, "application/octet-stream")],
            **more,
        }


def descriptor(content: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def index(*manifests: dict[str, Any]) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests)}
