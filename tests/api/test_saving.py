"""Kits in one file: what is in it, and when there is one."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.test_moving import sign
from tests.content.contract import ARTIFACT, push_manifest
from tests.content.oracle import names_of_sound_layout
from tests.support.cli import WEIGHTS, CommandLine, write_project
from tests.support.registry import SimulatedRegistry, simulated_registry

import mlkit
from mlkit.api.saving import write_bundle
from mlkit.api.session import Session
from mlkit.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from mlkit.progress import NoProgress
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project")


@pytest.fixture
def server() -> Iterator[SimulatedRegistry]:
    with simulated_registry() as server:
        yield server


def extracted(file: Path, folder: Path) -> Path:
    with tarfile.open(file) as tar:
        # Debian 12's Python 3.11.2 has no filters yet.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)  # type: ignore[assignment]
        tar.extractall(folder)
    return folder


def test_a_bundle_is_a_sound_layout_with_names_and_referrers(project: Path, session: Session, tmp_path: Path) -> None:
    packed = mlkit.pack(project, tag=["digits:1.2", "registry.example/team/digits:1"], session=session)
    signatures = sign(session, "digits:1.2")

    saved = mlkit.save(["digits:1.2", "registry.example/team/digits:1"], tmp_path / "a.tar", session=session)

    layout = extracted(tmp_path / "a.tar", tmp_path / "layout")
    digest = str(packed.digest)
    assert names_of_sound_layout(layout) == {"digits:1.2": digest, "registry.example/team/digits:1": digest}
    assert all((layout / "blobs/sha256" / signature.hex).is_file() for signature in signatures)
    assert [kit.reference for kit in saved.kits] == ["digits:1.2", "registry.example/team/digits:1"]
    assert saved.referrers == 2
    assert saved.size == (tmp_path / "a.tar").stat().st_size
    mlkit.save("digits:1.2", tmp_path / "alone.tar", referrers=False, session=session)
    with tarfile.open(tmp_path / "alone.tar") as tar:
        assert not {f"blobs/sha256/{signature.hex}" for signature in signatures} & set(tar.getnames())


def test_the_same_kits_give_the_same_bytes_from_anywhere(
    project: Path, host: str, session: Session, other: Session, tmp_path: Path
) -> None:
    one, two = f"{host}/team/digits:1", f"{host}/team/digits:2"
    mlkit.pack(project, tag=one, session=session)
    (project / "README.md").write_text("# Another\n")
    mlkit.pack(project, tag=two, session=session)
    for reference in (one, two):
        sign(session, reference)
        mlkit.push(reference, session=session)

    mlkit.save([one, two], tmp_path / "local.tar", session=session)
    mlkit.save([two, one, two], tmp_path / "reversed.tar", session=session)
    mlkit.save([one, two], tmp_path / "remote.tar", session=other)

    digests = {
        hashlib.sha256((tmp_path / f"{name}.tar").read_bytes()).hexdigest() for name in ("local", "reversed", "remote")
    }
    assert len(digests) == 1
    assert other.layout.names() == {}, "what was saved from the registry left something here"


def test_what_a_partial_kit_lacks_comes_from_where_it_was_pulled(
    project: Path, server: SimulatedRegistry, session: Session, other: Session, tmp_path: Path
) -> None:
    reference = f"{server.host}/team/digits:1.2"
    mlkit.pack(project, tag=reference, session=session)
    mlkit.push(reference, session=session)
    mlkit.pull(reference, filters=["datasets"], session=other)

    mlkit.save(reference, tmp_path / "a.tar", session=other)

    names_of_sound_layout(extracted(tmp_path / "a.tar", tmp_path / "layout"))
    server.repository("team/digits").blobs.clear()
    with pytest.raises(NotFoundError, match="this kit is partial here") as caught:
        mlkit.save(reference, tmp_path / "b.tar", session=other)
    assert f"mlkit pull {reference}" in (caught.value.hint or "")
    assert not (tmp_path / "b.tar").exists()


def test_a_kit_by_its_digest_has_no_name_in_the_bundle(project: Path, session: Session, tmp_path: Path) -> None:
    digest = mlkit.pack(project, tag="digits:1.2", session=session).digest

    saved = mlkit.save(f"digits@{digest}", tmp_path / "a.tar", session=session)

    assert saved.kits[0].reference is None
    assert names_of_sound_layout(extracted(tmp_path / "a.tar", tmp_path / "layout")) == {}


def test_a_file_that_exists_is_replaced_only_when_that_was_asked_for(
    project: Path, session: Session, tmp_path: Path
) -> None:
    mlkit.pack(project, tag="digits:1.2", session=session)
    (tmp_path / "a.tar").write_text("precious")

    with pytest.raises(ConflictError, match=r"a\.tar: exists"):
        mlkit.save("digits:1.2", tmp_path / "a.tar", session=session)
    assert (tmp_path / "a.tar").read_text() == "precious"

    mlkit.save("digits:1.2", tmp_path / "a.tar", overwrite=True, session=session)
    assert tarfile.is_tarfile(tmp_path / "a.tar")


class _Meddler(NoProgress):
    """Somebody who does something as soon as the first blob is written."""

    def __init__(self, act: object) -> None:
        self.act = act

    def finish(self, key: str, outcome: str) -> None:
        act, self.act = self.act, lambda: None
        act()  # type: ignore[operator]


def test_a_file_that_appears_meanwhile_is_not_written_over(project: Path, session: Session, tmp_path: Path) -> None:
    mlkit.pack(project, tag="digits:1.2", session=session)
    session.progress = _Meddler(lambda: (tmp_path / "a.tar").write_text("precious"))

    with pytest.raises(ConflictError, match="exists"):
        mlkit.save("digits:1.2", tmp_path / "a.tar", session=session)

    assert (tmp_path / "a.tar").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir() if "save" in path.name] == []


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_leaves_no_file(project: Path, session: Session, tmp_path: Path) -> None:
    mlkit.pack(project, tag="digits:1.2", session=session)
    session.progress = _Meddler(_interrupt)
    before = sorted(path.name for path in tmp_path.iterdir())

    with pytest.raises(KeyboardInterrupt):
        mlkit.save("digits:1.2", tmp_path / "a.tar", session=session)

    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_broken_blob_leaves_the_earlier_file(project: Path, session: Session, tmp_path: Path) -> None:
    mlkit.pack(project, tag="digits:1.2", session=session)
    mlkit.save("digits:1.2", tmp_path / "a.tar", session=session)
    before = (tmp_path / "a.tar").read_bytes()
    weights = Digest.of(WEIGHTS)
    blob = session.layout.root / "blobs/sha256" / weights.hex
    blob.chmod(0o644)
    blob.write_bytes(b"W" * 2000)

    with pytest.raises(IntegrityError, match=weights.hex):
        mlkit.save("digits:1.2", tmp_path / "a.tar", overwrite=True, session=session)

    assert (tmp_path / "a.tar").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "save" in path.name] == []


def test_a_stream_breaks_off_before_bytes_that_are_not_what_they_should_be(project: Path, session: Session) -> None:
    mlkit.pack(project, tag="digits:1.2", session=session)
    blob = session.layout.root / "blobs/sha256" / Digest.of(WEIGHTS).hex
    blob.chmod(0o644)
    blob.write_bytes(b"W" * 2000)
    sink = io.BytesIO()

    with pytest.raises(IntegrityError):
        write_bundle(session, [Reference.parse("digits:1.2")], sink)

    assert b"W" * 2000 not in sink.getvalue()


def test_a_disk_that_takes_no_more_leaves_no_file(project: Path, session: Session, tmp_path: Path) -> None:
    mlkit.pack(project, tag="digits:1.2", session=session)
    home = tmp_path / "home"
    home.mkdir()
    line = CommandLine(home, tmp_path)
    script = f"ulimit -f 8; exec mlkit save digits:1.2 -o {tmp_path}/a.tar"
    # No bytecode: the limit would cut that short, too, and for everybody who comes after.
    environ = {**line.environ, "MLKIT_HOME": str(session.settings.home), "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True, check=False)

    assert done.returncode == 10, done.stderr
    assert "a.tar: cannot be written: File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if "tar" in path.name or "save" in path.name] == []


def test_one_name_for_two_kits_is_refused(project: Path, session: Session, tmp_path: Path) -> None:
    first = mlkit.pack(project, tag="digits:1.2", session=session).digest
    (project / "README.md").write_text("# Another\n")
    mlkit.pack(project, tag="digits:1.2", session=session)
    session.layout.record(session.layout.resolve(str(first)))

    with pytest.raises(UsageError, match="one name for two kits"):
        mlkit.save(["digits:1.2", f"digits:1.2@{first}"], tmp_path / "a.tar", session=session)


def test_what_is_no_regular_file_is_not_written(project: Path, session: Session, tmp_path: Path) -> None:
    mlkit.pack(project, tag="digits:1.2", session=session)
    os.mkfifo(tmp_path / "pipe")

    for name in ("pipe", "project"):
        with pytest.raises(UsageError, match="no regular file"):
            mlkit.save("digits:1.2", tmp_path / name, overwrite=True, session=session)


def test_a_note_that_is_asked_for_by_name_keeps_it(project: Path, session: Session, tmp_path: Path) -> None:
    kit = mlkit.pack(project, tag="digits:1.2", session=session).digest
    note = push_manifest(
        session.layout, b"note", subject=session.local(Reference.parse("digits:1.2")).bare, artifact_type=ARTIFACT
    ).descriptor
    session.layout.tag(note.bare, "digits:note")

    mlkit.save(["digits:1.2", "digits:note"], tmp_path / "a.tar", session=session)

    names = names_of_sound_layout(extracted(tmp_path / "a.tar", tmp_path / "layout"))
    assert names == {"digits:1.2": str(kit), "digits:note": str(note.digest)}
