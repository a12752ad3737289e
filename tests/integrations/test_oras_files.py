"""What an artifact of oras-py may do to a disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import oras.defaults
import pytest
from tests.integrations.conftest import Client
from tests.integrations.test_oras_probes import publish
from tests.support.registry import SimulatedRegistry

from mlkit.errors import DigestMismatch, UnsafeError, UsageError
from mlkit.integrations.oras import Registry

CONTENT = bytes(range(256)) * 20_000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture
def client(ours: Client, server: SimulatedRegistry) -> Registry:
    publish(server, CONTENT, "model.bin", oras.defaults.default_blob_media_type)
    made: Registry = ours(server.host)
    return made


def target(server: SimulatedRegistry) -> str:
    return f"{server.host}/team/digits:v1"


def test_a_name_that_leaves_the_directory_is_refused_with_all_the_rest(
    client: Registry, server: SimulatedRegistry, tmp_path: Path
) -> None:
    for title in ("../evil", "/etc/evil", "a/../../evil", "C:\\evil", ".git/hooks/post-checkout"):
        publish(server, b"evil", title, oras.defaults.default_blob_media_type)

        with pytest.raises(UnsafeError):
            client.pull(target(server), outdir=str(tmp_path / "out"))

    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_a_file_is_not_followed(
    client: Registry, server: SimulatedRegistry, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out/model.bin").symlink_to(tmp_path / "mine")

    client.pull(target(server), outdir=str(tmp_path / "out"))
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    client.download_blob(target(server), DIGEST, str(tmp_path / "link"))

    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "out/model.bin").read_bytes() == CONTENT
    assert (tmp_path / "link").read_bytes() == CONTENT


def test_what_is_no_file_is_not_replaced(client: Registry, server: SimulatedRegistry, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UsageError, match="no regular file"):
            client.download_blob(target(server), DIGEST, str(place))


def test_a_layer_without_a_title_is_named_by_its_digest(
    client: Registry, server: SimulatedRegistry, tmp_path: Path
) -> None:
    publish(server, b"nameless", "", oras.defaults.default_blob_media_type)

    (file,) = client.pull(target(server), outdir=str(tmp_path / "out"))

    assert Path(file).name == f"sha256-{hashlib.sha256(b'nameless').hexdigest()}"
    assert Path(file).read_bytes() == b"nameless"


def test_nothing_is_downloaded_to_nowhere_as_oras_py_has_it(client: Registry, server: SimulatedRegistry) -> None:
    assert client.download_blob(target(server), oras.defaults.blank_hash, "nothing") == os.devnull


def test_a_pull_that_fails_leaves_no_directory_of_its_own(
    client: Registry, server: SimulatedRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server.repository("team/digits").blobs[DIGEST] = CONTENT[:-1] + b"!"

    with pytest.raises(DigestMismatch):
        client.pull(target(server))

    assert list(tmp_path.iterdir()) == []
