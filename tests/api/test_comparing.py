"""`verify --dir`: an unpacked directory against its kit, and every way in which one can differ."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.support.cli import write_project

import mlkit
from mlkit.api import comparing
from mlkit.api.comparing import DirectoryReport
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.errors import NotFoundError, UsageError
from mlkit.server import RunningRegistry
from mlkit.spec.digest import Digest
from mlkit.spec.reference import Reference


@pytest.fixture
def kit(session: Session, tmp_path: Path) -> str:
    mlkit.pack(write_project(tmp_path / "project"), tag="digits:1", session=session)
    return "digits:1"


@pytest.fixture
def out(session: Session, kit: str, tmp_path: Path) -> Path:
    """The kit, unpacked."""
    mlkit.unpack(kit, tmp_path / "out", session=session)
    return tmp_path / "out"


def compared(session: Session, kit: str, directory: Path, *filters: str) -> DirectoryReport:
    return comparing.compare(session, Reference.parse(kit), directory, filters=filters)


def told(report: DirectoryReport) -> dict[str, list[str]]:
    return {
        name: [one.path for one in found]
        for name, found in (("missing", report.missing), ("extra", report.extra), ("changed", report.changed))
        if found
    }


def test_what_was_unpacked_is_the_same(session: Session, kit: str, out: Path) -> None:
    report = compared(session, kit, out)

    assert (report.is_same, told(report)) == (True, {})
    assert report.files == sum(1 for path in out.rglob("*") if path.is_file())
    assert report.size == sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def test_missing_extra_and_changed_files_are_told_apart(session: Session, kit: str, out: Path) -> None:
    (out / "README.md").unlink()
    (out / "data/more.csv").write_text("x")
    (out / "data/test.csv").write_text("a,b\n3,5\n")
    (out / "src/train.py").write_text("print('longer than it was')\n")
    (out / "empty").mkdir()

    report = compared(session, kit, out)

    assert not report.is_same
    assert told(report) == {
        "missing": ["README.md"],
        "extra": ["data/more.csv"],
        "changed": ["data/test.csv", "src/train.py"],
    }
    by_digest, by_size = report.changed
    assert by_digest.found == Digest.of(b"a,b\n3,5\n")
    assert by_digest.expected == Digest.of(b"a,b\n3,4\n")
    assert (by_size.found, by_size.reason) == (None, "28 bytes (expected 15)")


def test_links_pipes_and_directories_in_the_place_of_files_are_changes(
    session: Session, kit: str, out: Path, tmp_path: Path
) -> None:
    shutil.move(out / "README.md", tmp_path / "README.md")
    (out / "README.md").symlink_to(tmp_path / "README.md")
    (out / "src/train.py").unlink()
    os.mkfifo(out / "src/train.py")
    (out / "data/test.csv").unlink()
    (out / "data/test.csv").mkdir()
    shutil.move(out / "model", tmp_path / "model")
    (out / "model").symlink_to(tmp_path / "model")

    report = compared(session, kit, out)

    assert told(report) == {
        "missing": ["data/test.csv", "model/weights.safetensors"],
        "extra": ["model"],
        "changed": ["README.md", "src/train.py"],
    }
    assert [one.reason for one in report.changed] == ["is a link", "is no regular file"]


def test_a_filter_takes_the_part_that_it_took_when_unpacking(session: Session, kit: str, tmp_path: Path) -> None:
    part = tmp_path / "part"
    mlkit.unpack(kit, part, filters=["datasets"], session=session)

    assert compared(session, kit, part, "datasets").is_same
    assert "README.md" in told(compared(session, kit, part))["missing"]

    (part / "data/train.csv").unlink()
    (part / "notes.txt").write_text("x")
    assert told(compared(session, kit, part, "datasets")) == {"missing": ["data/train.csv"], "extra": ["notes.txt"]}
    # What the kit has and was not asked for is neither here nor there.
    (part / "README.md").write_text("another one")
    assert "README.md" not in str(told(compared(session, kit, part, "datasets")))
    with pytest.raises(NotFoundError):
        compared(session, kit, part, "prompts")


def test_weights_are_not_fetched_to_compare_them(session: Session, other: Session, kit: str, tmp_path: Path) -> None:
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        name = f"{running.host}/team/digits:1"
        mlkit.push(kit, name, session=session)
        mlkit.unpack(name, tmp_path / "out", session=other)
        weights = next(file for file in mlkit.files(kit, session=session) if file.path.startswith("model/"))
        (tmp_path / "registry/blobs" / weights.layer.algorithm / weights.layer.hex).unlink()

        assert compared(other, name, tmp_path / "out").is_same


def test_a_parent_that_was_unpacked_along_is_compared_along(session: Session, kit: str, tmp_path: Path) -> None:
    child = tmp_path / "child"
    child.mkdir()
    (child / "Kitfile").write_text("model: {path: 'digits:1'}\ndocs: [{path: NOTES.md}]\n")
    (child / "NOTES.md").write_text("tuned")
    mlkit.pack(child, tag="tuned:1", session=session)
    mlkit.unpack("tuned:1", tmp_path / "out", session=session)

    assert compared(session, "tuned:1", tmp_path / "out").is_same

    (tmp_path / "out/model/weights.safetensors").write_bytes(b"v" * 2000)
    assert told(compared(session, "tuned:1", tmp_path / "out")) == {"changed": ["model/weights.safetensors"]}


def test_a_tar_of_another_tool_is_read_where_it_is_here(session: Session, tmp_path: Path) -> None:
    mlkit.pack(write_project(tmp_path / "project"), tag="tars:1", format="kitops", layers="tar", session=session)
    mlkit.unpack("tars:1", tmp_path / "out", session=session)

    assert compared(session, "tars:1", tmp_path / "out").is_same


def test_what_is_no_directory_is_a_mistake(session: Session, kit: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a directory"):
        compared(session, kit, tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a directory"):
        compared(session, kit, tmp_path / "file")
