"""Seven things that a hostile or busy registry does. oras-py as it is falls for each of them; our client for none.

Both run the same probes: one that the plain client withstands would prove nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import oras.defaults
import pytest
from tests.integrations.conftest import Client
from tests.support.registry import SimulatedRegistry
from tests.support.registry_http import Answer
from tests.support.tars import END, header, padded

from mlkit.errors import IntegrityError, UnsafeError

REGISTRY = "registry.example"
TARGET = f"{REGISTRY}/team/digits:v1"
CONTENT = b"weights of the model"
USER = ("ada", "lovelace")


class Fell(Exception):
    """The client did what it must not do."""


class Scene:
    """A registry, a stranger's host beside it, and a client that wants `TARGET`."""

    def __init__(self, server: SimulatedRegistry, folder: Path, client: Any) -> None:
        self.server = server
        self.folder = folder
        self.client = client

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def stranger_heard(self) -> list[dict[str, str]]:
        """The headers of the requests that went to the stranger."""
        return [one.headers for one in self.server.requests if one.headers["host"] == "stranger.example"]


Probe = Callable[[Scene], None]


def wrong_blob(scene: Scene) -> None:
    evil = bytes(byte ^ 1 for byte in CONTENT)
    scene.server.answer("GET .*/blobs/.*", lambda _: Answer(200, evil))

    try:
        scene.client.pull(TARGET, outdir=str(scene.out))
    except IntegrityError:
        assert not scene.out.exists()
        return

    assert (scene.out / "model.bin").read_bytes() == evil
    raise Fell("the wrong bytes have the right name")


def wrong_manifest(scene: Scene) -> None:
    known = scene.server.repository("team/digits")
    digest = known.tags["v1"]
    other = known.manifests[digest][1].replace(b"model.bin", b"other.bin")
    scene.server.answer(
        "GET .*/manifests/.*", lambda _: Answer(200, other, {"Content-Type": known.manifests[digest][0]})
    )

    try:
        manifest = scene.client.get_manifest(f"{REGISTRY}/team/digits@{digest}")
    except IntegrityError:
        return
    raise Fell(f"took {manifest['layers'][0]['annotations']} for what it asked for")


def escaping_tar(scene: Scene) -> None:
    outside = scene.folder / "outside"
    outside.mkdir()
    tar = header("way", typeflag=b"2", linkname=str(outside)) + header("way/pwned", size=4) + padded(b"evil") + END
    publish(scene.server, gzip.compress(tar, mtime=0), "way", oras.defaults.default_blob_dir_media_type)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some Pythons warn before they do it
            scene.client.pull(TARGET, outdir=str(scene.out))
    except UnsafeError:
        assert not scene.out.exists()
        assert list(outside.iterdir()) == []
        return

    assert (outside / "pwned").read_bytes() == b"evil"
    raise Fell("a file was written outside of the directory")


def token_to_a_foreign_link(scene: Scene) -> None:
    scene.server.auth = "bearer"
    scene.client.auth.set_basic_auth(*USER)
    link = {"Link": '<http://stranger.example/v2/team/digits/tags/list>; rel="next"'}
    scene.server.answer("GET .*/tags/list", lambda request: tags_page(request.headers, link, scene.server), times=None)

    try:
        scene.client.get_tags(f"{REGISTRY}/team/digits")
    except IntegrityError:
        assert scene.stranger_heard() == []
        return

    assert any("authorization" in headers for headers in scene.stranger_heard())
    raise Fell("the registry's token went to a stranger")


def credentials_to_a_foreign_realm(scene: Scene) -> None:
    scene.server.auth = "bearer"
    scene.server.realm = "http://stranger.example/token"
    scene.client.auth.set_basic_auth(*USER)

    scene.client.get_manifest(TARGET)

    assert scene.stranger_heard()
    if any("authorization" in headers for headers in scene.stranger_heard()):
        raise Fell("the password went to a stranger")


def busy(status: int) -> Probe:
    def probe(scene: Scene) -> None:
        scene.server.fail_times(status, 2, on="GET .*/manifests/.*", headers={"Retry-After": "0"})
        scene.server.fail_times(status, 2, on="(HEAD|GET) .*/blobs/.*", headers={"Retry-After": "0"})

        try:
            scene.client.pull(TARGET, outdir=str(scene.out))
        except ValueError as error:
            raise Fell(f"gave up at the first {status}") from error

        assert (scene.out / "model.bin").read_bytes() == CONTENT

    return probe


PROBES: dict[str, Probe] = {
    "wrong blob": wrong_blob,
    "wrong manifest": wrong_manifest,
    "escaping tar": escaping_tar,
    "token to a foreign Link": token_to_a_foreign_link,
    "credentials to a foreign realm": credentials_to_a_foreign_realm,
    "no retry on 429": busy(429),
    "no retry on 503": busy(503),
}


@pytest.fixture(autouse=True)
def hosts(server: SimulatedRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is a proxy that knows two made-up hosts: itself."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{server.host}")
    server.host = REGISTRY


@pytest.fixture(autouse=True)
def artifact(server: SimulatedRegistry) -> None:
    publish(server, CONTENT, "model.bin", oras.defaults.default_blob_media_type)


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES.keys())
def test_our_client_withstands(probe: Probe, server: SimulatedRegistry, ours: Client, tmp_path: Path) -> None:
    probe(Scene(server, tmp_path, ours()))


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES.keys())
def test_oras_py_as_it_is_falls(probe: Probe, server: SimulatedRegistry, plain: Client, tmp_path: Path) -> None:
    if probe is escaping_tar and sys.version_info >= (3, 14):
        pytest.skip("from this version on Python's own tarfile refuses")

    with pytest.raises(Fell):
        probe(Scene(server, tmp_path, plain()))


def publish(server: SimulatedRegistry, content: bytes, title: str, media_type: str) -> None:
    """Store an artifact of one layer under `TARGET`."""
    known = server.repository("team/digits")

    def describe(blob: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        known.blobs[digest] = blob
        return {"mediaType": kind, "digest": digest, "size": len(blob)}

    layer = {**describe(content, media_type), "annotations": {"org.opencontainers.image.title": title}}
    config = describe(b"{}", oras.defaults.unknown_config_media_type)
    kind = oras.defaults.default_manifest_media_type
    raw = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}).encode()
    digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    known.manifests[digest] = (kind, raw)
    known.tags["v1"] = digest


def tags_page(headers: dict[str, str], link: dict[str, str], server: SimulatedRegistry) -> Answer | None:
    """A page that goes on at the stranger's, for those who have a token; the stranger has the last page."""
    if headers["host"] == "stranger.example":
        return Answer(200, b'{"tags": ["v2"]}')
    if headers.get("authorization", "").removeprefix("Bearer ") in server.tokens:
        return Answer(200, b'{"tags": ["v1"]}', link)
    return None
