"""A blob of the local store whose bytes have changed: every reader refuses it and says how to get a sound one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.registry import simulated_registry

import mlkit
from mlkit.api.session import Session
from mlkit.errors import IntegrityError, NotFoundError


def _read(session: Session) -> bytes:
    with mlkit.open("kit:1", session=session) as kit:
        return kit.read("data.bin")


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda session, folder: mlkit.unpack("kit:1", folder / "out", session=session), id="unpack"),
        pytest.param(lambda session, _: _read(session), id="read"),
        pytest.param(lambda session, folder: mlkit.save(["kit:1"], folder / "kit.tar", session=session), id="save"),
        pytest.param(lambda session, folder: mlkit.push("kit:1", f"{folder.name}/x:1", session=session), id="push"),
    ],
)
def test_damage_is_refused_and_the_cure_named_works(
    read: Callable[[Session, Path], object], host: str, session: Session, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "data.bin").write_bytes(b"0123456789")
    (project / "Kitfile").write_text('manifestVersion: "1.0.0"\ndatasets: [{name: d, path: data.bin}]\n')
    packed = mlkit.pack(project, tag="kit:1", session=session)
    layer = next(layer for layer in mlkit.inspect("kit:1", session=session).layers if layer.size == 10)
    blob = session.layout.blobs.path(layer.digest)
    blob.chmod(0o644)
    blob.write_bytes(b"0123456780")
    place = tmp_path / host
    place.mkdir()

    with pytest.raises(IntegrityError) as caught:
        read(session, place)

    assert layer.digest.hex in caught.value.message
    assert "packing it again" in (caught.value.hint or "")
    assert [path.read_bytes() for path in (session.layout.root / ".mlkit/quarantine").iterdir()] == [b"0123456780"]
    with pytest.raises(NotFoundError, match=layer.digest.hex) as missing:
        read(session, place)
    assert "mlkit fsck --repair" in (missing.value.hint or "")
    assert mlkit.pack(project, tag="kit:1", session=session).digest == packed.digest
    assert _read(session) == b"0123456789"


def test_a_damaged_document_is_fetched_again_by_a_pull_and_written_again_by_a_pack(
    host: str, session: Session, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "data.bin").write_bytes(b"0123456789")
    name = f"{host}/team/kit:1"
    packed = mlkit.pack(project, tag=name, session=session)
    mlkit.push(name, session=session)
    documents = [
        packed.digest,
        *(layer.digest for layer in mlkit.inspect(name, session=session).layers if layer.size != 10),
    ]

    for heal in (lambda: mlkit.pull(name, session=session), lambda: mlkit.pack(project, tag=name, session=session)):
        for digest in documents:
            blob = session.layout.blobs.path(digest)
            blob.chmod(0o644)
            blob.write_bytes(blob.read_bytes()[:-1] + b"?")
            heal()
            assert mlkit.fsck(deep=True, session=session).is_sound or digest != packed.digest
        mlkit.fsck(deep=True, repair=True, session=session)
        assert mlkit.fsck(deep=True, session=session).is_sound


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("name", ["{host}/team/kit:1", "mine:1"], ids=["its name", "a name of one's own"])
@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), id="others"),
        pytest.param(lambda raw: raw[:-3], id="fewer"),
        pytest.param(lambda raw: raw + b"more", id="more"),
    ],
)
def test_what_arrives_broken_of_a_partial_kit_is_not_blamed_on_the_local_store(
    broken: Callable[[bytes], bytes], name: str, compression: str, session: Session, other: Session, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "data.bin").write_bytes(b"0123456789" * 50)
    (project / "w.gguf").write_bytes(b"GGUF")
    (project / "Kitfile").write_text("model: {path: w.gguf}\ndatasets: [{name: d, path: data.bin}]\n")
    with simulated_registry() as server:
        remote = f"{server.host}/team/kit:1"
        mlkit.pack(project, tag=remote, compression=compression, session=session)  # type: ignore[arg-type]
        mlkit.push(remote, session=session)
        mlkit.pull(remote, filters=["model"], session=other)
        mlkit.tag(remote, "mine:1", session=other)
        digest = next(str(one.digest) for one in mlkit.inspect(remote, session=session).layers if one.cls == "datasets")
        blobs = server.repository("team/kit").blobs
        blobs[digest] = broken(blobs[digest])

        with pytest.raises(IntegrityError) as caught:
            mlkit.unpack(name.format(host=server.host), tmp_path / "out", session=other)

    assert digest.removeprefix("sha256:")[:12] in caught.value.message
    assert f"it came so from {server.host}/team/kit" in str(caught.value.hint)
    assert not (other.layout.root / ".mlkit/quarantine").exists()
    assert not (tmp_path / "out/data.bin").exists()
